//! The invariants of the tables after any history: no blob is lost, forgotten or owned twice, and every counter is
//! exact. Tests check them after each of their histories.

use super::MetaView;
use crate::storage::kv::{KvRead, Table};
use crate::storage::meta::codec::{self, Record};
use crate::storage::meta::record::{
    BlobRef, Body, BucketRow, Counts, GarbageRow, HeldRecord, Manifest, NullVersionRow, ObjectVersion, OwnerRow,
    PartRow, SharedRow, UploadRow, Usage, Version, VersionRow,
};
use crate::storage::meta::tables::{
    BLOBS, BUCKETS, COMPLETED, DOCUMENTS, DROPPED, EVENTS, GARBAGE, INLINE, LEFTOVERS, NULL_VERSIONS, OBJECTS,
    OWNER_BUCKETS, OWNERS, PARTS, REPAIRS, SHARED, Shared, UPLOAD_PARTS, UPLOADS, USAGE, VERSIONS, key_of_version,
    object_key, owner_bucket_key, owner_key,
};
use crate::types::{BlobId, BucketId, ManifestId, NodeId, ShardId, ShardNumber, UploadId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

impl MetaView {
    /// Reads all rows and checks that they are consistent.
    ///
    /// # Panics
    ///
    /// Panics if rows contradict each other or cannot be read.
    pub fn check_invariants(&self) {
        let kv = &*self.kv;
        let objects = check_versions(kv);
        let known = self.check_owners(kv, &objects);
        self.check_parts(kv, &objects);
        self.check_counts(kv, &known);
        check_buckets_of_owners(kv);
    }

    /// Checks that the known blobs are exactly those that something refers to, and that references are counted
    /// correctly. Returns all blobs.
    fn check_owners(&self, kv: &dyn KvRead, objects: &[Manifest]) -> Vec<BlobRef> {
        let parts: Vec<PartRow> = [rows(kv, PARTS), rows(kv, UPLOAD_PARTS)].concat();
        let of_objects = objects.iter().filter_map(|object| match &object.body {
            Body::Blob(blob) => Some(blob.id),
            _ => None,
        });
        let of_parts = parts.iter().filter_map(|part| part.blob.as_ref()).map(|blob| blob.id);
        let owners: Vec<BlobId> = of_objects.chain(of_parts).collect();
        let owned: BTreeSet<_> = owners.iter().copied().collect();
        let lists = objects.iter().filter_map(Manifest::parts).map(|(list, _)| Shared::Parts(list));
        let references: Vec<_> = owners.into_iter().map(Shared::Blob).chain(lists).map(Shared::key).collect();
        check_shared(kv, &references);
        let (known, next) = self.blobs(None, usize::MAX).expect("reads");
        let ids: BTreeSet<BlobId> = known.iter().map(|blob| blob.id).collect();
        assert_eq!((&ids, next), (&owned, None), "the known blobs are not those referred to");
        let garbage: Vec<GarbageRow> = rows(kv, GARBAGE);
        assert!(garbage.iter().all(|row| !owned.contains(&row.blob.id)), "garbage is referred to");
        let repairs = self.repairs(None, usize::MAX).expect("reads");
        assert!(repairs.iter().all(|row| owned.contains(&row.blob.id)), "a repair of a blob that nothing refers to");
        for row in &repairs {
            assert_eq!(
                Some(&row.blob),
                known.iter().find(|blob| blob.id == row.blob.id),
                "a repair has another placement than its blob"
            );
        }
        for blob in &known {
            for (node, shard) in blob.placement.iter().zip((0..).map(ShardNumber)) {
                let shard = ShardId { blob: blob.id, shard };
                assert!(!self.is_leftover(*node, shard).expect("reads"), "a leftover is the current copy of a shard");
            }
        }
        known
    }

    /// Checks that objects have their bytes and parts, and that nothing is left of deleted objects and uploads.
    fn check_parts(&self, kv: &dyn KvRead, objects: &[Manifest]) {
        let inline = objects.iter().filter(|object| object.body == Body::Inline).count() as u64;
        assert_eq!(count(kv, INLINE), inline, "inline rows without objects, or the reverse");
        let lists: BTreeSet<ManifestId> = objects.iter().filter_map(Manifest::parts).map(|(list, _)| list).collect();
        for pair in kv.range(COMPLETED, Bound::Unbounded, Bound::Unbounded) {
            let key = pair.expect("reads").0;
            let list = ManifestId::from_be_bytes(key[..].try_into().expect("an id"));
            assert!(lists.contains(&list), "a completed upload is remembered beyond its object");
        }
        for object in objects {
            let Some((list, count)) = object.parts() else { continue };
            let parts = self.parts_from(list, 0, usize::from(u16::MAX)).expect("reads");
            let bytes = parts.iter().map(|part| part.size_bytes).sum::<u64>();
            assert_eq!((parts.len(), bytes), (count.into(), object.size_bytes), "parts do not make up the object");
        }
        // If an upload with many parts has ended, its parts are taken apart later.
        if count(kv, DROPPED) > 0 {
            return;
        }
        let uploads: BTreeSet<UploadId> = rows::<UploadRow>(kv, UPLOADS).into_iter().map(|row| row.upload.id).collect();
        for pair in kv.range(UPLOAD_PARTS, Bound::Unbounded, Bound::Unbounded) {
            let key = pair.expect("reads").0;
            let (id, _) = key.split_first_chunk().expect("has an id");
            assert!(uploads.contains(&UploadId::from_be_bytes(*id)), "a part belongs to no upload");
        }
    }

    fn check_counts(&self, kv: &dyn KvRead, known: &[BlobRef]) {
        let counts = self.counts().expect("reads");
        let expected = Counts {
            buckets: count(kv, BUCKETS),
            objects: count(kv, OBJECTS),
            uploads: count(kv, UPLOADS),
            blobs: count(kv, BLOBS),
            garbage: count(kv, GARBAGE),
            repairs: count(kv, REPAIRS),
            repairs_ever: counts.repairs_ever,
            moves_ever: counts.moves_ever,
            dropped_lists: count(kv, DROPPED),
            buckets_ever: counts.buckets_ever,
            versions: count(kv, VERSIONS),
            versions_ever: counts.versions_ever,
            shared: count(kv, SHARED),
            documents: count(kv, DOCUMENTS),
            documents_ever: counts.documents_ever,
            events: count(kv, EVENTS),
            last_event: counts.last_event,
        };
        assert_eq!(counts, expected, "counters differ from the rows");
        assert_eq!(self.held().expect("reads"), held_by_rows(known, &rows(kv, GARBAGE), kv), "shard counts differ");
    }
}

fn rows<R: Record>(kv: &dyn KvRead, table: Table) -> Vec<R> {
    let pairs = kv.range(table, Bound::Unbounded, Bound::Unbounded);
    pairs.map(|pair| codec::decode(&pair.expect("reads").1).expect("decodes")).collect()
}

fn count(kv: &dyn KvRead, table: Table) -> u64 {
    kv.range(table, Bound::Unbounded, Bound::Unbounded).count() as u64
}

/// Checks that versions are where they belong and are counted. Returns the manifests of all object versions.
fn check_versions(kv: &dyn KvRead) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    let mut usages: BTreeMap<[u8; 8], Usage> = BTreeMap::new();
    let mut nulls: BTreeMap<Vec<u8>, Version> = BTreeMap::new();
    for pair in kv.range(OBJECTS, Bound::Unbounded, Bound::Unbounded) {
        let (key, row) = pair.expect("reads");
        let object: ObjectVersion = codec::decode(&row).expect("decodes");
        let usage = usages.entry(key[..8].try_into().expect("a bucket")).or_default();
        usage.objects += 1;
        usage.bytes += object.manifest.size_bytes;
        manifests.push(object.manifest);
    }
    let mut last: Option<(BucketId, String, u64)> = None;
    for pair in kv.range(VERSIONS, Bound::Unbounded, Bound::Unbounded) {
        let (row_key, row) = pair.expect("reads");
        let row: VersionRow = codec::decode(&row).expect("decodes");
        let key = key_of_version(&row_key).expect("a key");
        let of_bucket: [u8; 8] = row_key[..8].try_into().expect("a bucket");
        let bucket = BucketId(u64::from_be_bytes(of_bucket));
        let usage = usages.entry(of_bucket).or_default();
        usage.versions += 1;
        let current = kv.get(OBJECTS, &object_key(bucket, &key)).expect("reads");
        let current: Option<ObjectVersion> = current.map(|row| codec::decode(&row).expect("decodes"));
        let first = last.as_ref().is_none_or(|(in_bucket, last, _)| *in_bucket != bucket || *last != key);
        match (&current, first) {
            (Some(current), true) => assert!(current.version.seq > row.version().seq, "the current one is not newest"),
            (None, true) => assert!(matches!(row, VersionRow::DeleteMarker(_)), "a newest object is not current"),
            (_, false) => assert!(last.is_some_and(|(_, _, seq)| seq > row.version().seq), "versions are out of order"),
        }
        last = Some((bucket, key.clone(), row.version().seq));
        if row.version().null {
            assert!(!current.is_some_and(|current| current.version.null), "a key has two null versions");
            assert_eq!(nulls.insert(object_key(bucket, &key), row.version()), None, "a key has two null versions");
        }
        if let VersionRow::Object(object) = row {
            usage.bytes += object.manifest.size_bytes;
            manifests.push(object.manifest);
        }
    }
    count_parts(kv, &mut usages);
    let named = kv.range(NULL_VERSIONS, Bound::Unbounded, Bound::Unbounded).map(|pair| {
        let (key, row) = pair.expect("reads");
        (key.to_vec(), codec::decode::<NullVersionRow>(&row).expect("decodes").version)
    });
    assert_eq!(named.collect::<BTreeMap<_, _>>(), nulls, "the table of null versions differs from the versions");
    for pair in kv.range(USAGE, Bound::Unbounded, Bound::Unbounded) {
        let (bucket, row) = pair.expect("reads");
        let bucket: [u8; 8] = bucket[..].try_into().expect("a bucket");
        let counted = usages.remove(&bucket).unwrap_or_default();
        assert_eq!(codec::decode::<Usage>(&row), Ok(counted), "a bucket's usage differs from its versions");
    }
    usages.retain(|_, usage| *usage != Usage::default());
    assert!(usages.is_empty(), "buckets without usage: {usages:?}");
    manifests
}

/// Checks that each bucket is listed and counted once, as one of its owner.
fn check_buckets_of_owners(kv: &dyn KvRead) {
    let (mut names, mut counts) = (BTreeSet::new(), BTreeMap::<Vec<u8>, u64>::new());
    for BucketRow { bucket, .. } in rows::<BucketRow>(kv, BUCKETS) {
        names.insert(owner_bucket_key(&bucket.owner, &bucket.name));
        *counts.entry(owner_key(&bucket.owner)).or_default() += 1;
    }
    let listed = kv.range(OWNER_BUCKETS, Bound::Unbounded, Bound::Unbounded);
    let listed: BTreeSet<Vec<u8>> = listed.map(|pair| pair.expect("reads").0.to_vec()).collect();
    assert_eq!(listed, names, "the buckets by owner differ from the buckets");
    let counted = kv.range(OWNERS, Bound::Unbounded, Bound::Unbounded).map(|pair| {
        let (key, row) = pair.expect("reads");
        (key.to_vec(), codec::decode::<OwnerRow>(&row).expect("decodes").buckets)
    });
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), counts, "the numbers of buckets by owner differ from the buckets");
}

/// Checks the bytes of each upload's parts, and adds them to the usage of its bucket.
fn count_parts(kv: &dyn KvRead, usages: &mut BTreeMap<[u8; 8], Usage>) {
    let buckets: BTreeSet<[u8; 8]> =
        rows::<BucketRow>(kv, BUCKETS).into_iter().map(|row| row.bucket.id.0.to_be_bytes()).collect();
    for pair in kv.range(UPLOADS, Bound::Unbounded, Bound::Unbounded) {
        let (key, row) = pair.expect("reads");
        let bucket: [u8; 8] = key[..8].try_into().expect("a bucket");
        let upload: UploadRow = codec::decode(&row).expect("decodes");
        let id = upload.upload.id.to_be_bytes();
        let parts = kv.range(UPLOAD_PARTS, Bound::Unbounded, Bound::Unbounded).map(|pair| pair.expect("reads"));
        let own = parts.filter(|(key, _)| key.starts_with(&id));
        let counted: u64 = own.map(|(_, row)| codec::decode::<PartRow>(&row).expect("decodes").size_bytes).sum();
        assert_eq!(upload.parts_bytes, counted, "an upload's bytes differ from its parts");
        // Uploads of a deleted bucket end in steps, and it has no usage any more.
        if buckets.contains(&bucket) {
            usages.entry(bucket).or_default().parts_bytes += counted;
        }
    }
}

/// Checks the reference counts of shared items, and that no other item has a count.
fn check_shared(kv: &dyn KvRead, references: &[[u8; 17]]) {
    let mut counted: BTreeMap<[u8; 17], u32> = BTreeMap::new();
    for key in references {
        *counted.entry(*key).or_default() += 1;
    }
    // Objects refer to a list of parts; a blob in the list is referred to once, by its row.
    counted.retain(|_, references| *references > 1);
    let rows = kv.range(SHARED, Bound::Unbounded, Bound::Unbounded).map(|pair| {
        let (key, row) = pair.expect("reads");
        let key: [u8; 17] = key[..].try_into().expect("a kind and an id");
        (key, codec::decode::<SharedRow>(&row).expect("decodes").references)
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), counted, "reference counts differ from the references");
}

fn held_by_rows(known: &[BlobRef], garbage: &[GarbageRow], kv: &dyn KvRead) -> HeldRecord {
    let mut held = HeldRecord::default();
    for node in known.iter().flat_map(|blob| &blob.placement) {
        held.nodes.entry(*node).or_default().placed += 1;
    }
    for pair in kv.range(LEFTOVERS, Bound::Unbounded, Bound::Unbounded) {
        let key = pair.expect("reads").0;
        let (node, _) = key.split_first_chunk().expect("has a node");
        held.nodes.entry(NodeId(u32::from_be_bytes(*node))).or_default().leftovers += 1;
    }
    for row in garbage {
        for shard in &row.pending {
            held.nodes.entry(row.blob.placement[usize::from(shard.0)]).or_default().garbage += 1;
        }
    }
    held
}
