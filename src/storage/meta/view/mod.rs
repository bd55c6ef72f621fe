//! Lookups in the metadata tables, by key, by seek or by page. The cost of a lookup does not depend on the number of
//! rows that it skips.

mod invariants;
mod parts;

use super::applied::{Applied, applied_in};
use super::codec::{self, Record};
use super::command::RenameToken;
use super::configuration::ConfigurationVersion;
use super::listing::{self, ListPage, ListQuery, Objects, VersionsPage};
use super::record::{
    BlobRef, BucketDocument, BucketRow, ClockRecord, Counts, DocumentKey, DocumentRow, EventRow, FenceRecord,
    GarbageRow, HeldRecord, HostRecord, IdentityKind, LayoutRecord, LeftoverRow, NodeRecord, NullVersionRow,
    ObjectVersion, Pick, RecoveryRecord, RemovedRecord, RepairRow, RolesRecord, Usage, Version, VersionRow,
};
use super::renames;
use super::tables::{
    BLOBS, BUCKET_IDS, BUCKETS, DOCUMENTS, EVENTS, GARBAGE, HOSTS, INLINE, LEFTOVERS, NODES, NULL_VERSIONS, OBJECTS,
    OWNER_BUCKETS, REPAIRS, SYSTEM, SYSTEM_CLOCK, SYSTEM_COUNTS, SYSTEM_FENCE, SYSTEM_HELD, SYSTEM_LAYOUT,
    SYSTEM_RECOVERY, SYSTEM_REMOVED, SYSTEM_ROLES, USAGE, VERSIONS, bucket_documents_of, bucket_prefix, document_key,
    event_key, host_key, identity_documents_of, leftover_key, node_key, object_key, owner_bucket_key, owner_key,
    repair_key, shard_of_leftover_key, system_documents, version_key, versions_of_key,
};
use crate::limits::{DOCUMENTS_PAGE_BYTES, IDENTITIES_PAGE_BYTES};
use crate::storage::kv::{KvError, KvRead, KvResult, Table, prefix_end};
use crate::types::{BlobId, BucketId, HostId, ManifestId, NodeId, ShardId, ShardNumber};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

/// A reader's view of the tables: of the present, or of one moment. Cheap to clone. All methods may read the drive.
#[derive(Clone, Debug)]
pub struct MetaView {
    pub(crate) kv: Arc<dyn KvRead>,
    pub(super) configuration: Option<ConfigurationVersion>,
    /// Shared between clones; only in a view of one moment.
    pub(super) last: Option<Arc<LastVersion>>,
}

/// The result of the last lookup of a version: the gate and the operation of a request look up the same version.
#[derive(Debug, Default)]
pub(super) struct LastVersion(Mutex<Option<VersionLookup>>);

#[derive(Debug)]
struct VersionLookup {
    bucket: BucketId,
    key: String,
    pick: Pick,
    found: Option<VersionRow>,
}

impl LastVersion {
    /// Takes the result, if the last lookup was this one.
    fn take(&self, bucket: BucketId, key: &str, pick: Pick) -> Option<Option<VersionRow>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |lookup: &mut VersionLookup| (lookup.bucket, lookup.key.as_str(), lookup.pick) == (bucket, key, pick);
        last.take_if(is_it).map(|lookup| lookup.found)
    }

    fn put(&self, lookup: VersionLookup) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lookup);
    }
}

impl MetaView {
    pub fn new(kv: Arc<dyn KvRead>) -> Self {
        Self { kv, configuration: None, last: None }
    }

    /// Returns the version of the view's configuration; `None` if it is not known.
    pub fn configuration(&self) -> Option<ConfigurationVersion> {
        self.configuration
    }

    pub fn bucket(&self, name: &str) -> KvResult<Option<BucketRow>> {
        if name.is_empty() { Ok(None) } else { self.row(BUCKETS, name.as_bytes()) }
    }

    /// Returns buckets in order of name, and whether more follow.
    pub fn buckets(&self, prefix: &str, after: Option<&str>, limit: usize) -> KvResult<(Vec<BucketRow>, bool)> {
        let end = prefix_end(prefix.as_bytes());
        let from = match after {
            Some(after) if !after.is_empty() && after >= prefix => Bound::Excluded(after.as_bytes()),
            _ => start_at(prefix.as_bytes()),
        };
        self.rows_and_more(BUCKETS, from, end.as_deref().map_or(Bound::Unbounded, Bound::Excluded), limit)
    }

    /// Returns an account's buckets in order of name, and whether more follow. Reads two rows for each bucket that it
    /// returns, and none of other accounts.
    pub fn buckets_of(
        &self,
        owner: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> KvResult<(Vec<BucketRow>, bool)> {
        let (of_owner, start) = (owner_key(owner), owner_bucket_key(owner, prefix));
        let after = after.filter(|after| *after >= prefix).map(|after| owner_bucket_key(owner, after));
        let end = prefix_end(&start);
        let from = after.as_deref().map_or(Bound::Included(&start[..]), Bound::Excluded);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut buckets = Vec::new();
        for pair in self.kv.range(OWNER_BUCKETS, from, to) {
            let (key, _) = pair?;
            if buckets.len() == limit {
                return Ok((buckets, true));
            }
            let row: Option<BucketRow> = self.row(BUCKETS, key.get(of_owner.len()..).unwrap_or_default())?;
            let absent = || KvError::new("read a bucket", format!("an account has it, but there is no row: {key:?}"));
            buckets.push(row.ok_or_else(absent)?);
        }
        Ok((buckets, false))
    }

    /// Returns the bucket with this number.
    pub fn bucket_numbered(&self, id: BucketId) -> KvResult<Option<BucketRow>> {
        match self.kv.get(BUCKET_IDS, &bucket_prefix(id))? {
            Some(name) => self.row(BUCKETS, &name),
            None => Ok(None),
        }
    }

    /// Returns the usage of a bucket.
    pub fn usage(&self, bucket: BucketId) -> KvResult<Usage> {
        Ok(self.row(USAGE, &bucket_prefix(bucket))?.unwrap_or_default())
    }

    /// Returns the current object of a key. Its blob, if it has one, is without placement (see `placement`).
    pub fn object(&self, bucket: BucketId, key: &str) -> KvResult<Option<ObjectVersion>> {
        self.row(OBJECTS, &object_key(bucket, key))
    }

    /// Returns one version of a key: for `Current` the newest, which may be a delete marker.
    pub fn version(&self, bucket: BucketId, key: &str, pick: Pick) -> KvResult<Option<VersionRow>> {
        let Some(last) = &self.last else { return self.read_version(bucket, key, pick) };
        if let Some(found) = last.take(bucket, key, pick) {
            return Ok(found);
        }
        let found = self.read_version(bucket, key, pick)?;
        last.put(VersionLookup { bucket, key: key.to_owned(), pick, found: found.clone() });
        Ok(found)
    }

    fn read_version(&self, bucket: BucketId, key: &str, pick: Pick) -> KvResult<Option<VersionRow>> {
        let current = self.object(bucket, key)?;
        if let Some(current) = current.filter(|current| pick == Pick::Current || pick.is(current.version)) {
            return Ok(Some(VersionRow::Object(current)));
        }
        let version = match pick {
            Pick::Current => return self.newest_kept(bucket, key),
            Pick::Exact { seq, salt } => Version { seq, salt, null: false },
            Pick::Null => match self.row::<NullVersionRow>(NULL_VERSIONS, &object_key(bucket, key))? {
                Some(null) => null.version,
                None => return Ok(None),
            },
        };
        let row: Option<VersionRow> = self.row(VERSIONS, &version_key(bucket, key, version))?;
        Ok(row.filter(|row| pick.is(row.version())))
    }

    fn newest_kept(&self, bucket: BucketId, key: &str) -> KvResult<Option<VersionRow>> {
        let prefix = versions_of_key(bucket, key);
        let end = prefix_end(&prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.rows(VERSIONS, Bound::Included(&prefix), to, 1)?.pop())
    }

    /// Returns all versions of the keys that the query selects, newest first within each. `after_version` is the
    /// position in the key `after` from which to continue; without it, the next key.
    pub fn list_versions(
        &self,
        bucket: BucketId,
        query: &ListQuery,
        after_version: Option<Version>,
    ) -> KvResult<VersionsPage> {
        self.list_versions_as(bucket, query, after_version, |row| row)
    }

    /// Lists versions, and holds of each what `kept` returns.
    pub fn list_versions_as<T>(
        &self,
        bucket: BucketId,
        query: &ListQuery,
        after_version: Option<Version>,
        kept: impl FnMut(VersionRow) -> T,
    ) -> KvResult<VersionsPage<T>> {
        listing::versions_page(&*self.kv, bucket, query, after_version, kept)
    }

    pub fn document(&self, key: &DocumentKey) -> KvResult<Option<DocumentRow>> {
        self.row(DOCUMENTS, &document_key(key))
    }

    /// Looks up the token of a rename: `Some(true)` if this rename was made already, `Some(false)` if the token came
    /// with another request, `None` if the token is not remembered.
    pub fn renamed(&self, bucket: BucketId, token: RenameToken) -> KvResult<Option<bool>> {
        let document = self.document(&renames::place(bucket, token))?;
        let asked = document.and_then(|document| renames::asked(&document.value, token.id));
        Ok(asked.map(|asked| asked == token.asked))
    }

    /// Returns a bucket's documents of one kind whose names begin with `prefix`, in order of name, at most `limit`; and
    /// whether more follow. The page also ends with the document that takes it beyond `DOCUMENTS_PAGE_BYTES`.
    pub fn bucket_documents(
        &self,
        bucket: BucketId,
        kind: BucketDocument,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> KvResult<(Vec<(String, DocumentRow)>, bool)> {
        self.documents_of(&bucket_documents_of(bucket, kind), prefix, after, limit, DOCUMENTS_PAGE_BYTES)
    }

    /// Counts a bucket's documents of one kind, up to `limit`, holding one of them at a time and decoding none.
    pub fn count_bucket_documents(&self, bucket: BucketId, kind: BucketDocument, limit: usize) -> KvResult<usize> {
        let start = bucket_documents_of(bucket, kind);
        let end = prefix_end(&start);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut count = 0;
        for pair in self.kv.range(DOCUMENTS, Bound::Included(&start), to).take(limit) {
            pair?;
            count += 1;
        }
        Ok(count)
    }

    /// Returns the store's own documents whose names begin with `prefix`, in order of name, at most `limit`; and
    /// whether more follow. The page also ends with the document that takes it beyond `DOCUMENTS_PAGE_BYTES`.
    pub fn system_documents(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> KvResult<(Vec<(String, DocumentRow)>, bool)> {
        self.documents_of(&system_documents(), prefix, after, limit, DOCUMENTS_PAGE_BYTES)
    }

    /// Returns documents of one kind whose paths begin with `prefix`, in order of path, at most `limit`; and whether
    /// more follow. The page also ends with the document that takes it beyond `IDENTITIES_PAGE_BYTES`.
    pub fn identity_documents(
        &self,
        kind: IdentityKind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> KvResult<(Vec<(String, DocumentRow)>, bool)> {
        self.documents_of(&identity_documents_of(kind), prefix, after, limit, IDENTITIES_PAGE_BYTES)
    }

    fn documents_of(
        &self,
        space: &[u8],
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        bytes_max: usize,
    ) -> KvResult<(Vec<(String, DocumentRow)>, bool)> {
        let start = [space, prefix.as_bytes()].concat();
        let after = after.map(|after| [space, after.as_bytes()].concat());
        let end = prefix_end(&start);
        let from =
            after.as_deref().filter(|after| *after >= &start[..]).map_or(Bound::Included(&start[..]), Bound::Excluded);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut documents, mut bytes) = (Vec::new(), 0);
        for pair in self.kv.range(DOCUMENTS, from, to) {
            let (key, row) = pair?;
            if documents.len() == limit || bytes > bytes_max {
                return Ok((documents, true));
            }
            bytes += row.len();
            let malformed = || KvError::new("read a document's key", format!("malformed: {key:02x?}"));
            let name = key.get(space.len()..).map(<[u8]>::to_vec).and_then(|name| String::from_utf8(name).ok());
            documents.push((name.ok_or_else(malformed)?, codec::decode(&row)?));
        }
        Ok((documents, false))
    }

    /// Returns a target's events after this one, oldest first.
    pub fn events(&self, target: &str, after: u64, limit: usize) -> KvResult<Vec<EventRow>> {
        let (from, to) = (event_key(target, after), event_key(target, u64::MAX));
        self.rows(EVENTS, Bound::Excluded(&from), Bound::Included(&to), limit)
    }

    /// Counts a target's events after this one, at most `limit`. Returns the number, and the position of the last one,
    /// or `after` if there is none.
    pub fn count_events(&self, target: &str, after: u64, limit: usize) -> KvResult<(usize, u64)> {
        let (from, to) = (event_key(target, after), event_key(target, u64::MAX));
        let (mut count, mut last) = (0, None);
        for pair in self.kv.range(EVENTS, Bound::Excluded(&from), Bound::Included(&to)).take(limit) {
            (count, last) = (count + 1, Some(pair?.0));
        }
        let position = last.as_deref().and_then(|key| key.last_chunk()).map(|seq| u64::from_be_bytes(*seq));
        Ok((count, position.unwrap_or(after)))
    }

    pub fn inline_bytes(&self, id: ManifestId) -> KvResult<Option<Bytes>> {
        self.kv.get(INLINE, &id.to_be_bytes())
    }

    pub fn list_objects(&self, bucket: BucketId, query: &ListQuery) -> KvResult<ListPage<ObjectVersion>> {
        self.list_objects_as(bucket, query, |object| object)
    }

    /// Lists current objects, and holds of each what `kept` returns.
    pub fn list_objects_as<T>(
        &self,
        bucket: BucketId,
        query: &ListQuery,
        kept: impl FnMut(ObjectVersion) -> T,
    ) -> KvResult<ListPage<T>> {
        let start = query.after.as_deref().map(|after| listing::after_object(bucket, after));
        listing::page::<Objects, T>(&*self.kv, bucket, query, start, kept)
    }

    /// Returns garbage in order of blob id, oldest first.
    pub fn garbage(&self, after: Option<BlobId>, limit: usize) -> KvResult<Vec<GarbageRow>> {
        let after = after.map(BlobId::to_be_bytes);
        self.rows(GARBAGE, start_after(after.as_ref()), Bound::Unbounded, limit)
    }

    pub fn repairs(&self, after: Option<(BlobId, ShardNumber)>, limit: usize) -> KvResult<Vec<RepairRow>> {
        let after = after.map(|(blob, shard)| repair_key(blob, shard));
        self.rows(REPAIRS, start_after(after.as_ref()), Bound::Unbounded, limit)
    }

    /// Returns the repairs after this one, up to and including those of the blob `last`.
    pub fn repairs_through(
        &self,
        after: Option<(BlobId, ShardNumber)>,
        last: BlobId,
        limit: usize,
    ) -> KvResult<Vec<RepairRow>> {
        let (after, end) = (after.map(|(blob, shard)| repair_key(blob, shard)), repair_key(last, ShardNumber(u8::MAX)));
        self.rows(REPAIRS, start_after(after.as_ref()), Bound::Included(&end), limit)
    }

    pub fn is_repair_queued(&self, shard: ShardId) -> KvResult<bool> {
        Ok(self.kv.get(REPAIRS, &repair_key(shard.blob, shard.shard))?.is_some())
    }

    pub fn nodes(&self) -> KvResult<Vec<NodeRecord>> {
        self.rows(NODES, Bound::Unbounded, Bound::Unbounded, usize::MAX)
    }

    pub fn node(&self, id: NodeId) -> KvResult<Option<NodeRecord>> {
        self.row(NODES, &node_key(id))
    }

    pub fn hosts(&self) -> KvResult<Vec<HostRecord>> {
        self.rows(HOSTS, Bound::Unbounded, Bound::Unbounded, usize::MAX)
    }

    pub fn host(&self, id: HostId) -> KvResult<Option<HostRecord>> {
        self.row(HOSTS, &host_key(id))
    }

    pub fn layout(&self) -> KvResult<LayoutRecord> {
        Ok(self.row(SYSTEM, SYSTEM_LAYOUT)?.unwrap_or_default())
    }

    /// Returns the roles of each host.
    pub fn roles(&self) -> KvResult<RolesRecord> {
        Ok(self.row(SYSTEM, SYSTEM_ROLES)?.unwrap_or_default())
    }

    /// Returns the drives and hosts that were removed from the layout for good.
    pub fn removed(&self) -> KvResult<RemovedRecord> {
        Ok(self.row(SYSTEM, SYSTEM_REMOVED)?.unwrap_or_default())
    }

    /// Returns the confirmed time; `None` until hosts have agreed on the time once.
    pub fn clock(&self) -> KvResult<Option<ClockRecord>> {
        self.row(SYSTEM, SYSTEM_CLOCK)
    }

    /// Returns the number of shards placed on each node.
    pub fn held(&self) -> KvResult<HeldRecord> {
        Ok(self.row(SYSTEM, SYSTEM_HELD)?.unwrap_or_default())
    }

    /// Returns the blobs that objects, their parts, or parts of uploads refer to, in order of id, a page at a time; for
    /// the healer's comparison with inventories. The cursor is opaque: `None` begins, and a `None` answer ends.
    pub fn blobs(&self, cursor: Option<Vec<u8>>, limit: usize) -> KvResult<(Vec<BlobRef>, Option<Vec<u8>>)> {
        let from = cursor.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (blobs, more) = self.rows_and_more::<BlobRef>(BLOBS, from, Bound::Unbounded, limit)?;
        let next = blobs.last().filter(|_| more).map(|blob| blob.id.to_be_bytes().to_vec());
        Ok((blobs, next))
    }

    /// Returns a blob, if anything refers to it.
    pub fn blob(&self, id: BlobId) -> KvResult<Option<BlobRef>> {
        self.row(BLOBS, &id.to_be_bytes())
    }

    /// Returns the node of each shard of a blob, until the blob is reclaimed. Shards may be moved at any time, and a
    /// copy stays for a while at the old place: a reader that takes longer looks the placement up again, in a newer
    /// view.
    pub fn placement(&self, id: BlobId) -> KvResult<Option<Vec<NodeId>>> {
        // A blob moves from `blobs` to `garbage`, and never back.
        if let Some(blob) = self.blob(id)? {
            return Ok(Some(blob.placement));
        }
        Ok(self.garbage_of(id)?.map(|row| row.blob.placement))
    }

    /// Returns the garbage row of a blob that is not reclaimed yet.
    pub fn garbage_of(&self, id: BlobId) -> KvResult<Option<GarbageRow>> {
        self.row(GARBAGE, &id.to_be_bytes())
    }

    /// Returns the copies that moves left behind on a node, each with the index of the entry that moved it.
    pub fn leftovers(&self, node: NodeId, after: Option<ShardId>, limit: usize) -> KvResult<Vec<(ShardId, u64)>> {
        let prefix = node_key(node);
        let (after, end) = (after.map(|shard| leftover_key(node, shard)), prefix_end(&prefix));
        let from = after.as_ref().map_or(Bound::Included(&prefix[..]), |after| Bound::Excluded(after));
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let shard_in = |key: &[u8]| {
            shard_of_leftover_key(key)
                .ok_or_else(|| KvError::new("read a leftover's key", format!("malformed: {key:02x?}")))
        };
        let rows = self.kv.range(LEFTOVERS, from, to).take(limit);
        rows.map(|pair| {
            let (key, row) = pair?;
            Ok((shard_in(&key)?, codec::decode::<LeftoverRow>(&row)?.entry))
        })
        .collect()
    }

    /// Returns whether a move left a copy of this shard behind on this node that is not known to be gone.
    pub fn is_leftover(&self, node: NodeId, shard: ShardId) -> KvResult<bool> {
        Ok(self.kv.get(LEFTOVERS, &leftover_key(node, shard))?.is_some())
    }

    /// Returns the removed nodes for which shards, garbage or leftovers are still counted.
    pub fn removed_nodes(&self) -> KvResult<Vec<NodeId>> {
        let ever = self.layout()?.nodes_ever;
        let mut removed = Vec::new();
        for &node in self.held()?.nodes.keys() {
            if node.0 < ever && self.node(node)?.is_none() {
                removed.push(node);
            }
        }
        Ok(removed)
    }

    /// Returns the fence: no blob with a lesser id is adopted any more. A blob below it that is unknown in this view is
    /// an orphan for good.
    pub fn fence(&self) -> KvResult<BlobId> {
        Ok(self.row::<FenceRecord>(SYSTEM, SYSTEM_FENCE)?.unwrap_or_default().below)
    }

    /// Returns the last time that the metadata group was formed anew.
    pub fn recovery(&self) -> KvResult<Option<RecoveryRecord>> {
        self.row(SYSTEM, SYSTEM_RECOVERY)
    }

    /// Returns whether drives keep, since a recovery, shards of unknown blobs and copies of shards that the metadata
    /// places on other drives, until an operator gives them up.
    pub fn keeps_unknown(&self) -> KvResult<bool> {
        Ok(self.recovery()?.is_some_and(|recovery| recovery.keeps_unknown))
    }

    /// Returns whether a blob is referred to, or is garbage still to be reclaimed.
    pub fn blob_is_known(&self, blob: BlobId) -> KvResult<bool> {
        let key = blob.to_be_bytes();
        Ok(self.kv.get(BLOBS, &key)?.is_some() || self.kv.get(GARBAGE, &key)?.is_some())
    }

    /// Returns the number of rows of each kind.
    pub fn counts(&self) -> KvResult<Counts> {
        Ok(self.row(SYSTEM, SYSTEM_COUNTS)?.unwrap_or_default())
    }

    /// Returns the last log entry whose effects this view shows.
    pub fn applied(&self) -> KvResult<Option<Applied>> {
        applied_in(&*self.kv)
    }

    fn row<R: Record>(&self, table: Table, key: &[u8]) -> KvResult<Option<R>> {
        Ok(self.kv.get(table, key)?.map(|row| codec::decode(&row)).transpose()?)
    }

    fn rows<R: Record>(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> KvResult<Vec<R>> {
        let pairs = self.kv.range(table, from, to).take(limit);
        pairs.map(|pair| Ok(codec::decode(&pair?.1)?)).collect()
    }

    fn rows_and_more<R: Record>(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> KvResult<(Vec<R>, bool)> {
        if limit == 0 {
            return Ok((Vec::new(), false));
        }
        let mut rows = self.rows(table, from, to, limit.saturating_add(1))?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, more))
    }
}

fn start_at(key: &[u8]) -> Bound<&[u8]> {
    if key.is_empty() { Bound::Unbounded } else { Bound::Included(key) }
}

fn start_after<const N: usize>(key: Option<&[u8; N]>) -> Bound<&[u8]> {
    key.map_or(Bound::Unbounded, |key| Bound::Excluded(key))
}

#[cfg(test)]
mod tests;
