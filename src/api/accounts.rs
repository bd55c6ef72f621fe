//! Applies the accounts file to the metadata: at start, and whenever the host reloads the file.

use super::audit::AuditLog;
use super::health::{Problems, Subject};
use super::iam::IamService;
use super::identity::IdentityError;
use super::identity::changes::accounts_file::AccountsFile;
use crate::actors::upkeep::LastFailure;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The pause before another attempt after a failure. While the metadata cannot be changed it stays the same. After any
/// other failure it doubles, up to `PAUSE_MAX`: an account of the file may be in conflict with one that a call made,
/// until somebody changes either.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The handle of the task that applies the accounts file. The task ends when all clones of the handle are dropped.
#[derive(Clone, Debug)]
pub struct Accounts(watch::Sender<Option<Arc<AccountsFile>>>);

impl Accounts {
    /// Starts the task; must be called within an actix system.
    pub fn keep(
        (iam, audit, problems): (Arc<IamService>, Option<Arc<AuditLog>>, Problems),
        first: Option<Arc<AccountsFile>>,
    ) -> Self {
        let (sender, mut wanted) = watch::channel(first);
        wanted.mark_changed();
        actix_web::rt::spawn(async move {
            while wanted.changed().await.is_ok() {
                let file = wanted.borrow_and_update().clone();
                if let Some(file) = file {
                    apply((&iam, audit.as_deref(), &problems), &file, &wanted).await;
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

/// The failed attempts to apply one file.
struct Failures {
    last: LastFailure,
    pause: Duration,
}

impl Default for Failures {
    fn default() -> Self {
        Self { last: LastFailure::default(), pause: PAUSE_MIN }
    }
}

impl Failures {
    /// Records a failure. Returns whether it differs from the last one, and the pause before the next attempt.
    fn add(&mut self, error: &IdentityError) -> (bool, Duration) {
        let is_new = self.last.is_news(error);
        if let IdentityError::Unavailable(_) = error {
            return (is_new, PAUSE_MIN);
        }
        let pause = self.pause;
        self.pause = (2 * pause).min(PAUSE_MAX);
        (is_new, pause)
    }
}

/// Applies the file, and retries until this succeeds or the file was replaced.
async fn apply(
    (iam, audit, problems): (&IamService, Option<&AuditLog>, &Problems),
    file: &AccountsFile,
    wanted: &watch::Receiver<Option<Arc<AccountsFile>>>,
) {
    let mut failures = Failures::default();
    let mut newer = wanted.clone();
    loop {
        let mut changes = 0;
        let applied = iam.apply_accounts(file, &mut changes).await;
        if let Some(audit) = audit.filter(|_| changes > 0) {
            audit.tell_of_accounts_file(changes);
        }
        match applied {
            Ok(refused) if refused.is_empty() => {
                problems.solved(Subject::AccountsFile);
                return tracing::info!("the accounts file was applied");
            }
            // Tried again only at the next SIGHUP or start: the rest of the file is in effect.
            Ok(refused) => {
                refused.iter().for_each(|why| tracing::error!("SHERD_ACCOUNTS_FILE: {why}"));
                let problem = |why: &String| format!("SHERD_ACCOUNTS_FILE: {why}");
                problems.set(Subject::AccountsFile, refused.iter().map(problem).collect());
                return tracing::info!("the accounts file was applied, but for {} of its keys", refused.len());
            }
            Err(error) => {
                let (is_new, pause) = failures.add(&error);
                // Health names the reason why the metadata cannot be changed by itself.
                if !matches!(error, IdentityError::Unavailable(_)) {
                    let problem = format!("SHERD_ACCOUNTS_FILE: nothing of the accounts file is applied: {error}");
                    problems.set(Subject::AccountsFile, vec![problem]);
                }
                if is_new {
                    tracing::warn!(%error, "the accounts file is not applied yet; trying again");
                }
                if timeout(pause, newer.changed()).await.is_ok() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, IdentityError, PAUSE_MAX, PAUSE_MIN};

    #[test]
    fn a_lasting_failure_is_warned_of_once_and_retried_ever_less_often() {
        let mut failures = Failures::default();
        let conflict = IdentityError::EntityAlreadyExists("a is there".to_owned());
        let attempts: Vec<_> = (0..10).map(|_| failures.add(&conflict)).collect();
        assert_eq!(attempts[..3], [(true, PAUSE_MIN), (false, 2 * PAUSE_MIN), (false, 4 * PAUSE_MIN)]);
        assert_eq!(attempts[9], (false, PAUSE_MAX));
    }

    #[test]
    fn while_the_metadata_is_unavailable_the_pause_stays_short() {
        let mut failures = Failures::default();
        let unavailable = IdentityError::Unavailable("no leader".to_owned());
        assert_eq!(failures.add(&unavailable), (true, PAUSE_MIN));
        assert!((0..10).all(|_| failures.add(&unavailable) == (false, PAUSE_MIN)));
    }
}
