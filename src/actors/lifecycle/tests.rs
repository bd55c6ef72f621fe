//! Lifecycle sweeps over metadata tables in memory: expired items are removed, and nothing else is.

use super::progress::Progress;
use super::rules::{Expiration, Filter, NoncurrentExpiration, Predicates, Rule, Rules, Scope, Tag, TransitionMinimum};
use super::{LifecycleContext, LifecycleOptions, Sweeping, Swept};
use crate::actors::consensus::MetaError;
use crate::actors::documents;
use crate::actors::drives::test_host::{Seeded, SetClock, TableMetadata, set_clock};
use crate::actors::drives::{Inline, UserLoad};
use crate::actors::events::{EventSink, Message, SinkFault, Target, Targets};
use crate::actors::request::Metadata;
use crate::actors::upkeep::Chore;
use crate::ambient::Ambient;
use crate::storage::meta::command::{
    Change, ChangeTraits, CreateBucket, CreateUpload, DeleteConditions, DeleteVersion, LogTime, PutObject, Reply,
    TraitsChange, WriteConditions,
};
use crate::storage::meta::listing::{ListQuery, Listed};
use crate::storage::meta::record::{
    Body, BucketDocument, DocumentKey, DocumentWrite, ETag, Expect, Manifest, ObjectHeaders, ObjectLock, ObjectVersion,
    Pick, QuotaChange, Traits, UploadRow, VersionRow, Versioning,
};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, ManifestId, UnixMs, UploadId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A shortened day, with which expiry times are not rounded to midnight.
const DAY: Duration = Duration::from_secs(60);
const STEPS_MAX: usize = 1000;

/// The metadata of one host, which may lead.
#[derive(Debug)]
struct Leader {
    metadata: Arc<TableMetadata>,
    leads: AtomicBool,
    /// A client's change that is made just before the next deletion.
    meanwhile: Mutex<Option<Change>>,
}

#[async_trait::async_trait]
impl Metadata for Leader {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        let meanwhile = match change {
            Change::DeleteVersions { .. } => self.meanwhile.lock().expect("no panic while it is held").take(),
            _ => None,
        };
        if let Some(meanwhile) = meanwhile {
            self.metadata.propose(meanwhile).await?;
        }
        self.metadata.propose(change).await
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        self.metadata.read().await
    }

    fn time(&self) -> LogTime {
        self.metadata.time()
    }

    fn is_leader(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }
}

/// A webhook that nothing is sent to: no deliverer runs, so events stay in the queue.
#[derive(Debug)]
struct Deaf;

#[async_trait::async_trait]
impl EventSink for Deaf {
    async fn send(&self, _: &Message) -> Result<(), SinkFault> {
        Ok(())
    }
}

struct Store {
    metadata: Arc<TableMetadata>,
    leader: Arc<Leader>,
    clock: Arc<SetClock>,
    entropy: Arc<Seeded>,
    bucket: BucketId,
}

impl Store {
    async fn new(rules: Vec<Rule>) -> Self {
        let clock = set_clock();
        let metadata = Arc::new(TableMetadata::new(Arc::clone(&clock)));
        let bucket = metadata.bucket().await;
        let leader =
            Leader { metadata: Arc::clone(&metadata), leads: AtomicBool::new(true), meanwhile: Mutex::default() };
        let store = Self { metadata, leader: Arc::new(leader), clock, entropy: Arc::new(Seeded::new(1)), bucket };
        if !rules.is_empty() {
            let rules = Rules { rules, transition_minimum: TransitionMinimum::default() };
            store.document(BucketDocument::Lifecycle, documents::encode(&rules).expect("rules")).await;
        }
        store
    }

    async fn versioned(rules: Vec<Rule>) -> Self {
        let store = Self::new(rules).await;
        store.version(Versioning::Enabled).await;
        store
    }

    fn sweeping(&self, page: usize) -> Sweeping {
        let target = Target { sink: Arc::new(Deaf), queue_limit: 100 };
        let context = LifecycleContext {
            metadata: Arc::clone(&self.leader) as _,
            threads: Arc::new(Inline),
            ambient: Ambient { clock: Arc::clone(&self.clock) as _, entropy: Arc::clone(&self.entropy) as _ },
            load: UserLoad::default(),
            targets: Targets::new([("HOOK".to_owned(), target)]),
            host_id: "host".to_owned(),
        };
        let options = LifecycleOptions { day: DAY, page, save_every: Duration::ZERO, ..LifecycleOptions::default() };
        Sweeping::new(context, options)
    }

    /// Advances the clock by a number of days, runs a whole sweep, and returns the number of removed items.
    async fn sweep_after(&self, days: f32, page: usize) -> usize {
        self.clock.forward(DAY.mul_f32(days));
        sweep(&mut self.sweeping(page)).await
    }

    async fn change(&self, change: Change) -> Reply {
        match self.metadata.propose(change).await.expect("decided") {
            Reply::Refused(refusal) => panic!("refused: {refusal}"),
            reply => reply,
        }
    }

    async fn document(&self, kind: BucketDocument, value: impl Into<bytes::Bytes>) {
        let key = DocumentKey::Bucket(self.bucket, kind, String::new());
        let write = DocumentWrite { key, expect: Expect::Any, value: Some(value.into()) };
        self.change(Change::WriteDocuments(vec![write])).await;
    }

    async fn version(&self, versioning: Versioning) {
        let versioning = Some(versioning);
        self.change(Change::SetBucket { bucket: self.bucket, versioning, lock: None, quota: QuotaChange::default() })
            .await;
    }

    fn put_change(&self, key: &str, traits: Traits) -> Change {
        let manifest = Manifest {
            id: ManifestId(u128::from(self.entropy.next())),
            size_bytes: 0,
            etag: ETag { md5: [0; 16], parts: None },
            modified: UnixMs(0),
            headers: ObjectHeaders::default(),
            checksum: None,
            body: Body::Empty,
        };
        let (bucket, key, conditions) = (self.bucket, key.to_owned(), WriteConditions::default());
        let missing = Vec::new();
        Change::PutObject(Box::new(PutObject {
            bucket,
            key,
            manifest,
            inline: None,
            conditions,
            missing,
            traits,
            event: None,
        }))
    }

    async fn put(&self, key: &str) -> ObjectVersion {
        self.put_with(key, Traits::default()).await
    }

    async fn put_with(&self, key: &str, traits: Traits) -> ObjectVersion {
        match self.change(self.put_change(key, traits)).await {
            Reply::ObjectPut { object } => *object,
            other => panic!("{other:?}"),
        }
    }

    fn delete_change(&self, key: &str) -> Change {
        self.delete_version_change(key, Pick::Current)
    }

    fn delete_version_change(&self, key: &str, pick: Pick) -> Change {
        let delete = DeleteVersion {
            key: key.to_owned(),
            pick,
            conditions: DeleteConditions::default(),
            owner: String::new(),
            salt: self.entropy.next(),
            bypass_governance: false,
            event: None,
        };
        Change::DeleteVersions { bucket: self.bucket, deletes: vec![delete] }
    }

    async fn delete(&self, key: &str) {
        self.change(self.delete_change(key)).await;
    }

    async fn begin_upload(&self, key: &str, id: u128) {
        let create = CreateUpload {
            bucket: self.bucket,
            key: key.to_owned(),
            id: UploadId(id),
            owner: String::new(),
            headers: ObjectHeaders::default(),
            checksum: None,
            traits: Traits::default(),
        };
        self.change(Change::CreateUpload(Box::new(create))).await;
    }

    async fn view(&self) -> MetaView {
        self.metadata.read().await.expect("tables in memory")
    }

    /// Returns the key of every version, newest first within each key, with `-` before the key of a delete marker.
    async fn left(&self) -> Vec<String> {
        let query = ListQuery { limit: 1000, ..ListQuery::default() };
        let page = self.view().await.list_versions(self.bucket, &query, None).expect("listed");
        let shown = |entry: Listed<crate::storage::meta::listing::ListedVersion>| match entry {
            Listed::Item { key, record } if matches!(record.row, VersionRow::DeleteMarker(_)) => format!("-{key}"),
            Listed::Item { key, .. } | Listed::CommonPrefix(key) => key,
        };
        page.entries.into_iter().map(shown).collect()
    }

    async fn uploads_left(&self) -> Vec<UploadId> {
        let query = ListQuery { limit: 1000, ..ListQuery::default() };
        let page = self.view().await.list_uploads(self.bucket, &query, None).expect("listed");
        let id = |entry: Listed<UploadRow>| match entry {
            Listed::Item { record, .. } => record.upload.id,
            Listed::CommonPrefix(_) => panic!("nothing was asked for by delimiter"),
        };
        page.entries.into_iter().map(id).collect()
    }

    async fn events(&self) -> Vec<(String, String)> {
        let rows = self.view().await.events("HOOK", 0, 1000).expect("events");
        rows.into_iter().map(|row| (row.draft.name, row.key)).collect()
    }
}

/// Runs to the end of a sweep and returns the number of removed items.
async fn sweep(sweeping: &mut Sweeping) -> usize {
    let mut total = 0;
    for _ in 0..STEPS_MAX {
        match sweeping.advance().await.expect("a step") {
            Swept::Page { gone } => total += gone,
            Swept::Passed(_) => {}
            Swept::End => return total,
            other => panic!("a sweep is due: {other:?}"),
        }
    }
    panic!("the sweep does not come to an end");
}

fn rule(prefix: &str) -> Rule {
    let own = Predicates { prefix: Some(prefix.to_owned()), ..Predicates::default() };
    Rule {
        id: "r".to_owned(),
        enabled: true,
        scope: Scope::Filter(Filter { own, and: None }),
        expiration: None,
        noncurrent: None,
        abort_uploads_after_days: None,
    }
}

fn expiring(prefix: &str, days: u32) -> Rule {
    Rule { expiration: Some(Expiration::Days(days)), ..rule(prefix) }
}

fn noncurrent(days: u32, newer_versions_kept: Option<u32>) -> Rule {
    Rule { noncurrent: Some(NoncurrentExpiration { days, newer_versions_kept }), ..rule("") }
}

fn without_lone_markers() -> Rule {
    Rule { expiration: Some(Expiration::DeleteMarkers(true)), ..rule("") }
}

#[actix::test]
async fn objects_expire_at_their_age_and_others_stay() {
    let store = Store::new(vec![expiring("logs/", 2), expiring("tmp/", 1)]).await;
    for key in ["a", "logs/1", "logs/2", "logs/3", "tmp/1", "z"] {
        store.put(key).await;
    }
    assert_eq!(store.sweep_after(0.9, 2).await, 0);
    assert_eq!(store.sweep_after(0.2, 2).await, 1);
    store.put("logs/2").await;
    assert_eq!(store.sweep_after(1.0, 2).await, 2);
    assert_eq!(store.left().await, ["a", "logs/2", "z"]);
}

#[actix::test]
async fn nothing_expires_because_a_hosts_clock_is_ahead() {
    let rules = vec![
        expiring("", 1),
        noncurrent(1, None),
        without_lone_markers(),
        Rule { abort_uploads_after_days: Some(1), ..rule("") },
    ];
    let store = Store::versioned(rules).await;
    for key in ["k", "k", "l"] {
        store.put(key).await;
    }
    store.begin_upload("u", 1).await;
    store.clock.set_wall_ahead(60 * DAY);
    assert_eq!(store.sweep_after(0.5, 10).await, 0);
    assert_eq!((store.left().await.len(), store.uploads_left().await.len()), (3, 1));
    store.clock.set_wall_ahead(Duration::ZERO);
    assert_eq!(store.sweep_after(0.6, 10).await, 4, "a day has passed");
}

#[actix::test]
async fn expired_objects_and_their_delete_markers_are_removed_in_the_end() {
    let rules = || vec![expiring("", 1), noncurrent(1, None), without_lone_markers()];
    for page in [1, 2, 3, 100] {
        let store = Store::versioned(rules()).await;
        for key in ["k", "k", "l"] {
            store.put(key).await;
        }
        store.delete("l").await;
        assert_eq!(store.sweep_after(1.0, page).await, 3, "an old version of each, and the current one is hidden");
        assert_eq!(store.left().await, ["-k", "k", "-l"], "a hidden version is noncurrent since its delete marker");
        store.sweep_after(1.0, page).await;
        store.sweep_after(1.0, page).await;
        assert!(store.left().await.is_empty(), "{page}: {:?}", store.left().await);
    }
}

#[actix::test]
async fn the_newest_noncurrent_versions_are_kept_wherever_pages_end() {
    for page in [1, 2, 3, 4, 100] {
        let store = Store::versioned(vec![noncurrent(1, Some(2))]).await;
        let mut versions = Vec::new();
        for _ in 0..6 {
            versions.push(store.put("k").await.version);
        }
        store.put("l").await;
        assert_eq!(store.sweep_after(1.5, page).await, 3, "{page}");
        assert_eq!(store.left().await, ["k", "k", "k", "l"]);
        let kept = store.view().await.version(store.bucket, "k", versions[3].pick()).expect("looked up");
        assert!(kept.is_some(), "the newest of the old ones");
    }
}

#[actix::test]
async fn a_version_is_noncurrent_since_the_next_one_was_made() {
    let store = Store::versioned(vec![noncurrent(2, None)]).await;
    store.put("k").await;
    store.clock.forward(5 * DAY);
    store.put("k").await;
    assert_eq!(store.sweep_after(1.0, 10).await, 0);
    assert_eq!(store.sweep_after(1.0, 10).await, 1);
}

#[actix::test]
async fn a_delete_marker_is_removed_once_it_hides_nothing() {
    for page in [1, 10] {
        let store = Store::versioned(vec![without_lone_markers()]).await;
        store.put("kept").await;
        for key in ["kept", "lone", "zz"] {
            store.delete(key).await;
        }
        assert_eq!(store.sweep_after(0.1, page).await, 2, "{page}");
        assert_eq!(store.left().await, ["-kept", "kept"]);
    }
}

#[actix::test]
async fn a_version_under_legal_hold_does_not_expire() {
    let store = Store::versioned(vec![noncurrent(1, None)]).await;
    store
        .change(Change::SetBucket {
            bucket: store.bucket,
            versioning: None,
            lock: Some(ObjectLock::default()),
            quota: QuotaChange::default(),
        })
        .await;
    store.put_with("k", Traits { legal_hold: Some(true), ..Traits::default() }).await;
    store.put("k").await;
    store.put("k").await;
    assert_eq!(store.sweep_after(2.0, 10).await, 1);
    assert_eq!(store.left().await, ["k", "k"]);
    assert_eq!(store.sweep_after(2.0, 10).await, 0);
}

#[actix::test]
async fn incomplete_uploads_are_aborted_at_their_age() {
    for page in [1, 2, 100] {
        let store = Store::new(vec![Rule { abort_uploads_after_days: Some(1), ..rule("a/") }]).await;
        for (key, id) in [("a/1", 1), ("a/1", 2), ("a/1", 3), ("a/2", 4), ("b", 5)] {
            store.begin_upload(key, id).await;
        }
        store.clock.forward(DAY);
        store.begin_upload("a/1", 6).await;
        assert_eq!(store.sweep_after(0.5, page).await, 4, "{page}");
        assert_eq!(store.uploads_left().await, [UploadId(6), UploadId(5)]);
    }
}

#[actix::test]
async fn a_version_written_after_the_scan_stays() {
    let store = Store::new(vec![expiring("", 1)]).await;
    store.put("k").await;
    *store.leader.meanwhile.lock().expect("no panic while it is held") = Some(store.put_change("k", Traits::default()));
    assert_eq!(store.sweep_after(1.0, 10).await, 0);
    assert_eq!(store.left().await, ["k"]);
}

#[actix::test]
async fn a_version_that_lost_the_tag_of_its_rule_after_the_scan_stays() {
    let own = Predicates {
        tags: vec![Tag { key: "kind".to_owned(), value: "temporary".to_owned() }],
        ..Predicates::default()
    };
    let scope = Scope::Filter(Filter { own, and: None });
    for rule in [expiring("", 1), noncurrent(1, None)] {
        let is_current = rule.expiration.is_some();
        let store = Store::versioned(vec![Rule { scope: scope.clone(), ..rule }]).await;
        let tags = vec![("a".to_owned(), "b".to_owned()), ("kind".to_owned(), "temporary".to_owned())];
        let version = store.put_with("k", Traits { tags: tags.clone(), ..Traits::default() }).await.version;
        if !is_current {
            store.put("k").await;
        }
        let with_tags = |tags: &[(String, String)]| {
            Change::ChangeTraits(Box::new(ChangeTraits {
                bucket: store.bucket,
                key: "k".to_owned(),
                pick: version.pick(),
                manifest: None,
                to: TraitsChange::Tags(tags.to_vec()),
                event: None,
            }))
        };
        *store.leader.meanwhile.lock().expect("no panic while it is held") = Some(with_tags(&tags[..1]));
        assert_eq!(store.sweep_after(1.5, 10).await, 0);
        assert!(!store.left().await.contains(&"-k".to_owned()), "{:?}", store.left().await);
        store.change(with_tags(&tags[1..])).await;
        assert_eq!(store.sweep_after(1.0, 10).await, 1, "it has the tag again");
    }
}

#[actix::test]
async fn a_noncurrent_version_that_became_current_after_the_scan_stays() {
    let store = Store::versioned(vec![noncurrent(1, None)]).await;
    let first = store.put("k").await;
    let second = store.put("k").await;
    let restore = store.delete_version_change("k", second.version.pick());
    *store.leader.meanwhile.lock().expect("no panic while it is held") = Some(restore);
    assert_eq!(store.sweep_after(2.0, 10).await, 0);
    let current = store.view().await.object(store.bucket, "k").expect("looked up");
    assert_eq!(current.map(|object| object.version), Some(first.version));
}

#[actix::test]
async fn a_version_that_became_one_to_keep_after_the_scan_stays() {
    for hidden in [false, true] {
        let store = Store::versioned(vec![noncurrent(1, Some(2))]).await;
        let mut versions = Vec::new();
        for _ in 0..4 {
            versions.push(store.put("k").await.version);
        }
        if hidden {
            store.delete("k").await;
        }
        // The versions 1 and 2 are to be kept, or 2 and 3 under the delete marker.
        let kept = 2 + usize::from(hidden);
        let deletion = store.delete_version_change("k", versions[kept].pick());
        *store.leader.meanwhile.lock().expect("no panic while it is held") = Some(deletion);
        let left = if hidden { ["-k", "k", "k"] } else { ["k", "k", "k"] };
        assert_eq!(
            (store.sweep_after(2.0, 10).await, store.left().await),
            (usize::from(hidden), left.map(str::to_owned).to_vec())
        );
    }
}

#[actix::test]
async fn a_noncurrent_delete_marker_that_hides_its_key_after_the_scan_stays() {
    let store = Store::versioned(vec![noncurrent(1, None)]).await;
    store.put("k").await;
    store.delete("k").await;
    let last = store.put("k").await;
    let hide = store.delete_version_change("k", last.version.pick());
    *store.leader.meanwhile.lock().expect("no panic while it is held") = Some(hide);
    assert_eq!(store.sweep_after(2.0, 10).await, 1, "the first version is still a noncurrent one");
    assert_eq!(store.left().await, ["-k"]);
}

#[actix::test]
async fn a_new_null_version_is_not_removed_in_place_of_an_expired_one() {
    let store = Store::versioned(vec![noncurrent(1, None)]).await;
    store.version(Versioning::Suspended).await;
    store.put("k").await;
    store.version(Versioning::Enabled).await;
    store.put("k").await;
    store.version(Versioning::Suspended).await;
    *store.leader.meanwhile.lock().expect("no panic while it is held") = Some(store.put_change("k", Traits::default()));
    assert_eq!(store.sweep_after(1.0, 10).await, 0);
    let current = store.view().await.object(store.bucket, "k").expect("looked up").expect("it stands");
    assert!(current.version.null);
    store.delete("k").await;
    assert_eq!(store.left().await, ["-k", "k"], "a null marker over a version with a name");
    store.put("other").await;
}

#[actix::test]
async fn a_noncurrent_null_marker_expires_only_while_versioning_is_enabled() {
    let store = Store::versioned(vec![noncurrent(1, None)]).await;
    store.version(Versioning::Suspended).await;
    store.delete("k").await;
    store.version(Versioning::Enabled).await;
    store.put("k").await;
    store.version(Versioning::Suspended).await;
    assert_eq!(store.sweep_after(1.0, 10).await, 0);
    store.version(Versioning::Enabled).await;
    assert_eq!(store.sweep_after(1.0, 10).await, 1);
    assert_eq!(store.left().await, ["k"]);
}

#[actix::test]
async fn the_next_leader_continues_the_sweep_at_the_stored_position() {
    let store = Store::new(vec![expiring("", 1), Rule { abort_uploads_after_days: Some(1), ..rule("") }]).await;
    for key in ["b", "c", "d", "e"] {
        store.put(key).await;
    }
    store.begin_upload("u", 1).await;
    store.clock.forward(DAY);
    let mut first = store.sweeping(1);
    while store.left().await.len() > 2 {
        first.advance().await.expect("a step");
    }
    let row = store.view().await.document(&Progress::key()).expect("looked up");
    let place = Progress::of(row.as_ref()).and_then(|progress| progress.at).expect("it is not at its end");
    assert_eq!((place.bucket.as_str(), place.after.as_deref()), ("bucket", Some("b")));
    store.put("a").await;
    store.clock.forward(DAY);
    let mut next = store.sweeping(10);
    assert_eq!(sweep(&mut next).await, 3, "two objects and the upload");
    assert_eq!(store.left().await, ["a"], "the sweep had passed it");
    assert_eq!(sweep(&mut next).await, 1);
}

#[actix::test]
async fn a_sweep_goes_on_behind_a_bucket_that_was_deleted() {
    let store = Store::new(vec![expiring("", 1)]).await;
    store.put("a").await;
    store.put("b").await;
    let mut first = store.sweeping(1);
    store.clock.forward(DAY);
    while store.left().await.len() > 1 {
        first.advance().await.expect("a step");
    }
    store.delete("b").await;
    store.change(Change::DeleteBucket { bucket: store.bucket }).await;
    assert_eq!(sweep(&mut store.sweeping(1)).await, 0);
    assert_eq!(sweep(&mut first).await, 0);
}

#[actix::test]
async fn a_sweep_begins_when_due_and_only_on_the_leader() {
    let store = Store::new(vec![expiring("", 1)]).await;
    let mut sweeping = store.sweeping(10);
    store.leader.leads.store(false, Ordering::SeqCst);
    assert_eq!(sweeping.advance().await.expect("a step"), Swept::Elsewhere);
    store.leader.leads.store(true, Ordering::SeqCst);
    assert_eq!(sweep(&mut sweeping).await, 0);
    assert_eq!(sweeping.advance().await.expect("a step"), Swept::Resting(DAY / 24));
    let next = store.sweeping(10).advance().await.expect("a step");
    assert_eq!(next, Swept::Resting(DAY / 24), "the next leader reads the time of the last sweep");
    store.clock.forward(DAY / 24);
    assert_eq!(sweep(&mut sweeping).await, 0);
}

#[actix::test]
async fn buckets_in_which_nothing_is_due_take_no_pause_each() {
    const BUCKETS: usize = 200;
    let off = || Rule { enabled: false, ..expiring("", 1) };
    let aborting = || Rule { abort_uploads_after_days: Some(1), ..rule("") };
    let store = Store::new(vec![]).await;
    let mut last = store.bucket;
    for number in 0..=BUCKETS {
        let (name, owner) = (format!("idle-{number:03}"), "me".to_owned());
        let create = CreateBucket { name, owner, ..CreateBucket::default() };
        let Reply::BucketCreated { id } = store.change(Change::CreateBucket(Box::new(create))).await else {
            panic!("no bucket was created")
        };
        last = id;
        // Some have disabled rules alone, some have rules and nothing to remove, and the last has an object.
        let rules = match number {
            BUCKETS => vec![expiring("", 1)],
            _ if number % 3 > 0 => vec![off(), off()],
            _ => vec![expiring("", 1), aborting()],
        };
        let rules = Rules { rules, transition_minimum: TransitionMinimum::default() };
        let value = Some(documents::encode(&rules).expect("rules"));
        let key = DocumentKey::Bucket(id, BucketDocument::Lifecycle, String::new());
        store.change(Change::WriteDocuments(vec![DocumentWrite { key, expect: Expect::Any, value }])).await;
    }
    let store = Store { bucket: last, ..store };
    store.put("k").await;
    store.clock.forward(2 * DAY);
    let mut sweeping = store.sweeping(100);
    let mut steps = 1;
    while sweeping.step().await != LifecycleOptions::default().idle {
        steps += 1;
        assert!(steps < STEPS_MAX, "the sweep does not come to an end");
    }
    assert!(store.left().await.is_empty(), "the last bucket was swept");
    assert!(steps <= 10, "{steps} steps past {BUCKETS} buckets");
}

#[actix::test]
async fn a_sweep_without_rules_stores_no_position() {
    let store = Store::new(vec![]).await;
    store.put("k").await;
    assert_eq!(store.sweep_after(1.0, 10).await, 0);
    assert_eq!(store.view().await.counts().expect("counts").documents, 0);
    store.document(BucketDocument::Lifecycle, b"\x01{\"rules\":7}".as_slice()).await;
    assert_eq!(store.sweep_after(1.0, 10).await, 0);
    assert_eq!(store.left().await, ["k"], "rules that cannot be decoded are not applied");
}

#[actix::test]
async fn expirations_are_notified_to_the_configured_targets() {
    let store = Store::new(vec![expiring("", 1), noncurrent(1, None)]).await;
    let rules = concat!(
        "\u{1}",
        r#"{"rules":[{"id":"r","kind":"Queue","target":"arn:sherd:sqs:::HOOK:webhook","#,
        r#""events":["s3:LifecycleExpiration:*"],"filters":[{"Prefix":"told/"}]}]}"#
    );
    store.document(BucketDocument::Notification, rules).await;
    store.put("silent").await;
    store.put("told/1").await;
    store.sweep_after(1.0, 10).await;
    store.version(Versioning::Enabled).await;
    store.put("told/2").await;
    store.sweep_after(1.0, 10).await;
    store.sweep_after(1.0, 10).await;
    let (deleted, marked) = ("LifecycleExpiration:Delete", "LifecycleExpiration:DeleteMarkerCreated");
    let expected = [(deleted, "told/1"), (marked, "told/2"), (deleted, "told/2")];
    assert_eq!(store.events().await[..3], expected.map(|(name, key)| (name.to_owned(), key.to_owned())));
}
