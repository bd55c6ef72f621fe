//! The document with the access settings of a bucket: its policy, ACL, object ownership, and public access block.

use super::super::Store;
use super::super::documents;
use super::super::documents::bucket_document;
use crate::actors::meta::{Acl, BucketDocument, BucketRow, DocumentKey, MetaView};
use crate::api::cache::Made;
use crate::api::errors::Fault;
use crate::api::policy::{Ownership, PrincipalIds, PublicAccessBlock};
use s3s::S3Result;
use serde::{Deserialize, Serialize};

/// The access settings of a bucket; the default if there is no document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketAccess {
    /// The text of the policy. It was valid when it was set.
    pub policy: Option<String>,
    /// The ids of the principals that the policy names.
    pub policy_ids: PrincipalIds,
    /// True if the author of the policy confirmed that it may exclude the owner's root from changing it.
    pub policy_binds_root: bool,
    /// The ACL. Without one the bucket's owner has full control, and nobody else has any right.
    pub acl: Option<Acl>,
    pub ownership: Option<Ownership>,
    pub block: Option<PublicAccessBlock>,
}

impl BucketAccess {
    /// Returns the object ownership. As with AWS, the writer owns an object in a bucket without ownership controls.
    pub fn ownership(&self) -> Ownership {
        self.ownership.unwrap_or(Ownership::ObjectWriter)
    }

    /// Returns the public access block; nothing is blocked by default.
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

/// Returns the access settings, with the size of the document.
pub fn sized_access_of(view: &MetaView, bucket: &BucketRow) -> S3Result<Made<BucketAccess>> {
    let Made { value, bytes } = documents::load_sized(view, &document_of(bucket))?;
    Ok(Made { value: value.unwrap_or_default(), bytes })
}

/// Changes a part of the settings. Concurrent changes of other parts are kept.
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
    use crate::api::policy::{Ownership, PrincipalIds, PublicAccessBlock, canned};

    #[test]
    fn access_settings_read_back_and_defaults_are_private() {
        let written = BucketAccess {
            policy: Some("{}".to_owned()),
            policy_ids: PrincipalIds::from([("arn:aws:iam::1:user/u".to_owned(), "AIDA1".to_owned())]),
            policy_binds_root: true,
            acl: canned("public-read", "owner", "owner"),
            ownership: Some(Ownership::BucketOwnerPreferred),
            block: Some(PublicAccessBlock { ignore_public_acls: true, ..PublicAccessBlock::default() }),
        };
        let bytes = encode(&written).expect("it can be written");
        assert_eq!(decode::<BucketAccess>(&bytes).expect("it reads back"), written);
        let empty = decode::<BucketAccess>(b"\x01{}").expect("every part may be missing");
        assert_eq!(empty, BucketAccess::default());
        assert_eq!(empty.ownership(), Ownership::ObjectWriter);
        assert_eq!(empty.block(), PublicAccessBlock::default());
    }
}
