//! Configurations of which a bucket can have many, each with an id: the lookup, replacement, removal and listing that
//! all kinds share.

use crate::actors::documents::decode;
use crate::actors::meta::{BucketDocument, BucketRow, DocumentKey, MetaView};
use crate::api::errors::Fault;
use crate::api::s3::list::{decode_token, encode_token};
use crate::api::s3::{Store, documents};
use s3s::S3Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// S3's limits on the characters of an id, and on the configurations in a page of a list.
const ID_CHARS_MAX: usize = 64;
const PAGE: usize = 100;

/// S3's fault for a configuration that does not exist.
pub const ABSENT: Fault = Fault::NoConfiguration("NoSuchConfiguration", "The specified configuration does not exist.");

/// Defines the operations `get`, `delete` and `list` of a kind of configuration, given the names of their inputs, their
/// outputs and the fields of these, and the function that converts a configuration from its stored form. The file of
/// the kind imports `Store`, `S3Result` and `named`.
macro_rules! named_operations {
    (
        $kind:expr, $stored:ty, $shown:path;
        $get:ident -> $got:ident { $one:ident };
        $delete:ident -> $deleted:ident;
        $list:ident -> $listed:ident { $many:ident };
    ) => {
        pub async fn get(store: &Store, input: s3s::dto::$get) -> S3Result<s3s::dto::$got> {
            let found: $stored = named::find(store, &input.bucket, $kind, &input.id).await?;
            Ok(s3s::dto::$got { $one: Some($shown(found)) })
        }

        pub async fn delete(store: &Store, input: s3s::dto::$delete) -> S3Result<s3s::dto::$deleted> {
            named::remove(store, &input.bucket, $kind, &input.id).await?;
            Ok(s3s::dto::$deleted::default())
        }

        pub async fn list(store: &Store, input: s3s::dto::$list) -> S3Result<s3s::dto::$listed> {
            let token = input.continuation_token;
            let page: named::Page<$stored> = named::list(store, &input.bucket, $kind, token.as_deref()).await?;
            let values: Vec<_> = page.values.into_iter().map($shown).collect();
            Ok(s3s::dto::$listed {
                is_truncated: Some(page.next_token.is_some()),
                $many: Some(values).filter(|values| !values.is_empty()),
                continuation_token: token,
                next_continuation_token: page.next_token,
            })
        }
    };
}
pub(super) use named_operations;

/// A page of a bucket's configurations, sorted by id. It also ends where it becomes large.
pub struct Page<T> {
    pub values: Vec<T>,
    /// The token of the next page, if there is one.
    pub next_token: Option<String>,
}

/// Checks the id of a configuration. S3 allows letters, digits, periods, hyphens and underscores.
pub fn check_id(id: &str) -> Result<(), Fault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.bytes().all(allowed) {
        return Err(Fault::InvalidArgument(format!(
            "The id of a configuration must be 1 to {ID_CHARS_MAX} letters, digits, periods, hyphens and underscores."
        )));
    }
    Ok(())
}

pub async fn find<T: DeserializeOwned>(store: &Store, bucket: &str, kind: BucketDocument, id: &str) -> S3Result<T> {
    let (bucket, view) = store.bucket(bucket).await?;
    Ok(documents::load(&view, &key(&bucket, kind, id))?.ok_or(ABSENT)?)
}

/// Writes a configuration. A further one of a bucket that has the most in `view` is refused before it is proposed, so
/// that it takes no entry of the log. Where the change is applied they are counted again, because of concurrent writes.
pub async fn put<T: Serialize>(
    store: &Store,
    (bucket, view): (&BucketRow, &MetaView),
    kind: BucketDocument,
    id: &str,
    value: &T,
) -> S3Result<()> {
    check_id(id)?;
    let key = key(bucket, kind, id);
    if !may_have(view, bucket, kind, &key)? {
        return Err(Fault::TooManyConfigurations.into());
    }
    documents::save_one_of(store, key, value, Fault::TooManyConfigurations).await
}

/// Returns whether a bucket has this configuration, or has room for it.
fn may_have(view: &MetaView, bucket: &BucketRow, kind: BucketDocument, key: &DocumentKey) -> S3Result<bool> {
    let Some(most) = kind.count_max() else { return Ok(true) };
    Ok(view.document(key)?.is_some() || view.count_bucket_documents(bucket.bucket.id, kind, most)? < most)
}

pub async fn remove(store: &Store, bucket: &str, kind: BucketDocument, id: &str) -> S3Result<()> {
    let (bucket, view) = store.bucket(bucket).await?;
    let key = key(&bucket, kind, id);
    if view.document(&key)?.is_none() {
        return Err(ABSENT.into());
    }
    documents::remove(store, key).await
}

pub async fn list<T: DeserializeOwned>(
    store: &Store,
    bucket: &str,
    kind: BucketDocument,
    token: Option<&str>,
) -> S3Result<Page<T>> {
    let after = token.map(decode_token).transpose()?;
    let (bucket, view) = store.bucket(bucket).await?;
    let (rows, more) = view.bucket_documents(bucket.bucket.id, kind, "", after.as_deref(), PAGE)?;
    let next_token = rows.last().filter(|_| more).map(|(last, _)| encode_token(last));
    let values = rows.iter().map(|(_, row)| decode(&row.value)).collect::<Result<_, _>>()?;
    Ok(Page { values, next_token })
}

fn key(bucket: &BucketRow, kind: BucketDocument, id: &str) -> DocumentKey {
    DocumentKey::Bucket(bucket.bucket.id, kind, id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::check_id;

    #[test]
    fn ids_of_configurations_are_limited_in_length_and_characters() {
        for id in ["a", "EntireBucket", "report.1_x-y", &"i".repeat(64)] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        for id in ["", "a b", "a/b", "é", &"i".repeat(65)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }
}
