//! The addresses of hosts, as far as this one has heard.

use crate::actors::peers::HostAddresses;
use crate::types::HostId;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The published addresses of hosts, by id. Cheap to clone; all clones share one book.
#[derive(Clone, Debug, Default)]
pub struct AddressBook {
    entries: Arc<ArcSwap<BTreeMap<HostId, String>>>,
}

impl AddressBook {
    /// Adds or replaces the addresses of these hosts, and keeps those of others.
    pub fn learn(&self, entries: impl IntoIterator<Item = (HostId, String)>) {
        let mut next = BTreeMap::clone(&self.entries.load());
        next.extend(entries);
        if next != **self.entries.load() {
            self.entries.store(Arc::new(next));
        }
    }

    /// Returns the addresses of all hosts except this one.
    pub fn others(&self, own: HostId) -> Vec<String> {
        self.entries.load().iter().filter(|(host, _)| **host != own).map(|(_, address)| address.clone()).collect()
    }
}

impl HostAddresses for AddressBook {
    fn address_of(&self, host: HostId) -> Option<String> {
        self.entries.load().get(&host).cloned()
    }
}
