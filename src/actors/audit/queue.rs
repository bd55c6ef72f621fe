//! The queue of lines for one destination of the audit log, in order and bounded in lines and bytes. Pure.

use crate::limits::{AUDIT_BYTES_MAX, AUDIT_LINES_MAX};
use bytes::Bytes;
use std::collections::VecDeque;

/// The kind of a line, which decides how much of the queue it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A call that was carried out, or that failed for another reason than a denial. May use the whole queue.
    Call,
    /// A denied call. May use half of the queue, since anybody can cause any number of denials.
    Denial,
}

#[derive(Debug, Default)]
pub struct LineQueue {
    lines: VecDeque<Bytes>,
    bytes: usize,
}

impl LineQueue {
    /// Queues a line; returns whether there was room for it.
    pub fn push(&mut self, line: Bytes, kind: LineKind) -> bool {
        let parts = if kind == LineKind::Denial { 2 } else { 1 };
        let has_room = self.lines.len() < AUDIT_LINES_MAX / parts && self.bytes + line.len() <= AUDIT_BYTES_MAX / parts;
        if has_room {
            self.bytes += line.len();
            self.lines.push_back(line);
        }
        has_room
    }

    /// Returns the oldest lines, at most `count`.
    pub fn first(&self, count: usize) -> Vec<Bytes> {
        self.lines.iter().take(count).cloned().collect()
    }

    /// Removes the oldest `count` lines, after they were written or lost.
    pub fn remove(&mut self, count: usize) {
        let removed = self.lines.drain(..count.min(self.lines.len()));
        self.bytes -= removed.map(|line| line.len()).sum::<usize>();
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn check_invariants(&self) {
        debug_assert!(self.lines.len() <= AUDIT_LINES_MAX && self.bytes <= AUDIT_BYTES_MAX);
        debug_assert!(!self.lines.is_empty() || self.bytes == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{LineKind, LineQueue};
    use crate::limits::{AUDIT_BYTES_MAX, AUDIT_LINES_MAX};
    use bytes::Bytes;

    fn fill(queue: &mut LineQueue, kind: LineKind, line: &Bytes) -> usize {
        let pushed = (0..=AUDIT_LINES_MAX).take_while(|_| queue.push(line.clone(), kind)).count();
        queue.check_invariants();
        pushed
    }

    #[test]
    fn denied_calls_fill_at_most_half_of_the_audit_queue() {
        let line = Bytes::from_static(b"x\n");
        let mut queue = LineQueue::default();
        assert_eq!(fill(&mut queue, LineKind::Denial, &line), AUDIT_LINES_MAX / 2);
        assert_eq!(fill(&mut queue, LineKind::Call, &line), AUDIT_LINES_MAX / 2);
        assert!(!queue.push(line.clone(), LineKind::Call));
        queue.remove(AUDIT_LINES_MAX);
        queue.check_invariants();
        assert!(queue.is_empty() && queue.push(line, LineKind::Denial));
    }

    #[test]
    fn the_audit_queue_is_bounded_in_bytes_too() {
        let line = Bytes::from(vec![b'x'; AUDIT_BYTES_MAX / 64]);
        let mut queue = LineQueue::default();
        assert_eq!(fill(&mut queue, LineKind::Denial, &line), 32);
        assert_eq!(fill(&mut queue, LineKind::Call, &line), 32);
        queue.remove(1);
        assert_eq!((queue.len(), queue.first(2).len()), (63, 2));
    }
}
