//! The owners of buckets, objects and uploads: their canonical ids, and their names in answers.

use super::super::{ACCOUNT, Store};
use super::record::BucketAccess;
use super::resolve::lookup_failed;
use crate::actors::meta::{BucketRow, MetaView};
use crate::api::identity::Directory;
use crate::api::policy::Ownership;
use s3s::S3Result;
use s3s::dto::{Initiator, Owner};
use std::collections::BTreeMap;

/// Returns the canonical id of the account that owns a bucket.
pub fn owner_of(store: &Store, bucket: &BucketRow) -> String {
    canonical_id(store, &bucket.bucket.owner)
}

/// Returns the canonical id of a stored owner. `ACCOUNT` stands for the store's own account.
fn canonical_id(store: &Store, stored: &str) -> String {
    if stored == ACCOUNT { store.owner_id.clone() } else { stored.to_owned() }
}

/// Returns the canonical id of the owner of an object version, a delete marker or an upload. `stored` is the owner in
/// its traits, which does not count under BucketOwnerEnforced.
pub fn object_owner(store: &Store, stored: &str, bucket_owner: &str, ownership: Ownership) -> String {
    if stored.is_empty() || ownership == Ownership::BucketOwnerEnforced {
        bucket_owner.to_owned()
    } else {
        canonical_id(store, stored)
    }
}

/// The owners that one answer shows; each account is looked up once.
pub struct Owners<'a> {
    store: &'a Store,
    view: &'a MetaView,
    bucket_owner: String,
    ownership: Ownership,
    names: BTreeMap<String, Option<String>>,
}

impl<'a> Owners<'a> {
    pub fn of(store: &'a Store, view: &'a MetaView, bucket: &BucketRow, access: &BucketAccess) -> Self {
        let bucket_owner = owner_of(store, bucket);
        Self { store, view, bucket_owner, ownership: access.ownership(), names: BTreeMap::new() }
    }

    /// Returns the owner of an object version, a delete marker or an upload with this owner in its traits.
    pub fn of_object(&mut self, stored: &str) -> S3Result<Owner> {
        let id = object_owner(self.store, stored, &self.bucket_owner, self.ownership);
        self.owner(&id)
    }

    /// Returns the initiator of an upload, which does not depend on the bucket's object ownership.
    pub fn initiator(&mut self, stored: &str) -> S3Result<Initiator> {
        let id = object_owner(self.store, stored, &self.bucket_owner, Ownership::ObjectWriter);
        Ok(Initiator { display_name: self.name(&id)?, id: Some(id) })
    }

    pub fn owner(&mut self, id: &str) -> S3Result<Owner> {
        Ok(Owner { display_name: self.name(id)?, id: Some(id.to_owned()) })
    }

    /// Returns the display name of an account; `None` if there is no such account (any more), as for anonymous owners.
    pub fn name(&mut self, id: &str) -> S3Result<Option<String>> {
        if let Some(known) = self.names.get(id) {
            return Ok(known.clone());
        }
        let directory = Directory::new(self.view, &self.store.directory_root);
        let found = directory.account_by_canonical_id(id).map_err(lookup_failed)?;
        let name = found.map(|account| account.name);
        self.names.insert(id.to_owned(), name.clone());
        Ok(name)
    }
}
