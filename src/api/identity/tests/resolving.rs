//! Tests of resolving an access key to the principal and its policies.

use super::memory::{ACCOUNT, ALLOW_S3, World};
use super::users::new_user;
use crate::api::identity::changes::keys::{self, NewKey, Whose};
use crate::api::identity::changes::policies::{self, NewPolicy};
use crate::api::identity::changes::{groups, holders, users};
use crate::api::identity::records::{GroupRecord, ServiceKey, UserRecord};
use crate::api::identity::{Asking, PrincipalKind, ROOT_ACCOUNT, ResolveError, Resolved, find_principal};
use crate::api::policy::{ParsedPolicies, Target};

fn names(policies: &[crate::api::identity::NamedPolicy]) -> Vec<&str> {
    policies.iter().map(|policy| policy.name.as_str()).collect()
}

fn may(resolved: &Resolved, action: &str) -> bool {
    let asking = Asking::of(resolved, &ParsedPolicies::default()).expect("its policies can be read");
    asking.decide(action, "*", Target::Account, &asking.context()).allowed
}

fn user_key(world: &mut World, service: Option<ServiceKey>) -> String {
    let new = NewKey { service, ..NewKey::default() };
    world.change(|editor| keys::create(editor, ACCOUNT, Whose::User("alice"), new)).expect("room").record.id
}

#[test]
fn the_root_key_of_the_store_resolves_without_a_document() {
    let world = World::new();
    let root = world.resolve("rootkey", None).expect("it is always there");
    assert_eq!((root.principal.kind.clone(), root.principal.account.as_str()), (PrincipalKind::Root, ROOT_ACCOUNT));
    assert_eq!(root.principal.arn, "arn:aws:iam::000000000000:root");
    assert_eq!(world.secret_key("rootkey"), Ok("rootsecret".to_owned()));
    assert!(may(&root, "s3:CreateBucket"));
    for unknown in ["", "nokey", "ROOTKEY", "ASIAAAAAAAAAAAAAAAAA"] {
        assert_eq!(world.resolve(unknown, None), Err(ResolveError::UnknownKey), "{unknown}");
    }
}

#[test]
fn a_user_has_its_own_policies_and_those_of_its_groups() {
    let mut world = World::new();
    world.change(|editor| users::create(editor, ACCOUNT, new_user("alice"))).expect("a fresh name");
    world.change(|editor| groups::create(editor, ACCOUNT, "Staff", "/")).expect("a fresh name");
    world.change(|editor| groups::add_user(editor, ACCOUNT, "staff", "alice")).expect("both are there");
    let read_only = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
    world.change(|editor| holders::attach::<GroupRecord>(editor, ACCOUNT, "staff", read_only)).expect("all are there");
    let key = user_key(&mut world, None);
    let resolved = world.resolve(&key, None).expect("it is good");
    assert_eq!((names(&resolved.own_policies), names(&resolved.group_policies)), (vec![], vec![read_only]));
    assert!(may(&resolved, "s3:GetObject") && !may(&resolved, "s3:PutObject"));
    world.put_inline::<UserRecord>("alice", ALLOW_S3);
    let resolved = world.resolve(&key, None).expect("it is good");
    assert_eq!(names(&resolved.own_policies), ["alice/all"]);
    assert!(may(&resolved, "s3:PutObject") && !may(&resolved, "iam:ListUsers"));
}

#[test]
fn a_permissions_boundary_limits_identity_policies() {
    let mut world = World::new();
    world.change(|editor| users::create(editor, ACCOUNT, new_user("alice"))).expect("a fresh name");
    let document = ALLOW_S3.replace("s3:*", "s3:Get*");
    let new = NewPolicy { name: "Bound", path: "/", description: None, document: &document, tags: Vec::new() };
    let arn = world.change(|editor| policies::create(editor, ACCOUNT, new)).expect("a good policy").arn();
    world.put_inline::<UserRecord>("alice", ALLOW_S3);
    world.change(|editor| users::set_boundary(editor, ACCOUNT, "alice", Some(&arn))).expect("both are there");
    let key = user_key(&mut world, None);
    let resolved = world.resolve(&key, None).expect("it is good");
    assert!(may(&resolved, "s3:GetObject") && !may(&resolved, "s3:PutObject"));
}

#[test]
fn a_service_key_needs_the_rights_of_its_owner_and_of_its_policy() {
    let mut world = World::new();
    let policy = Some(ALLOW_S3.replace("s3:*", "s3:Get*"));
    let service = ServiceKey { name: "reader".to_owned(), description: String::new(), policy };
    let new = NewKey { service: Some(service.clone()), ..NewKey::default() };
    let of_root = world.change(|editor| keys::create(editor, ACCOUNT, Whose::Root, new)).expect("room").record.id;
    let resolved = world.resolve(&of_root, None).expect("it is good");
    assert!(resolved.is_service_key && resolved.principal.kind == PrincipalKind::Root);
    assert!(may(&resolved, "s3:GetObject") && !may(&resolved, "s3:PutObject"), "a root's, too");
    world.change(|editor| users::create(editor, ACCOUNT, new_user("alice"))).expect("a fresh name");
    let of_user = user_key(&mut world, Some(service));
    assert!(!may(&world.resolve(&of_user, None).expect("it is good"), "s3:GetObject"), "its owner may nothing");
}

#[test]
fn accounts_are_found_by_email_and_canonical_id() {
    let world = World::new();
    let directory = world.directory();
    let account = directory.account_by_email("MAIN@example.ORG").expect("read").expect("it is there");
    assert_eq!(account.id, ACCOUNT);
    let found = directory.account_by_canonical_id(&account.canonical_id).expect("read").expect("it is there");
    assert_eq!(found, account);
    let root = directory.account_by_canonical_id(&world.root.canonical_id).expect("read").expect("it is there");
    assert_eq!(root.id, ROOT_ACCOUNT);
    assert_eq!(directory.account_by_email("nobody@example.org"), Ok(None));
}

#[test]
fn only_existing_principals_are_known_to_policies() {
    let mut world = World::new();
    world.change(|editor| users::create(editor, ACCOUNT, new_user("alice"))).expect("a fresh name");
    super::sessions::role(&mut world);
    let directory = world.directory();
    for known in [
        ACCOUNT,
        "000000000000",
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:user/alice",
        "arn:aws:iam::111122223333:role/r/Reader",
        "arn:aws:sts::111122223333:assumed-role/Reader/s",
    ] {
        assert!(find_principal(&directory, known).expect("read").is_some(), "{known}");
    }
    for strange in [
        "1",
        "999988887777",
        "arn:aws:iam::111122223333:user/bob",
        "arn:aws:iam::111122223333:user/Alice",
        "arn:aws-cn:iam::111122223333:user/alice",
        "arn:aws:iam::111122223333:role/r/reader",
        "arn:aws:sts::111122223333:assumed-role/r/s",
        "arn:aws:sts::111122223333:assumed-role/reader/s",
        "",
    ] {
        assert_eq!(find_principal(&directory, strange), Ok(None), "{strange}");
    }
}
