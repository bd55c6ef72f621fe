//! Pooled buffers that begin on a block boundary in memory, as direct I/O needs. The first touch of fresh memory costs
//! more than most of the work done on it, so a buffer goes back to its pool when its last reference is dropped.

use crate::limits::BLOCK_BYTES;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A pool of buffers. Cheap to clone; clones share the pool.
#[derive(Clone, Debug)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    idle_bytes_max: usize,
    idle: Mutex<Idle>,
}

/// Buffers that are not in use, by size class.
#[derive(Debug, Default)]
struct Idle {
    bytes: usize,
    by_size: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl BufferPool {
    /// `idle_bytes_max` bounds the memory of idle buffers that the pool keeps, not of the buffers taken from it.
    pub fn new(idle_bytes_max: usize) -> Self {
        Self { shared: Arc::new(Shared { idle_bytes_max, idle: Mutex::default() }) }
    }

    /// Returns a buffer of `len` bytes. Its content may be left over from an earlier use: overwrite all of it before
    /// reading.
    pub fn take(&self, len: usize) -> AlignedBuffer {
        let size = size_class(len);
        let recycled = self.shared.lock().take(size);
        let storage = recycled.unwrap_or_else(|| vec![0; size + BLOCK_BYTES]);
        let start = storage.as_ptr().addr().wrapping_neg() % BLOCK_BYTES;
        AlignedBuffer { storage, start, len, home: Arc::clone(&self.shared) }
    }

    /// Returns a buffer of `len` zero bytes.
    pub fn take_zeroed(&self, len: usize) -> AlignedBuffer {
        let mut buffer = self.take(len);
        buffer.fill(0);
        buffer
    }

    /// Frees all idle buffers.
    pub fn trim(&self) {
        let idle = std::mem::take(&mut *self.shared.lock());
        drop(idle);
    }

    /// The memory of all idle buffers.
    #[cfg(test)]
    pub fn idle_bytes(&self) -> usize {
        self.shared.lock().bytes
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        // A panic under the lock cannot leave the lists inconsistent, so a poisoned lock is used as it is.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let storage = self.by_size.get_mut(&size)?.pop()?;
        self.bytes -= storage.len();
        Some(storage)
    }
}

/// Returns the size class of a buffer: `len` in whole blocks, rounded up to a multiple of a quarter of the power of two
/// below it. There are few classes, and at most a fifth of a buffer is slack.
fn size_class(len: usize) -> usize {
    let blocks = len.div_ceil(BLOCK_BYTES).max(1);
    let step = (blocks.next_power_of_two() / 8).max(1);
    blocks.next_multiple_of(step) * BLOCK_BYTES
}

/// A buffer from a pool that begins on a block boundary. It returns to the pool when it, or the last `Bytes` made from
/// it, is dropped.
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    len: usize,
    home: Arc<Shared>,
}

impl AlignedBuffer {
    /// Shortens the buffer to `len` bytes; has no effect if the buffer is already shorter.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The content as shared bytes, without a copy.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        let storage = std::mem::take(&mut self.storage);
        let mut idle = self.home.lock();
        if idle.bytes + storage.len() <= self.home.idle_bytes_max {
            idle.bytes += storage.len();
            idle.by_size.entry(storage.len() - BLOCK_BYTES).or_default().push(storage);
        }
    }
}

/// Returns whether bytes begin on a block boundary in memory.
pub fn is_block_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::{AlignedBuffer, BufferPool, is_block_aligned, size_class};
    use crate::limits::BLOCK_BYTES;

    /// W5: buffers are pooled and aligned.
    #[test]
    fn a_buffer_is_aligned_and_goes_back_when_its_last_slice_is_dropped() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer: AlignedBuffer = pool.take(100_000);
        assert!(is_block_aligned(&buffer));
        buffer.fill(7);
        let bytes = buffer.freeze();
        let slice = bytes.slice(5000..5010);
        drop(bytes);
        assert_eq!(pool.idle_bytes(), 0);
        assert_eq!(slice, [7u8; 10].as_slice());
        drop(slice);
        assert_eq!(pool.idle_bytes(), size_class(100_000) + BLOCK_BYTES);
        let again = pool.take(100_000);
        assert_eq!((pool.idle_bytes(), again.len()), (0, 100_000));
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let pool = BufferPool::new(3 * BLOCK_BYTES);
        let taken: Vec<_> = (0..4).map(|_| pool.take(BLOCK_BYTES)).collect();
        drop(taken);
        assert_eq!(pool.idle_bytes(), 2 * BLOCK_BYTES);
    }

    #[test]
    fn a_size_class_is_at_least_the_requested_length_and_little_more() {
        for len in (0..3_000_000).step_by(977) {
            let size = size_class(len);
            assert!(size >= len && size.is_multiple_of(BLOCK_BYTES));
            assert!(size <= len + len / 4 + BLOCK_BYTES, "{len} {size}");
        }
    }
}
