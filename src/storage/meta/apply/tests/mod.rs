//! Tests of the state machine's rules, with tables in memory.

mod answers;
mod clock;
mod documents;
mod existing;
mod fence;
mod invariants;
mod layout;
mod moves;
mod multipart;
mod objects;
mod work;

use super::{ApplyEntry, MetaTables};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::meta::command::{Change, Command, CreateBucket, PutObject, Refusal, Reply};
use crate::storage::meta::record::{Body, Manifest};
use crate::storage::meta::tables::TABLES;
use crate::storage::meta::view::MetaView;
use crate::types::{BlobId, ShardId, ShardNumber, UnixMs};
use bytes::Bytes;
use std::sync::Arc;

/// The state machine, with entries of one command each.
struct Machine {
    tables: MetaTables,
    index: u64,
}

impl Machine {
    fn empty() -> Self {
        let kv = Arc::new(MemoryKv::new(TABLES));
        Self { tables: MetaTables::open(kv).expect("opens"), index: 0 }
    }

    /// Creates a machine with the samples' bucket.
    fn with_bucket() -> Self {
        let mut machine = Self::empty();
        machine.apply(create_bucket("photos", "someone"));
        machine
    }

    fn apply(&mut self, change: Change) -> Reply {
        self.index += 1;
        let entry = ApplyEntry { index: self.index, commands: vec![Command::new(UnixMs(1000 + self.index), change)] };
        let mut replies = self.tables.apply([entry], position(self.index)).expect("applies");
        replies.pop().expect("an entry has replies").pop().expect("a command has a reply")
    }

    fn put(&mut self, put: PutObject) -> Manifest {
        match self.apply(Change::PutObject(Box::new(put))) {
            Reply::ObjectPut { object } => object.manifest,
            other => panic!("not put: {other:?}"),
        }
    }

    fn refusal(&mut self, change: Change) -> Refusal {
        match self.apply(change) {
            Reply::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn view(&self) -> MetaView {
        self.tables.view()
    }

    fn garbage(&self) -> Vec<u128> {
        self.view().garbage(None, usize::MAX).expect("reads").iter().map(|row| row.blob.id.0).collect()
    }

    fn blobs(&self) -> Vec<u128> {
        let (blobs, next) = self.view().blobs(None, 1 << 20).expect("reads");
        assert_eq!(next, None);
        blobs.iter().map(|blob| blob.id.0).collect()
    }

    fn repairs(&self) -> Vec<(u128, u8)> {
        self.view().repairs(None, usize::MAX).expect("reads").iter().map(|row| (row.blob.id.0, row.shard.0)).collect()
    }
}

/// Returns the manifest as the tables store it: without the placement of its blob.
fn stored(mut manifest: Manifest) -> Manifest {
    if let Body::Blob(blob) = manifest.body {
        manifest.body = Body::Blob(blob.without_placement());
    }
    manifest
}

fn create_bucket(name: &str, owner: &str) -> Change {
    let (name, owner) = (name.to_owned(), owner.to_owned());
    Change::CreateBucket(Box::new(CreateBucket { name, owner, ..CreateBucket::default() }))
}

fn put(put: PutObject) -> Change {
    Change::PutObject(Box::new(put))
}

fn position(index: u64) -> Bytes {
    Bytes::from(format!("position {index}"))
}

/// Returns all shards of the samples' blobs.
fn shards_of(blob: u128) -> Vec<ShardId> {
    (0..4).map(|shard| ShardId { blob: BlobId(blob), shard: ShardNumber(shard) }).collect()
}
