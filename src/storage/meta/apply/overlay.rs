//! The tables as they will be after the batch being applied: its changes so far, over the committed rows. Each key is
//! kept once, however often it is changed.

use crate::storage::kv::{Batch, KvRead, KvResult, Pair, Table, prefix_end};
use crate::storage::meta::codec::{self, Record};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

pub(super) struct Overlay<'a> {
    kv: &'a dyn KvRead,
    changed: BTreeMap<Table, BTreeMap<Bytes, Option<Bytes>>>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(kv: &'a dyn KvRead) -> Self {
        Self { kv, changed: BTreeMap::new() }
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        match self.changed.get(&table).and_then(|rows| rows.get(key)) {
            Some(changed) => Ok(changed.clone()),
            None => self.kv.get(table, key),
        }
    }

    pub(super) fn has(&self, table: Table, key: &[u8]) -> KvResult<bool> {
        Ok(self.get(table, key)?.is_some())
    }

    pub(super) fn row<R: Record>(&self, table: Table, key: &[u8]) -> KvResult<Option<R>> {
        Ok(self.get(table, key)?.map(|row| codec::decode(&row)).transpose()?)
    }

    pub(super) fn put(&mut self, table: Table, key: &[u8], value: impl Into<Bytes>) {
        self.change(table, Bytes::copy_from_slice(key), Some(value.into()));
    }

    pub(super) fn put_row<R: Record>(&mut self, table: Table, key: &[u8], row: &R) {
        self.put(table, key, codec::encode(row));
    }

    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        self.change(table, Bytes::copy_from_slice(key), None);
    }

    fn change(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        self.changed.entry(table).or_default().insert(key, value);
    }

    /// Returns the first rows whose keys have this prefix, at most `limit`.
    pub(super) fn first(&self, table: Table, prefix: &[u8], limit: usize) -> KvResult<Vec<Pair>> {
        self.first_from(table, prefix, prefix, limit)
    }

    /// Returns the first rows whose keys have this prefix and are not less than `from`, which has it too; at most
    /// `limit`.
    pub(super) fn first_from(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize) -> KvResult<Vec<Pair>> {
        let mut found = Vec::new();
        self.visit(table, (prefix, from), limit, |key, value| found.push((key, value)))?;
        Ok(found)
    }

    /// Returns the first keys with this prefix, at most `limit`, without holding their values.
    pub(super) fn first_keys(&self, table: Table, prefix: &[u8], limit: usize) -> KvResult<Vec<Bytes>> {
        let mut found = Vec::new();
        // A key is copied, since it may share its memory with the value.
        self.visit(table, (prefix, prefix), limit, |key, _| found.push(Bytes::copy_from_slice(&key)))?;
        Ok(found)
    }

    /// Counts the rows whose keys have this prefix, up to `limit`, holding one of them at a time.
    pub(super) fn count(&self, table: Table, prefix: &[u8], limit: usize) -> KvResult<usize> {
        let mut count = 0;
        self.visit(table, (prefix, prefix), limit, |_, _| count += 1)?;
        Ok(count)
    }

    /// Hands over the first rows whose keys have this prefix and are not less than `from`, at most `limit`, in order of
    /// key.
    fn visit(
        &self,
        table: Table,
        (prefix, from): (&[u8], &[u8]),
        limit: usize,
        mut found: impl FnMut(Bytes, Bytes),
    ) -> KvResult<()> {
        let end = prefix_end(prefix);
        let from = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut committed = self.kv.range(table, from, to).peekable();
        let changed = self.changed.get(&table);
        let mut changed = changed.into_iter().flat_map(|rows| rows.range::<[u8], _>((from, to))).peekable();
        let mut count = 0;
        while count < limit {
            let committed_key = match committed.peek() {
                Some(Ok((key, _))) => Some(key),
                Some(Err(error)) => return Err(error.clone()),
                None => None,
            };
            // A changed row replaces the committed row with the same key.
            let take_changed = match (changed.peek(), committed_key) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((changed_key, _)), Some(key)) => *changed_key <= key,
            };
            let row = if take_changed {
                let Some((key, value)) = changed.next() else { break };
                committed.next_if(|pair| pair.as_ref().is_ok_and(|(committed_key, _)| committed_key == key));
                value.clone().map(|value| (key.clone(), value))
            } else {
                committed.next().transpose()?
            };
            if let Some((key, value)) = row {
                count += 1;
                found(key, value);
            }
        }
        Ok(())
    }

    pub(super) fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (table, rows) in self.changed {
            for (key, value) in rows {
                match value {
                    Some(value) => batch.put(table, key, value),
                    None => batch.remove(table, key),
                }
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::Overlay;
    use crate::storage::kv::memory::MemoryKv;
    use crate::storage::kv::{Batch, Kv, Table};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::collections::BTreeMap;

    const TABLE: Table = Table("rows");

    proptest! {
        #[test]
        fn an_overlay_reads_like_the_tables_after_its_commit(
            committed in proptest::collection::vec((0u8..24, any::<u8>()), 0..24),
            changes in proptest::collection::vec((0u8..24, any::<Option<u8>>()), 0..24),
            limit in 0usize..30,
        ) {
            let kv = MemoryKv::new(&[TABLE]);
            let mut batch = Batch::default();
            committed.iter().for_each(|&(key, value)| batch.put(TABLE, vec![key / 6, key], vec![value]));
            kv.commit(batch)?;
            let mut overlay = Overlay::new(&kv);
            for &(key, value) in &changes {
                match value {
                    Some(value) => overlay.put(TABLE, &[key / 6, key], vec![value]),
                    None => overlay.remove(TABLE, &[key / 6, key]),
                }
            }
            let seen: Vec<_> = (0..5).map(|prefix| overlay.first(TABLE, &[prefix], limit)).collect::<Result<_, _>>()?;
            for (prefix, seen) in (0..5).zip(&seen) {
                let keys: Vec<_> = seen.iter().map(|(key, _)| key.clone()).collect();
                prop_assert_eq!(overlay.count(TABLE, &[prefix], limit)?, keys.len());
                prop_assert_eq!(overlay.first_keys(TABLE, &[prefix], limit)?, keys);
                let from = [prefix, 6 * prefix + 3];
                let mut later = overlay.first(TABLE, &[prefix], 100)?;
                later.retain(|(key, _)| key[..] >= from[..]);
                prop_assert_eq!(overlay.first_from(TABLE, &[prefix], &from, 100)?, later);
            }
            let all = overlay.first(TABLE, &[], 100)?;
            let got: Vec<_> = (0..24).map(|key| overlay.get(TABLE, &[key / 6, key])).collect::<Result<_, _>>()?;
            let batch = overlay.into_batch();
            let keys: BTreeMap<_, _> = batch.changes.iter().map(|change| (change.key.clone(), ())).collect();
            prop_assert_eq!(keys.len(), batch.changes.len());
            kv.commit(batch)?;
            for (prefix, seen) in seen.iter().enumerate() {
                let after = Overlay::new(&kv);
                prop_assert_eq!(seen, &after.first(TABLE, &[prefix as u8], limit)?);
            }
            prop_assert_eq!(all, Overlay::new(&kv).first(TABLE, &[], 100)?);
            for (key, got) in (0u8..24).zip(got) {
                prop_assert_eq!(got, Overlay::new(&kv).get(TABLE, &[key / 6, key])?);
            }
        }
    }
}
