//! The metadata as a whole for the admin API: exporting a copy, and dropping shards of unknown blobs after a recovery.

use super::{HostAdmin, unavailable};
use crate::actors::drives::{Blocking, off_thread};
use crate::api::admin::{AdminError, MetadataCopy, UnknownDropped};
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::record::RecoveryRecord;
use crate::storage::meta::snapshot::{ExportHead, SnapshotWriter};
use crate::storage::raft_log::TablesAt;
use bytes::Bytes;
use std::sync::Arc;

/// An export under way: a head, then the frames of one view. At most one frame is in memory.
struct Copying {
    head: Option<Bytes>,
    frames: Option<SnapshotWriter>,
    threads: Arc<dyn Blocking>,
}

#[async_trait::async_trait]
impl MetadataCopy for Copying {
    async fn next(&mut self) -> Option<Result<Bytes, AdminError>> {
        if let Some(head) = self.head.take() {
            return Some(Ok(head));
        }
        let mut frames = self.frames.take()?;
        let read = off_thread(&self.threads, move || {
            let frame = frames.next();
            (frames, frame)
        });
        match read.await {
            Ok((frames, frame)) => {
                self.frames = frame.as_ref().is_some_and(Result::is_ok).then_some(frames);
                Some(frame?.map_err(|error| AdminError::Unavailable(error.to_string())))
            }
            Err(stopped) => Some(Err(AdminError::Unavailable(stopped.to_string()))),
        }
    }
}

impl HostAdmin {
    pub(super) async fn copy_metadata(&self) -> Result<Box<dyn MetadataCopy>, AdminError> {
        let (geometry, exported) = (self.status.context.geometry, self.context.ambient.clock.unix_ms());
        let (cluster, recovery) = (self.cluster, self.recovery);
        let (head, kv) = self
            .look_up(move |view| -> KvResult<_> {
                let malformed = |cause: String| KvError::new("read how far the metadata has come", cause);
                let position = view.applied()?.ok_or_else(|| malformed("it has not begun".to_owned()))?.position;
                let at = TablesAt::decode(&position).map_err(|fault| malformed(fault.to_string()))?;
                let head = ExportHead {
                    program: env!("CARGO_PKG_VERSION").to_owned(),
                    cluster,
                    recovery,
                    data: geometry.data,
                    parity: geometry.parity,
                    exported,
                    applied: at.applied,
                };
                Ok((head, Arc::clone(&view.kv)))
            })
            .await?;
        let head = Some(head.encode().into());
        Ok(Box::new(Copying {
            head,
            frames: Some(SnapshotWriter::new(kv)),
            threads: Arc::clone(&self.context.threads),
        }))
    }

    pub(super) async fn give_up_unknown(&self) -> Result<UnknownDropped, AdminError> {
        let recovery = self.look_up(|view| view.recovery()).await?;
        let Some(recovery) = recovery.filter(|recovery| recovery.keeps_unknown) else {
            return Err(AdminError::Refused("no shards are kept since a recovery (sherd recover)".to_owned()));
        };
        let change = Change::NoteRecovery(RecoveryRecord { keeps_unknown: false, ..recovery });
        match self.status.metadata.propose(change).await.map_err(unavailable)? {
            Reply::Done => {
                tracing::warn!("an operator has given up the shards that a recovery left without metadata");
                Ok(UnknownDropped { recovered_ms: recovery.at.0 })
            }
            other => Err(AdminError::Unavailable(format!("the unknown shards were not given up: {other:?}"))),
        }
    }
}
