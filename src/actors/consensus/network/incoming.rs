//! Receives a snapshot that a leader sends in pieces. They are written to a file on one drive
//! (`meta/incoming/snapshot`). Once the file is whole and its checksums match, openraft installs it, and the state
//! machine copies it to all drives. One snapshot is received at a time; a file that an earlier process left is removed
//! at the start.

use super::messages::{InstallSnapshot, Installing, PieceTaken, SnapshotPiece};
use crate::actors::consensus::raft_types::{Vote, ballot_of, log_id_of, vote_of};
use crate::actors::consensus::shared::{Drive, DriveRole, Offload, Shared, locked};
use crate::actors::consensus::state::{MetaRaft, SnapshotFile, verify_snapshot};
use crate::limits::SNAPSHOT_PIECE_BYTES;
use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, create_dir_durably};
use crate::storage::raft_log::Ballot;
use crate::types::NodeId;
use bytes::Bytes;
use openraft::Snapshot;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The snapshot that is being received.
#[derive(Debug)]
pub struct Incoming {
    shared: Arc<Shared>,
    current: Arc<Mutex<Option<Receiving>>>,
    /// Held while a piece is written, so that one is written at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Receiving {
    transfer: u128,
    ballot: Ballot,
    total_bytes: u64,
    written_bytes: u64,
    /// The open file; `None` once the transfer has ended, so that the blocks of the removed file are freed.
    file: Option<Arc<dyn DiskFile>>,
    place: Place,
    stage: Stage,
}

#[derive(Clone, Debug)]
struct Place {
    node: NodeId,
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Receiving,
    Installing,
    Ended(Installing),
}

impl Incoming {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, current: Arc::default(), turn: tokio::sync::Mutex::new(()) }
    }

    /// Writes a piece if it is the next one in order. Returns the offset of the piece that is expected next.
    pub async fn take(&self, piece: SnapshotPiece, bytes: Bytes) -> io::Result<PieceTaken> {
        let _turn = self.turn.lock().await;
        let end = piece.offset.checked_add(bytes.len() as u64).filter(|end| *end <= piece.total_bytes);
        let (Some(end), true) = (end, bytes.len() <= SNAPSHOT_PIECE_BYTES) else {
            let (length, offset, total_bytes) = (bytes.len(), piece.offset, piece.total_bytes);
            let why = format!("a piece of {length} bytes at {offset} does not fit a snapshot of {total_bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        };
        let known = locked(&self.current).clone();
        let receiving = match known {
            Some(known) if known.transfer == piece.transfer => known,
            Some(known) if known.stage == Stage::Installing => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another snapshot is being installed"));
            }
            _ if piece.offset == 0 => self.begin(&piece).await?,
            _ => return Ok(PieceTaken::Next(0)),
        };
        let is_next = receiving.stage == Stage::Receiving && receiving.written_bytes == piece.offset;
        let Some(file) = receiving.file.filter(|_| is_next) else {
            return Ok(PieceTaken::Next(receiving.written_bytes));
        };
        let write = move || file.write_all_at(&[IoSlice::new(&bytes)], piece.offset);
        let written = self.shared.offload.run(write).await.and_then(|written| written);
        if let Err(error) = written {
            *locked(&self.current) = None;
            return Err(error);
        }
        if let Some(current) = of_transfer(&mut locked(&self.current), piece.transfer) {
            current.written_bytes = end;
        }
        Ok(PieceTaken::Next(end))
    }

    async fn begin(&self, piece: &SnapshotPiece) -> io::Result<Receiving> {
        let chosen = {
            let drives = self.shared.drives();
            let live = drives.live().into_iter().next();
            live.and_then(|node| Some((node, drives.by_node.get(&node)?.clone())))
        };
        let (node, drive) = chosen.ok_or_else(|| io::Error::other("no drive is left for a snapshot"))?;
        let place = Place { node, disk: Arc::clone(&drive.disk), path: drive.incoming_file() };
        let made = place.clone();
        let file = self.shared.offload.run(move || made.make()).await??;
        let receiving = Receiving {
            transfer: piece.transfer,
            ballot: piece.ballot,
            total_bytes: piece.total_bytes,
            written_bytes: 0,
            file: Some(file),
            place,
            stage: Stage::Receiving,
        };
        *locked(&self.current) = Some(receiving.clone());
        Ok(receiving)
    }

    /// Begins to install a snapshot that was received whole; asked again, returns how far the installation is.
    pub fn install(&self, raft: &MetaRaft, asked: InstallSnapshot) -> Installing {
        let mut current = locked(&self.current);
        let Some(receiving) = current.as_mut().filter(|current| current.transfer == asked.transfer) else {
            return Installing::Failed("the follower has restarted, or receives another snapshot".to_owned());
        };
        match &receiving.stage {
            Stage::Installing => return Installing::Busy,
            Stage::Ended(how) => return how.clone(),
            Stage::Receiving if receiving.written_bytes != receiving.total_bytes => {
                let (written, total) = (receiving.written_bytes, receiving.total_bytes);
                return Installing::Failed(format!(
                    "the follower has received {written} of {total} bytes of the snapshot"
                ));
            }
            Stage::Receiving => {}
        }
        receiving.stage = Stage::Installing;
        let (place, vote) = (receiving.place.clone(), vote_of(receiving.ballot));
        let (raft, offload, current) = (raft.clone(), self.shared.offload, Arc::clone(&self.current));
        tokio::spawn(async move {
            let ended = match install(&raft, offload, &place, vote).await {
                Ok(vote) => Installing::Done(ballot_of(&vote)),
                Err(why) => Installing::Failed(why),
            };
            if let Installing::Failed(why) = &ended {
                tracing::warn!(%why, "a metadata snapshot from the leader could not be installed; it is sent again");
            }
            let file = of_transfer(&mut locked(&current), asked.transfer).and_then(|current| current.file.take());
            // Before the transfer ends: the next one makes its file under the same path.
            let remove = move || {
                drop(file);
                place.disk.remove(&place.path)
            };
            let _ = offload.run(remove).await;
            if let Some(current) = of_transfer(&mut locked(&current), asked.transfer) {
                current.stage = Stage::Ended(ended);
            }
        });
        Installing::Busy
    }
}

/// Returns what is received, if it is of this transfer.
fn of_transfer(current: &mut Option<Receiving>, transfer: u128) -> Option<&mut Receiving> {
    current.as_mut().filter(|current| current.transfer == transfer)
}

impl Place {
    fn make(&self) -> io::Result<Arc<dyn DiskFile>> {
        create_dir_durably(&*self.disk, self.path.parent().unwrap_or(Path::new("/")))?;
        remove_if_there(&*self.disk, &self.path)?;
        self.disk.open(&self.path, OpenMode::CreateNew, Caching::Cached)
    }
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.exists(path)? { disk.remove(path) } else { Ok(()) }
}

/// Removes the file of a snapshot that an earlier process did not receive to its end: the leader sends it anew. To be
/// called before the first piece is taken.
pub async fn remove_left_snapshots(shared: &Shared) {
    let drives: Vec<Drive> = {
        let drives = shared.drives();
        drives.by_node.values().filter(|drive| drive.role != DriveRole::Lost).cloned().collect()
    };
    let remove = move || {
        for drive in drives {
            let path = drive.incoming_file();
            if let Err(error) = remove_if_there(&*drive.disk, &path) {
                tracing::debug!(%error, path = %path.display(), "an unfinished snapshot stays on the drive");
            }
        }
    };
    let _ = shared.offload.run(remove).await;
}

/// Installs a received snapshot. First refuses a damaged one, one whose last entry is of a later leader than its
/// sender, and one that contradicts committed entries: openraft would stop the replica for them.
async fn install(raft: &MetaRaft, offload: Offload, place: &Place, vote: Vote) -> Result<Vote, String> {
    let checked = place.clone();
    let verified = offload.run(move || verify_snapshot(&*checked.disk, &checked.path)).await;
    let head = verified.and_then(|head| head).map_err(|error| error.to_string())?;
    let at = head.at.map(log_id_of).ok_or("the snapshot covers no entry")?;
    if at.leader_id > vote.leader_id {
        return Err("the last entry of the snapshot is of a later leader than its sender".to_owned());
    }
    let committed = raft.with_raft_state(|state| state.local_committed().copied()).await;
    let committed = committed.map_err(|error| error.to_string())?;
    if committed.is_some_and(|committed| at > committed && at.index <= committed.index) {
        return Err("the snapshot contradicts the entries that this host has committed".to_owned());
    }
    let sources = vec![(place.node, Arc::clone(&place.disk), place.path.clone())];
    let snapshot = SnapshotFile { head, sources };
    let meta = snapshot.meta().map_err(|error| error.to_string())?;
    let installed = raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
    installed.map(|response| response.vote).map_err(|error| error.to_string())
}
