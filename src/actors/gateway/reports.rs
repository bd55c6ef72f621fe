//! `Reports`: writes the store's own objects (access logs, inventories) into buckets, on the path of clients' PUTs:
//! admitted, striped over the nodes, and followed by notifications. The objects belong to the bucket's owner. They are
//! not encrypted, whatever the bucket's default encryption.

use super::{BodyChecks, Gateway, PutObjectRequest, StoreError, Upload};
use crate::actors::events::access_log::{LogGrant, LogGrantee, LogPermission};
use crate::actors::events::{EventContext, EventName, PendingEvent, Report, ReportError, ReportStore, Targets};
use crate::ambient::Ambient;
use crate::storage::meta::command::WriteConditions;
use crate::storage::meta::record::{
    Acl, BucketRow, ChecksumAlgorithm, Grant, Grantee, ObjectHeaders, Permission, Traits,
};
use crate::storage::meta::view::MetaView;
use async_trait::async_trait;
use futures::stream;

/// The default checksum of S3, for objects whose request names no other.
const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;
/// The ends of the URIs that S3 has for its groups.
const ALL_USERS: &str = "/global/AllUsers";
const AUTHENTICATED_USERS: &str = "/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "/s3/LogDelivery";

/// Returns whether the current settings of a bucket allow this ACL of an object that the bucket's owner owns.
pub type AclAllowed = fn(&MetaView, &BucketRow, &Acl) -> Result<bool, StoreError>;

#[derive(Clone, Debug)]
pub struct Reports {
    pub gateway: Gateway,
    pub targets: Targets,
    pub ambient: Ambient,
    /// The id of this host, for events.
    pub host_id: String,
    pub acl_allowed: AclAllowed,
}

#[async_trait]
impl ReportStore for Reports {
    async fn put(&self, report: &Report) -> Result<(), ReportError> {
        self.write(report).await.map_err(|error| ReportError { why: error.to_string() })
    }
}

impl Reports {
    async fn write(&self, report: &Report) -> Result<(), StoreError> {
        let view = self.gateway.meta().read().await?;
        let bucket = view.bucket(&report.bucket)?;
        let why = || StoreError::Unavailable { why: format!("there is no bucket {:?} of this owner", report.bucket) };
        let bucket = bucket.filter(|bucket| bucket.bucket.owner == report.owner).ok_or_else(why)?;
        let checks = BodyChecks {
            length_bytes: Some(report.body.len() as u64),
            checksum: Some((CHECKSUM, None)),
            ..BodyChecks::default()
        };
        let owner = bucket.bucket.owner.clone();
        let put = PutObjectRequest {
            bucket: bucket.bucket.id,
            key: report.key.clone(),
            headers: ObjectHeaders { content_type: Some(report.content_type.to_owned()), ..ObjectHeaders::default() },
            conditions: WriteConditions::default(),
            traits: Traits { acl: self.acl(&view, &bucket, &report.grants)?, owner, ..Traits::default() },
            data_key: None,
            event: self.event(&bucket),
            upload: Upload { body: Box::pin(stream::iter([Ok(report.body.clone())])), checks, trailer: None },
        };
        self.gateway.put_object(put).await?;
        Ok(())
    }

    /// Returns the ACL of the new object. `None` if there are no grants, or the bucket's settings forbid them by now.
    fn acl(&self, view: &MetaView, bucket: &BucketRow, grants: &[LogGrant]) -> Result<Option<Acl>, StoreError> {
        let Some(acl) = acl_of_report(&bucket.bucket.owner, grants) else { return Ok(None) };
        Ok((self.acl_allowed)(view, bucket, &acl)?.then_some(acl))
    }

    /// Returns the event of the new object. `None` if there are no webhooks.
    fn event(&self, bucket: &BucketRow) -> Option<PendingEvent> {
        if self.targets.is_empty() {
            return None;
        }
        let request_id = format!("{:016X}", self.ambient.random_u128() as u64);
        let (name, owner) = (bucket.bucket.name.clone(), bucket.bucket.owner.clone());
        let context = EventContext::of_service(name, owner, request_id, self.host_id.clone());
        Some(PendingEvent { name: EventName::ObjectCreatedPut, context, targets: self.targets.clone() })
    }
}

/// Returns an ACL with these grants and the owner's full control. `None` if no grant is usable: then the owner alone
/// has access, by default.
pub fn acl_of_report(owner: &str, grants: &[LogGrant]) -> Option<Acl> {
    let others: Vec<Grant> = grants.iter().filter_map(grant).collect();
    let own = Grant { grantee: Grantee::Account(owner.to_owned()), permission: Permission::FullControl };
    (!others.is_empty()).then(|| Acl { grants: std::iter::once(own).chain(others).collect() })
}

/// Converts a grant. `None` if its grantee is an e-mail address or an unknown group.
fn grant(given: &LogGrant) -> Option<Grant> {
    let grantee = match &given.grantee {
        LogGrantee::Canonical { id, .. } => Grantee::Account(id.clone()),
        LogGrantee::Group(uri) if uri.ends_with(ALL_USERS) => Grantee::AllUsers,
        LogGrantee::Group(uri) if uri.ends_with(AUTHENTICATED_USERS) => Grantee::AuthenticatedUsers,
        LogGrantee::Group(uri) if uri.ends_with(LOG_DELIVERY) => Grantee::LogDelivery,
        LogGrantee::Group(_) | LogGrantee::Email(_) => return None,
    };
    let permission = match given.permission {
        LogPermission::FullControl => Permission::FullControl,
        LogPermission::Read => Permission::Read,
        LogPermission::Write => Permission::Write,
    };
    Some(Grant { grantee, permission })
}

#[cfg(test)]
mod tests {
    use super::{AclAllowed, Reports, acl_of_report};
    use crate::actors::events::access_log::{LogGrant, LogGrantee, LogPermission};
    use crate::actors::events::{Report, ReportStore, Targets};
    use crate::actors::frontend::{AdmissionLimits, Admissions};
    use crate::actors::gateway::Gateway;
    use crate::actors::request::test_world::World;
    use crate::ambient::Ambient;
    use crate::storage::meta::record::{Acl, Grant, Grantee, Permission};
    use bytes::Bytes;
    use std::sync::Arc;
    use std::time::Duration;

    fn read_grant(grantee: LogGrantee) -> LogGrant {
        LogGrant { grantee, permission: LogPermission::Read }
    }

    fn reports(world: &World, acl_allowed: AclAllowed) -> Reports {
        let limits = AdmissionLimits { bytes: 64 << 20, requests: 10, waiting: 10 };
        let gateway = Gateway::new(Admissions::start(limits, Duration::from_secs(60)), Arc::clone(&world.context));
        let (targets, ambient) = (Targets::default(), Ambient::system());
        Reports { gateway, targets, ambient, host_id: "h".to_owned(), acl_allowed }
    }

    fn report(bucket: &str, owner: &str) -> Report {
        Report {
            bucket: bucket.to_owned(),
            owner: owner.to_owned(),
            key: "logs/1".to_owned(),
            content_type: "text/plain",
            body: Bytes::from_static(b"one\ntwo\n"),
            grants: Vec::new(),
        }
    }

    #[actix::test]
    async fn a_report_has_no_grants_that_its_buckets_settings_forbid() {
        let world = World::new(2, 1);
        let grants = vec![read_grant(LogGrantee::Canonical { id: "another".to_owned(), display_name: None })];
        let given = acl_of_report("root", &grants);
        assert!(given.is_some());
        let allowed: [(AclAllowed, Option<Acl>); 2] = [(|_, _, _| Ok(true), given), (|_, _, _| Ok(false), None)];
        for (acl_allowed, expected) in allowed {
            let report = Report { grants: grants.clone(), ..report("bucket", "root") };
            reports(&world, acl_allowed).put(&report).await.expect("put");
            let object = world.meta.view().object(world.bucket, "logs/1").expect("looked up").expect("it is there");
            assert_eq!(object.traits.acl, expected);
        }
    }

    #[test]
    fn log_grants_are_added_to_the_owners_full_control() {
        assert_eq!(acl_of_report("owner", &[]), None);
        assert_eq!(acl_of_report("owner", &[read_grant(LogGrantee::Email("a@b".to_owned()))]), None);
        let group = LogGrantee::Group("http://acs.amazonaws.com/groups/global/AllUsers".to_owned());
        let found = acl_of_report("owner", &[read_grant(group)]).expect("grants");
        let own = Grant { grantee: Grantee::Account("owner".to_owned()), permission: Permission::FullControl };
        assert_eq!(found.grants, [own, Grant { grantee: Grantee::AllUsers, permission: Permission::Read }]);
    }

    #[actix::test]
    async fn a_report_is_stored_as_an_object_of_the_buckets_owner() {
        let world = World::new(2, 1);
        let reports = reports(&world, |_, _, _| Ok(true));
        reports.put(&report("bucket", "root")).await.expect("put");
        let view = world.meta.view();
        let object = view.object(world.bucket, "logs/1").expect("looked up").expect("it stands");
        let owner = view.bucket("bucket").expect("looked up").expect("a bucket").bucket.owner;
        assert_eq!((object.manifest.size_bytes, object.traits.owner), (8, owner));
        assert_eq!(object.manifest.headers.content_type.as_deref(), Some("text/plain"));
        for (bucket, owner) in [("absent", "root"), ("bucket", "another")] {
            let refused = reports.put(&report(bucket, owner)).await.expect_err("no such bucket");
            assert!(refused.why.contains(bucket), "{refused}");
        }
    }
}
