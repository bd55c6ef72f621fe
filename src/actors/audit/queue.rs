//! The lines that wait for one destination of the audit log, in order and within bounds. Pure.

use crate::limits::{AUDIT_BYTES_MAX, AUDIT_LINES_MAX};
use bytes::Bytes;
use std::collections::VecDeque;

/// The kind of a line, which decides how much of the queue it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A call that was done, or failed for another reason than the caller's rights.
    Call,
    /// A call that was denied: anybody can make as many of them as he likes.
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

    /// The oldest, at most so many.
    pub fn first(&self, count: usize) -> Vec<Bytes> {
        self.lines.iter().take(count).cloned().collect()
    }

    /// Removes the oldest lines, which are settled.
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
    fn denials_leave_room_for_what_was_done() {
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
    fn long_lines_are_bounded_by_their_bytes() {
        let line = Bytes::from(vec![b'x'; AUDIT_BYTES_MAX / 64]);
        let mut queue = LineQueue::default();
        assert_eq!(fill(&mut queue, LineKind::Denial, &line), 32);
        assert_eq!(fill(&mut queue, LineKind::Call, &line), 32);
        queue.remove(1);
        assert_eq!((queue.len(), queue.first(2).len()), (63, 2));
    }
}
