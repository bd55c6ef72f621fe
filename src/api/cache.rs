//! A cache of values computed from the configuration (the rows of buckets, the documents of buckets and identities). A
//! cached value is used only for views with exactly the configuration that it was computed from.

use crate::actors::meta::{ConfigurationVersion, MetaView};
use crate::limits::{MEMO_BYTES_MAX, MEMO_ENTRY_BYTES};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cached values by name, all computed from the same configuration.
#[derive(Debug)]
pub struct Memo<K, T> {
    kept: Mutex<Kept<K, T>>,
}

#[derive(Debug)]
struct Kept<K, T> {
    at: Option<ConfigurationVersion>,
    by_name: HashMap<K, Arc<T>>,
    bytes: usize,
}

/// A computed value, and the size of the documents that it was computed from.
pub struct Made<T> {
    pub value: T,
    pub bytes: usize,
}

impl<K, T> Default for Memo<K, T> {
    fn default() -> Self {
        Self { kept: Mutex::new(Kept { at: None, by_name: HashMap::new(), bytes: 0 }) }
    }
}

impl<K: Eq + Hash, T> Memo<K, T> {
    /// Returns the value of this name for a view: the cached one, or else the result of `make`, which is then cached.
    /// Returns `None` if `make` does; this is not cached.
    pub fn get<Q, E>(
        &self,
        view: &MetaView,
        name: &Q,
        make: impl FnOnce() -> Result<Option<Made<T>>, E>,
    ) -> Result<Option<Arc<T>>, E>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(kept) = self.kept_of(view, name) {
            return Ok(Some(kept));
        }
        let Some(Made { value, bytes }) = make()? else { return Ok(None) };
        let value = Arc::new(value);
        if let Some(at) = view.configuration() {
            let former = self.kept().keep(at, name.to_owned(), &value, bytes);
            // Dropped after the lock was released: it may be large.
            drop(former);
        }
        Ok(Some(value))
    }

    /// Returns the cached value of this name for a view.
    pub fn kept_of<Q>(&self, view: &MetaView, name: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.kept_at(view.configuration()?, name)
    }

    /// Returns the cached value of this name for a state of the configuration.
    pub fn kept_at<Q>(&self, at: ConfigurationVersion, name: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let kept = self.kept();
        if kept.at == Some(at) { kept.by_name.get(name).cloned() } else { None }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K, T>> {
        // A panic while the lock was held leaves no harmful partial change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, T> Kept<K, T> {
    /// Caches a value. If there is no room, or the other values are of an earlier configuration, those are removed and
    /// returned, for the caller to drop. A value of an earlier configuration than the others is not cached.
    fn keep(&mut self, at: ConfigurationVersion, name: K, value: &Arc<T>, bytes: usize) -> Option<Self> {
        let bytes = bytes + MEMO_ENTRY_BYTES;
        if self.at > Some(at) || bytes > MEMO_BYTES_MAX {
            return None;
        }
        let is_fresh = self.at == Some(at) && self.bytes + bytes <= MEMO_BYTES_MAX;
        let fresh = || Self { at: Some(at), by_name: HashMap::new(), bytes: 0 };
        let former = (!is_fresh).then(|| std::mem::replace(self, fresh()));
        if self.by_name.insert(name, Arc::clone(value)).is_none() {
            self.bytes += bytes;
        }
        former
    }
}

#[cfg(test)]
mod tests {
    use super::{Made, Memo};
    use crate::actors::meta::{Change, CreateBucket, MetaView};
    use crate::actors::request::test_world::World;
    use crate::limits::{MEMO_BYTES_MAX, MEMO_ENTRY_BYTES};
    use std::convert::Infallible;

    fn change(world: &World, bucket: &str) {
        let (name, owner) = (bucket.to_owned(), "root".to_owned());
        let _ =
            world.meta.apply(Change::CreateBucket(Box::new(CreateBucket { name, owner, ..CreateBucket::default() })));
    }

    /// Returns the cached value, or computes it.
    fn get(memo: &Memo<String, u32>, view: &MetaView, name: &str, value: u32, bytes: usize) -> u32 {
        let made = || Ok::<_, Infallible>(Some(Made { value, bytes }));
        *memo.get(view, name, made).expect("it does not fail").expect("a value")
    }

    #[actix::test]
    async fn a_cached_value_is_not_used_for_another_configuration() {
        let world = World::new(1, 0);
        let memo = Memo::default();
        let before = world.meta.view();
        assert_eq!((get(&memo, &before, "a", 1, 1), get(&memo, &before, "b", 2, 1)), (1, 2));
        assert_eq!((get(&memo, &world.meta.view(), "a", 3, 1), get(&memo, &before, "b", 4, 1)), (1, 2));
        change(&world, "new");
        let after = world.meta.view();
        assert_eq!(get(&memo, &after, "a", 5, 1), 5);
        assert_eq!((get(&memo, &before, "a", 6, 1), get(&memo, &after, "a", 7, 1)), (6, 5), "of an earlier view");
        assert_eq!(get(&memo, &MetaView::new(after.kv.clone()), "a", 8, 1), 8, "of a view whose entry is not known");
    }

    #[actix::test]
    async fn the_memo_does_not_cache_absent_values_or_failures() {
        let world = World::new(1, 0);
        let (memo, view) = (Memo::<String, u32>::default(), world.meta.view());
        assert!(memo.get(&view, "a", || Ok::<_, ()>(None)).expect("it does not fail").is_none());
        assert!(memo.get(&view, "a", || Err(())).is_err());
        assert_eq!(get(&memo, &view, "a", 1, 1), 1);
    }

    #[actix::test]
    async fn the_memo_is_bounded_in_entries_and_bytes() {
        let world = World::new(1, 0);
        let (memo, view) = (Memo::default(), world.meta.view());
        let entries_max = MEMO_BYTES_MAX / MEMO_ENTRY_BYTES;
        for number in 0..2 * entries_max {
            get(&memo, &view, &number.to_string(), 0, 0);
            assert!(memo.kept().by_name.len() <= entries_max);
        }
        for number in 0..9 {
            get(&memo, &view, &format!("large {number}"), 0, MEMO_BYTES_MAX / 4);
            assert!(memo.kept().bytes <= MEMO_BYTES_MAX);
        }
        assert_eq!(get(&memo, &view, "too large", 1, MEMO_BYTES_MAX + 1), 1);
        assert_eq!(get(&memo, &view, "too large", 2, MEMO_BYTES_MAX + 1), 2);
    }
}
