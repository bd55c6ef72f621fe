//! The command `sherd admin metadata`: exports all metadata, verified while it arrives, and drops shards of unknown
//! blobs after a recovery.

use super::client::Client;
use super::progress::Progress;
use super::{AdminFailure, tell};
use crate::api::admin::UnknownDropped;
use crate::config::MetadataQuestion;
use crate::storage::meta::snapshot::{ExportFault, ExportHead, ExportReader};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The mode of the exported file: only its owner may read it.
const MODE: u32 = 0o600;

const UNSURE: &str = "Nothing was changed. With --yes, shards of blobs that the metadata does not know are dropped from all drives, as\n\
on any store that was not recovered. They may belong to objects that the recovery has lost; without metadata they are\n\
useless. Keep them for as long as a lost host, or a later copy of the metadata, may still be found.\n";

pub fn run(client: &Client, asked: &MetadataQuestion, json: bool, out: &mut impl Write) -> Result<u8, AdminFailure> {
    match asked {
        MetadataQuestion::Export { file: Some(file) } => {
            let head = export_to(client, file)?;
            let summary = json!({"file": file, "cluster": head.cluster.to_string(), "exported_ms": head.exported.0,
                "entry": head.applied.at.map(|at| at.index)});
            tell(&summary, json, |_| words(&head, file), out)?;
        }
        MetadataQuestion::Export { file: None } => {
            copy(client, out)?;
        }
        MetadataQuestion::DropUnknown { sure: false } => {
            tell(&json!({"changed": false, "why": UNSURE}), json, |_| UNSURE.to_owned(), out)?;
            return Ok(1);
        }
        MetadataQuestion::DropUnknown { sure: true } => {
            let dropped: UnknownDropped = client.post("/metadata/drop-unknown", &json!({}))?;
            tell(
                &dropped,
                json,
                |_| "each drive drops them when it is compared with the metadata (sherd admin heal start)\n".to_owned(),
                out,
            )?;
        }
    }
    Ok(0)
}

fn words(head: &ExportHead, file: &Path) -> String {
    let entry = head.applied.at.map_or(0, |at| at.index);
    format!("{}: the metadata of cluster {} up to entry {entry}\n", file.display(), head.cluster)
}

/// Exports into a file, which gets its name only once it is complete and durable.
fn export_to(client: &Client, file: &Path) -> Result<ExportHead, AdminFailure> {
    if file.exists() {
        let why = format!("{} exists already; name another file", file.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why).into());
    }
    let draft = PathBuf::from(format!("{}.draft", file.display()));
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&draft);
    let mut open = opened.map_err(|cause| AdminFailure::Unwritable { path: draft.clone(), cause })?;
    let head = copy(client, &mut open).inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })?;
    open.sync_all()?;
    std::fs::rename(&draft, file)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()?;
    Ok(head)
}

fn copy(client: &Client, out: &mut impl Write) -> Result<ExportHead, AdminFailure> {
    let broken = |fault: ExportFault| client.broken(&io::Error::other(fault));
    let mut progress = Progress::new("bytes");
    let reader = ExportReader::open(BufReader::new(client.stream("/metadata/export")?)).map_err(broken)?;
    let mut failed = None;
    let copied = reader.copy(|piece| {
        progress.advance(piece.len() as u64, None);
        out.write_all(piece).map_err(|error| {
            let kind = error.kind();
            failed = Some(error);
            kind.into()
        })
    });
    progress.finish();
    match failed {
        Some(error) => Err(error.into()),
        None => copied.map_err(broken),
    }
}
