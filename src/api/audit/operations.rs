//! Which operations get lines in the audit log, derived from the names of all operations of the API and from the
//! actions that those of S3 need.

use crate::api::admin_routes::{Route, UNKNOWN};
use crate::api::policy::{Asks, On, needs};
use crate::api::{iam, s3};
use serde::Serialize;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    S3,
    Iam,
    Sts,
    Admin,
}

/// The calls of an operation that get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audited {
    /// Every call gets a line, whatever its outcome, as the operation changes something or issues credentials.
    Always,
    /// Only denied calls get a line, as the operation only reads.
    Denied,
    /// No call gets a line: requests on objects and reads of S3, which access logs cover.
    Never,
}

/// The operation in lines about the accounts file, which no call has.
pub const ACCOUNTS_FILE: &str = "ApplyAccountsFile";

/// Names of operations that only read.
const READS: [&str; 3] = ["Get", "Head", "List"];
/// Operations of the admin API that change nothing, whatever their names begin with. `CallIam` is the operation until
/// the body of the call shows the IAM action.
const ADMIN_READS: [&str; 3] = ["CallIam", "ExplainAccess", UNKNOWN];
/// Operations of STS that issue no credentials.
const STS_READS: [&str; 2] = ["GetAccessKeyInfo", "GetCallerIdentity"];

/// Returns which calls of an operation get a line: its name tells whether it only reads, and the actions that it needs
/// whether it is on a bucket.
fn audited(service: Service, name: &str) -> Audited {
    let reads = READS.iter().any(|verb| name.starts_with(verb));
    let on_bucket = || needs(name, Asks::default()).is_some_and(|needs| needs.iter().all(|need| need.on == On::Bucket));
    match service {
        Service::S3 if !reads && on_bucket() => Audited::Always,
        Service::S3 => Audited::Never,
        Service::Sts if STS_READS.contains(&name) => Audited::Denied,
        Service::Iam if reads => Audited::Denied,
        Service::Admin if reads || ADMIN_READS.contains(&name) => Audited::Denied,
        Service::Iam | Service::Sts | Service::Admin => Audited::Always,
    }
}

/// Returns all operations with their services; names are unique.
fn all() -> impl Iterator<Item = (Service, &'static str)> {
    let s3 = s3::OPERATIONS.iter().map(|name| (Service::S3, *name));
    let iam = iam::iam_names().map(|name| (Service::Iam, name));
    let sts = iam::sts_names().map(|name| (Service::Sts, name));
    let routes = Route::ALL.iter().map(|route| route.name());
    s3.chain(iam).chain(sts).chain(routes.chain([UNKNOWN]).map(|name| (Service::Admin, name)))
}

/// Returns the service of each operation, and which of its calls get a line.
pub fn by_operation() -> HashMap<&'static str, (Service, Audited)> {
    all().map(|(service, name)| (name, (service, audited(service, name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Audited, Service, all, by_operation};

    #[test]
    fn every_operation_is_audited_by_its_name_and_actions() {
        let operations = by_operation();
        assert_eq!(operations.len(), all().count(), "no two services have an operation with the same name");
        for (name, service, audited) in [
            ("CreateBucket", Service::S3, Audited::Always),
            ("DeleteBucketTagging", Service::S3, Audited::Always),
            ("PutObjectLockConfiguration", Service::S3, Audited::Always),
            ("DeleteObjects", Service::S3, Audited::Never),
            ("PutObjectAcl", Service::S3, Audited::Never),
            ("RenameObject", Service::S3, Audited::Never),
            ("HeadBucket", Service::S3, Audited::Never),
            ("CreateAccessKey", Service::Iam, Audited::Always),
            ("ListUsers", Service::Iam, Audited::Denied),
            ("AssumeRoleWithWebIdentity", Service::Sts, Audited::Always),
            ("GetSessionToken", Service::Sts, Audited::Always),
            ("GetCallerIdentity", Service::Sts, Audited::Denied),
            ("StartHeal", Service::Admin, Audited::Always),
            ("GetLayout", Service::Admin, Audited::Denied),
            ("CallIam", Service::Admin, Audited::Denied),
            ("Unknown", Service::Admin, Audited::Denied),
        ] {
            assert_eq!(operations.get(name), Some(&(service, audited)), "{name}");
        }
        let count = |audited: Audited| operations.values().filter(|(_, of)| *of == audited).count();
        assert_eq!([Audited::Always, Audited::Denied, Audited::Never].map(count), [106, 56, 55]);
    }
}
