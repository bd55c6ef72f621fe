//! The fixtures of the tests: the client, a bucket, requests by hand, and ways to make requests fail.

use std::env;
use std::fmt::Debug;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::presigning::PresignedRequest;
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector, http_client_fn};

/// The least size of a part that is not the last.
pub const PART_BYTES: usize = 5 << 20;

/// A client, and the bucket of one test.
#[derive(Clone)]
pub struct Suite {
    pub client: Client,
    pub bucket: String,
    connector: SharedHttpConnector,
}

/// Finds every name where the server is: the names of buckets are in no DNS.
#[derive(Clone, Debug)]
struct HereResolver;

impl ResolveDns for HereResolver {
    fn resolve_dns<'a>(&'a self, _name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
    }
}

pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn connector() -> SharedHttpConnector {
    let mut trusted = TrustStore::empty();
    if variable("S3_ENDPOINT").starts_with("https:") {
        trusted =
            trusted.with_pem_certificate(fs::read(variable("AWS_CA_BUNDLE")).expect("the authority's file is there"));
    }
    let context = TlsContext::builder().with_trust_store(trusted).build().expect("it is only put together");
    let builder = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context);
    SharedHttpConnector::new(builder.build_with_resolver(HereResolver))
}

fn settings(connector: &SharedHttpConnector) -> Builder {
    let connector = connector.clone();
    let (access_key, secret_key) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variable("AWS_DEFAULT_REGION")))
        .endpoint_url(variable("S3_ENDPOINT"))
        .force_path_style(variable("S3_ADDRESSING") == "path")
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "environment"))
        .retry_config(RetryConfig::disabled())
        .http_client(http_client_fn(move |_, _| connector.clone()))
}

impl Suite {
    pub async fn new(number: usize) -> Self {
        let connector = connector();
        let client = Client::from_conf(settings(&connector).build());
        let bucket = format!("{}-{number}", variable("BUCKET"));
        client.create_bucket().bucket(&bucket).send().await.expect("a bucket of its own");
        Self { client, bucket, connector }
    }

    /// Sends a request that was signed before; status, body.
    pub async fn send(&self, request: &PresignedRequest, method: &str, url: &str, body: &'static str) -> (u16, String) {
        let mut sent = HttpRequest::new(SdkBody::from(body));
        sent.set_method(method).expect("a method of HTTP");
        sent.set_uri(url).expect("a URL");
        for (name, value) in request.headers() {
            sent.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        sent.headers_mut().insert("content-length", body.len().to_string());
        let answer = self.connector.call(sent).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = aws_sdk_s3::primitives::ByteStream::new(answer.into_body()).collect().await.expect("a whole body");
        (status, String::from_utf8_lossy(&body.to_vec()).into_owned())
    }

    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        let (client, body) = (&self.client, body.into());
        client.put_object().bucket(&self.bucket).key(key).body(body.into()).send().await.expect("it is written");
    }

    pub async fn read(&self, key: &str) -> Vec<u8> {
        let answer = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        whole(answer.expect("it is read")).await
    }

    /// Deletes the bucket with all that is in it: a page of a list, since no test writes more.
    pub async fn clear(&self) {
        let uploads =
            self.client.list_multipart_uploads().bucket(&self.bucket).send().await.expect("a list of uploads");
        for upload in uploads.uploads() {
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket);
            let abort = abort.set_key(upload.key.clone()).set_upload_id(upload.upload_id.clone());
            abort.send().await.expect("it is given up");
        }
        let page = self.client.list_object_versions().bucket(&self.bucket).send().await.expect("a list of versions");
        let versions = page.versions().iter().map(|one| (one.key.clone(), one.version_id.clone()));
        let markers = page.delete_markers().iter().map(|one| (one.key.clone(), one.version_id.clone()));
        let entries: Vec<ObjectIdentifier> = versions.chain(markers).map(|(key, id)| identifier(key, id)).collect();
        if !entries.is_empty() {
            let delete = Delete::builder().set_objects(Some(entries)).build().expect("it names objects");
            let answer = self.client.delete_objects().bucket(&self.bucket).delete(delete).send().await;
            assert!(answer.expect("they are deleted").errors().is_empty());
        }
        self.client.delete_bucket().bucket(&self.bucket).send().await.expect("an empty bucket goes");
    }
}

pub fn identifier(key: Option<String>, version_id: Option<String>) -> ObjectIdentifier {
    ObjectIdentifier::builder().set_key(key).set_version_id(version_id).build().expect("it has a key")
}

pub async fn whole(answer: GetObjectOutput) -> Vec<u8> {
    answer.body.collect().await.expect("a whole body").to_vec()
}

/// Bytes without a short period.
pub fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = vec![0; length];
    for piece in bytes.chunks_mut(4) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        piece.copy_from_slice(&(state >> 32).to_le_bytes()[..piece.len()]);
    }
    bytes
}

/// Checks that a request failed with this status and code. A HEAD has no body, so it has no code.
pub fn refused<T: Debug, E>(answer: Result<T, SdkError<E, HttpResponse>>, status: u16, code: &str) -> E
where
    E: ProvideErrorMetadata + Debug + std::error::Error + Send + Sync + 'static,
{
    let error = answer.expect_err("it is refused");
    let found = error.raw_response().map(|answer| answer.status().as_u16());
    assert!(found == Some(status), "{found:?} and not {status}: {error:?}");
    assert!(error.code().is_none_or(|found| found == code || found == "NotFound"), "not {code}: {error:?}");
    let SdkError::ServiceError(context) = error else { panic!("no answer of the service: {error:?}") };
    context.into_err()
}
