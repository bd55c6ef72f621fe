//! Reloading of files while the host runs: certificates, every few seconds and at SIGHUP; the accounts file, at SIGHUP.
//! If a file is refused, the reason is logged once and the former content stays in use. SIGHUP also reopens the audit
//! log's file.

use super::audit::AuditLogs;
use super::error::HostError;
use crate::api::{Accounts, AccountsFile, ApiHandle, Certificates, Problems, Subject};
use crate::config::Config;
use crate::setting_file::SettingFiles;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

/// The interval between looks at the files of certificates.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Returns the stream of SIGHUPs. From the first call on, the signal does not end the process any more.
pub(super) fn hangups() -> Result<Signal, HostError> {
    signal(SignalKind::hangup()).map_err(|cause| HostError::System { doing: "wait for signals", cause })
}

/// The longest wait for the accounts file or the audit log's file at SIGHUP.
const READ_MAX: Duration = Duration::from_secs(10);

/// Starts the task that reloads files, which runs until it is aborted.
pub(super) fn start(config: &Config, (api, audit): (&ApiHandle, &AuditLogs), hangups: Signal) -> JoinHandle<()> {
    let path = config.identities.accounts.as_ref().map(|accounts| accounts.path.clone());
    let reloads = Reloads {
        certificates: api.certificates.clone(),
        accounts: path.zip(api.accounts.clone()),
        audit: audit.clone(),
        files: SettingFiles::default(),
        problems: api.problems.clone(),
        refused: BTreeMap::new(),
    };
    tokio::spawn(reloads.run(hangups))
}

struct Reloads {
    certificates: Certificates,
    /// The path of the accounts file, and the accounts in use, which take its content.
    accounts: Option<(PathBuf, Accounts)>,
    audit: AuditLogs,
    files: SettingFiles,
    problems: Problems,
    /// The last reason for which the files of a listener were refused, so that it is logged once.
    refused: BTreeMap<&'static str, String>,
}

/// A listener's name, and the outcome of reloading its files: whether the certificate changed, or why it was refused.
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

    /// Reloads the certificates in a thread of its own, so that a file system that hangs does not block the host.
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
                    self.problems.solved(Subject::Certificate(listener));
                    if changed {
                        tracing::info!(listener, "the certificate was reloaded for new connections");
                    }
                }
                Err(why) => {
                    if self.refused.get(listener) != Some(&why) {
                        tracing::error!(listener, "{why}; the certificate in use stays");
                        let problem = format!("the certificate of the listener {listener} is not reloaded: {why}");
                        self.problems.set(Subject::Certificate(listener), vec![problem]);
                    }
                    self.refused.insert(listener, why);
                }
            }
        }
    }

    /// Reloads all files at SIGHUP, and logs the outcomes in one line.
    async fn read_all(&mut self) {
        let looks = self.look().await;
        let mut read: Vec<String> = looks.iter().map(|(listener, outcome)| described(listener, outcome)).collect();
        if let Some((path, accounts)) = &self.accounts {
            let (files, file) = (self.files.clone(), path.clone());
            let parsed = async {
                spawn_blocking(move || accounts_file(&files, &file)).await.map_err(|error| error.to_string())?
            };
            match within(READ_MAX, parsed).await {
                Ok(file) => {
                    accounts.replace(file);
                    read.push("the accounts file".to_owned());
                }
                Err(why) => {
                    let problem = format!("SHERD_ACCOUNTS_FILE: {path:?} is refused: {why}; what was applied stays");
                    tracing::error!("{problem}");
                    self.problems.set(Subject::AccountsFile, vec![problem]);
                    read.push("the accounts file (refused)".to_owned());
                }
            }
        }
        let reopened = within(READ_MAX, async { self.audit.reopen().await.transpose() }).await;
        match reopened.transpose() {
            None => {}
            Some(Ok(())) => {
                self.problems.solved(Subject::AuditLog);
                read.push("the audit log (opened again)".to_owned());
            }
            Some(Err(why)) => {
                let problem = format!("SHERD_AUDIT_LOG cannot be opened again: {why}; the file in use stays");
                tracing::error!("{problem}");
                self.problems.set(Subject::AuditLog, vec![problem]);
                read.push("the audit log (not opened again)".to_owned());
            }
        }
        match read.is_empty() {
            true => tracing::info!("SIGHUP: the configuration names no file to read again"),
            false => tracing::info!("SIGHUP: read again: {}", read.join("; ")),
        }
        self.log(looks);
    }
}

/// Awaits what reads or opens a file. A file system that hangs must not hold up what else is read again.
async fn within<T>(limit: Duration, read: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let in_time = tokio::time::timeout(limit, read).await;
    in_time.unwrap_or_else(|_| Err(format!("the file system has not answered within {} s", limit.as_secs())))
}

fn described(listener: &str, outcome: &Result<bool, String>) -> String {
    match outcome {
        Ok(true) => format!("the certificate of {listener} (changed)"),
        Ok(false) => format!("the certificate of {listener} (unchanged)"),
        Err(_) => format!("the certificate of {listener} (refused)"),
    }
}

fn accounts_file(files: &SettingFiles, path: &Path) -> Result<AccountsFile, String> {
    let text = files.read_text(path).map_err(|error| error.to_string())?;
    AccountsFile::parse(&text)
}
