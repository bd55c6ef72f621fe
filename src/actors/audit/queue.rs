//! The queue of lines for one destination of the audit log, in order and bounded in lines and bytes. Pure.

use crate::limits::{AUDIT_BYTES_MAX, AUDIT_LINES_MAX};
use bytes::Bytes;
use std::collections::VecDeque;

/// The kind of a line, which decides how much of the queue it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A call of the root account, which the store's operators use, or a change that the host made. May use the whole
    /// queue.
    Root,
    /// A call of another account that was carried out, or that failed for another reason than a denial. May use three
    /// quarters of the queue: tenants can make changes of their own as fast as they like.
    Tenant,
    /// A denied call, or one whose caller is not verified. May use half of the queue, since anybody can cause any
    /// number of them.
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
        let quarters = match kind {
            LineKind::Root => 4,
            LineKind::Tenant => 3,
            LineKind::Denial => 2,
        };
        let (lines_max, bytes_max) = (AUDIT_LINES_MAX / 4 * quarters, AUDIT_BYTES_MAX / 4 * quarters);
        let has_room = self.lines.len() < lines_max && self.bytes + line.len() <= bytes_max;
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
    fn denied_calls_fill_at_most_half_of_the_audit_queue_and_calls_of_tenants_three_quarters() {
        let line = Bytes::from_static(b"x\n");
        let mut queue = LineQueue::default();
        assert_eq!(fill(&mut queue, LineKind::Denial, &line), AUDIT_LINES_MAX / 2);
        assert_eq!(fill(&mut queue, LineKind::Tenant, &line), AUDIT_LINES_MAX / 4);
        assert_eq!(fill(&mut queue, LineKind::Root, &line), AUDIT_LINES_MAX / 4);
        assert!(!queue.push(line.clone(), LineKind::Root));
        queue.remove(AUDIT_LINES_MAX);
        queue.check_invariants();
        assert!(queue.is_empty() && queue.push(line, LineKind::Denial));
    }

    #[test]
    fn the_audit_queue_is_bounded_in_bytes_too() {
        let line = Bytes::from(vec![b'x'; AUDIT_BYTES_MAX / 64]);
        let mut queue = LineQueue::default();
        assert_eq!(fill(&mut queue, LineKind::Denial, &line), 32);
        assert_eq!(fill(&mut queue, LineKind::Root, &line), 32);
        queue.remove(1);
        assert_eq!((queue.len(), queue.first(2).len()), (63, 2));
    }
}
