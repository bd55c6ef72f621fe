//! Runs openraft's own test suite of log stores and state machines.

use super::Host;
use crate::actors::consensus::mirror::LogStore;
use crate::actors::consensus::raft_types::{LogId, MetaGroup, StoredMembership, entry_of, log_entry_of};
use crate::actors::consensus::start::open_stores;
use crate::actors::consensus::state::{SnapshotBuilder, SnapshotFile, StateMachine};
use crate::storage::raft_log::{LogEntry, Payload, Position};
use futures::{Stream, StreamExt, stream};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, StorageError};
use std::io;

/// The state machine, with blank entries in place of those that the suite leaves out: the suite's logs have holes, but
/// this state machine refuses an entry that does not follow the last one.
struct Filled(StateMachine);

impl RaftStateMachine<MetaGroup> for Filled {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.0.applied_state().await
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<MetaGroup>, io::Error>> + Unpin + OptionalSend,
    {
        let (applied, _) = self.0.applied_state().await?;
        let mut next = applied.map(|id| id.index + 1);
        let mut filled = Vec::new();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let at = log_entry_of(entry.clone()).at;
            for index in next.unwrap_or(at.index)..at.index {
                let blank = LogEntry { at: Position { index, ..at }, payload: Payload::Blank };
                filled.push(Ok((entry_of(blank)?, None)));
            }
            next = Some(at.index + 1);
            filled.push(Ok((entry, responder)));
        }
        self.0.apply(stream::iter(filled)).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        self.0.try_create_snapshot_builder(force).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.0.get_snapshot_builder().await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<MetaGroup>,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        self.0.install_snapshot(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<MetaGroup, SnapshotFile>>, io::Error> {
        self.0.get_current_snapshot().await
    }
}

struct Builder;

impl StoreBuilder<MetaGroup, LogStore, Filled, Host> for Builder {
    async fn build(&self) -> Result<(Host, LogStore, Filled), StorageError<MetaGroup>> {
        let host = Host::with_drives(2);
        let stores = open_stores(&host.options()).await.expect("the stores open");
        Ok((host, stores.log, Filled(stores.machine)))
    }
}

#[actix::test]
async fn the_log_store_and_the_state_machine_pass_openrafts_suite() {
    Suite::test_all(Builder).await.expect("every test of the suite passes");
}
