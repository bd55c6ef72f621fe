//! The document in which a bucket keeps who may do what with it.

use super::super::Store;
use super::super::buckets::bucket_document;
use super::super::documents;
use crate::actors::meta::{Acl, BucketDocument, BucketRow, DocumentKey, MetaView};
use crate::api::errors::Fault;
use crate::api::memo::Made;
use crate::api::policy::{Ownership, PublicAccessBlock};
use s3s::S3Result;
use serde::{Deserialize, Serialize};

/// What a bucket was told of access to it; nothing where there is no document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketAccess {
    /// As it was given; found valid then.
    pub policy: Option<String>,
    /// Who put the policy confirmed that it may keep the owner's root from the policy itself.
    pub policy_binds_root: bool,
    /// Without one the bucket's owner has full control, and nobody else has any.
    pub acl: Option<Acl>,
    pub ownership: Option<Ownership>,
    pub block: Option<PublicAccessBlock>,
}

impl BucketAccess {
    /// As with AWS, who writes an object owns it in a bucket without ownership controls.
    pub fn ownership(&self) -> Ownership {
        self.ownership.unwrap_or(Ownership::ObjectWriter)
    }

    /// Nothing is blocked in a bucket that was not told to.
    pub fn block(&self) -> PublicAccessBlock {
        self.block.unwrap_or_default()
    }
}

fn document_of(bucket: &BucketRow) -> DocumentKey {
    bucket_document(bucket, BucketDocument::Access)
}

pub fn access_of(view: &MetaView, bucket: &BucketRow) -> S3Result<BucketAccess> {
    Ok(sized_access_of(view, bucket)?.value)
}

/// With the size of the document.
pub fn sized_access_of(view: &MetaView, bucket: &BucketRow) -> S3Result<Made<BucketAccess>> {
    let Made { value, bytes } = documents::load_sized(view, &document_of(bucket))?;
    Ok(Made { value: value.unwrap_or_default(), bytes })
}

/// One part of it is changed, whatever others change meanwhile.
pub async fn change<F>(store: &Store, bucket: &BucketRow, to: F) -> S3Result<()>
where
    F: Fn(BucketAccess) -> Result<BucketAccess, Fault>,
{
    documents::update(store, document_of(bucket), to).await
}

#[cfg(test)]
mod tests {
    use super::BucketAccess;
    use crate::actors::documents::{decode, encode};
    use crate::api::policy::{Ownership, PublicAccessBlock, canned};

    #[test]
    fn what_was_said_reads_back_and_what_was_not_is_open_to_nobody() {
        let written = BucketAccess {
            policy: Some("{}".to_owned()),
            policy_binds_root: true,
            acl: canned("public-read", "owner", "owner"),
            ownership: Some(Ownership::BucketOwnerPreferred),
            block: Some(PublicAccessBlock { ignore_public_acls: true, ..PublicAccessBlock::default() }),
        };
        let bytes = encode(&written).expect("it can be written");
        assert_eq!(decode::<BucketAccess>(&bytes).expect("it reads back"), written);
        let told_nothing = decode::<BucketAccess>(b"\x01{}").expect("every part may be missing");
        assert_eq!(told_nothing, BucketAccess::default());
        assert_eq!(told_nothing.ownership(), Ownership::ObjectWriter);
        assert_eq!(told_nothing.block(), PublicAccessBlock::default());
    }
}
