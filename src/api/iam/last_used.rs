//! The last use of each access key. It is kept in memory only: of this host, since its start. When the map is full, it
//! is cleared.

use super::call::LastUse;
use crate::types::UnixMs;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

const KEYS_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub struct LastUsed {
    uses: Mutex<HashMap<String, LastUse>>,
}

impl LastUsed {
    pub fn note(&self, access_key: &str, service: &'static str, at: UnixMs) {
        let mut uses = self.uses();
        if let Some(last) = uses.get_mut(access_key) {
            *last = LastUse { at, service };
            return;
        }
        if uses.len() >= KEYS_MAX {
            uses.clear();
        }
        uses.insert(access_key.to_owned(), LastUse { at, service });
    }

    pub fn of(&self, access_key: &str) -> Option<LastUse> {
        self.uses().get(access_key).copied()
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<String, LastUse>> {
        // A panic cannot leave the map inconsistent.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
