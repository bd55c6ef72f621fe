//! openraft's own tests of a log store and a state machine.

use super::Host;
use crate::actors::consensus::mirror::LogStore;
use crate::actors::consensus::raft_types::MetaGroup;
use crate::actors::consensus::start::open_stores;
use crate::actors::consensus::state::StateMachine;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

struct Builder;

impl StoreBuilder<MetaGroup, LogStore, StateMachine, Host> for Builder {
    async fn build(&self) -> Result<(Host, LogStore, StateMachine), StorageError<MetaGroup>> {
        let host = Host::with_drives(2);
        let stores = open_stores(&host.options()).await.expect("the stores open");
        Ok((host, stores.log, stores.machine))
    }
}

#[actix::test]
async fn the_stores_keep_openrafts_contract() {
    Suite::test_all(Builder).await.expect("every test of the suite passes");
}
