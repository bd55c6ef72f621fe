//! Files that are read again while the host runs: certificates, every few seconds and at SIGHUP; the accounts file, at SIGHUP.
//! What is refused is logged once, and what was in use stays. At SIGHUP the file of the audit log is opened again, too.

use super::NodeError;
use super::audit::AuditLogs;
use crate::api::{Accounts, AccountsFile, ApiHandle, Certificates};
use crate::config::Config;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

/// The interval between looks at the files of certificates.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// SIGHUPs from now on; from the first call, the signal does not end the process any more.
pub(super) fn hangups() -> Result<Signal, NodeError> {
    signal(SignalKind::hangup()).map_err(|cause| NodeError::System { doing: "wait for signals", cause })
}

/// Starts to read files again; the task goes on until it is aborted.
pub(super) fn start(config: &Config, (api, audit): (&ApiHandle, &AuditLogs), hangups: Signal) -> JoinHandle<()> {
    let path = config.identities.accounts.as_ref().map(|accounts| accounts.path.clone());
    let reloads = Reloads {
        certificates: api.certificates.clone(),
        accounts: path.zip(api.accounts.clone()),
        audit: audit.clone(),
        refused: BTreeMap::new(),
    };
    tokio::spawn(reloads.run(hangups))
}

struct Reloads {
    certificates: Certificates,
    /// The accounts file, and who applies it.
    accounts: Option<(PathBuf, Accounts)>,
    audit: AuditLogs,
    /// The last reason for which the files of a listener were refused, so that it is logged once.
    refused: BTreeMap<&'static str, String>,
}

/// A listener's name, and what came of a look at its files: whether there is another certificate, or why it is refused.
type Look = (&'static str, Result<bool, String>);

impl Reloads {
    async fn run(mut self, mut hangups: Signal) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = hangups.recv() => self.read_all().await,
                _ = ticks.tick() => {
                    let looks = self.look().await;
                    self.log(looks);
                }
            }
        }
    }

    /// A file system that hangs holds a thread, not the host.
    async fn look(&self) -> Vec<Look> {
        let certificates = self.certificates.clone();
        let look = move || {
            let of_files = certificates.iter().filter(|one| one.is_of_files());
            of_files.map(|one| (one.listener, one.reload().map_err(|why| why.to_string()))).collect()
        };
        spawn_blocking(look).await.unwrap_or_default()
    }

    fn log(&mut self, looks: Vec<Look>) {
        for (listener, outcome) in looks {
            match outcome {
                Ok(changed) => {
                    self.refused.remove(listener);
                    if changed {
                        tracing::info!(listener, "new connections get the certificate that its files hold now");
                    }
                }
                Err(why) => {
                    if self.refused.get(listener) != Some(&why) {
                        tracing::error!(listener, "{why}; the certificate in use stays");
                    }
                    self.refused.insert(listener, why);
                }
            }
        }
    }

    /// Reads all files at SIGHUP, and logs in one line what was read.
    async fn read_all(&mut self) {
        let looks = self.look().await;
        let mut read: Vec<String> = looks.iter().map(|(listener, outcome)| described(listener, outcome)).collect();
        if let Some((path, accounts)) = &self.accounts {
            let file = path.clone();
            let parsed = spawn_blocking(move || accounts_file(&file)).await;
            match parsed.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(file) => {
                    accounts.replace(file);
                    read.push("the accounts file".to_owned());
                }
                Err(why) => {
                    tracing::error!("SHERD_ACCOUNTS_FILE: {path:?} is refused: {why}; what was applied stays");
                    read.push("the accounts file (refused)".to_owned());
                }
            }
        }
        match self.audit.reopen().await {
            None => {}
            Some(Ok(())) => read.push("the audit log (opened again)".to_owned()),
            Some(Err(why)) => {
                tracing::error!("SHERD_AUDIT_LOG cannot be opened again: {why}; the file in use stays");
                read.push("the audit log (not opened again)".to_owned());
            }
        }
        match read.is_empty() {
            true => tracing::info!("SIGHUP: no file that is read again is configured"),
            false => tracing::info!("SIGHUP: read again: {}", read.join("; ")),
        }
        self.log(looks);
    }
}

fn described(listener: &str, outcome: &Result<bool, String>) -> String {
    match outcome {
        Ok(true) => format!("the certificate of {listener} (changed)"),
        Ok(false) => format!("the certificate of {listener} (unchanged)"),
        Err(_) => format!("the certificate of {listener} (refused)"),
    }
}

fn accounts_file(path: &Path) -> Result<AccountsFile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    AccountsFile::parse(&text)
}
