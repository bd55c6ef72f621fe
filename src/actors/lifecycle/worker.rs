//! `Lifecycle`: the actor that sweeps through all buckets with lifecycle rules, a page at a time, and removes expired
//! versions and stale multipart uploads. Owns the position of the sweep under way, and stores it in a document, from
//! which the next leader continues.
//!
//! It is a chore (`upkeep::Background`): it receives `Wake` and `Stop`, and sends nothing. It works on the host that
//! leads the Raft group and idles on the others. It reads a bucket's rules and settings again with each page. It judges
//! ages by the confirmed time, never by a host's clock. Each deletion names the exact version that was listed, so that
//! a version written in the meantime stays. It pauses longer between pages while the host serves users. Buckets in
//! which nothing is due take no pause each.

use super::progress::{Phase, Place, Progress};
use super::rules::{DAY, Rules};
use super::scan::{Criteria, Due, ItemKind, VersionScan, judged_upload, judged_version};
use crate::actors::documents;
use crate::actors::drives::{Blocking, UserLoad};
use crate::actors::events::{EventContext, EventName, NotificationRules, Targets, draft};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{Background, Chore, LookedAt, UpkeepError, look_up};
use crate::ambient::Ambient;
use crate::limits::{BUCKETS_LOOKED_AT, DOCUMENTS_PAGE_BYTES, LIFECYCLE_ABORTS_AT_ONCE, LIFECYCLE_PAGE};
use crate::metrics;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::{Change, DeleteEvents, DeleteVersion, Deletion, Refusal, Reply};
use crate::storage::meta::listing::{ListPage, ListQuery, Listed, VersionsPage};
use crate::storage::meta::record::{
    BucketDocument, BucketRow, DocumentKey, DocumentRow, EventDraft, UploadRecord, Version,
};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, UnixMs, UploadId};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;

pub type Lifecycle = Background<Sweeping>;

/// The number of sweeps that begin in a day, at most.
const SWEEPS_A_DAY: u32 = 24;
const SWEEP_EVERY_MIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct LifecycleOptions {
    /// The length of a day in rules (`SHERD_LIFECYCLE_DAY`).
    pub day: Duration,
    /// The number of versions, or uploads, that one step lists.
    pub page: usize,
    /// The pause between pages while the host serves no users.
    pub pause: Duration,
    /// The pause between pages while the host serves users.
    pub busy_pause: Duration,
    /// The longest interval between checks whether a sweep is due.
    pub idle: Duration,
    /// The interval at which the position of a sweep is stored.
    pub save_every: Duration,
}

impl Default for LifecycleOptions {
    fn default() -> Self {
        Self {
            day: DAY,
            page: LIFECYCLE_PAGE,
            pause: Duration::from_millis(20),
            busy_pause: Duration::from_millis(200),
            idle: Duration::from_secs(1),
            save_every: Duration::from_secs(10),
        }
    }
}

/// The dependencies of the worker.
#[derive(Clone, Debug)]
pub struct LifecycleContext {
    pub metadata: Arc<dyn Metadata>,
    pub threads: Arc<dyn Blocking>,
    pub ambient: Ambient,
    pub load: UserLoad,
    /// The webhooks that can be notified of expirations.
    pub targets: Targets,
    /// The id of this host, written into the notifications.
    pub host_id: String,
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// This host does not lead; the leader sweeps.
    Elsewhere,
    /// The next sweep is due after this time.
    Resting(Duration),
    /// A part of the sweep was done, and removed this number of versions or uploads.
    Page { gone: usize },
    /// A part of the sweep was done, and nothing was removed.
    Passed(LookedAt),
    /// The sweep has passed the last bucket.
    End,
}

#[derive(Debug)]
pub struct Sweeping {
    context: LifecycleContext,
    options: LifecycleOptions,
    /// `None` while this host does not lead.
    leading: Option<Leading>,
}

#[derive(Debug)]
struct Leading {
    /// The confirmed time at which the last sweep began.
    began: Option<UnixMs>,
    sweep: Option<Sweep>,
}

#[derive(Debug)]
struct Sweep {
    began: UnixMs,
    /// The name of a bucket; all buckets up to and including it are done.
    passed: Option<String>,
    at: Option<InBucket>,
    /// True once the sweep has met a bucket with enabled rules. Until then its position is not stored.
    has_met_rules: bool,
    /// The monotonic time at which the position was last stored.
    saved: Duration,
}

#[derive(Clone, Debug)]
struct InBucket {
    id: BucketId,
    name: String,
    phase: Phase,
    /// All keys up to and including this one are done.
    through: Option<String>,
    /// The key, version and upload after which the next page begins; it may lie between two versions of one key.
    after: Option<String>,
    after_version: Option<Version>,
    after_upload: Option<UploadId>,
    scan: VersionScan,
}

/// A page of a bucket, with the bucket's settings and rules from the same view.
struct BucketPage {
    row: BucketRow,
    rules: Rules,
    events: NotificationRules,
    page: Page,
    /// The size of the documents that the rules and the configuration of events are decoded from.
    documents_bytes: usize,
}

enum Page {
    Versions(VersionsPage),
    Uploads(ListPage<UploadRecord>),
    /// No enabled rule concerns this phase.
    Nothing,
}

/// The result of the search for the next bucket that has enabled rules.
enum Next {
    In(BucketId, String, LookedAt),
    /// The buckets up to this one have no enabled rules, and more buckets may follow.
    After(String),
    None,
}

impl Sweep {
    fn begin(began: UnixMs, now: Duration) -> Self {
        Self { began, passed: None, at: None, has_met_rules: false, saved: now }
    }

    fn progress(&self) -> Progress {
        let place = |at: &InBucket| Place { bucket: at.name.clone(), phase: at.phase, after: at.through.clone() };
        Progress { began: self.began, at: self.at.as_ref().map(place) }
    }

    /// Marks the current bucket as done.
    fn leave(&mut self) {
        self.passed = self.at.take().map(|at| at.name).or(self.passed.take());
    }
}

impl InBucket {
    fn at(id: BucketId, place: Place) -> Self {
        let Place { bucket, phase, after } = place;
        let (through, scan) = (after.clone(), VersionScan::after(after.clone()));
        Self { id, name: bucket, phase, through, after, after_version: None, after_upload: None, scan }
    }

    fn begin(id: BucketId, name: String) -> Self {
        Self::at(id, Place { bucket: name, phase: Phase::default(), after: None })
    }
}

impl BucketPage {
    fn looked_at(&self) -> LookedAt {
        let rows = match &self.page {
            Page::Versions(page) => page.entries.len(),
            Page::Uploads(page) => page.entries.len(),
            Page::Nothing => 0,
        };
        LookedAt { rows: rows.max(1), bytes: self.documents_bytes }
    }
}

impl Sweeping {
    pub fn new(context: LifecycleContext, options: LifecycleOptions) -> Self {
        // Each series is created at 0: a first rise from no value would be invisible to `rate` and `increase`.
        ItemKind::ALL.iter().for_each(|kind| count(*kind, 0));
        metrics::LIFECYCLE_SWEEPS.with_label_values::<&str>(&[]).inc_by(0);
        Self { context, options, leading: None }
    }

    /// Processes one page or one change of bucket, or returns why there is nothing to do.
    pub async fn advance(&mut self) -> Result<Swept, UpkeepError> {
        if !self.context.metadata.is_leader() {
            self.leading = None;
            return Ok(Swept::Elsewhere);
        }
        let mut leading = match self.leading.take() {
            Some(leading) => leading,
            None => self.take_up().await?,
        };
        let swept = self.go_on(&mut leading).await;
        self.leading = Some(leading);
        swept
    }

    /// Returns the position that the former leader stored.
    async fn take_up(&self) -> Result<Leading, UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        let look_up = self.look_up(|view| {
            let progress = Progress::of(view.document(&Progress::key())?.as_ref());
            let place = progress.as_ref().and_then(|progress| progress.at.as_ref());
            let bucket = place.map(|place| view.bucket(&place.bucket)).transpose()?.flatten();
            Ok((progress, bucket.map(|row| row.bucket.id)))
        });
        let (progress, bucket) = look_up.await?;
        let Some(Progress { began, at }) = progress else { return Ok(Leading { began: None, sweep: None }) };
        let sweep = at.map(|place| {
            let sweep = Sweep { has_met_rules: true, ..Sweep::begin(began, now) };
            match bucket {
                Some(id) => Sweep { at: Some(InBucket::at(id, place)), ..sweep },
                None => Sweep { passed: Some(place.bucket), ..sweep },
            }
        });
        Ok(Leading { began: Some(began), sweep })
    }

    async fn go_on(&self, leading: &mut Leading) -> Result<Swept, UpkeepError> {
        let clock = &self.context.ambient.clock;
        let Some(sweep) = &mut leading.sweep else {
            let confirmed = self.context.metadata.time().confirmed;
            let left = self.left_until_due(leading.began, confirmed);
            if left.is_zero() {
                leading.began = Some(confirmed);
                leading.sweep = Some(Sweep::begin(confirmed, clock.monotonic()));
                return Ok(Swept::Page { gone: 0 });
            }
            return Ok(Swept::Resting(left));
        };
        if sweep.at.is_some() {
            let swept = self.page(sweep).await?;
            self.save_now_and_then(sweep).await?;
            return Ok(swept);
        }
        match self.next_bucket(sweep.passed.clone()).await? {
            Next::In(id, name, looked_at) => {
                sweep.at = Some(InBucket::begin(id, name));
                sweep.has_met_rules = true;
                Ok(Swept::Passed(looked_at))
            }
            Next::After(name) => {
                sweep.passed = Some(name);
                Ok(Swept::Page { gone: 0 })
            }
            Next::None => {
                if sweep.has_met_rules {
                    self.save(&sweep.progress()).await?;
                }
                leading.sweep = None;
                metrics::LIFECYCLE_SWEEPS.with_label_values::<&str>(&[]).inc();
                Ok(Swept::End)
            }
        }
    }

    fn left_until_due(&self, began: Option<UnixMs>, now: UnixMs) -> Duration {
        let every = (self.options.day / SWEEPS_A_DAY).max(SWEEP_EVERY_MIN);
        // If an operator has set the confirmed time back, `began` may lie in the future; a sweep is due then.
        let since = began.and_then(|began| now.0.checked_sub(began.0)).map(Duration::from_millis);
        since.map_or(Duration::ZERO, |since| every.saturating_sub(since))
    }

    async fn next_bucket(&self, passed: Option<String>) -> Result<Next, UpkeepError> {
        self.look_up(move |view| {
            let (rows, more) = view.buckets("", passed.as_deref(), BUCKETS_LOOKED_AT)?;
            let (mut last, mut looked_at) = (None, LookedAt::default());
            for BucketRow { bucket, .. } in rows {
                let document = view.document(&document_of(bucket.id, BucketDocument::Lifecycle))?;
                looked_at.add(LookedAt { rows: 1, bytes: document.as_ref().map_or(0, |row| row.value.len()) });
                let rules = document.and_then(|row| rules_of(&bucket.name, &row));
                if rules.is_some_and(|rules| rules.concern_versions() || rules.concern_uploads()) {
                    return Ok(Next::In(bucket.id, bucket.name, looked_at));
                }
                if looked_at.bytes >= DOCUMENTS_PAGE_BYTES {
                    return Ok(Next::After(bucket.name));
                }
                last = Some(bucket.name);
            }
            Ok(last.filter(|_| more).map_or(Next::None, Next::After))
        })
        .await
    }

    /// Processes the next page of the current bucket. The position moves on only when the removals have been decided,
    /// so that a failed page is processed again.
    async fn page(&self, sweep: &mut Sweep) -> Result<Swept, UpkeepError> {
        let Some(mut at) = sweep.at.clone() else { return Ok(Swept::Passed(LookedAt::ONE)) };
        let (from, limit) = (at.clone(), self.options.page);
        let Some(bucket_page) = self.look_up(move |view| look(view, &from, limit)).await? else {
            sweep.leave();
            return Ok(Swept::Passed(LookedAt::ONE));
        };
        let (gone, is_done) = match &bucket_page.page {
            Page::Versions(page) => (self.versions(&mut at, &bucket_page, page).await?, false),
            Page::Uploads(page) => (self.uploads(&mut at, &bucket_page, page).await?, !page.more),
            Page::Nothing if at.phase == Phase::Uploads => (0, true),
            Page::Nothing => {
                at = to_uploads(at);
                (0, false)
            }
        };
        sweep.at = Some(at);
        if is_done {
            sweep.leave();
        }
        Ok(if gone == 0 { Swept::Passed(bucket_page.looked_at()) } else { Swept::Page { gone } })
    }

    async fn versions(
        &self,
        at: &mut InBucket,
        bucket_page: &BucketPage,
        page: &VersionsPage,
    ) -> Result<usize, UpkeepError> {
        let criteria = self.criteria(bucket_page);
        let mut due = Vec::new();
        for entry in &page.entries {
            if let Listed::Item { key, record } = entry {
                at.scan.see(criteria, key, &record.row, &mut due);
            }
        }
        if page.more {
            at.through = at.scan.through().map(str::to_owned);
            (at.after, at.after_version) = (page.next_after.clone(), page.next_version);
        } else {
            at.scan.end(criteria, &mut due);
            *at = to_uploads(at.clone());
        }
        self.delete(bucket_page, due).await
    }

    async fn delete(&self, bucket_page: &BucketPage, due: Vec<Due>) -> Result<usize, UpkeepError> {
        if due.is_empty() {
            return Ok(0);
        }
        let kinds: Vec<ItemKind> = due.iter().map(|due| due.kind).collect();
        let request_id = format!("{:016X}", self.context.ambient.random_u128() as u64);
        let deletes = due.into_iter().map(|due| self.deletion(bucket_page, due, &request_id)).collect();
        let mut outcomes = Vec::with_capacity(kinds.len());
        for deletes in DeleteVersion::in_commands(deletes) {
            match self
                .context
                .metadata
                .propose(Change::DeleteVersions { bucket: bucket_page.row.bucket.id, deletes })
                .await?
            {
                Reply::VersionsDeleted(some) => outcomes.extend(some),
                other => {
                    tracing::debug!(bucket = %bucket_page.row.bucket.name, ?other, "cannot delete expired versions");
                    break;
                }
            }
        }
        let existed = |outcome: &Result<Deletion, Refusal>| outcome.is_ok_and(|deletion| deletion.existed);
        let gone: Vec<ItemKind> =
            kinds.into_iter().zip(&outcomes).filter(|(_, outcome)| existed(outcome)).map(|(kind, _)| kind).collect();
        gone.iter().for_each(|kind| count(*kind, 1));
        Ok(gone.len())
    }

    fn deletion(&self, bucket_page: &BucketPage, due: Due, request_id: &str) -> DeleteVersion {
        let deleted = self.draft(EventName::LifecycleExpirationDelete, &due.key, bucket_page, request_id);
        let marker = EventName::LifecycleExpirationDeleteMarkerCreated;
        let marked = match due.kind {
            ItemKind::Object => self.draft(marker, &due.key, bucket_page, request_id),
            ItemKind::Version | ItemKind::Marker | ItemKind::Upload => None,
        };
        let event = (deleted.is_some() || marked.is_some()).then_some(DeleteEvents { deleted, marked });
        let Due { kind: _, key, pick, conditions } = due;
        let salt = self.context.ambient.random_u128() as u64;
        DeleteVersion { key, pick, conditions, owner: String::new(), salt, bypass_governance: false, event }
    }

    /// Returns the draft of an event, or `None` if the bucket's configuration sends it to no known target.
    fn draft(&self, event: EventName, key: &str, bucket_page: &BucketPage, request_id: &str) -> Option<EventDraft> {
        let matches = self.context.targets.known(bucket_page.events.matching(event, key));
        if matches.is_empty() {
            return None;
        }
        let (bucket, host_id) = (bucket_page.row.bucket.clone(), self.context.host_id.clone());
        draft(event, matches, EventContext::of_service(bucket.name, bucket.owner, request_id.to_owned(), host_id))
    }

    async fn uploads(
        &self,
        at: &mut InBucket,
        bucket_page: &BucketPage,
        page: &ListPage<UploadRecord>,
    ) -> Result<usize, UpkeepError> {
        let criteria = self.criteria(bucket_page);
        let mut listed = page.entries.iter().filter_map(|entry| match entry {
            Listed::Item { record, .. } => Some(record),
            Listed::CommonPrefix(_) => None,
        });
        let due: Vec<_> = listed.clone().filter(|upload| criteria.upload(upload)).collect();
        let mut gone = 0;
        for some in due.chunks(LIFECYCLE_ABORTS_AT_ONCE) {
            let aborts = some.iter().map(|upload| {
                let (bucket, key, upload) = (bucket_page.row.bucket.id, upload.key.clone(), upload.id);
                self.context.metadata.propose(Change::AbortUpload { bucket, key, upload })
            });
            for reply in join_all(aborts).await {
                // Any other reply means that the upload was completed or aborted in the meantime.
                if reply? == Reply::Done {
                    count(ItemKind::Upload, 1);
                    gone += 1;
                }
            }
        }
        let last = listed.clone().next_back();
        let before = listed.rfind(|upload| last.is_some_and(|last| last.key != upload.key));
        at.through = before.map(|upload| upload.key.clone()).or(at.through.take());
        (at.after, at.after_upload) = (page.next_after.clone(), last.map(|upload| upload.id));
        Ok(gone)
    }

    fn criteria<'a>(&self, bucket_page: &'a BucketPage) -> Criteria<'a> {
        Criteria {
            rules: &bucket_page.rules,
            versioning: bucket_page.row.settings.versioning,
            confirmed: self.context.metadata.time().confirmed,
            day: self.options.day,
        }
    }

    async fn save_now_and_then(&self, sweep: &mut Sweep) -> Result<(), UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        if sweep.at.is_some() && now.saturating_sub(sweep.saved) >= self.options.save_every {
            self.save(&sweep.progress()).await?;
            sweep.saved = now;
        }
        Ok(())
    }

    async fn save(&self, progress: &Progress) -> Result<(), UpkeepError> {
        let write = progress.write().expect("numbers and text are JSON");
        self.context.metadata.propose(Change::WriteDocuments(vec![write])).await?;
        Ok(())
    }

    async fn look_up<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
    ) -> Result<T, UpkeepError> {
        look_up(&*self.context.metadata, &self.context.threads, ask).await
    }
}

fn count(kind: ItemKind, more: u64) {
    metrics::LIFECYCLE_EXPIRED.with_label_values(&[kind.word()]).inc_by(more);
}

fn document_of(bucket: BucketId, kind: BucketDocument) -> DocumentKey {
    DocumentKey::Bucket(bucket, kind, String::new())
}

fn to_uploads(at: InBucket) -> InBucket {
    InBucket::at(at.id, Place { bucket: at.name, phase: Phase::Uploads, after: None })
}

/// Decodes the rules of a bucket. `None` if they cannot be decoded: then none is applied.
fn rules_of(bucket: &str, row: &DocumentRow) -> Option<Rules> {
    let rules = documents::decode(&row.value);
    rules.inspect_err(|error| tracing::warn!(%bucket, %error, "cannot decode lifecycle rules: none is applied")).ok()
}

/// Reads a page of a bucket, with its settings and rules. `None` if the bucket or its rules were removed, or if the
/// rules cannot be decoded.
fn look(view: &MetaView, at: &InBucket, limit: usize) -> KvResult<Option<BucketPage>> {
    let Some(row) = view.bucket_numbered(at.id)? else { return Ok(None) };
    let Some(document) = view.document(&document_of(at.id, BucketDocument::Lifecycle))? else { return Ok(None) };
    let Some(rules) = rules_of(&at.name, &document) else { return Ok(None) };
    let events = view.document(&document_of(at.id, BucketDocument::Notification))?;
    let documents_bytes = document.value.len() + events.as_ref().map_or(0, |row| row.value.len());
    let query = ListQuery { prefix: rules.key_prefix().to_owned(), delimiter: None, after: at.after.clone(), limit };
    let page = match at.phase {
        Phase::Versions if rules.concern_versions() => {
            Page::Versions(view.list_versions_as(at.id, &query, at.after_version, judged_version)?)
        }
        Phase::Uploads if rules.concern_uploads() => {
            Page::Uploads(view.list_uploads_as(at.id, &query, at.after_upload, judged_upload)?)
        }
        Phase::Versions | Phase::Uploads => Page::Nothing,
    };
    Ok(Some(BucketPage { row, rules, events: NotificationRules::of(events.as_ref()), page, documents_bytes }))
}

impl Chore for Sweeping {
    async fn step(&mut self) -> Duration {
        let options = self.options;
        let mut looked_at = LookedAt::default();
        let swept = loop {
            let swept = self.advance().await;
            let Ok(Swept::Passed(passed)) = swept else { break swept };
            looked_at.add(passed);
            if looked_at.is_enough() {
                break swept;
            }
        };
        match swept {
            Ok(Swept::Elsewhere) => options.idle,
            Ok(Swept::Resting(left)) => left.min(options.idle),
            Ok(Swept::Page { .. } | Swept::Passed(_) | Swept::End) if self.context.load.is_busy() => options.busy_pause,
            Ok(Swept::Page { .. } | Swept::Passed(_) | Swept::End) => options.pause,
            Err(error) => {
                tracing::debug!(%error, "a step of the lifecycle sweep failed and is tried again later");
                options.idle
            }
        }
    }
}
