//! The work until the power is cut: clients, each with keys of its own, and the chores in small steps.

use super::ambient::Simulated;
use super::chores;
use super::damage::Variant;
use super::ledger::{Change as KeyChange, Ledger, Version, content};
use super::world::Host;
use bytes::Bytes;
use futures::future::join_all;
use sherd::actors::gateway::{
    AppendObjectRequest, BodyChecks, Gateway, OpenObject, PutObjectRequest, PutPartRequest, StoreError, Upload,
};
use sherd::limits::INLINE_BYTES_MAX;
use sherd::storage::disk::sim::DriveFault;
use sherd::storage::meta::command::{
    Change, CompleteUpload, CompletedPart, CopyVersion, CreateUpload, DeleteConditions, DeleteVersion, ETagCondition,
    Refusal, RenameObject, Reply, WriteConditions,
};
use sherd::storage::meta::record::{ObjectHeaders, ObjectVersion, Pick, Traits};
use sherd::types::{BucketId, ManifestId, UploadId};
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const CLIENTS: u64 = 4;
/// The longest object that is appended to.
const APPENDED_BYTES_MAX: u64 = 300_000;
const KEYS_OF_A_CLIENT: u64 = 3;
/// The steps of a client in a short round and in a long one, and of the chores.
const STEPS: [usize; 2] = [14, 70];
const CHORES: [usize; 2] = [30, 400];
/// The steps of a client once a drive that never answers again is out of service.
const STEPS_AFTERWARDS: usize = 6;
/// The most simulated time of a round. It is needed because waits for a disk that is gone never end.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_IN_TROUBLE: Duration = Duration::from_secs(3600);
/// A drive that does not answer is out of service after this, by the rule of the host.
const SILENT_AT_MOST: Duration = Duration::from_secs(42);
/// The longest pauses of clients: with relaxed durability, and with a drive that does not answer.
const PAUSE_RELAXED_MS_MAX: u64 = 60;
const PAUSE_SILENT_MS_MAX: u64 = 3000;
const SLOW_READ_TURNS_MAX: u64 = 200;

/// The plan of a round, until the power is cut.
#[derive(Clone, Copy)]
pub struct Round {
    pub number: u64,
    pub is_long: bool,
    pub variant: Variant,
    /// The fault that a drive gets, at some moment.
    pub fault: Option<DriveFault>,
}

impl Round {
    /// Returns true if requests may fail although the power is on and no data is lost.
    fn is_troubled(&self) -> bool {
        self.variant.is_stormy() || self.fault.is_some()
    }

    fn pause_ms_max(&self) -> u64 {
        match (self.variant.is_relaxed, self.fault) {
            (true, _) => PAUSE_RELAXED_MS_MAX,
            (_, Some(DriveFault::Silent | DriveFault::SilentChanges)) => PAUSE_SILENT_MS_MAX,
            _ => 0,
        }
    }
}

pub async fn until_the_power_goes(host: &Host, drawn: &Arc<Simulated>, ledger: &Rc<RefCell<Ledger>>, round: Round) {
    let next = Rc::new(Cell::new(1 + round.number * 100_000));
    let long = usize::from(round.is_long);
    let clients = |steps| {
        let client = |number| Client { host, drawn, ledger, next: &next, round, number }.run(steps);
        join_all((0..CLIENTS).map(client))
    };
    let work = async {
        futures::future::join(clients(STEPS[long]), chores::run(host, drawn, ledger, round, CHORES[long])).await;
        if let Some((node, since)) = host.silenced.get() {
            tokio::time::sleep_until(since + SILENT_AT_MOST).await;
            let is_over = host.disk.is_halted();
            assert!(is_over || !host.in_service(node), "{node} answers nothing, and is in service");
            let before = ledger.borrow().tally.acknowledged;
            clients(STEPS_AFTERWARDS).await;
            let mut ledger = ledger.borrow_mut();
            ledger.tally.acknowledged_without_drive += ledger.tally.acknowledged - before;
        }
    };
    let (work, watching) = (pin!(work), pin!(host.watch_drives()));
    let watched = futures::future::select(work, watching);
    let patience = if round.is_troubled() { PATIENCE_IN_TROUBLE } else { PATIENCE };
    let _ = tokio::time::timeout(patience, watched).await;
}

struct Client<'a> {
    host: &'a Host,
    drawn: &'a Simulated,
    ledger: &'a RefCell<Ledger>,
    /// The next version, of any key.
    next: &'a Cell<u64>,
    round: Round,
    number: u64,
}

impl Client<'_> {
    async fn run(self, steps: usize) {
        for _ in 0..steps {
            let key = format!("{}/{}", self.number, self.drawn.below(KEYS_OF_A_CLIENT));
            // A failed request means that the power is cut, or that the client cannot go on.
            let went_well = match self.drawn.below(22) {
                18 => self.stray_put(&key).await,
                19..21 => self.slow_get(&key).await,
                21 => self.append_twice(&key).await,
                12 => self.copy(&key).await,
                13..15 => self.append(&key).await,
                15 => self.rename(&key).await,
                16 => self.put_version(&key).await,
                17 => self.delete_version(&key).await,
                0..5 => self.put(&key, WriteConditions::default()).await,
                5 => {
                    let absent = Some(ETagCondition::Any);
                    self.put(&key, WriteConditions { if_match: None, if_none_match: absent }).await
                }
                6..8 => self.delete(&key).await,
                8..10 => self.upload(&key).await,
                _ => self.get(&key).await,
            };
            if !went_well {
                return;
            }
            tokio::task::yield_now().await;
            if self.round.pause_ms_max() > 0 {
                let pause_ms = self.drawn.below(self.round.pause_ms_max());
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
        }
    }

    fn fresh(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// Notes the outcome of a change in the ledger; returns whether the client goes on.
    fn note(&self, key: &str, version: Version, outcome: Result<(), StoreError>) -> bool {
        let mut ledger = self.ledger.borrow_mut();
        match outcome {
            Ok(()) => ledger.acknowledge(key, version),
            Err(StoreError::Refused(Refusal::PreconditionFailed)) => {
                ledger.refuse(key, version);
                let versions = ledger.versions(key);
                assert!(versions.iter().any(Option::is_some), "{key} was refused as present, and may only be absent");
            }
            Err(StoreError::Refused(refusal)) => panic!("{key}: {refusal}"),
            Err(error) if self.is_definite(&error) => ledger.refuse(key, version),
            Err(_) => return false,
        }
        true
    }

    /// Returns true if the failed change was not made and never will be, and other requests may still succeed.
    fn is_definite(&self, error: &StoreError) -> bool {
        self.round.is_troubled() && !self.host.disk.is_halted() && !matches!(error, StoreError::OutcomeUnknown)
    }

    /// Puts through the stray host, whose writes do not hold back the fence: the put may be fenced off, and is then
    /// refused.
    async fn stray_put(&self, key: &str) -> bool {
        let mut version = self.fresh();
        while content(version).len() <= INLINE_BYTES_MAX {
            version = self.fresh();
        }
        self.ledger.borrow_mut().attempt(key, Some(version));
        let conditions = WriteConditions::default();
        self.host.strays.update(|strays| strays + 1);
        let put = put_content(&self.host.stray, self.host.bucket, key, version, conditions).await.map(|_| ());
        self.host.strays.update(|strays| strays - 1);
        if let Err(StoreError::Refused(Refusal::Fenced)) = put {
            let mut ledger = self.ledger.borrow_mut();
            ledger.refuse(key, Some(version));
            ledger.tally.fenced_off += 1;
            return true;
        }
        self.note(key, Some(version), put)
    }

    /// Opens an object, waits while it may be deleted or overwritten, and reads it.
    async fn slow_get(&self, key: &str) -> bool {
        let (version, opened) = match self.certain(key).await {
            Ok(Some(found)) => found,
            Ok(None) => return true,
            Err(error) => return self.excuse(key, &error),
        };
        if opened.version.manifest.size_bytes <= INLINE_BYTES_MAX as u64 {
            return true;
        }
        self.ledger.borrow_mut().attempt(key, None);
        let deleted = self.propose(self.deletion(key)).await.map(|_| ());
        if !self.note(key, None, deleted) {
            return false;
        }
        for _ in 0..self.drawn.below(SLOW_READ_TURNS_MAX) {
            tokio::task::yield_now().await;
        }
        match self.host.read(opened).await {
            Ok(found) => {
                assert!(found == self.ledger.borrow().content(version), "{key}: {version} is read as another");
                self.ledger.borrow_mut().tally.read_slowly += 1;
                true
            }
            Err(error) => self.excuse(key, &error),
        }
    }

    /// Makes two concurrent appends at the same length, of which at most one may succeed.
    async fn append_twice(&self, key: &str) -> bool {
        let (standing, opened) = match self.certain(key).await {
            Ok(Some(found)) => found,
            other => return other.is_ok(),
        };
        let (_, again) = match self.certain(key).await {
            Ok(Some(found)) => found,
            other => return other.is_ok(),
        };
        let wholes = [self.fresh(), self.fresh()];
        let added = [self.fresh(), self.fresh()];
        if opened.version.manifest.size_bytes > APPENDED_BYTES_MAX
            || added.iter().any(|&added| content(added).is_empty())
        {
            return true;
        }
        for (&whole, &added) in wholes.iter().zip(&added) {
            self.ledger.borrow_mut().compose(whole, standing, added);
            self.ledger.borrow_mut().attempt(key, Some(whole));
        }
        let appends = (self.append_to(key, opened, added[0]), self.append_to(key, again, added[1]));
        let outcomes: [_; 2] = futures::future::join(appends.0, appends.1).await.into();
        let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(made < 2, "{key}: two appends came first behind {standing}");
        for (whole, outcome) in wholes.into_iter().zip(outcomes) {
            let went_well = match outcome {
                Ok(()) => self.note(key, Some(whole), Ok(())),
                Err(StoreError::Refused(Refusal::PreconditionFailed)) => {
                    self.ledger.borrow_mut().refuse(key, Some(whole));
                    true
                }
                failed => self.note(key, Some(whole), failed),
            };
            if !went_well {
                return false;
            }
        }
        true
    }

    async fn append_to(&self, key: &str, standing: OpenObject, added: u64) -> Result<(), StoreError> {
        let request = AppendObjectRequest {
            bucket: self.host.bucket,
            key: key.to_owned(),
            standing,
            event: None,
            upload: body(content(added)),
        };
        self.host.gateway.append_object(request).await.map(|_| ())
    }

    async fn put(&self, key: &str, conditions: WriteConditions) -> bool {
        let version = self.fresh();
        let may_be_absent = self.ledger.borrow_mut().versions(key).contains(&None);
        self.ledger.borrow_mut().attempt(key, Some(version));
        let must_be_absent = conditions.if_none_match.is_some();
        let outcome = put_content(&self.host.gateway, self.host.bucket, key, version, conditions).await.map(|_| ());
        assert!(!must_be_absent || may_be_absent || outcome.is_err(), "{key} is there, and was put as absent");
        self.note(key, Some(version), outcome)
    }

    /// Returns another key of this client.
    fn other(&self, key: &str) -> String {
        let number = self.drawn.below(KEYS_OF_A_CLIENT - 1);
        let keys = (0..KEYS_OF_A_CLIENT).map(|at| format!("{}/{at}", self.number));
        let mut others = keys.filter(|other| other != key);
        others.nth(number as usize).expect("a client has several keys")
    }

    /// Opens the object under a key; returns its version and the open object, or `None` if it is absent or not certain.
    async fn certain(&self, key: &str) -> Result<Option<(u64, OpenObject)>, StoreError> {
        let certain = self.ledger.borrow_mut().certain(key).flatten();
        let Some(version) = certain else { return Ok(None) };
        let opened = self.host.open(self.host.bucket, key, Pick::Current).await?;
        Ok(Some((version, opened.unwrap_or_else(|| panic!("{key} is not there, and {version} was acknowledged")))))
    }

    async fn copy(&self, key: &str) -> bool {
        let target = self.other(key);
        let (version, opened) = match self.certain(key).await {
            Ok(Some(found)) => found,
            other => return other.is_ok(),
        };
        self.ledger.borrow_mut().attempt(&target, Some(version));
        let copy = CopyVersion {
            source_bucket: self.host.bucket,
            source_key: key.to_owned(),
            source: Pick::Current,
            source_manifest: opened.version.manifest.id,
            source_sealing: None,
            bucket: self.host.bucket,
            key: target.clone(),
            id: ManifestId(u128::from(self.drawn.next())),
            headers: ObjectHeaders::default(),
            checksum: None,
            traits: Traits::default(),
            conditions: WriteConditions::default(),
            event: None,
        };
        drop(opened);
        let outcome = self.propose(Change::CopyVersion(Box::new(copy))).await.map(|_| ());
        self.ledger.borrow_mut().tally.copied += u64::from(outcome.is_ok());
        self.note(&target, Some(version), outcome)
    }

    async fn append(&self, key: &str) -> bool {
        let (standing, opened) = match self.certain(key).await {
            Ok(Some(found)) => found,
            other => return other.is_ok(),
        };
        let (whole, added) = (self.fresh(), self.fresh());
        if opened.version.manifest.size_bytes > APPENDED_BYTES_MAX || content(added).is_empty() {
            return true;
        }
        self.ledger.borrow_mut().compose(whole, standing, added);
        self.ledger.borrow_mut().attempt(key, Some(whole));
        let outcome = self.append_to(key, opened, added).await;
        self.ledger.borrow_mut().tally.appended += u64::from(outcome.is_ok());
        self.note(key, Some(whole), outcome)
    }

    async fn rename(&self, key: &str) -> bool {
        let target = self.other(key);
        let version = self.ledger.borrow_mut().certain(key).flatten();
        let Some(version) = version else { return true };
        // A rename of unknown outcome is judged by where the version is found, so the target must not have it already.
        if self.ledger.borrow_mut().versions(&target).contains(&Some(version)) {
            return true;
        }
        self.ledger.borrow_mut().attempt_rename(key, &target, version);
        let rename = RenameObject {
            bucket: self.host.bucket,
            source_key: key.to_owned(),
            source: None,
            key: target.clone(),
            conditions: WriteConditions::default(),
            standing: None,
            token: None,
            created: None,
            removed: None,
        };
        match self.propose(Change::RenameObject(Box::new(rename))).await {
            Ok(_) => self.ledger.borrow_mut().acknowledge_rename(key, &target, version),
            Err(StoreError::Refused(refusal)) => panic!("{key} to {target}: {refusal}"),
            Err(_) => return false,
        }
        self.ledger.borrow_mut().tally.renamed += 1;
        true
    }

    async fn put_version(&self, key: &str) -> bool {
        if self.ledger.borrow().is_in_doubt(key) {
            return true;
        }
        let version = self.fresh();
        self.ledger.borrow_mut().attempt_change(key, KeyChange::Add(Some(version)));
        let conditions = WriteConditions::default();
        let put = put_content(&self.host.gateway, self.host.versioned, key, version, conditions).await;
        match put {
            Ok(object) => self.ledger.borrow_mut().acknowledge_change(key, Some(object.version)),
            Err(StoreError::Refused(refusal)) => panic!("{key}: {refusal}"),
            Err(error) if self.is_definite(&error) => self.ledger.borrow_mut().refuse_change(key),
            Err(_) => return false,
        }
        true
    }

    /// Adds a delete marker, or deletes a version by its id.
    async fn delete_version(&self, key: &str) -> bool {
        if self.ledger.borrow().is_in_doubt(key) {
            return true;
        }
        let rows = self.ledger.borrow().rows(key).to_vec();
        let named = rows.get(self.drawn.below(2 * rows.len() as u64 + 1) as usize).map(|row| row.0);
        let change = named.map_or(KeyChange::Add(None), KeyChange::Remove);
        self.ledger.borrow_mut().attempt_change(key, change);
        let delete = DeleteVersion {
            key: key.to_owned(),
            pick: named.map_or(Pick::Current, |version| Pick::Exact { seq: version.seq, salt: version.salt }),
            conditions: DeleteConditions::default(),
            owner: String::new(),
            salt: self.drawn.next(),
            bypass_governance: false,
            event: None,
        };
        match self.propose(Change::DeleteVersions { bucket: self.host.versioned, deletes: vec![delete] }).await {
            Ok(Reply::VersionsDeleted(deleted)) => {
                let deletion = deleted[0].as_ref().unwrap_or_else(|refusal| panic!("{key}: {refusal}"));
                self.ledger.borrow_mut().acknowledge_change(key, deletion.version);
                true
            }
            Ok(reply) => panic!("{key}: {reply:?}"),
            Err(_) => false,
        }
    }

    async fn delete(&self, key: &str) -> bool {
        self.ledger.borrow_mut().attempt(key, None);
        let outcome = self.propose(self.deletion(key)).await.map(|_| ());
        self.note(key, None, outcome)
    }

    fn deletion(&self, key: &str) -> Change {
        let delete = DeleteVersion { key: key.to_owned(), ..DeleteVersion::default() };
        Change::DeleteVersions { bucket: self.host.bucket, deletes: vec![delete] }
    }

    /// Makes a multipart upload of one part, which is sometimes uploaded twice, or aborted.
    async fn upload(&self, key: &str) -> bool {
        let (version, id) = (self.fresh(), UploadId(u128::from(self.drawn.next())));
        let create = CreateUpload {
            bucket: self.host.bucket,
            key: key.to_owned(),
            id,
            owner: String::new(),
            headers: ObjectHeaders::default(),
            checksum: None,
            traits: Traits::default(),
        };
        if self.propose(Change::CreateUpload(Box::new(create))).await.is_err() {
            return false;
        }
        let replaced = (self.drawn.below(3) == 0).then(|| self.fresh());
        let mut md5 = [0; 16];
        for of in replaced.into_iter().chain([version]) {
            let request = PutPartRequest {
                bucket: self.host.bucket,
                key: key.to_owned(),
                id,
                number: 1,
                data_key: None,
                upload: body(content(of)),
            };
            match self.host.gateway.put_part(request).await {
                Ok(part) => md5 = part.row.md5,
                Err(_) => return false,
            }
        }
        if self.drawn.below(5) == 0 {
            let abort = Change::AbortUpload { bucket: self.host.bucket, key: key.to_owned(), upload: id };
            return self.propose(abort).await.is_ok();
        }
        self.ledger.borrow_mut().attempt(key, Some(version));
        let complete = CompleteUpload {
            bucket: self.host.bucket,
            key: key.to_owned(),
            upload: id,
            manifest: ManifestId(u128::from(self.drawn.next())),
            parts: vec![CompletedPart { number: 1, md5, checksum: None }],
            expected_checksum: None,
            expected_size_bytes: None,
            conditions: WriteConditions::default(),
            event: None,
        };
        let outcome = self.propose(Change::CompleteUpload(Box::new(complete))).await.map(|_| ());
        self.note(key, Some(version), outcome)
    }

    async fn get(&self, key: &str) -> bool {
        match self.host.get(key).await {
            Ok(found) => {
                self.ledger.borrow().check(key, found.as_ref(), "while running");
                true
            }
            Err(error) => self.excuse(key, &error),
        }
    }

    /// Fails if nothing explains a failed read; returns whether the client goes on.
    fn excuse(&self, key: &str, error: &StoreError) -> bool {
        let is_over = self.host.disk.is_halted() || self.ledger.borrow().tally.drives_failed > 0;
        assert!(is_over || self.round.is_troubled(), "{key} cannot be read while all drives are there: {error}");
        !is_over
    }

    async fn propose(&self, change: Change) -> Result<Reply, StoreError> {
        match self.host.metadata.propose(change).await? {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }
}

async fn put_content(
    gateway: &Gateway,
    bucket: BucketId,
    key: &str,
    version: u64,
    conditions: WriteConditions,
) -> Result<ObjectVersion, StoreError> {
    let request = PutObjectRequest {
        bucket,
        key: key.to_owned(),
        headers: ObjectHeaders::default(),
        conditions,
        traits: Traits::default(),
        data_key: None,
        event: None,
        upload: body(content(version)),
    };
    gateway.put_object(request).await
}

fn body(content: Bytes) -> Upload {
    Upload { body: Box::pin(futures::stream::iter([Ok(content)])), checks: BodyChecks::default(), trailer: None }
}
