//! The JSON structures of event messages. Fields are in the order in which AWS documents them.

use serde::Serialize;

#[derive(Serialize)]
pub struct Records<'a> {
    #[serde(rename = "Records")]
    pub records: [Record<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    pub event_version: &'a str,
    pub event_source: &'a str,
    pub aws_region: &'a str,
    pub event_time: String,
    pub event_name: &'a str,
    pub user_identity: Identity<'a>,
    pub request_parameters: RequestParameters<'a>,
    pub response_elements: ResponseElements<'a>,
    pub s3: S3Entity<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity<'a> {
    pub principal_id: &'a str,
}

#[derive(Serialize)]
pub struct RequestParameters<'a> {
    #[serde(rename = "sourceIPAddress")]
    pub source_ip: &'a str,
}

#[derive(Serialize)]
pub struct ResponseElements<'a> {
    #[serde(rename = "x-amz-request-id")]
    pub request_id: &'a str,
    #[serde(rename = "x-amz-id-2")]
    pub host_id: &'a str,
}

#[derive(Serialize)]
pub struct S3Entity<'a> {
    #[serde(rename = "s3SchemaVersion")]
    pub schema_version: &'a str,
    #[serde(rename = "configurationId")]
    pub configuration_id: &'a str,
    pub bucket: BucketEntity<'a>,
    pub object: ObjectEntity<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketEntity<'a> {
    pub name: &'a str,
    pub owner_identity: Identity<'a>,
    pub arn: String,
}

#[derive(Serialize)]
pub struct ObjectEntity<'a> {
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(rename = "eTag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<&'a str>,
    #[serde(rename = "versionId", skip_serializing_if = "Option::is_none")]
    pub version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TestMessage<'a> {
    pub service: &'a str,
    pub event: &'a str,
    pub time: String,
    pub bucket: &'a str,
    pub request_id: &'a str,
    pub host_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BridgeEvent<'a> {
    pub version: &'a str,
    pub id: String,
    pub detail_type: &'a str,
    pub source: &'a str,
    pub account: &'a str,
    pub time: String,
    pub region: &'a str,
    pub resources: [String; 1],
    pub detail: BridgeDetail<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BridgeDetail<'a> {
    pub version: &'a str,
    pub bucket: BridgeBucket<'a>,
    pub object: BridgeObject<'a>,
    pub request_id: &'a str,
    pub requester: &'a str,
    #[serde(rename = "source-ip-address")]
    pub source_ip: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_type: Option<&'a str>,
}

#[derive(Serialize)]
pub struct BridgeBucket<'a> {
    pub name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BridgeObject<'a> {
    pub key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
}
