//! Changes of the traits of a version: tags, grants, locks, and the wrapping of its data key.

use super::super::{Applying, Decided};
use crate::storage::meta::command::{ChangeTraits, Refusal, Reply, TraitsChange};
use crate::storage::meta::record::{Retention, RetentionMode, Traits};
use crate::types::UnixMs;

impl Applying<'_> {
    pub(in super::super) fn change_traits(&mut self, change: ChangeTraits) -> Decided<Reply> {
        let ChangeTraits { bucket, key, pick, manifest, to, event } = change;
        let bucket = self.bucket(bucket)?;
        let locks = matches!(to, TraitsChange::Retention { .. } | TraitsChange::LegalHold(_));
        if locks && bucket.settings.lock.is_none() {
            return Err(Refusal::LockNotEnabled.into());
        }
        let (mut object, current) = self.picked_object(bucket.bucket.id, &key, pick)?;
        if manifest.is_some_and(|manifest| manifest != object.manifest.id) {
            return Err(Refusal::SourceChanged.into());
        }
        apply(&mut object.traits, to, self.confirmed)?;
        self.rewrite(bucket.bucket.id, &key, &object, current);
        self.queue_put(&bucket, &key, &object, event)?;
        Ok(Reply::ObjectPut { object: Box::new(object) })
    }
}

fn apply(traits: &mut Traits, change: TraitsChange, confirmed: UnixMs) -> Result<(), Refusal> {
    match change {
        TraitsChange::Tags(tags) => traits.tags = tags,
        TraitsChange::Acl(acl) => traits.acl = acl,
        TraitsChange::LegalHold(held) => traits.legal_hold = Some(held),
        TraitsChange::Retention { retention, bypass_governance } => {
            if !may_retain(traits.retention, retention, bypass_governance, confirmed) {
                return Err(Refusal::Locked);
            }
            traits.retention = retention;
        }
        TraitsChange::Sealing { from, to } => {
            if traits.sealing.as_ref() != Some(&from) {
                return Err(Refusal::PreconditionFailed);
            }
            traits.sealing = Some(to);
        }
    }
    Ok(())
}

/// Returns whether a retention may be replaced. One that has not ended can only be prolonged, in the same mode. A
/// caller who may bypass governance mode can replace one in that mode by any other.
fn may_retain(present: Option<Retention>, wanted: Option<Retention>, bypass: bool, confirmed: UnixMs) -> bool {
    let Some(present) = present.filter(|present| present.until > confirmed) else { return true };
    let governed = present.mode == RetentionMode::Governance;
    let prolonged = wanted.is_some_and(|wanted| {
        let stricter = governed || wanted.mode == RetentionMode::Compliance;
        stricter && wanted.until >= present.until && (wanted.mode == present.mode || bypass || !governed)
    });
    prolonged || (governed && bypass)
}

#[cfg(test)]
mod tests {
    use super::may_retain;
    use crate::storage::meta::record::{Retention, RetentionMode};
    use crate::types::UnixMs;

    fn until(mode: RetentionMode, until: u64) -> Option<Retention> {
        Some(Retention { mode, until: UnixMs(until) })
    }

    #[test]
    fn retention_is_only_shortened_in_governance_mode_with_bypass() {
        use RetentionMode::{Compliance, Governance};
        let now = UnixMs(100);
        let may = |present, wanted, bypass| may_retain(present, wanted, bypass, now);
        assert!(may(None, until(Compliance, 200), false));
        assert!(may(until(Compliance, 99), None, false), "one that has ended holds nothing");
        assert!(may(until(Governance, 200), until(Governance, 300), false));
        assert!(!may(until(Governance, 200), until(Governance, 150), false));
        assert!(may(until(Governance, 200), until(Governance, 150), true));
        assert!(may(until(Governance, 200), None, true) && !may(until(Governance, 200), None, false));
        assert!(may(until(Governance, 200), until(Compliance, 300), true));
        assert!(!may(until(Governance, 200), until(Compliance, 300), false));
        assert!(may(until(Compliance, 200), until(Compliance, 300), false));
        for bypass in [false, true] {
            assert!(!may(until(Compliance, 200), until(Compliance, 150), bypass));
            assert!(!may(until(Compliance, 200), until(Governance, 300), bypass));
            assert!(!may(until(Compliance, 200), None, bypass));
        }
    }
}
