//! `InventoryWriter`: turns the rows of a report into data files, a manifest that lists them, and the manifest's
//! checksum. Holds one data file in memory at a time.

use super::InventoryRules;
use super::gzip::stored;
use super::rows::{InventoryRow, line, schema};
use crate::actors::events::Report;
use crate::types::UnixMs;
use bytes::Bytes;
use md5::{Digest, Md5};
use serde::Serialize;
use time::OffsetDateTime;

/// The size of a data file, before gzip, at which the next one begins.
const FILE_BYTES_MAX: usize = 32 << 20;

/// The bucket and the configuration of a report.
#[derive(Clone, Debug)]
pub struct InventorySource {
    pub bucket: String,
    /// The owner of the bucket, and of the destination.
    pub owner: String,
    pub rules: InventoryRules,
    /// The start of the report.
    pub begun: UnixMs,
}

#[derive(Debug)]
pub struct InventoryWriter {
    source: InventorySource,
    lines: String,
    files: Vec<File>,
    file_bytes_max: usize,
}

#[derive(Debug, Serialize)]
struct File {
    key: String,
    size: usize,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

/// The manifest of a report (user guide, "Inventory manifest").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    source_bucket: &'a str,
    destination_bucket: String,
    version: &'a str,
    creation_timestamp: String,
    file_format: &'a str,
    file_schema: String,
    files: &'a [File],
}

impl InventoryWriter {
    pub fn new(source: InventorySource) -> Self {
        Self { source, lines: String::new(), files: Vec::new(), file_bytes_max: FILE_BYTES_MAX }
    }

    /// Adds a row. If a data file is full, returns it, with a name from `unique`.
    pub fn add(&mut self, row: &InventoryRow<'_>, unique: impl FnOnce() -> String) -> Option<Report> {
        let rules = &self.source.rules;
        line(&mut self.lines, &self.source.bucket, row, rules.all_versions, &rules.fields);
        (self.lines.len() >= self.file_bytes_max).then(|| self.take_file(&unique()))
    }

    /// Returns the remaining files in the order in which they have to be written: the last data file, the manifest, its
    /// checksum.
    pub fn finish(mut self, unique: impl FnOnce() -> String) -> Vec<Report> {
        let mut reports = Vec::new();
        if !self.lines.is_empty() || self.files.is_empty() {
            reports.push(self.take_file(&unique()));
        }
        let InventorySource { bucket, rules, begun, .. } = &self.source;
        let manifest = Manifest {
            source_bucket: bucket,
            destination_bucket: format!("arn:aws:s3:::{}", rules.destination.bucket),
            version: "2016-11-30",
            creation_timestamp: begun.0.to_string(),
            file_format: "CSV",
            file_schema: schema(rules.all_versions, &rules.fields),
            files: &self.files,
        };
        let manifest = serde_json::to_vec(&manifest).expect("structs of text and numbers are JSON");
        let checksum = md5_text(&manifest);
        let folder = format!("{}/{}", self.folder(), minute(*begun));
        reports.push(self.report(format!("{folder}/manifest.json"), "application/json", manifest.into()));
        reports.push(self.report(format!("{folder}/manifest.checksum"), "text/plain", checksum.into()));
        reports
    }

    fn take_file(&mut self, unique: &str) -> Report {
        let packed = stored(std::mem::take(&mut self.lines).as_bytes());
        let key = format!("{}/data/{unique}.csv.gz", self.folder());
        self.files.push(File { key: key.clone(), size: packed.len(), md5: md5_text(&packed) });
        self.report(key, "application/gzip", packed.into())
    }

    /// Returns the folder of the report: `[prefix/]bucket/id`.
    fn folder(&self) -> String {
        let InventorySource { bucket, rules, .. } = &self.source;
        match rules.destination.prefix.as_deref().map(|prefix| prefix.trim_end_matches('/')) {
            None | Some("") => format!("{bucket}/{}", rules.id),
            Some(prefix) => format!("{prefix}/{bucket}/{}", rules.id),
        }
    }

    fn report(&self, key: String, content_type: &'static str, body: Bytes) -> Report {
        let (bucket, owner) = (self.source.rules.destination.bucket.clone(), self.source.owner.clone());
        Report { bucket, owner, key, content_type, body, grants: Vec::new() }
    }
}

fn md5_text(bytes: &[u8]) -> String {
    hex_simd::encode_to_string(Md5::digest(bytes), hex_simd::AsciiCase::Lower)
}

/// Formats a time for a folder's name: `2016-11-06T21-32Z`.
fn minute(at: UnixMs) -> String {
    let nanos = i128::from(at.0) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}-{:02}Z", time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use super::super::{InventoryDestination, InventoryField, InventoryFrequency, InventoryRules};
    use super::{InventorySource, InventoryWriter, md5_text};
    use crate::actors::events::inventory::rows::InventoryRow;
    use crate::types::UnixMs;

    fn writer(prefix: Option<&str>) -> InventoryWriter {
        let rules = InventoryRules {
            id: "weekly".to_owned(),
            enabled: true,
            all_versions: false,
            frequency: InventoryFrequency::Weekly,
            prefix: None,
            destination: InventoryDestination {
                bucket: "destination".to_owned(),
                account: None,
                prefix: prefix.map(str::to_owned),
                sealed: false,
            },
            fields: vec![InventoryField::Size],
        };
        // 2016-11-06, 21:32.
        InventoryWriter::new(InventorySource {
            bucket: "source".to_owned(),
            owner: "o".to_owned(),
            rules,
            begun: UnixMs(1_478_467_920_000),
        })
    }

    fn row(key: &str) -> InventoryRow<'_> {
        InventoryRow { key, size_bytes: 1, ..InventoryRow::default() }
    }

    #[test]
    fn an_inventory_is_data_files_a_manifest_and_its_checksum() {
        let mut writer = writer(Some("Inventory/"));
        assert!(writer.add(&row("a"), || "1".to_owned()).is_none());
        let reports = writer.finish(|| "u1".to_owned());
        let keys: Vec<&str> = reports.iter().map(|report| report.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "Inventory/source/weekly/data/u1.csv.gz",
                "Inventory/source/weekly/2016-11-06T21-32Z/manifest.json",
                "Inventory/source/weekly/2016-11-06T21-32Z/manifest.checksum"
            ]
        );
        let expected = format!(
            concat!(
                r#"{{"sourceBucket":"source","destinationBucket":"arn:aws:s3:::destination","version":"2016-11-30","#,
                r#""creationTimestamp":"1478467920000","fileFormat":"CSV","fileSchema":"Bucket, Key, Size","#,
                r#""files":[{{"key":"Inventory/source/weekly/data/u1.csv.gz","size":{},"MD5checksum":"{}"}}]}}"#
            ),
            reports[0].body.len(),
            md5_text(&reports[0].body)
        );
        assert_eq!(std::str::from_utf8(&reports[1].body).expect("text"), expected);
        assert_eq!(reports[2].body, md5_text(expected.as_bytes()));
        assert!(reports.iter().all(|report| report.bucket == "destination"));
    }

    #[test]
    fn full_inventory_files_are_returned_and_listed_in_the_manifest() {
        let mut writer = writer(None);
        writer.file_bytes_max = 20;
        let mut keys = Vec::new();
        for (at, key) in ["a", "b", "c"].into_iter().enumerate() {
            keys.extend(writer.add(&row(key), || format!("u{at}")).map(|report| report.key));
        }
        assert_eq!(keys, ["source/weekly/data/u1.csv.gz"]);
        let reports = writer.finish(|| "last".to_owned());
        let manifest = std::str::from_utf8(&reports[1].body).expect("text");
        assert!(manifest.contains("data/u1.csv.gz") && manifest.contains("data/last.csv.gz"), "{manifest}");
    }

    #[test]
    fn an_inventory_of_an_empty_bucket_has_one_empty_file() {
        assert_eq!(writer(None).finish(|| "u".to_owned()).len(), 3);
    }
}
