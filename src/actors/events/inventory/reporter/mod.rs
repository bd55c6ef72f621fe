//! `Inventories`: writes the inventory reports that are due, one after the other, a page of a bucket at a time. Owns
//! the state of the round over all buckets, and the report under way.
//!
//! It is a chore (`upkeep::Background`): it receives `Wake` and `Stop`, and sends no messages. It works on the host
//! that leads and rests on the others. When a report is complete, its start time is recorded in the metadata. An
//! interrupted report is started again by the next leader, under other names. A report is no snapshot: each page has
//! the bucket's state at the time when the page is listed. The pauses between pages are longer while users' requests
//! are under way.

use super::InventoryRules;
use super::begun::{Begun, name_of};
use super::describe::describe;
use super::writer::{InventorySource, InventoryWriter};
use crate::actors::documents;
use crate::actors::drives::{Blocking, UserLoad};
use crate::actors::events::{Report, ReportError, ReportStore};
use crate::actors::request::Metadata;
use crate::actors::upkeep::{Background, Chore, UpkeepError, look_up};
use crate::ambient::Ambient;
use crate::limits::{BUCKETS_LOOKED_AT, CONFIGURATIONS_OF_A_KIND_MAX, INVENTORY_PAGE};
use crate::storage::kv::KvResult;
use crate::storage::meta::command::Change;
use crate::storage::meta::listing::{ListQuery, Listed, ListedVersion};
use crate::storage::meta::record::{BucketDocument, BucketRow, Version, VersionRow};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, UnixMs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// A page of buckets or of versions was processed.
    Page,
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
    /// The reports that could not be written, by the inventory's name, with its rules then, and the time.
    failed: BTreeMap<String, (InventoryRules, UnixMs)>,
}

/// The state of a round over all buckets.
#[derive(Debug)]
struct Round {
    begun: Begun,
    /// The name of the last bucket that was read; buckets are read in order of name.
    passed: Option<String>,
    /// True if no bucket follows `passed`.
    is_last: bool,
    /// The inventories of the buckets that were read, not yet processed.
    found: VecDeque<BucketInventory>,
    /// The names of all inventories that were processed in this round.
    there: BTreeSet<String>,
    /// The report that is being written.
    under_way: Option<UnderWay>,
}

/// An inventory of a bucket.
#[derive(Clone, Debug)]
struct BucketInventory {
    bucket: BucketId,
    rules: InventoryRules,
    bucket_name: String,
    owner: String,
}

/// A report under way, and the position in the listing from which it goes on.
#[derive(Debug)]
struct UnderWay {
    found: BucketInventory,
    source: InventorySource,
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

impl Reporting {
    pub fn new(context: InventoryContext, options: InventoryOptions) -> Self {
        Self { context, options, round: None, failed: BTreeMap::new() }
    }

    /// Processes one page: of a bucket's versions, or of the list of buckets.
    pub async fn advance(&mut self) -> Result<Reported, InventoryError> {
        if !self.context.metadata.is_leader() {
            self.round = None;
            return Ok(Reported::Elsewhere);
        }
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin().await?,
        };
        let reported = match round.under_way.take() {
            Some(report) => {
                let found = report.found.clone();
                match self.go_on(&mut round, report).await {
                    // A report that cannot be written (its bucket is full, say) must not hold up the others.
                    Err(InventoryError::Report(error)) => {
                        self.note_failed(found, &error);
                        Ok(Reported::Page)
                    }
                    reported => reported,
                }
            }
            None => self.next(&mut round).await,
        };
        if reported.as_ref().is_ok_and(|reported| *reported != Reported::End) {
            self.round = Some(round);
        }
        reported
    }

    fn note_failed(&mut self, found: BucketInventory, error: &ReportError) {
        let BucketInventory { bucket, rules, bucket_name, .. } = found;
        tracing::warn!(bucket = %bucket_name, id = %rules.id, %error, "cannot write an inventory; it is begun again in an hour");
        self.failed.insert(name_of(bucket, &rules.id), (rules, self.context.ambient.clock.unix_ms()));
    }

    /// Returns whether the report with these rules failed lately.
    fn has_failed(&self, name: &str, rules: &InventoryRules, now: UnixMs) -> bool {
        let failed = self.failed.get(name).filter(|(of, _)| of == rules);
        failed.is_some_and(|(_, at)| Duration::from_millis(now.0.saturating_sub(at.0)) < FAILED_PAUSE)
    }

    async fn begin(&self) -> Result<Round, InventoryError> {
        let begun = self.look_up(|view| Ok(Begun::of(view.document(&Begun::key())?.as_ref()))).await?;
        let there = BTreeSet::new();
        Ok(Round { begun, passed: None, is_last: false, found: VecDeque::new(), there, under_way: None })
    }

    async fn next(&mut self, round: &mut Round) -> Result<Reported, InventoryError> {
        if let Some(found) = round.found.pop_front() {
            let name = name_of(found.bucket, &found.rules.id);
            let now = self.context.ambient.clock.unix_ms();
            if found.rules.is_due(round.begun.last(&name), now) && !self.has_failed(&name, &found.rules, now) {
                let (bucket, owner, rules) = (found.bucket_name.clone(), found.owner.clone(), found.rules.clone());
                let source = InventorySource { bucket, owner, rules, begun: now };
                let writer = InventoryWriter::new(source.clone());
                round.under_way = Some(UnderWay { found, source, writer, after: None, after_version: None });
            }
            round.there.insert(name);
            return Ok(Reported::Page);
        }
        if round.is_last {
            self.failed.retain(|name, _| round.there.contains(name));
            if round.begun.keep(&round.there) {
                self.save(&round.begun).await?;
            }
            return Ok(Reported::End);
        }
        let after = round.passed.clone();
        let (found, passed) = self.look_up(move |view| inventories_after(view, after.as_deref())).await?;
        round.found = found;
        round.is_last = passed.is_none();
        round.passed = passed;
        Ok(Reported::Page)
    }

    async fn go_on(&self, round: &mut Round, mut report: UnderWay) -> Result<Reported, InventoryError> {
        let (bucket, rules) = (report.found.bucket, report.found.rules.clone());
        let (after, after_version, limit) = (report.after.clone(), report.after_version, self.options.page);
        let page = self.look_up(move |view| look(view, bucket, &rules, after, after_version, limit)).await?;
        // The bucket or the inventory was deleted or changed: the report is given up.
        let Some(page) = page else { return Ok(Reported::Page) };
        for (key, listed) in &page.rows {
            let row = describe(key, &listed.row, listed.latest, &page.bucket.bucket.owner);
            if let Some(file) = report.writer.add(&row, || self.unique()) {
                self.put(&file).await?;
            }
        }
        if page.more {
            (report.after, report.after_version) = (page.after, page.after_version);
            round.under_way = Some(report);
            return Ok(Reported::Page);
        }
        let UnderWay { found, source, writer, .. } = report;
        for file in writer.finish(|| self.unique()) {
            self.put(&file).await?;
        }
        round.begun.note(name_of(found.bucket, &found.rules.id), source.begun);
        self.save(&round.begun).await?;
        Ok(Reported::Whole)
    }

    async fn put(&self, file: &Report) -> Result<(), InventoryError> {
        Ok(self.context.reports.put(file).await?)
    }

    /// Returns a unique part for the name of a data file.
    fn unique(&self) -> String {
        format!("{:032x}", self.context.ambient.random_u128())
    }

    async fn save(&self, begun: &Begun) -> Result<(), UpkeepError> {
        let write = begun.write().expect("numbers and text are JSON");
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

/// Returns the inventories of a page of buckets after `after`, and the name of the page's last bucket; `None` for the
/// name if no buckets follow.
fn inventories_after(view: &MetaView, after: Option<&str>) -> KvResult<(VecDeque<BucketInventory>, Option<String>)> {
    let (rows, more) = view.buckets("", after, BUCKETS_LOOKED_AT)?;
    let mut found = VecDeque::new();
    let mut last = None;
    for BucketRow { bucket, .. } in rows {
        let (documents, _) =
            view.bucket_documents(bucket.id, BucketDocument::Inventory, "", None, CONFIGURATIONS_OF_A_KIND_MAX)?;
        for (id, row) in documents {
            match documents::decode(&row.value) {
                Ok(rules) => {
                    let (bucket_name, owner) = (bucket.name.clone(), bucket.owner.clone());
                    found.push_back(BucketInventory { bucket: bucket.id, rules, bucket_name, owner });
                }
                Err(error) => {
                    tracing::warn!(
                        bucket = %bucket.name, %id, %error,
                        "cannot read an inventory configuration; it is ignored"
                    );
                }
            }
        }
        last = Some(bucket.name);
    }
    Ok((found, last.filter(|_| more)))
}

/// Returns the next page of a bucket. `None` if the bucket or the inventory was deleted, the inventory was changed, or
/// the destination bucket is missing or of another owner.
fn look(
    view: &MetaView,
    id: BucketId,
    rules: &InventoryRules,
    after: Option<String>,
    after_version: Option<Version>,
    limit: usize,
) -> KvResult<Option<Page>> {
    let Some(bucket) = view.bucket_numbered(id)? else { return Ok(None) };
    let (documents, _) = view.bucket_documents(id, BucketDocument::Inventory, &rules.id, None, 1)?;
    let current = documents.first().and_then(|(_, row)| documents::decode::<InventoryRules>(&row.value).ok());
    if current.as_ref() != Some(rules) {
        return Ok(None);
    }
    // The destination bucket may have been deleted or recreated by another account since the inventory was configured.
    let destination = view.bucket(&rules.destination.bucket)?;
    if destination.is_none_or(|destination| destination.bucket.owner != bucket.bucket.owner) {
        let (source, id) = (&bucket.bucket.name, &rules.id);
        tracing::warn!(
            %source, %id, destination = %rules.destination.bucket,
            "cannot write an inventory: the bucket's owner has no such destination bucket"
        );
        return Ok(None);
    }
    let prefix = rules.prefix.clone().unwrap_or_default();
    let query = ListQuery { prefix, delimiter: None, after, limit };
    Ok(Some(if rules.all_versions {
        let page = view.list_versions(id, &query, after_version)?;
        let rows = page.entries.into_iter().filter_map(item).collect();
        Page { bucket, rows, more: page.more, after: page.next_after, after_version: page.next_version }
    } else {
        let page = view.list_objects(id, &query)?;
        let objects = page.entries.into_iter().filter_map(item);
        let listed = |object| ListedVersion { row: VersionRow::Object(object), latest: true };
        let rows = objects.map(|(key, object)| (key, listed(object))).collect();
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
        match self.advance().await {
            Ok(Reported::Elsewhere | Reported::End) => options.idle,
            Ok(Reported::Page | Reported::Whole) if self.context.load.is_busy() => options.busy_pause,
            Ok(Reported::Page | Reported::Whole) => options.pause,
            Err(error) => {
                tracing::debug!(%error, "cannot write inventories now; trying again");
                options.idle
            }
        }
    }
}

#[cfg(test)]
mod tests;
