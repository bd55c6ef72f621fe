//! Salvage of a damaged metadata log that nothing else repairs, on a host that alone holds the metadata: surveys what
//! would be lost, and keeps the rest. The log is cut at its damage; if the tables have applied later entries, a
//! snapshot is made of them.

use super::copies::{SelectedCopies, begin_anew, select_copies};
use super::tables::{FoundTables, newest_snapshot};
use super::{Forming, ReplicaOptions, StartError, open_beside};
use crate::actors::consensus::shared::{ReplicaDrive, Shared};
use crate::actors::consensus::state::{SnapshotStore, WithoutRoom};
use crate::storage::raft_log::LogRecord;
use crate::storage::wal::{LogOptions, ReplayRule, ScannedRecord, WalError, set_aside_after_damage, survey_log};
use std::fmt;
use std::io;

/// The result of the survey: which entries can be salvaged, and which cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// The reason for which the host cannot start.
    pub damage: String,
    /// The last entry whose effects are kept; `None` where nothing is left.
    pub kept: Option<u64>,
    /// The last entry that any drive shows to have existed.
    pub known: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    #[error("the metadata is whole: there is nothing to salvage")]
    Whole,
    #[error(
        "other hosts hold the metadata, too: start this host, which comes back to them by itself, or see sherd rejoin"
    )]
    NotAlone,
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("a copy of the metadata log cannot be read: {0}")]
    Log(#[from] WalError),
}

impl fmt::Display for Salvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.damage)?;
        match self.kept {
            Some(kept) => writeln!(f, "kept: all changes up to entry {kept} of the metadata log")?,
            None => writeln!(f, "kept: nothing; all metadata is lost")?,
        }
        let first = self.kept.map_or(0, |kept| kept + 1);
        match self.known.filter(|known| *known >= first) {
            Some(known) => write!(f, "lost: the changes of entries {first} to {known}, and any later ones"),
            None => write!(f, "lost: nothing that is known of; at most the last changes before the damage"),
        }
    }
}

/// Returns what a salvage would keep. Changes nothing on the drives.
pub async fn survey_salvage(options: &ReplicaOptions) -> Result<Salvage, SalvageError> {
    if options.forming != Forming::Alone {
        return Err(SalvageError::NotAlone);
    }
    let tables = FoundTables::open(options)?;
    let checked = match select_copies(options).await {
        Ok(selected) => selected.check_tail(options, &tables).await,
        Err(error) => Err(error),
    };
    let damage = match checked {
        Ok(selected) => {
            selected.close().await;
            return Err(SalvageError::Whole);
        }
        Err(error @ StartError::LacksResources(_)) => return Err(error.into()),
        Err(error) => error.to_string(),
    };
    let cut = ReplicaOptions { salvages: true, ..options.clone() };
    let mut kept = Vec::new();
    match select_copies(&cut).await {
        Ok(selected) => {
            kept.extend(selected.last());
            selected.close().await;
        }
        Err(error) if goes_on_without_log(options, &tables, &error) => {}
        Err(error) => return Err(error.into()),
    }
    kept.extend(tables.furthest().and_then(|(_, at)| at.applied.at));
    for drive in &options.drives {
        kept.extend(newest_snapshot(drive.node, &drive.clone().into_idle())?.map(|(at, ..)| at));
    }
    let kept = kept.into_iter().map(|at| at.index).max();
    Ok(Salvage { damage, kept, known: last_known(options)?.max(kept) })
}

/// Selects the copies of the log, each cut at its damage. Where no drive has a copy, makes empty ones, which the tables
/// are ahead of.
pub(super) async fn select_to_salvage(options: &ReplicaOptions) -> Result<(SelectedCopies, FoundTables), StartError> {
    for drive in &options.drives {
        let log = log_options(options, drive, ReplayRule::Salvage);
        set_aside_after_damage(&drive.disk, &log).map_err(io::Error::other)?;
    }
    match select_copies(options).await {
        Ok(selected) => open_beside(options, selected).await,
        Err(error) => {
            let tables = FoundTables::open(options)?;
            if !goes_on_without_log(options, &tables, &error) {
                return Err(error);
            }
            Ok((begin_anew(options).await?, tables))
        }
    }
}

/// Returns whether nothing is left of the log, and tables are.
fn goes_on_without_log(options: &ReplicaOptions, tables: &FoundTables, error: &StartError) -> bool {
    error.has_lost_the_log()
        && tables.furthest().is_some()
        && !options.drives.iter().any(|drive| has_records(options, drive))
}

/// Returns whether the copy on a drive has a record, or may have one.
fn has_records(options: &ReplicaOptions, drive: &ReplicaDrive) -> bool {
    let mut any = false;
    let log = log_options(options, drive, ReplayRule::EveryValid);
    survey_log(&drive.disk, &log, &mut |_| any = true).is_err() || any
}

/// The greatest index of any whole entry on any drive.
fn last_known(options: &ReplicaOptions) -> Result<Option<u64>, WalError> {
    let mut last: Option<u64> = None;
    for drive in &options.drives {
        let log = log_options(options, drive, ReplayRule::EveryValid);
        survey_log(&drive.disk, &log, &mut |ScannedRecord { kind, body, .. }| {
            last = last.max(LogRecord::decode(kind, &body).ok().and_then(|record| record.index()));
        })?;
    }
    Ok(last)
}

fn log_options(options: &ReplicaOptions, drive: &ReplicaDrive, replay: ReplayRule) -> LogOptions {
    let dir = drive.clone().into_idle().log_dir();
    let log = LogOptions::meta(dir, options.cluster, drive.node, options.ambient.clone(), options.pool.clone());
    LogOptions { replay, segment_bytes: options.segment_bytes, ..log }
}

/// Makes a snapshot of the tables, if they have applied entries beyond the end of the log.
pub(super) async fn keep_tables(
    shared: &Shared,
    snapshots: &SnapshotStore,
    tables: &FoundTables,
) -> Result<(), StartError> {
    let Some((tables, at)) = tables.furthest() else { return Ok(()) };
    if at.applied.at.is_some_and(|at| at.index >= shared.index().next_index()) {
        let saved = snapshots.save(at.applied.clone(), tables.kv().snapshot(), WithoutRoom::Leave).await;
        saved.map_err(io::Error::from)?;
    }
    Ok(())
}
