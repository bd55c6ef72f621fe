//! Tests of `Reporting` over a metadata state machine in memory.

use super::{Begun, InventoryContext, InventoryOptions, Reported, Reporting};
use crate::actors::consensus::MetaError;
use crate::actors::documents;
use crate::actors::drives::test_host::{Seeded, SetClock, TableMetadata, set_clock};
use crate::actors::drives::{Inline, UserLoad};
use crate::actors::events::inventory::{InventoryDestination, InventoryField, InventoryFrequency, InventoryRules};
use crate::actors::events::{Report, ReportError, ReportStore};
use crate::actors::request::Metadata;
use crate::actors::upkeep::Chore;
use crate::ambient::Ambient;
use crate::limits::DOCUMENTS_PAGE_BYTES;
use crate::storage::meta::command::{Change, CreateBucket, LogTime, Reply};
use crate::storage::meta::record::{BucketDocument, DocumentKey, DocumentWrite, Expect};
use crate::storage::meta::samples;
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, UnixMs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const STEPS_MAX: usize = 1000;

/// A store that keeps its reports, and refuses those for the bucket `refusing`, which it counts.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Report>>, AtomicUsize);

#[async_trait::async_trait]
impl ReportStore for Kept {
    async fn put(&self, report: &Report) -> Result<(), ReportError> {
        if report.bucket == "refusing" {
            self.1.fetch_add(1, Ordering::Relaxed);
            return Err(ReportError { why: "no room".to_owned() });
        }
        self.0.lock().expect("no panic while it is held").push(report.clone());
        Ok(())
    }
}

/// Metadata of which every second read and the first change fail, each beginning with the first.
#[derive(Debug)]
struct Failing {
    metadata: Arc<TableMetadata>,
    reads: AtomicUsize,
    changes: AtomicUsize,
}

fn no_leader() -> MetaError {
    MetaError::Unavailable { why: "no leader".to_owned() }
}

#[async_trait::async_trait]
impl Metadata for Failing {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        if self.changes.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(no_leader());
        }
        self.metadata.propose(change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        if self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(no_leader());
        }
        self.metadata.read().await
    }

    fn time(&self) -> LogTime {
        self.metadata.time()
    }
}

struct Store {
    metadata: Arc<TableMetadata>,
    clock: Arc<SetClock>,
    kept: Arc<Kept>,
    bucket: BucketId,
}

impl Store {
    async fn new(keys: &[&str]) -> Self {
        let clock = set_clock();
        let metadata = Arc::new(TableMetadata::new(Arc::clone(&clock)));
        let bucket = metadata.bucket().await;
        let store = Self { metadata, clock, kept: Arc::default(), bucket };
        for name in ["there", "refusing"] {
            let create = CreateBucket { name: name.to_owned(), owner: "me".to_owned(), ..CreateBucket::default() };
            store.change(Change::CreateBucket(Box::new(create))).await;
        }
        for (number, key) in keys.iter().enumerate() {
            let mut put = samples::put_empty(key, number as u128 + 1);
            put.bucket = bucket;
            store.change(Change::PutObject(Box::new(put))).await;
        }
        store
    }

    async fn change(&self, change: Change) {
        if let Reply::Refused(refusal) = self.metadata.propose(change).await.expect("decided") {
            panic!("refused: {refusal}");
        }
    }

    async fn inventory(&self, id: &str, destination: &str, prefix: Option<&str>) {
        self.inventory_of(self.bucket, id, destination, prefix).await;
    }

    async fn inventory_of(&self, bucket: BucketId, id: &str, destination: &str, prefix: Option<&str>) {
        let value = documents::encode(&rules(id, destination, prefix)).expect("rules");
        self.document_of(bucket, id, Some(value)).await;
    }

    /// Returns the ids of a bucket's inventories whose start times are recorded; `None` if there is no document.
    async fn recorded(&self, bucket: BucketId, ids: &[&str]) -> Option<usize> {
        let view = self.metadata.read().await.expect("tables in memory");
        let row = view.document(&Begun::key(bucket)).expect("reads")?;
        let begun = Begun::of(Some(&row));
        Some(ids.iter().filter(|id| begun.last(id).is_some()).count())
    }

    async fn number_of(&self, name: &str) -> BucketId {
        let view = self.metadata.read().await.expect("tables in memory");
        view.bucket(name).expect("reads").expect("a bucket").bucket.id
    }

    async fn document(&self, id: &str, value: Option<bytes::Bytes>) {
        self.document_of(self.bucket, id, value).await;
    }

    async fn document_of(&self, bucket: BucketId, id: &str, value: Option<bytes::Bytes>) {
        let key = DocumentKey::Bucket(bucket, BucketDocument::Inventory, id.to_owned());
        self.change(Change::WriteDocuments(vec![DocumentWrite { key, expect: Expect::Any, value }])).await;
    }

    fn reporting(&self) -> Reporting {
        self.reporting_over(Arc::clone(&self.metadata) as _)
    }

    fn reporting_over(&self, metadata: Arc<dyn Metadata>) -> Reporting {
        let context = InventoryContext {
            metadata,
            threads: Arc::new(Inline),
            ambient: Ambient { clock: Arc::clone(&self.clock) as _, entropy: Arc::new(Seeded::new(1)) },
            load: UserLoad::default(),
            reports: Arc::clone(&self.kept) as _,
        };
        Reporting::new(context, InventoryOptions { page: 2, ..InventoryOptions::default() })
    }

    async fn round(&self) -> usize {
        self.round_of(&mut self.reporting()).await
    }

    /// Runs one round over all buckets. Returns the number of complete reports.
    async fn round_of(&self, reporting: &mut Reporting) -> usize {
        let mut whole = 0;
        for _ in 0..STEPS_MAX {
            match reporting.advance().await.expect("tables in memory") {
                Reported::Page | Reported::Passed(_) => {}
                Reported::Whole => whole += 1,
                Reported::End => return whole,
                Reported::Elsewhere => panic!("it leads"),
            }
        }
        panic!("the round does not come to an end");
    }

    /// Returns the lines of all data files, unpacked, and the keys of all objects that were written.
    fn written(&self) -> (String, Vec<String>) {
        let reports = std::mem::take(&mut *self.kept.0.lock().expect("no panic while it is held"));
        let data = reports.iter().filter(|report| report.content_type == "application/gzip");
        let lines = data.map(|report| unpacked(&report.body)).collect();
        (lines, reports.into_iter().map(|report| report.key).collect())
    }
}

fn rules(id: &str, destination: &str, prefix: Option<&str>) -> InventoryRules {
    InventoryRules {
        id: id.to_owned(),
        enabled: true,
        all_versions: id.starts_with("all"),
        frequency: InventoryFrequency::Daily,
        prefix: prefix.map(str::to_owned),
        destination: InventoryDestination {
            bucket: destination.to_owned(),
            account: None,
            prefix: None,
            sealed: false,
        },
        fields: vec![InventoryField::Size],
    }
}

/// Unpacks the output of `gzip::stored` with one block: a header of 10 bytes, a block header of 5, the content, a
/// trailer of 8.
fn unpacked(packed: &[u8]) -> String {
    String::from_utf8(packed[15..packed.len() - 8].to_vec()).expect("text")
}

#[actix::test]
async fn an_inventory_lists_all_keys_and_is_written_once_a_day() {
    let store = Store::new(&["a", "b", "c", "d", "e"]).await;
    store.inventory("daily", "there", None).await;
    assert_eq!(store.round().await, 1);
    let (lines, keys) = store.written();
    assert_eq!(lines, ["a", "b", "c", "d", "e"].map(|key| format!("\"bucket\",\"{key}\",\"0\"\n")).concat());
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys[1].starts_with("bucket/daily/2023-11-14T") && keys[1].ends_with("/manifest.json"), "{keys:?}");
    assert_eq!(store.round().await, 0);
    store.clock.forward(DAY);
    assert_eq!(store.round().await, 1);
}

#[actix::test]
async fn an_inventory_lists_versions_and_filters_by_prefix_if_configured() {
    let store = Store::new(&["a/1", "b/1", "b/2"]).await;
    store.inventory("all", "there", Some("b/")).await;
    assert_eq!(store.round().await, 1);
    let (lines, _) = store.written();
    let expected =
        "\"bucket\",\"b/1\",\"null\",\"true\",\"false\",\"0\"\n\"bucket\",\"b/2\",\"null\",\"true\",\"false\",\"0\"\n";
    assert_eq!(lines, expected);
}

#[actix::test]
async fn an_inventory_that_cannot_be_written_delays_no_other() {
    let store = Store::new(&["a"]).await;
    store.inventory("a", "refusing", None).await;
    store.inventory("absent", "absent", None).await;
    store.inventory("b", "there", None).await;
    assert_eq!(store.round().await, 1);
    assert!(store.written().1.iter().all(|key| key.starts_with("bucket/b/")));
    store.inventory("a", "there", None).await;
    assert_eq!(store.round().await, 1);
    assert!(store.written().1.iter().all(|key| key.starts_with("bucket/a/")));
}

#[actix::test]
async fn an_inventory_that_cannot_be_written_is_begun_again_in_an_hour_or_when_it_is_changed() {
    let store = Store::new(&["a"]).await;
    store.inventory("a", "refusing", None).await;
    let mut reporting = store.reporting();
    let attempts = || store.kept.1.load(Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!((store.round_of(&mut reporting).await, attempts()), (0, 1));
    }
    store.clock.forward(Duration::from_secs(3600));
    assert_eq!((store.round_of(&mut reporting).await, attempts()), (0, 2));
    store.inventory("a", "there", None).await;
    assert_eq!(store.round_of(&mut reporting).await, 1);
}

#[actix::test]
async fn an_inventory_goes_on_after_failures_of_the_metadata_and_is_written_once() {
    let store = Store::new(&["a", "b", "c", "d", "e"]).await;
    store.inventory("daily", "there", None).await;
    let metadata = Arc::clone(&store.metadata);
    let failing = Failing { metadata, reads: AtomicUsize::default(), changes: AtomicUsize::default() };
    let mut reporting = store.reporting_over(Arc::new(failing));
    let (mut whole, mut failures) = (0, 0);
    for _ in 0..STEPS_MAX {
        match reporting.advance().await {
            Ok(Reported::End) => break,
            Ok(Reported::Whole) => whole += 1,
            Ok(Reported::Page | Reported::Passed(_)) => {}
            Ok(Reported::Elsewhere) => panic!("it leads"),
            Err(_) => failures += 1,
        }
    }
    assert_eq!(whole, 1);
    assert!(failures > 4, "{failures}: on the way to the bucket, at its pages, and at the end");
    let (lines, keys) = store.written();
    assert_eq!(lines, ["a", "b", "c", "d", "e"].map(|key| format!("\"bucket\",\"{key}\",\"0\"\n")).concat());
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(store.recorded(store.bucket, &["daily"]).await, Some(1));
}

#[actix::test]
async fn a_recreated_inventory_is_written_again_on_the_same_day() {
    let store = Store::new(&["a"]).await;
    store.inventory("a", "there", None).await;
    assert_eq!(store.round().await, 1);
    store.document("a", None).await;
    assert_eq!(store.round().await, 0);
    store.inventory("a", "there", None).await;
    assert_eq!(store.round().await, 1);
}

#[actix::test]
async fn a_round_holds_a_bounded_page_of_one_buckets_configurations() {
    const BYTES: usize = 40_000;
    let store = Store::new(&[]).await;
    let count = 2 * DOCUMENTS_PAGE_BYTES / BYTES;
    let other = store.number_of("refusing").await;
    for number in 0..count {
        let (id, prefix) = (format!("{number:03}"), "p".repeat(BYTES));
        store.inventory(&id, "there", Some(&prefix)).await;
        store.inventory_of(other, &id, "there", Some(&prefix)).await;
    }
    let mut reporting = store.reporting();
    let mut whole = 0;
    for _ in 0..10 * count {
        match reporting.advance().await.expect("tables in memory") {
            Reported::Whole => whole += 1,
            Reported::End => break,
            Reported::Page | Reported::Passed(_) | Reported::Elsewhere => {}
        }
        let source = reporting.round.as_ref().and_then(|round| round.source.as_ref());
        let held: usize = source.map_or(0, |source| source.page.iter().map(|(_, row)| row.value.len()).sum());
        assert!(held < DOCUMENTS_PAGE_BYTES + 2 * BYTES, "{held} bytes");
    }
    assert_eq!(whole, 2 * count);
    assert_eq!(store.round_of(&mut reporting).await, 0, "all of them are recorded");
}

#[actix::test]
async fn inventories_that_are_not_due_take_no_pause_each() {
    const BUCKETS: usize = 30;
    const OF_EACH: usize = 40;
    let store = Store::new(&["a"]).await;
    for bucket in 0..BUCKETS {
        let name = format!("idle-{bucket:02}");
        let create = CreateBucket { name: name.clone(), owner: "me".to_owned(), ..CreateBucket::default() };
        store.change(Change::CreateBucket(Box::new(create))).await;
        let bucket = store.number_of(&name).await;
        let write = |number: usize| {
            // The first of each bucket is due, and has no destination.
            let id = format!("{number:03}");
            let rules = InventoryRules { enabled: number == 0, ..rules(&id, "absent", None) };
            let key = DocumentKey::Bucket(bucket, BucketDocument::Inventory, id);
            DocumentWrite { key, expect: Expect::Any, value: Some(documents::encode(&rules).expect("rules")) }
        };
        store.change(Change::WriteDocuments((0..OF_EACH).map(write).collect())).await;
    }
    let last = store.number_of("there").await;
    store.inventory_of(last, "a", "there", None).await;
    let mut reporting = store.reporting();
    let mut steps = 1;
    while reporting.step().await != InventoryOptions::default().idle {
        steps += 1;
        assert!(steps < STEPS_MAX, "the round does not come to an end");
    }
    assert_eq!(reporting.failed.len(), BUCKETS);
    assert!(store.written().1.iter().any(|key| key.starts_with("there/a/")), "the last report was written");
    assert!(steps <= 15, "{steps} steps past {} inventories", BUCKETS * OF_EACH);
}

#[actix::test]
async fn start_times_are_recorded_for_each_bucket_and_go_with_its_inventories() {
    let store = Store::new(&["a"]).await;
    let other = store.number_of("there").await;
    store.inventory("a", "there", None).await;
    store.inventory("b", "there", None).await;
    store.inventory_of(other, "a", "there", None).await;
    assert_eq!(store.round().await, 3);
    assert_eq!(store.recorded(store.bucket, &["a", "b"]).await, Some(2));
    assert_eq!(store.recorded(other, &["a", "b"]).await, Some(1));
    store.document("b", None).await;
    store.document_of(other, "a", None).await;
    assert_eq!(store.round().await, 0);
    assert_eq!(store.recorded(store.bucket, &["a", "b"]).await, Some(1));
    assert_eq!(store.recorded(other, &[]).await, None);
    let refusing = store.number_of("refusing").await;
    store.inventory_of(refusing, "a", "there", None).await;
    assert_eq!(store.round().await, 1);
    store.change(Change::DeleteBucket { bucket: refusing }).await;
    assert_eq!(store.round().await, 0);
    assert_eq!(store.recorded(refusing, &[]).await, None);
}

#[actix::test]
async fn a_clock_that_is_ahead_neither_begins_an_inventory_nor_holds_it_up() {
    let store = Store::new(&["a"]).await;
    store.inventory("a", "there", None).await;
    assert_eq!(store.round().await, 1);
    store.clock.set_wall_ahead(DAY);
    assert_eq!(store.round().await, 0, "the agreed time is the same");
    store.clock.set_wall_ahead(Duration::ZERO);
    let mut begun = Begun::default();
    begun.note("a".to_owned(), UnixMs(store.metadata.time().now.0 + 365 * DAY.as_millis() as u64));
    store.change(Change::WriteDocuments(vec![begun.write(store.bucket).expect("numbers and text")])).await;
    assert_eq!(store.round().await, 1, "its last start is in the future");
    assert_eq!(store.round().await, 0);
}

#[actix::test]
async fn an_inventory_without_its_destination_is_begun_again_in_an_hour() {
    let store = Store::new(&["a"]).await;
    store.inventory("a", "absent", None).await;
    let mut reporting = store.reporting();
    for _ in 0..2 {
        assert_eq!((store.round_of(&mut reporting).await, reporting.failed.len()), (0, 1));
    }
    let create = CreateBucket { name: "absent".to_owned(), owner: "me".to_owned(), ..CreateBucket::default() };
    store.change(Change::CreateBucket(Box::new(create))).await;
    assert_eq!(store.round_of(&mut reporting).await, 0);
    store.clock.forward(Duration::from_secs(3600));
    assert_eq!((store.round_of(&mut reporting).await, reporting.failed.len()), (1, 0));
}
