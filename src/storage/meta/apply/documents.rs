//! Documents, written by compare-and-swap; and events, which are removed once they were delivered.

use super::{Applying, Decided};
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{Refusal, Reply};
use crate::storage::meta::record::{BucketDocument, DocumentKey, DocumentRow, DocumentWrite, Expect};
use crate::storage::meta::tables::{DOCUMENTS, EVENTS, bucket_documents_of, document_key, event_key, events_of};
use crate::types::BucketId;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The greatest number of events that one change removes.
const EVENTS_AT_ONCE: usize = 1024;

impl Applying<'_> {
    /// Writes all of the documents; or none, if one does not meet its expectation or a bucket would have too many.
    pub(super) fn write_documents(&mut self, writes: Vec<DocumentWrite>) -> Decided<Reply> {
        for write in &writes {
            if let DocumentKey::Bucket(bucket, ..) = write.key {
                self.require_bucket(bucket)?;
            }
            let present = self.rows.row::<DocumentRow>(DOCUMENTS, &document_key(&write.key))?;
            let holds = match write.expect {
                Expect::Any => true,
                Expect::Absent => present.is_none(),
                Expect::Present => present.is_some(),
                Expect::Revision(revision) => present.is_some_and(|present| present.revision == revision),
            };
            if !holds {
                return Err(Refusal::DocumentChanged.into());
            }
        }
        self.check_counts(&writes)?;
        for write in writes {
            match write.value {
                Some(value) => self.put_document(&write.key, value)?,
                None => self.remove_document(&write.key)?,
            }
        }
        Ok(Reply::Done)
    }

    /// Refuses documents beyond the most of a kind. Only keys are counted: the values may be many MiB together.
    fn check_counts(&mut self, writes: &[DocumentWrite]) -> Decided<()> {
        let mut added = BTreeMap::<(BucketId, BucketDocument), usize>::new();
        for write in writes.iter().filter(|write| write.value.is_some()) {
            let DocumentKey::Bucket(bucket, kind, _) = write.key else { continue };
            if kind.count_max().is_some() && !self.rows.has(DOCUMENTS, &document_key(&write.key))? {
                *added.entry((bucket, kind)).or_default() += 1;
            }
        }
        for ((bucket, kind), added) in added {
            let Some(most) = kind.count_max() else { continue };
            if self.count_documents(bucket, kind, most)? + added > most {
                return Err(Refusal::DocumentChanged.into());
            }
        }
        Ok(())
    }

    /// Counts a bucket's documents of a kind that has no more than `most`: once in a batch, which may have very many
    /// changes of them.
    fn count_documents(&mut self, bucket: BucketId, kind: BucketDocument, most: usize) -> KvResult<usize> {
        if let Some(count) = self.document_counts.get(&(bucket, kind)) {
            return Ok(*count);
        }
        let count = self.rows.count(DOCUMENTS, &bucket_documents_of(bucket, kind), most)?;
        self.document_counts.insert((bucket, kind), count);
        Ok(count)
    }

    /// Returns the counter of the documents like this one, if they were counted in this batch.
    fn counted_like(&mut self, key: &DocumentKey) -> Option<&mut usize> {
        match key {
            DocumentKey::Bucket(bucket, kind, _) => self.document_counts.get_mut(&(*bucket, *kind)),
            DocumentKey::Identity(..) | DocumentKey::System(_) => None,
        }
    }

    pub(super) fn put_document(&mut self, key: &DocumentKey, value: Bytes) -> KvResult<()> {
        let row_key = document_key(key);
        if !self.rows.has(DOCUMENTS, &row_key)? {
            self.counts.documents += 1;
            if let Some(count) = self.counted_like(key) {
                *count += 1;
            }
        }
        self.counts.documents_ever += 1;
        self.rows.put_row(DOCUMENTS, &row_key, &DocumentRow { revision: self.counts.documents_ever, value });
        Ok(())
    }

    fn remove_document(&mut self, key: &DocumentKey) -> KvResult<()> {
        let row_key = document_key(key);
        if self.rows.has(DOCUMENTS, &row_key)? {
            self.counts.documents -= 1;
            if let Some(count) = self.counted_like(key) {
                *count -= 1;
            }
            self.rows.remove(DOCUMENTS, &row_key);
        }
        Ok(())
    }

    pub(super) fn finish_events(&mut self, target: &str, through: u64) -> KvResult<Reply> {
        let end = event_key(target, through);
        for (key, _) in self.rows.first(EVENTS, &events_of(target), EVENTS_AT_ONCE)? {
            if *key > *end {
                break;
            }
            self.rows.remove(EVENTS, &key);
            self.counts.events -= 1;
        }
        Ok(Reply::Done)
    }
}
