//! The registration of a running host in its cluster: registers the host and its drives in the metadata, and follows
//! changes of the layout.

mod following;
mod retiring;

use super::cluster::{Member, Net};
use super::directories::{forget_compared, remember_unfilled};
use super::environment::Environment;
use super::error::HostError;
use super::metadata::{self, MetadataError};
use super::rejoin::OwnDrives;
use super::safety::ReadCheck;

use crate::actors::consensus::MetaHandle;
use crate::actors::drives::DriveList;
use crate::actors::drives::health::{Contents, HealthBoard};
use crate::actors::healer::HealerHandle;
use crate::actors::membership::{
    AddressBook, HostWatch, RejoinAsks, StatusSource, VoterKeeper, WelcomeDesk, lookup_removal,
};
use crate::actors::peers::{HashRing, ReadLatencies};
use crate::storage::identity::{DriveState, forget_records, is_unfilled};
use crate::types::{Epoch, NodeId, Roles, UnixMs};
use actix::Addr;
use following::Followers;
use retiring::Retirement;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The number of failed attempts to register for each line in the log.
const TRIES_TO_A_WORD: u32 = 20;
/// The number of failed attempts to register after which other hosts are asked whether this host was removed.
const TRIES_TO_A_LOOKUP: u32 = 4;

pub(super) struct Registration {
    pub env: Environment,
    pub member: Member,
    /// The present drives of this host; `member` has those that it started with.
    pub drives: DriveList,
    /// The roles of this host.
    pub roles: Roles,
    pub metadata: MetaHandle,
    pub health: HealthBoard,
    pub healing: HealerHandle,
    pub ring: Addr<HashRing>,
    pub latencies: ReadLatencies,
    pub watch: HostWatch,
    pub reads: ReadCheck,
    pub asks: RejoinAsks,
    /// The start of the process.
    pub started: UnixMs,
    /// Set when the process is about to end.
    pub stopping: Arc<AtomicBool>,
    /// True once host and drives are registered.
    pub is_registered: Arc<AtomicBool>,
}

/// The background task of `Registration::keep`. Ends only if the host cannot continue, with the reason.
pub(super) type Keeping = JoinHandle<HostError>;

impl Registration {
    /// Starts the background task. A host that is alone is registered when this returns; a host of a cluster is
    /// registered by the task, as soon as the cluster decides changes.
    pub async fn take(self: &Arc<Self>) -> Result<Keeping, HostError> {
        if self.roles.storage {
            // The comparison of a drive begins once the drive is registered in the metadata.
            for drive in &self.member.host.drives {
                let is_new = drive.state == DriveState::Replaced;
                if is_new {
                    remember_unfilled(&self.env, drive).await;
                }
                let is_unfilled = is_unfilled(&*self.env.disk, &drive.dir);
                if is_unfilled && !is_new {
                    let (node, dir) = (drive.node, drive.dir.display());
                    tracing::warn!(%node, %dir, "this drive took the place of another and was not filled before the last end");
                }
                let is_empty = is_new || is_unfilled;
                self.compare(drive.node, if is_empty { Contents::Empty } else { Contents::Uncompared });
            }
        }
        match &self.member.net {
            Some(net) => {
                net.groups.status_by(StatusSource {
                    health: self.health.clone(),
                    own: self.drives.clone(),
                    clock: self.metadata.clock().clone(),
                    started: self.started,
                    stopping: Arc::clone(&self.stopping),
                });
                net.groups.welcome_by(self.desk());
            }
            None => self.register().await?,
        }
        let followers = self.followers();
        let known = self.look(&followers).await?;
        let place = Arc::clone(self);
        Ok(actix::spawn(async move { place.keep(followers, known).await }))
    }

    /// Returns the number of copies of the metadata log that the host keeps on its present drives.
    pub fn copies_wanted(&self) -> usize {
        metadata::copies_max(&self.member).min(self.drives.kept(&self.health.current()).len())
    }

    fn followers(&self) -> Followers {
        Followers {
            ring: self.ring.clone(),
            watch: self.watch.clone(),
            latencies: self.latencies.clone(),
            book: self.member.net.as_ref().map_or_else(AddressBook::default, |net| net.book.clone()),
        }
    }

    /// Publishes the layout in this host's own tables, before any request is served.
    async fn look(&self, followers: &Followers) -> Result<Epoch, HostError> {
        let Some(view) = self.metadata.local_view() else { return Ok(Epoch(0)) };
        Ok(followers.look(&view, Epoch(0)).await.map_err(MetadataError::from)?)
    }

    fn desk(&self) -> WelcomeDesk {
        let host = &self.member.host;
        WelcomeDesk {
            cluster: host.cluster,
            recovery: host.recovery,
            own: host.host,
            data: host.data,
            parity: host.parity,
            root_keys: self.member.root_keys.clone(),
            metadata: self.metadata.clone(),
            peers: self.member.peers.clone(),
            asks: self.asks.clone(),
        }
    }

    async fn keep(&self, followers: Followers, known: Epoch) -> HostError {
        let watch = followers.watch.clone();
        let following = followers.follow(self.metadata.clone(), known);
        let retiring = Retirement {
            env: self.env.clone(),
            metadata: self.metadata.clone(),
            health: self.health.clone(),
            own: self.drives.clone(),
            copies_max: metadata::copies_max(&self.member),
        };
        let (retiring, reading) = (retiring.run(), self.reads.run(&self.metadata, &*self.env.ambient.clock));
        let filling = forget_compared(&self.env, &self.health, &self.drives);
        let Some(net) = &self.member.net else {
            tokio::join!(following, retiring, reading, filling);
            unreachable!("none of them has an end");
        };
        let host = self.member.host.host;
        let ambient = self.env.ambient.clone();
        let keeper = VoterKeeper::new(self.metadata.clone(), self.health.clone(), watch.clone(), ambient, host);
        let endless = async { tokio::join!(following, retiring, reading, filling, watch.run(), keeper.run()) };
        tokio::select! {
            error = self.settle(net) => error,
            _ = endless => unreachable!("none of them has an end"),
        }
    }

    /// Registers this host, and retries until the cluster decides the changes. Returns only if the host cannot
    /// continue.
    async fn settle(&self, net: &Net) -> HostError {
        let mut tries: u32 = 0;
        loop {
            match self.register().await {
                Ok(()) => break,
                Err(HostError::Metadata(error)) if error.is_final() => return self.judge(error),
                Err(error) if tries.is_multiple_of(TRIES_TO_A_WORD) => {
                    tracing::warn!(%error, "this host is not registered in its cluster yet");
                }
                Err(_) => {}
            }
            tries += 1;
            if tries.is_multiple_of(TRIES_TO_A_LOOKUP)
                && let Some(error) = self.lookup_removal(net).await
            {
                return self.judge(error);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        tracing::info!(name = self.member.name, "this host is registered in the cluster");
        net.board.stands(self.member.host.cluster);
        let (disk, dirs) = (&*self.env.disk, self.member.host.usable_dirs());
        if let Err(error) = forget_records(disk, &dirs) {
            tracing::warn!(%error, "the record of the founding or of a rejoining was not removed");
        }
        std::future::pending().await
    }

    /// Asks other hosts whether this host was removed, and returns the error if so. The cluster sends a removed host
    /// nothing, so its own tables need not show the removal.
    async fn lookup_removal(&self, net: &Net) -> Option<MetadataError> {
        let (host, name) = (self.member.host.host, self.member.name.clone());
        let at: BTreeSet<String> = net.book.others(host).into_iter().chain(net.doors.clone()).collect();
        let answer = lookup_removal(&net.client, host, &name, &at.into_iter().collect::<Vec<_>>()).await?;
        Some(match answer.namesake {
            Some((by, address)) => MetadataError::Replaced { name, by, address },
            None => MetadataError::Removed { name },
        })
    }

    /// Returns the error that the host ends with. If the host was replaced by the id under which it asked to rejoin,
    /// the process starts again and continues under that id.
    fn judge(&self, error: MetadataError) -> HostError {
        match error {
            MetadataError::Replaced { by, .. }
                if OwnDrives::of(self.member.host.host, &self.drives.all()).asked_to_be(&self.env, by) =>
            {
                let why = format!("its cluster has taken it in as host {:016x} before its process ended", by.0);
                HostError::Superseded { why }
            }
            error => error.into(),
        }
    }

    /// Has a node compared with the metadata. Until that is done, health shows other hosts the given state of its
    /// contents.
    fn compare(&self, node: NodeId, contents: Contents) {
        self.healing.reconcile(node);
        self.health.update(node, |state| state.contents = contents);
    }

    /// Registers this host and its drives, and has drives that may lack shards compared with the metadata.
    async fn register(&self) -> Result<(), HostError> {
        metadata::register_host(&self.metadata, &self.member, self.roles).await?;
        let returned = metadata::register_drives(&self.env, &self.metadata, &self.member, self.roles).await?;
        returned.into_iter().for_each(|(node, contents)| self.compare(node, contents));
        // Before it was registered, a drive with the number of a removed drive was taken for that one and not compared.
        let health = self.health.current();
        let is_uncompared =
            |node: &NodeId| health.state(*node).is_some_and(|state| state.contents != Contents::Compared);
        let own = self.member.host.drives.iter().map(|drive| drive.node);
        own.filter(is_uncompared).for_each(|node| self.healing.reconcile(node));
        self.is_registered.store(true, Ordering::Release);
        Ok(())
    }
}
