//! `Inventories`: writes the inventory reports that are due, one after the other, a page of a bucket at a time. Owns
//! the state of the round over all buckets, and the report under way. It holds the configurations of one bucket at a
//! time, and of these one page.
//!
//! It is a chore (`upkeep::Background`): it receives `Wake` and `Stop`, and sends no messages. It works on the host
//! that leads and rests on the others. When a report is complete, its start time is recorded in the metadata. An
//! interrupted report is started again by the next leader, under other names; after a failure of the metadata that
//! passes, the same leader goes on where it was. A report is no snapshot: each page has the bucket's state at the time
//! when the page is listed. The pauses between pages are longer while users' requests are under way. Inventories that
//! are not due take no pause each.

use super::InventoryRules;
use super::begun::{self, Begun};
use super::describe::{describe, reduced};
use super::writer::{InventorySource, InventoryWriter};
use crate::actors::documents;
use crate::actors::drives::{Blocking, UserLoad};
use crate::actors::events::{Report, ReportError, ReportStore};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{Background, Chore, LastFailure, LookedAt, UpkeepError, look_up};
use crate::ambient::Ambient;
use crate::limits::{BUCKETS_LOOKED_AT, CONFIGURATIONS_OF_A_KIND_MAX, INVENTORY_PAGE};
use crate::storage::kv::KvResult;
use crate::storage::meta::command::Change;
use crate::storage::meta::listing::{ListQuery, Listed, ListedVersion};
use crate::storage::meta::record::{
    BucketDocument, BucketRow, DocumentKey, DocumentRow, DocumentWrite, Expect, ObjectVersion, Version, VersionRow,
};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, UnixMs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// The pause before a report that could not be written is begun again: what it has written so far stays in the bucket.
const FAILED_PAUSE: Duration = Duration::from_secs(3600);

/// The actor that runs `Reporting` as a chore.
pub type Inventories = Background<Reporting>;

#[derive(Clone, Copy, Debug)]
pub struct InventoryOptions {
    /// The number of versions that are listed in one step.
    pub page: usize,
    /// The pause between pages while no user request is under way.
    pub pause: Duration,
    /// The pause between pages while user requests are under way.
    pub busy_pause: Duration,
    /// The interval between rounds over all buckets.
    pub idle: Duration,
}

impl Default for InventoryOptions {
    fn default() -> Self {
        Self {
            page: INVENTORY_PAGE,
            pause: Duration::from_millis(20),
            busy_pause: Duration::from_millis(200),
            idle: Duration::from_secs(15),
        }
    }
}

/// The parts of a host that the chore uses.
#[derive(Clone, Debug)]
pub struct InventoryContext {
    pub metadata: Arc<dyn Metadata>,
    pub threads: Arc<dyn Blocking>,
    pub ambient: Ambient,
    pub load: UserLoad,
    pub reports: Arc<dyn ReportStore>,
}

/// The reason why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// The outcome of a step (`Reporting::advance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// This host does not lead, so another one writes the reports.
    Elsewhere,
    /// A page of buckets, of configurations or of versions was processed.
    Page,
    /// Nothing was to be done for what was looked at.
    Passed(LookedAt),
    /// A report is complete.
    Whole,
    /// All buckets were visited.
    End,
}

#[derive(Debug)]
pub struct Reporting {
    context: InventoryContext,
    options: InventoryOptions,
    round: Option<Round>,
    /// The reports that could not be written, by the inventory's bucket and id.
    failed: BTreeMap<(BucketId, String), Failed>,
    last_failure: LastFailure,
}

/// A report that could not be written.
#[derive(Debug)]
struct Failed {
    /// The digest of the inventory's configuration then: a changed one is tried at once.
    digest: u64,
    at: UnixMs,
}

/// The state of a round over all buckets.
#[derive(Debug, Default)]
struct Round {
    /// The term in which this host leads. Between two terms another host may have written reports.
    term: u64,
    /// The name of the last bucket that was read; buckets are read in order of name.
    passed: Option<String>,
    /// True if no bucket follows `passed`.
    is_last: bool,
    /// The bucket whose inventories are being processed.
    source: Option<Source>,
    /// The name of the last document of start times that was looked at, after all buckets.
    swept: Option<String>,
}

/// A bucket with inventories, which are processed in order of id.
#[derive(Debug)]
struct Source {
    bucket: BucketId,
    name: String,
    owner: String,
    begun: Begun,
    /// The configurations that were read and are not yet processed, by id, as they are stored.
    page: VecDeque<(String, DocumentRow)>,
    /// True if further configurations follow the page.
    more: bool,
    /// The ids of all inventories that were processed.
    there: BTreeSet<String>,
    /// The report that is being written.
    under_way: Option<UnderWay>,
    /// The outcome of the change of the start times that is not saved yet.
    unsaved: Option<Reported>,
}

/// A report under way, and the position in the listing from which it goes on.
#[derive(Debug)]
struct UnderWay {
    rules: InventoryRules,
    /// The digest of the stored configuration.
    digest: u64,
    begun: UnixMs,
    writer: InventoryWriter,
    after: Option<String>,
    after_version: Option<Version>,
}

/// A page of a bucket's versions, and the position at which the next page begins.
struct Page {
    bucket: BucketRow,
    rows: Vec<(String, ListedVersion)>,
    more: bool,
    after: Option<String>,
    after_version: Option<Version>,
}

/// The reason why a bucket is not listed for a report any more.
enum Unlisted {
    /// The bucket or the inventory was deleted, or the inventory was changed.
    Changed,
    /// The owner of the bucket has no bucket with the name of the destination.
    NoDestination,
}

impl Reporting {
    pub fn new(context: InventoryContext, options: InventoryOptions) -> Self {
        Self { context, options, round: None, failed: BTreeMap::new(), last_failure: LastFailure::default() }
    }

    /// Processes one page: of a bucket's versions, of its configurations, or of the list of buckets. After an error,
    /// the next call tries the same again.
    pub async fn advance(&mut self) -> Result<Reported, InventoryError> {
        let Some(term) = self.context.metadata.lead() else {
            self.round = None;
            return Ok(Reported::Elsewhere);
        };
        let current = self.round.take().filter(|round| round.term == term);
        let mut round = current.unwrap_or_else(|| Round { term, ..Round::default() });
        let reported = self.go_on(&mut round).await;
        if !matches!(reported, Ok(Reported::End)) {
            self.round = Some(round);
        }
        reported
    }

    async fn go_on(&mut self, round: &mut Round) -> Result<Reported, InventoryError> {
        let Some(source) = &mut round.source else { return self.next_bucket(round).await };
        if let Some(reported) = source.unsaved {
            return self.save(source, reported).await;
        }
        if let Some(report) = source.under_way.take() {
            let (id, digest) = (report.rules.id.clone(), report.digest);
            return match self.write_page(source, report).await {
                // A report that cannot be written (its destination is full or gone, say) must not hold up the others.
                Err(InventoryError::Report(error)) => {
                    self.note_failed(source, id, digest, &error);
                    Ok(Reported::Page)
                }
                reported => reported,
            };
        }
        if !source.page.is_empty() {
            return Ok(Reported::Passed(self.consider_page(source)));
        }
        if source.more {
            let (bucket, after) = (source.bucket, source.there.last().cloned());
            let (page, more) = self.look_up(move |view| inventories_of(view, bucket, after.as_deref())).await?;
            (source.page, source.more) = (page.into(), more);
            return Ok(Reported::Page);
        }
        if source.begun.keep(&source.there) {
            return self.save(source, Reported::Page).await;
        }
        round.source = None;
        Ok(Reported::Passed(LookedAt::ONE))
    }

    /// Goes on to the next bucket that has inventories. After the last one, removes the start times of buckets that
    /// have none any more.
    async fn next_bucket(&mut self, round: &mut Round) -> Result<Reported, InventoryError> {
        if !round.is_last {
            let after = round.passed.clone();
            let next = self.look_up(move |view| next_source(view, after.as_deref())).await?;
            (round.source, round.passed, round.is_last) = (next.source, next.passed, !next.more);
            let rows = next.looked_at;
            let is_found = round.source.is_some();
            return Ok(if is_found { Reported::Passed(LookedAt { rows, bytes: 0 }) } else { Reported::Page });
        }
        let after = round.swept.clone();
        let (stale, next) = self.look_up(move |view| stale_after(view, after.as_deref())).await?;
        if !stale.is_empty() {
            // A refusal is ignored: then another leader has written one of them, and the next round looks again.
            self.context.metadata.propose(Change::WriteDocuments(stale)).await.map_err(UpkeepError::from)?;
        }
        if next.is_some() {
            round.swept = next;
            return Ok(Reported::Page);
        }
        let now = self.context.metadata.time().now;
        self.failed.retain(|_, failed| failed.counts(now));
        Ok(Reported::End)
    }

    /// Looks at the configurations of the page, up to the first one that is due, whose report begins.
    fn consider_page(&self, source: &mut Source) -> LookedAt {
        let mut looked_at = LookedAt::default();
        while source.under_way.is_none()
            && let Some((id, row)) = source.page.pop_front()
        {
            looked_at.add(LookedAt { rows: 1, bytes: row.value.len() });
            self.consider(source, id, &row);
        }
        looked_at
    }

    /// Begins the report of an inventory if it is due.
    fn consider(&self, source: &mut Source, id: String, row: &DocumentRow) {
        match documents::decode::<InventoryRules>(&row.value) {
            Ok(rules) => {
                let (digest, now) = (digest(row), self.context.metadata.time().now);
                if rules.is_due(source.begun.last(&id), now) && !self.has_failed(source.bucket, &id, digest, now) {
                    let (bucket, owner) = (source.name.clone(), source.owner.clone());
                    let writer =
                        InventoryWriter::new(InventorySource { bucket, owner, rules: rules.clone(), begun: now });
                    source.under_way =
                        Some(UnderWay { rules, digest, begun: now, writer, after: None, after_version: None });
                }
            }
            Err(error) => {
                tracing::warn!(
                    bucket = %source.name, %id, %error,
                    "cannot read an inventory configuration; it is ignored"
                );
            }
        }
        source.there.insert(id);
    }

    fn note_failed(&mut self, source: &Source, id: String, digest: u64, error: &ReportError) {
        tracing::warn!(bucket = %source.name, %id, %error, "cannot write an inventory; it is begun again in an hour");
        let failed = Failed { digest, at: self.context.metadata.time().now };
        self.failed.insert((source.bucket, id), failed);
    }

    /// Returns whether the report of this configuration failed lately.
    fn has_failed(&self, bucket: BucketId, id: &str, digest: u64, now: UnixMs) -> bool {
        let failed = self.failed.get(&(bucket, id.to_owned()));
        failed.is_some_and(|failed| failed.digest == digest && failed.counts(now))
    }

    /// Writes the next page of a report.
    async fn write_page(&mut self, source: &mut Source, mut report: UnderWay) -> Result<Reported, InventoryError> {
        let (bucket, rules) = (source.bucket, report.rules.clone());
        let (after, after_version, limit) = (report.after.clone(), report.after_version, self.options.page);
        let page = match self.look_up(move |view| look(view, bucket, &rules, after, after_version, limit)).await {
            Ok(Ok(page)) => page,
            // The report is given up.
            Ok(Err(Unlisted::Changed)) => return Ok(Reported::Passed(LookedAt::ONE)),
            Ok(Err(Unlisted::NoDestination)) => {
                let why = format!("the bucket's owner has no bucket {}", report.rules.destination.bucket);
                self.note_failed(source, report.rules.id, report.digest, &ReportError { why });
                return Ok(Reported::Passed(LookedAt::ONE));
            }
            Err(error) => {
                source.under_way = Some(report);
                return Err(error.into());
            }
        };
        for (key, listed) in &page.rows {
            let row = describe(key, &listed.row, listed.latest, &page.bucket.bucket.owner);
            if let Some(file) = report.writer.add(&row, || self.unique()) {
                self.put(&file).await?;
            }
        }
        if page.more {
            (report.after, report.after_version) = (page.after, page.after_version);
            source.under_way = Some(report);
            return Ok(Reported::Page);
        }
        for file in report.writer.finish(|| self.unique()) {
            self.put(&file).await?;
        }
        source.begun.note(report.rules.id, report.begun);
        self.save(source, Reported::Whole).await
    }

    async fn put(&self, file: &Report) -> Result<(), InventoryError> {
        Ok(self.context.reports.put(file).await?)
    }

    /// Returns a unique part for the name of a data file.
    fn unique(&self) -> String {
        format!("{:032x}", self.context.ambient.random_u128())
    }

    /// Saves the start times, which were changed with this outcome. If that fails, the next step only saves them.
    async fn save(&self, source: &mut Source, reported: Reported) -> Result<Reported, InventoryError> {
        source.unsaved = Some(reported);
        let write = source.begun.write(source.bucket).expect("numbers and text are JSON");
        self.context.metadata.propose(Change::WriteDocuments(vec![write])).await.map_err(UpkeepError::from)?;
        source.unsaved = None;
        Ok(reported)
    }

    async fn look_up<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MetaView) -> KvResult<T> + Send + 'static,
    ) -> Result<T, UpkeepError> {
        look_up(&*self.context.metadata, &self.context.threads, ask).await
    }
}

impl Failed {
    /// Returns whether the failure still holds up the report. One in the future, by a clock that was ahead, does not.
    fn counts(&self, now: UnixMs) -> bool {
        now.0.checked_sub(self.at.0).is_some_and(|ms| Duration::from_millis(ms) < FAILED_PAUSE)
    }
}

/// Returns a digest by which a changed configuration is recognised.
fn digest(row: &DocumentRow) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.value.hash(&mut hasher);
    hasher.finish()
}

/// Returns a page of the bucket's configurations with ids after `after`, and whether more follow.
fn inventories_of(
    view: &MetaView,
    bucket: BucketId,
    after: Option<&str>,
) -> KvResult<(Vec<(String, DocumentRow)>, bool)> {
    view.bucket_documents(bucket, BucketDocument::Inventory, "", after, CONFIGURATIONS_OF_A_KIND_MAX)
}

/// The next bucket with inventories.
struct NextSource {
    /// `None` if the buckets that were looked at have none.
    source: Option<Source>,
    /// The name of the last bucket that was looked at.
    passed: Option<String>,
    /// True if further buckets follow `passed`.
    more: bool,
    /// The number of buckets that were looked at.
    looked_at: usize,
}

/// Looks for inventories in a page of buckets after `after`, up to the first bucket that has some.
fn next_source(view: &MetaView, after: Option<&str>) -> KvResult<NextSource> {
    let (rows, more) = view.buckets("", after, BUCKETS_LOOKED_AT)?;
    let (mut passed, mut looked_at) = (None, 0);
    for BucketRow { bucket, .. } in rows {
        let (page, more_of_it) = inventories_of(view, bucket.id, None)?;
        passed = Some(bucket.name.clone());
        looked_at += 1;
        if page.is_empty() {
            continue;
        }
        let source = Source {
            bucket: bucket.id,
            name: bucket.name,
            owner: bucket.owner,
            begun: Begun::of(view.document(&Begun::key(bucket.id))?.as_ref()),
            page: page.into(),
            more: more_of_it,
            there: BTreeSet::new(),
            under_way: None,
            unsaved: None,
        };
        return Ok(NextSource { source: Some(source), passed, more: true, looked_at });
    }
    Ok(NextSource { source: None, passed, more, looked_at })
}

/// Looks at a page of the documents of start times. Returns the removal of those whose buckets are gone or have no
/// inventories, and the name of the page's last one; `None` for the name if none follow.
fn stale_after(view: &MetaView, after: Option<&str>) -> KvResult<(Vec<DocumentWrite>, Option<String>)> {
    let (rows, more) = view.system_documents(begun::NAMES, after, BUCKETS_LOOKED_AT)?;
    let mut stale = Vec::new();
    for (name, row) in &rows {
        let Some(bucket) = begun::bucket_of(name) else { continue };
        let (first, _) = view.bucket_documents(bucket, BucketDocument::Inventory, "", None, 1)?;
        if first.is_empty() {
            let key = DocumentKey::System(name.clone());
            stale.push(DocumentWrite { key, expect: Expect::Revision(row.revision), value: None });
        }
    }
    Ok((stale, rows.into_iter().next_back().map(|(name, _)| name).filter(|_| more)))
}

/// Returns the next page of a bucket.
fn look(
    view: &MetaView,
    id: BucketId,
    rules: &InventoryRules,
    after: Option<String>,
    after_version: Option<Version>,
    limit: usize,
) -> KvResult<Result<Page, Unlisted>> {
    let Some(bucket) = view.bucket_numbered(id)? else { return Ok(Err(Unlisted::Changed)) };
    let current = view.document(&DocumentKey::Bucket(id, BucketDocument::Inventory, rules.id.clone()))?;
    let current = current.and_then(|row| documents::decode::<InventoryRules>(&row.value).ok());
    if current.as_ref() != Some(rules) {
        return Ok(Err(Unlisted::Changed));
    }
    // The destination bucket may have been deleted or recreated by another account since the inventory was configured.
    let destination = view.bucket(&rules.destination.bucket)?;
    if destination.is_none_or(|destination| destination.bucket.owner != bucket.bucket.owner) {
        return Ok(Err(Unlisted::NoDestination));
    }
    let prefix = rules.prefix.clone().unwrap_or_default();
    let query = ListQuery { prefix, delimiter: None, after, limit };
    let reduced = |object: ObjectVersion| VersionRow::Object(reduced(object, &rules.fields));
    Ok(Ok(if rules.all_versions {
        let kept = |row: VersionRow| match row {
            VersionRow::Object(object) => reduced(object),
            marker @ VersionRow::DeleteMarker(_) => marker,
        };
        let page = view.list_versions_as(id, &query, after_version, kept)?;
        let rows = page.entries.into_iter().filter_map(item).collect();
        Page { bucket, rows, more: page.more, after: page.next_after, after_version: page.next_version }
    } else {
        let kept = |object: ObjectVersion| ListedVersion { row: reduced(object), latest: true };
        let page = view.list_objects_as(id, &query, kept)?;
        let rows = page.entries.into_iter().filter_map(item).collect();
        Page { bucket, rows, more: page.more, after: page.next_after, after_version: None }
    }))
}

fn item<T>(listed: Listed<T>) -> Option<(String, T)> {
    match listed {
        Listed::Item { key, record } => Some((key, record)),
        Listed::CommonPrefix(_) => None,
    }
}

impl Chore for Reporting {
    async fn step(&mut self) -> Duration {
        let options = self.options;
        let mut looked_at = LookedAt::default();
        let reported = loop {
            let reported = self.advance().await;
            let Ok(Reported::Passed(passed)) = reported else { break reported };
            looked_at.add(passed);
            if looked_at.is_enough() {
                break reported;
            }
        };
        match reported {
            Ok(Reported::Elsewhere | Reported::End) => {
                self.last_failure.is_over();
                options.idle
            }
            Ok(Reported::Page | Reported::Passed(_) | Reported::Whole) if self.context.load.is_busy() => {
                options.busy_pause
            }
            Ok(Reported::Page | Reported::Passed(_) | Reported::Whole) => options.pause,
            Err(error) => {
                if self.last_failure.is_news(&error) {
                    tracing::warn!(%error, "cannot write inventories now; trying again");
                }
                options.idle
            }
        }
    }
}

#[cfg(test)]
mod tests;
