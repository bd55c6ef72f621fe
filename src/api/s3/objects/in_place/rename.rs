//! RenameObject: gives an object another key, and keeps all of its properties. s3s does not know this operation, so it
//! is routed before s3s.

use super::super::sealed::rewrapped;
use super::refuse_options_of_new_objects;
use crate::actors::events::EventName;
use crate::actors::meta::{
    BucketRow, Change, MetaView, Refusal, RenameObject, RenameSource, RenameToken, Reply, Versioning,
};
use crate::actors::sealing::SealedObject;
use crate::api::errors::Fault;
use crate::api::s3::event_drafts::EventDrafts;
use crate::api::s3::preconditions::{ReadConditions, write_conditions};
use crate::api::s3::{Store, unexpected};
use http::HeaderMap;
use s3s::S3Result;
use sha2::{Digest, Sha256};

const CLIENT_TOKEN: &str = "x-amz-client-token";
const TOKEN_BYTES_MAX: usize = 64;
/// The headers that, besides the two keys, decide what a rename does.
const CONDITIONS: [&str; 8] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "x-amz-rename-source-if-match",
    "x-amz-rename-source-if-none-match",
    "x-amz-rename-source-if-modified-since",
    "x-amz-rename-source-if-unmodified-since",
];
/// The number of attempts of a rename that conflicts with other changes.
const ATTEMPTS_MAX: usize = 8;

/// A rename within a bucket.
#[derive(Clone, Debug)]
pub struct Renaming {
    pub bucket: String,
    /// The present key of the object.
    pub source: String,
    /// The new key.
    pub key: String,
    pub headers: HeaderMap,
}

pub async fn rename(store: &Store, asked: &Renaming) -> S3Result<()> {
    check_keys(&asked.source, &asked.key)?;
    refuse_options_of_new_objects(&asked.headers, &["x-amz-storage-class"], "an object is renamed")?;
    let token = token(store, asked)?;
    store.check_changeable()?;
    let mut first_source = None;
    for _ in 0..ATTEMPTS_MAX {
        let (bucket, view) = store.bucket(&asked.bucket).await?;
        if bucket.settings.versioning != Versioning::Never {
            return Err(Refusal::Versioned.into());
        }
        let done = token.map(|token| view.renamed(bucket.bucket.id, token)).transpose()?.flatten();
        match done {
            Some(true) => return Ok(()),
            Some(false) => return Err(Fault::IdempotencyMismatch.into()),
            None => {}
        }
        let change = RenameObject { token, ..planned(store, asked, &bucket, &view)? };
        let source = change.source.as_ref().map(|source| (bucket.bucket.id, source.manifest));
        // The request was allowed for the object of the first attempt, not for one that has replaced it.
        if *first_source.get_or_insert(source) != source {
            return Err(Fault::OperationAborted.into());
        }
        match store.gateway().meta().propose(Change::RenameObject(Box::new(change))).await? {
            Reply::Done => return Ok(()),
            Reply::Refused(Refusal::SourceChanged) => {}
            Reply::Refused(refusal) => return Err(refusal.into()),
            reply => return Err(unexpected(&reply)),
        }
    }
    Err(Fault::OperationAborted.into())
}

/// Refuses a rename from or to a key that ends with a slash, as the names of directories do in AWS, and one to the same
/// key.
fn check_keys(source_key: &str, key: &str) -> Result<(), Fault> {
    let refused = |why: &str| Err(Fault::InvalidRequest(why.to_owned()));
    if source_key.ends_with('/') || key.ends_with('/') {
        return refused(
            "Objects whose names end with a slash cannot be renamed, and none can be renamed to such a name.",
        );
    }
    if source_key == key {
        return refused("An object cannot be renamed to its own name.");
    }
    Ok(())
}

/// Returns the change that renames the object as it is in this view, if the conditions of the request hold.
fn planned(
    store: &Store,
    Renaming { source: source_key, key, headers, .. }: &Renaming,
    bucket: &BucketRow,
    view: &MetaView,
) -> S3Result<RenameObject> {
    let id = bucket.bucket.id;
    let conditions = write_conditions(headers)?;
    let source = view.object(id, source_key)?.ok_or(Fault::NoSuchKey)?;
    ReadConditions::of_rename_source(headers).check_copy_source(&source.manifest)?;
    let on_standing = ReadConditions::of_read(headers);
    let standing = view.object(id, key)?;
    match &standing {
        Some(standing) => on_standing.check_copy_source(&standing.manifest)?,
        None => on_standing.check_absent()?,
    }
    let sealed_objects = (SealedObject { bucket: id, key: source_key }, SealedObject { bucket: id, key });
    let sealing = rewrapped(store, view, sealed_objects, &source.traits, headers)?;
    let drafts = EventDrafts::of(store, view, bucket)?;
    Ok(RenameObject {
        bucket: id,
        source_key: source_key.clone(),
        source: Some(RenameSource { manifest: source.manifest.id, sealing }),
        key: key.clone(),
        conditions,
        // The state machine compares only ETags. A condition on a date was decided here for this manifest.
        standing: standing.filter(|_| on_standing.has_dates()).map(|standing| standing.manifest.id),
        token: None,
        created: drafts.draft(EventName::ObjectCreatedCopy, key),
        removed: drafts.draft(EventName::ObjectRemovedDelete, source_key),
    })
}

/// Returns the token by which a client can repeat the rename. The same header of another client makes another token.
fn token(store: &Store, asked: &Renaming) -> Result<Option<RenameToken>, Fault> {
    let Some(value) = asked.headers.get(CLIENT_TOKEN) else { return Ok(None) };
    let token = value.as_bytes();
    if !(1..=TOKEN_BYTES_MAX).contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) {
        let why = format!("The header '{CLIENT_TOKEN}' must have 1 to {TOKEN_BYTES_MAX} printable ASCII characters.");
        return Err(Fault::InvalidArgument(why));
    }
    let client = store.caller().account.clone().unwrap_or_default();
    let id = digest([client.as_bytes(), token]);
    Ok(Some(RenameToken { id, asked: digest_of(&asked.source, &asked.key, &asked.headers) }))
}

fn digest_of(source_key: &str, key: &str, headers: &HeaderMap) -> u128 {
    let given = CONDITIONS.iter().filter_map(|name| Some([name.as_bytes(), headers.get(*name)?.as_bytes()]));
    digest([source_key.as_bytes(), key.as_bytes()].into_iter().chain(given.flatten()))
}

fn digest<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> u128 {
    let mut sha256 = Sha256::new();
    for field in fields {
        sha256.update((field.len() as u64).to_be_bytes());
        sha256.update(field);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&sha256.finalize()[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::{check_keys, digest, digest_of};
    use crate::api::errors::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn renames_from_or_to_a_key_that_ends_with_a_slash_are_refused() {
        assert_eq!(check_keys("a", "dir/b"), Ok(()));
        for (source, key) in [("dir/", "b"), ("a", "dir/"), ("a", "a")] {
            assert!(matches!(check_keys(source, key), Err(Fault::InvalidRequest(_))), "{source} {key}");
        }
    }

    #[test]
    fn renames_are_the_same_only_with_the_same_keys_and_conditions() {
        let with =
            |name, value| HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        let plain = digest_of("a", "b", &HeaderMap::new());
        assert_eq!(digest_of("a", "b", &with("x-amz-date", "now")), plain);
        let others = [
            digest_of("a", "c", &HeaderMap::new()),
            digest_of("c", "b", &HeaderMap::new()),
            digest_of("ab", "", &HeaderMap::new()),
            digest_of("a", "b", &with("if-none-match", "*")),
            digest_of("a", "b", &with("if-match", "*")),
        ];
        assert!(others.iter().all(|other| *other != plain));
        assert_ne!(digest([&b"ab"[..], b"c"]), digest([&b"a"[..], b"bc"]));
    }
}
