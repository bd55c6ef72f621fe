//! ListObjects, ListObjectsV2 and ListObjectVersions. Keys are in the order of their UTF-8 bytes, common prefixes count
//! as entries, and continuation tokens are opaque.

mod order;

pub use order::in_order;

use super::Store;
use super::checksums::kind_name;
use super::grants::{Owners, access_of};
use super::object_headers::{etag_header, storage_class, timestamp};
use crate::actors::meta::{
    ChecksumAlgorithm as StoredAlgorithm, ChecksumKind, DeleteMarker, ETag, ListPage, ListQuery, Listed, ListedVersion,
    MetaView, ObjectVersion, Pick, Version, VersionRow,
};
use crate::api::errors::{ArgumentFault, Fault};
use crate::api::text::percent;
use crate::limits::{KEY_BYTES_MAX, LIST_KEYS_MAX};
use crate::types::{BucketId, UnixMs};
use order::Order;
use s3s::dto::{
    self, ChecksumAlgorithm, CommonPrefix, DeleteMarkerEntry, EncodingType, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, ObjectVersionStorageClass, Owner,
};
use s3s::{S3Request, S3Response, S3Result};

/// The first byte of a continuation token. The CRC32C of a key and the key follow; the listing goes on after that key.
const TOKEN_VERSION: u8 = 1;

/// Returns a token for the page after this key or bucket.
pub fn encode_token(after: &str) -> String {
    let mut bytes = Vec::with_capacity(5 + after.len());
    bytes.push(TOKEN_VERSION);
    bytes.extend_from_slice(&crc32c::crc32c(after.as_bytes()).to_be_bytes());
    bytes.extend_from_slice(after.as_bytes());
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// Decodes a continuation token. A token that was not made here is refused, or the listing would begin at some wrong
/// key.
pub fn decode_token(token: &str) -> Result<String, Fault> {
    let read = || {
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (sum, after) = rest.split_at_checked(4)?;
        let whole = *version == TOKEN_VERSION && sum == crc32c::crc32c(after).to_be_bytes();
        String::from_utf8(after.to_vec()).ok().filter(|_| whole)
    };
    let why = "The continuation token provided is incorrect";
    read().ok_or_else(|| ArgumentFault::parameter("continuation-token", why).into())
}

/// Returns the limit of a page by `max-keys` or the like: at most `LIST_KEYS_MAX`, which is also the default. A
/// negative number is refused.
pub fn page_limit(name: &'static str, asked: Option<i32>) -> Result<usize, Fault> {
    match asked {
        None => Ok(LIST_KEYS_MAX),
        Some(asked) => usize::try_from(asked).map(|asked| asked.min(LIST_KEYS_MAX)).map_err(|_| out_of_range(name)),
    }
}

/// Returns the fault of a numeric parameter of a listing that is out of range.
pub fn out_of_range(name: &'static str) -> Fault {
    let why = format!("Argument {name} must be an integer between 0 and 2147483647");
    // In S3's message this parameter has another name than in the query.
    let parameter = if name == "maxKeys" { "max-keys" } else { name };
    ArgumentFault { name: name.into(), ..ArgumentFault::parameter(parameter, why) }.into()
}

/// The encoding of keys and prefixes in an answer (`encoding-type`).
pub struct Writing {
    encoded: bool,
}

impl Writing {
    pub fn of(encoding: Option<&EncodingType>) -> Result<Self, Fault> {
        match encoding.map(EncodingType::as_str) {
            None | Some("") => Ok(Self { encoded: false }),
            Some(EncodingType::URL) => Ok(Self { encoded: true }),
            Some(_) => {
                let why = "Invalid Encoding Method specified in Request";
                Err(ArgumentFault::parameter("encoding-type", why).into())
            }
        }
    }

    pub fn name(&self, text: String) -> String {
        if self.encoded { percent::encode(&text) } else { text }
    }

    /// Returns the prefix for the answer to ListObjects. Some clients decode it and some, such as boto3, do not, so
    /// only the characters that must be encoded are.
    fn prefix_of_version_1(&self, prefix: String) -> String {
        if self.encoded { percent::encode_sparsely(&prefix) } else { prefix }
    }

    pub fn common_prefix(&self, prefix: String) -> CommonPrefix {
        CommonPrefix { prefix: Some(self.name(prefix)) }
    }
}

/// Returns a marker; an empty one counts as absent. A marker longer than any key is cut, which changes no answer.
pub fn marker(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(|mut text| {
        if text.len() > KEY_BYTES_MAX + 4 {
            let mut end = KEY_BYTES_MAX + 4;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        text
    })
}

/// The keys and common prefixes of an answer, and the key after which the next page begins, if there is one.
struct Page {
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
    next_after: Option<String>,
}

impl Page {
    fn entries(&self) -> i32 {
        i32::try_from(self.contents.len() + self.common_prefixes.len()).unwrap_or(i32::MAX)
    }
}

/// The part of an object version that a listing shows. A page holds a thousand of these, and not the versions
/// themselves: those have headers, tags and ACLs of many KiB.
struct ShownObject {
    version: Version,
    owner: String,
    size_bytes: u64,
    etag: ETag,
    modified: UnixMs,
    storage_class: String,
    checksum: Option<(StoredAlgorithm, ChecksumKind)>,
}

impl ShownObject {
    fn of(object: ObjectVersion) -> Self {
        let ObjectVersion { version, manifest, traits } = object;
        Self {
            version,
            owner: traits.owner,
            size_bytes: manifest.size_bytes,
            etag: manifest.etag,
            modified: manifest.modified,
            storage_class: storage_class(&manifest.headers),
            checksum: manifest.checksum.map(|checksum| (checksum.algorithm, checksum.kind)),
        }
    }
}

/// The part of a version that a listing shows.
enum ShownVersion {
    Object(ShownObject),
    DeleteMarker(DeleteMarker),
}

impl ShownVersion {
    fn of(row: VersionRow) -> Self {
        match row {
            VersionRow::Object(object) => Self::Object(ShownObject::of(object)),
            VersionRow::DeleteMarker(marker) => Self::DeleteMarker(marker),
        }
    }
}

async fn page(store: &Store, bucket: &str, query: ListQuery, writing: &Writing, shows_owners: bool) -> S3Result<Page> {
    let (bucket, view) = store.bucket(bucket).await?;
    if query.limit == 0 {
        return Ok(Page { contents: Vec::new(), common_prefixes: Vec::new(), next_after: None });
    }
    let ListPage { entries, more, next_after } = view.list_objects_as(bucket.bucket.id, &query, ShownObject::of)?;
    let access = access_of(&view, &bucket)?;
    let mut owners = shows_owners.then(|| Owners::of(store, &view, &bucket, &access));
    let mut contents = Vec::with_capacity(entries.len());
    let mut common_prefixes = Vec::new();
    for entry in entries {
        match entry {
            Listed::Item { key, record } => {
                let owner = owners.as_mut().map(|owners| owners.of_object(&record.owner)).transpose()?;
                contents.push(object(writing.name(key), record, owner));
            }
            Listed::CommonPrefix(prefix) => common_prefixes.push(writing.common_prefix(prefix)),
        }
    }
    Ok(Page { contents, common_prefixes, next_after: next_after.filter(|_| more) })
}

fn object(key: String, object: ShownObject, owner: Option<Owner>) -> Object {
    Object {
        checksum_algorithm: object.checksum.map(|(of, _)| vec![ChecksumAlgorithm::from_static(of.name())]),
        checksum_type: object.checksum.map(|(_, kind)| kind_name(kind)),
        e_tag: Some(etag_header(&object.etag)),
        key: Some(key),
        last_modified: Some(timestamp(object.modified)),
        owner,
        size: Some(i64::try_from(object.size_bytes).unwrap_or(i64::MAX)),
        storage_class: Some(ObjectStorageClass::from(object.storage_class)),
        ..Default::default()
    }
}

pub async fn list_v1(store: &Store, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
    let writing = Writing::of(input.encoding_type.as_ref())?;
    let limit = page_limit("maxKeys", input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after: marker(input.marker.clone()),
        limit,
    };
    let found = page(store, &input.bucket, query, &writing, true).await?;
    // S3 sends NextMarker only with a delimiter. Otherwise the client goes on after the last key.
    let next_marker = delimiter.as_ref().and(found.next_after.clone());
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(writing.prefix_of_version_1(input.prefix.unwrap_or_default())),
        marker: Some(writing.name(input.marker.unwrap_or_default())),
        max_keys: Some(i32::try_from(limit).unwrap_or(i32::MAX)),
        is_truncated: Some(found.next_after.is_some()),
        contents: Some(found.contents),
        common_prefixes: Some(found.common_prefixes),
        delimiter: delimiter.map(|delimiter| writing.name(delimiter)),
        next_marker: next_marker.map(|next| writing.name(next)),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub async fn list_v2(store: &Store, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let writing = Writing::of(input.encoding_type.as_ref())?;
    let limit = page_limit("maxKeys", input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    // An empty token counts as absent.
    let after = match input.continuation_token.as_deref() {
        Some("") | None => marker(input.start_after.clone()),
        Some(token) => Some(decode_token(token)?),
    };
    let query =
        ListQuery { prefix: input.prefix.clone().unwrap_or_default(), delimiter: delimiter.clone(), after, limit };
    let found = page(store, &input.bucket, query, &writing, input.fetch_owner.unwrap_or(false)).await?;
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(writing.name(input.prefix.unwrap_or_default())),
        max_keys: Some(i32::try_from(limit).unwrap_or(i32::MAX)),
        key_count: Some(found.entries()),
        continuation_token: input.continuation_token,
        is_truncated: Some(found.next_after.is_some()),
        next_continuation_token: found.next_after.as_deref().map(encode_token),
        contents: Some(found.contents),
        common_prefixes: Some(found.common_prefixes),
        delimiter: delimiter.map(|delimiter| writing.name(delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|after| writing.name(after)),
        request_charged: None,
    })
}

pub async fn list_versions(
    store: &Store,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let writing = Writing::of(input.encoding_type.as_ref())?;
    let limit = page_limit("max-keys", input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after: marker(input.key_marker.clone()),
        limit,
    };
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let after = match (query.after.as_deref(), input.version_id_marker.as_deref()) {
        (_, None | Some("")) => None,
        // With an empty key marker, S3 reports a malformed version id first.
        (None, Some(name)) => {
            if input.key_marker.is_some() && Pick::parse(name).is_none() {
                return Err(no_version().into());
            }
            let why = "A version-id marker cannot be specified without a key marker.";
            return Err(Fault::from(ArgumentFault::parameter("version-id-marker", why)).into());
        }
        (Some(key), Some(name)) => Some(version_marker(&view, bucket.bucket.id, key, name)?),
    };
    let page = view.list_versions_as(bucket.bucket.id, &query, after, ShownVersion::of)?;
    let access = access_of(&view, &bucket)?;
    let mut owners = Owners::of(store, &view, &bucket, &access);
    let (mut versions, mut delete_markers, mut common_prefixes) = (Vec::new(), Vec::new(), Vec::new());
    let mut order = Vec::new();
    for entry in page.entries {
        match entry {
            Listed::CommonPrefix(prefix) => common_prefixes.push(writing.common_prefix(prefix)),
            Listed::Item { key, record: ListedVersion { row: ShownVersion::Object(version), latest } } => {
                let owner = owners.of_object(&version.owner)?;
                order.push(true);
                versions.push(object_version(writing.name(key), version, latest, owner));
            }
            Listed::Item { key, record: ListedVersion { row: ShownVersion::DeleteMarker(marker), latest } } => {
                let owner = owners.of_object(&marker.owner)?;
                order.push(false);
                delete_markers.push(delete_marker(writing.name(key), &marker, latest, owner));
            }
        }
    }
    let mut response = S3Response::new(ListObjectVersionsOutput {
        common_prefixes: Some(common_prefixes),
        delete_markers: Some(delete_markers),
        delimiter: delimiter.map(|delimiter| writing.name(delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.more),
        key_marker: Some(writing.name(input.key_marker.unwrap_or_default())),
        max_keys: i32::try_from(limit).ok(),
        name: Some(input.bucket),
        next_key_marker: page.next_after.filter(|_| page.more).map(|next| writing.name(next)),
        next_version_id_marker: page.next_version.filter(|_| page.more).map(|version| version.to_string()),
        prefix: Some(writing.name(input.prefix.unwrap_or_default())),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions),
    });
    response.extensions.insert(Order(order));
    Ok(response)
}

fn no_version() -> Fault {
    ArgumentFault::parameter("versionId", "Invalid version id specified").into()
}

/// Returns the version of a key after which the listing goes on. The id `null` does not show a version's position, so
/// the version is looked up. If it is gone, the key is listed from its latest version: a version that is listed twice
/// does less harm than one that is not listed.
fn version_marker(view: &MetaView, bucket: BucketId, key: &str, name: &str) -> S3Result<Version> {
    const BEFORE_ALL: Version = Version { seq: u64::MAX, salt: 0, null: false };
    match Pick::parse(name).ok_or_else(no_version)? {
        Pick::Exact { seq, salt } => Ok(Version { seq, salt, null: false }),
        pick => Ok(view.version(bucket, key, pick)?.map_or(BEFORE_ALL, |row| row.version())),
    }
}

fn object_version(key: String, version: ShownObject, latest: bool, owner: Owner) -> dto::ObjectVersion {
    dto::ObjectVersion {
        checksum_algorithm: version.checksum.map(|(of, _)| vec![ChecksumAlgorithm::from_static(of.name())]),
        checksum_type: version.checksum.map(|(_, kind)| kind_name(kind)),
        e_tag: Some(etag_header(&version.etag)),
        is_latest: Some(latest),
        key: Some(key),
        last_modified: Some(timestamp(version.modified)),
        owner: Some(owner),
        restore_status: None,
        size: Some(i64::try_from(version.size_bytes).unwrap_or(i64::MAX)),
        storage_class: Some(ObjectVersionStorageClass::from(version.storage_class)),
        version_id: Some(version.version.to_string()),
    }
}

fn delete_marker(key: String, marker: &DeleteMarker, latest: bool, owner: Owner) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(latest),
        key: Some(key),
        last_modified: Some(timestamp(marker.modified)),
        owner: Some(owner),
        version_id: Some(marker.version.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Writing, decode_token, encode_token, marker, page_limit};
    use crate::api::errors::Fault;
    use s3s::dto::EncodingType;

    #[test]
    fn a_continuation_token_is_opaque_and_reads_back() {
        for after in ["", "a/b", "ключ\u{0}", &"x".repeat(1024)] {
            let token = encode_token(after);
            assert_eq!(decode_token(&token), Ok(after.to_owned()));
            assert!(!token.contains("a/b"));
        }
    }

    #[test]
    fn a_foreign_or_altered_continuation_token_is_refused() {
        let token = encode_token("some/key");
        let mut altered = token.clone().into_bytes();
        altered[8] = if altered[8] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("text");
        for token in ["", "abc", "***", "some/key", altered.as_str(), &token[1..]] {
            assert!(matches!(decode_token(token), Err(Fault::Argument(_))), "{token}");
        }
    }

    #[test]
    fn a_page_of_a_listing_has_at_most_a_thousand_entries() {
        assert_eq!(page_limit("maxKeys", None), Ok(1000));
        assert_eq!(page_limit("maxKeys", Some(0)), Ok(0));
        assert_eq!(page_limit("maxKeys", Some(7)), Ok(7));
        assert_eq!(page_limit("maxKeys", Some(100_000)), Ok(1000));
        assert!(matches!(page_limit("maxKeys", Some(-1)), Err(Fault::Argument(_))));
    }

    #[test]
    fn keys_in_a_listing_are_encoded_only_on_request() {
        let url = Writing::of(Some(&EncodingType::from_static(EncodingType::URL))).expect("url");
        assert_eq!(url.name("a b/ü".to_owned()), "a%20b/%C3%BC");
        assert_eq!(url.prefix_of_version_1("a b/ü%".to_owned()), "a b/ü%25");
        assert_eq!(Writing::of(None).expect("none").name("a b".to_owned()), "a b");
        assert!(Writing::of(Some(&EncodingType::from("base64".to_owned()))).is_err());
    }

    #[test]
    fn an_overlong_marker_is_cut_at_a_character() {
        assert_eq!(marker(Some(String::new())), None);
        let long = marker(Some("é".repeat(2000))).expect("a marker");
        assert!(long.len() <= 1028 && long.len() > 1024);
    }
}
