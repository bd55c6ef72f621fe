//! A running simulated host: its parts, and the operations and lookups that tests make on them.

use super::{dir, layout_of};
use crate::faults::Weather;
use actix::Addr;
use bytes::Bytes;
use futures::TryStreamExt;
use sherd::actors::consensus::MetaHandle;
use sherd::actors::drives::{Drive, DriveMonitor};
use sherd::actors::gateway::{ByteRange, Gateway, OpenObject, StoreError};
use sherd::actors::healer::{HealerHandle, Healing, Scrub};
use sherd::actors::mover::{MoverHandle, Moving};
use sherd::actors::peers::{HashRing, LayoutChanged};
use sherd::actors::upkeep::{ClusterContext, Compaction, Fencing, Probing, Reclamation};
use sherd::storage::disk::sim::{DriveFault, SimDisk};
use sherd::storage::disk::{CallKind, Disk};
use sherd::storage::meta::command::{Change, DeleteVersion, Reply};
use sherd::storage::meta::listing::{ListQuery, Listed};
use sherd::storage::meta::record::{BlobRef, NodeRecord, NodeState, Pick, Version, VersionRow};
use sherd::types::{BlobId, BucketId, NodeId, ShardId, ShardNumber};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// A running host.
pub struct Host {
    pub gateway: Gateway,
    /// The gateway of the stray host, whose writes do not hold back the fence, and whose proposals take long.
    pub stray: Gateway,
    pub weather: Arc<Weather>,
    /// Puts of the stray host that are under way.
    pub strays: Cell<u64>,
    /// The number of times that the fence was raised and all drives were compared with the metadata.
    pub comparisons: Arc<AtomicU64>,
    pub metadata: MetaHandle,
    pub bucket: BucketId,
    /// The bucket of which every version is kept.
    pub versioned: BucketId,
    /// One for each drive in service, as `scrubs`.
    pub compactions: Mutex<Vec<Compaction>>,
    pub reclamation: Mutex<Option<Reclamation>>,
    pub healing: Mutex<Option<Healing>>,
    pub healer: HealerHandle,
    pub fencing: Mutex<Option<Fencing>>,
    pub probing: Mutex<Option<Probing>>,
    pub scrubs: Mutex<Vec<Scrub>>,
    pub moving: Mutex<Option<Moving>>,
    pub mover: MoverHandle,
    pub cluster: ClusterContext,
    /// The drive that never answers again, and since when.
    pub silenced: Cell<Option<(NodeId, Instant)>>,
    pub disk: SimDisk,
    pub(super) hash_ring: Addr<HashRing>,
    pub(super) monitor: DriveMonitor,
    pub(super) drives: Vec<Drive>,
}

/// A version and its content; `None` is a delete marker.
pub type FoundVersion = (Version, Result<Option<Bytes>, StoreError>);

impl Host {
    /// Reads an object; `None` if there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.open(self.bucket, key, Pick::Current).await? {
            Some(object) => Ok(Some(self.read(object).await?)),
            None => Ok(None),
        }
    }

    pub async fn open(&self, bucket: BucketId, key: &str, pick: Pick) -> Result<Option<OpenObject>, StoreError> {
        let view = self.metadata.read().await?;
        Ok(self.gateway.open_object(view, bucket, key, pick).await?.object())
    }

    pub async fn read(&self, object: OpenObject) -> Result<Bytes, StoreError> {
        let range = ByteRange { start: 0, end: object.version.manifest.size_bytes };
        let chunks: Vec<Bytes> = self.gateway.read_object(object, range).await?.try_collect().await?;
        Ok(chunks.concat().into())
    }

    /// Reads all versions by key, oldest first, with their contents (`None`: a delete marker).
    pub async fn list_versions(&self, context: &str) -> BTreeMap<String, Vec<FoundVersion>> {
        let mut found: BTreeMap<String, Vec<FoundVersion>> = BTreeMap::new();
        let view = self.metadata.read().await.expect("the metadata is there");
        let (mut after, mut after_version) = (None, None);
        loop {
            let query = ListQuery { prefix: String::new(), delimiter: None, after, limit: 3 };
            let page = view.list_versions(self.versioned, &query, after_version).expect("the tables are in memory");
            for entry in &page.entries {
                let Listed::Item { key, record } = entry else { panic!("{context}: a prefix nobody asked for") };
                let version = record.row.version();
                let content = match &record.row {
                    VersionRow::DeleteMarker(_) => Ok(None),
                    VersionRow::Object(_) => {
                        let pick = Pick::Exact { seq: version.seq, salt: version.salt };
                        let object = self.open(self.versioned, key, pick).await;
                        let object = object.unwrap_or_else(|error| panic!("{context}: {key}: {error}"));
                        let object = object.unwrap_or_else(|| panic!("{context}: {key} is listed and not there"));
                        self.read(object).await.map(Some)
                    }
                };
                found.entry(key.clone()).or_default().insert(0, (version, content));
            }
            if !page.more {
                return found;
            }
            (after, after_version) = (page.next_after, page.next_version);
        }
    }

    /// Deletes an object, or the named version of one.
    pub async fn delete(&self, bucket: BucketId, key: &str, version: Option<Version>) {
        let pick = version.map_or(Pick::Current, |version| Pick::Exact { seq: version.seq, salt: version.salt });
        let delete = DeleteVersion { key: key.to_owned(), pick, ..DeleteVersion::default() };
        let deleted = self.metadata.propose(Change::DeleteVersions { bucket, deletes: vec![delete] }).await;
        assert!(matches!(deleted, Ok(Reply::VersionsDeleted(_))), "{key}: {deleted:?}");
    }

    /// Aborts all uploads of the bucket.
    pub async fn abort_uploads(&self) {
        let view = self.metadata.read().await.expect("the metadata is there");
        let query = ListQuery { prefix: String::new(), delimiter: None, after: None, limit: 1000 };
        let page = view.list_uploads(self.bucket, &query, None).expect("the tables are in memory");
        for entry in page.entries {
            let Listed::Item { key, record } = entry else { continue };
            let abort = Change::AbortUpload { bucket: self.bucket, key: key.clone(), upload: record.upload.id };
            self.metadata.propose(abort).await.expect("the metadata is there");
        }
    }

    /// Returns every referenced blob.
    pub async fn blobs(&self) -> BTreeMap<BlobId, BlobRef> {
        let view = self.metadata.read().await.expect("the metadata is there");
        let (mut found, mut cursor) = (BTreeMap::new(), None);
        loop {
            let (blobs, next) = view.blobs(cursor, 50).expect("the tables are in memory");
            found.extend(blobs.into_iter().map(|blob| (blob.id, blob)));
            cursor = next;
            if cursor.is_none() {
                return found;
            }
        }
    }

    pub async fn garbage(&self) -> BTreeSet<BlobId> {
        let view = self.metadata.read().await.expect("the metadata is there");
        let rows = view.garbage(None, usize::MAX).expect("the tables are in memory");
        rows.into_iter().map(|row| row.blob.id).collect()
    }

    /// Returns the shards in the indexes of all drives.
    pub fn shards(&self) -> Vec<ShardId> {
        let of_drive = |drive: &Drive| {
            let (page, more) = drive.index.inventory(None, u32::MAX).expect("the tables are in memory");
            assert!(!more, "one page has them all");
            page.into_iter().map(|(shard, _)| shard)
        };
        self.drives.iter().flat_map(of_drive).collect()
    }

    /// Looks at the drives every second, as the threads of their monitor do, for as long as this is polled.
    pub async fn watch_drives(&self) -> Infallible {
        loop {
            self.monitor.look_at_all();
            self.monitor.check_silent();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Gives a drive a fault.
    pub fn fail_drive(&self, number: usize, fault: DriveFault) {
        self.disk.fail_drive(&dir(number), fault);
    }

    /// Looks at the drives once.
    pub fn look_at_drives(&self) {
        self.monitor.look_at_all();
    }

    /// Returns true if changes of this drive hang.
    pub fn is_silent(&self, node: NodeId) -> bool {
        self.disk.hangs(&dir(node.0 as usize), CallKind::Change)
    }

    pub fn in_service(&self, node: NodeId) -> bool {
        self.cluster.health.current().in_service(node)
    }

    /// Returns the nodes of the open drives, in the order of `compactions` and `scrubs`.
    pub fn opened(&self) -> Vec<NodeId> {
        self.drives.iter().map(|drive| drive.node).collect()
    }

    /// Changes a node as an operator does, and puts the new layout in force at once; returns whether the change was
    /// accepted.
    pub async fn set_node(&self, node: NodeId, weight: Option<u32>, state: Option<NodeState>) -> bool {
        let changed = self.metadata.propose(Change::SetNode { node, weight, state }).await;
        let Ok(view) = self.metadata.read().await else { return false };
        let layout = layout_of(&view);
        // The ring ignores a layout that is not newer.
        let _ = self.hash_ring.send(LayoutChanged(layout)).await.expect("the ring is there");
        changed == Ok(Reply::Done)
    }

    /// Returns the records of all nodes.
    pub async fn nodes(&self) -> Vec<NodeRecord> {
        self.metadata.read().await.expect("the metadata is there").nodes().expect("the tables are in memory")
    }

    /// Fails unless each drive holds the shards that are placed on it by the ring in force, and no others.
    pub async fn check_places(&self, context: &str) {
        let ring = self.cluster.ring.current();
        let mut expected: BTreeMap<NodeId, BTreeSet<ShardId>> = BTreeMap::new();
        let known = self.blobs().await;
        for blob in known.values() {
            let mut wanted = ring.wanted(ring.partition_of(blob.id), blob.geometry).expect("there are nodes");
            let mut placed = blob.placement.clone();
            wanted.sort();
            placed.sort();
            assert_eq!(placed, wanted, "{context}: places of {}", blob.id);
            for (node, shard) in blob.placement.iter().zip((0..).map(ShardNumber)) {
                expected.entry(*node).or_default().insert(ShardId { blob: blob.id, shard });
            }
        }
        for drive in &self.drives {
            let (held, _) = drive.index.inventory(None, u32::MAX).expect("the tables are in memory");
            let held: BTreeSet<ShardId> = held.into_iter().map(|(shard, _)| shard).collect();
            let wanted = expected.remove(&drive.node).unwrap_or_default();
            let strays: Vec<_> = held.difference(&wanted).filter(|shard| known.contains_key(&shard.blob)).collect();
            assert!(strays.is_empty(), "{context}: copies on {} that no move needs: {strays:?}", drive.node);
        }
    }

    /// Lists every key, in small pages.
    pub async fn list(&self) -> Vec<String> {
        let view = self.metadata.read().await.expect("the metadata is there");
        let mut keys: Vec<String> = Vec::new();
        loop {
            let query = ListQuery { prefix: String::new(), delimiter: None, after: keys.last().cloned(), limit: 3 };
            let page = view.list_objects(self.bucket, &query).expect("the tables are in memory");
            keys.extend(page.entries.iter().map(|entry| entry.key().to_owned()));
            if !page.more {
                return keys;
            }
        }
    }
}

/// Stops a host in order.
pub async fn close(host: Host) {
    for drive in &host.drives {
        // The close fails if the power is cut already.
        let _ = drive.close(&host.cluster.threads).await;
    }
    host.metadata.shutdown().await;
}
