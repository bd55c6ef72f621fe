//! Applies the accounts file to the metadata: at start, and whenever the host reloads the file.

use super::audit::AuditLog;
use super::iam::IamService;
use super::identity::changes::accounts_file::AccountsFile;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The pause between attempts to apply the file while the metadata cannot be changed.
const APPLY_AGAIN: Duration = Duration::from_millis(500);

/// The handle of the task that applies the accounts file. The task ends when all clones of the handle are dropped.
#[derive(Clone, Debug)]
pub struct Accounts(watch::Sender<Option<Arc<AccountsFile>>>);

impl Accounts {
    /// Starts the task; must be called within an actix system.
    pub fn keep((iam, audit): (Arc<IamService>, Option<Arc<AuditLog>>), first: Option<Arc<AccountsFile>>) -> Self {
        let (sender, mut wanted) = watch::channel(first);
        wanted.mark_changed();
        actix_web::rt::spawn(async move {
            while wanted.changed().await.is_ok() {
                let file = wanted.borrow_and_update().clone();
                if let Some(file) = file {
                    apply((&iam, audit.as_deref()), &file, &wanted).await;
                }
            }
        });
        Self(sender)
    }

    /// Replaces the file that the task applies.
    pub fn replace(&self, file: AccountsFile) {
        self.0.send_replace(Some(Arc::new(file)));
    }
}

/// Applies the file, and retries until this succeeds or the file was replaced.
async fn apply(
    (iam, audit): (&IamService, Option<&AuditLog>),
    file: &AccountsFile,
    wanted: &watch::Receiver<Option<Arc<AccountsFile>>>,
) {
    loop {
        let mut changes = 0;
        let applied = iam.apply_accounts(file, &mut changes).await;
        if let Some(audit) = audit.filter(|_| changes > 0) {
            audit.tell_of_accounts_file(changes);
        }
        match applied {
            Ok(()) => return tracing::info!("the accounts file is applied"),
            Err(error) => tracing::warn!(%error, "the accounts file is not applied yet; trying again"),
        }
        tokio::time::sleep(APPLY_AGAIN).await;
        if wanted.has_changed().unwrap_or(true) {
            return;
        }
    }
}
