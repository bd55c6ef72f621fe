//! The traits of a new object version that a write asks for: its owner, ACL, tags and locks.

use super::super::grants::{access_of, acl_of_new_object, owner_of};
use super::super::{Store, locks, tags};
use crate::actors::meta::{BucketRow, MetaView, Traits};
use http::HeaderMap;
use s3s::S3Result;

/// Returns the traits that PutObject, CopyObject or CreateMultipartUpload asks for.
pub fn requested_traits(store: &Store, headers: &HeaderMap, bucket: &BucketRow, view: &MetaView) -> S3Result<Traits> {
    let writer = store.caller().owner();
    let access = access_of(view, bucket)?;
    let (acl, owner) = acl_of_new_object(store, headers, &writer, &owner_of(store, bucket), &access, view)?;
    let mut traits = Traits { owner, acl, tags: tags::of_header(headers)?, ..Traits::default() };
    locks::set_locks(headers, bucket, store.gateway().meta().time().now, &mut traits)?;
    Ok(traits)
}
