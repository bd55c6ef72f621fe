//! Tests of inline, managed and trust policies.

use super::memory::{ACCOUNT, ALLOW_S3, World};
use super::users::new_user;
use crate::actors::meta::IdentityKind;
use crate::api::identity::IdentityError;
use crate::api::identity::changes::policies::{self, NewPolicy};
use crate::api::identity::changes::roles::{self, NewRole};
use crate::api::identity::changes::{holders, users};
use crate::api::identity::records::{PolicyRecord, RoleRecord, UserRecord};

const ARN: &str = "arn:aws:iam::111122223333:policy/p/Own";

fn world() -> World {
    let mut world = World::new();
    world.change(|editor| users::create(editor, ACCOUNT, new_user("alice"))).expect("a fresh name");
    let new = NewPolicy { name: "Own", path: "/p/", description: None, document: ALLOW_S3, tags: Vec::new() };
    world.change(|editor| policies::create(editor, ACCOUNT, new)).expect("a good policy");
    world
}

fn policy(world: &World) -> PolicyRecord {
    world.directory().local_policy(ACCOUNT, ARN).expect("it is there").record
}

#[test]
fn a_policy_in_use_cannot_be_deleted() {
    let mut world = world();
    for _ in 0..2 {
        world.change(|editor| holders::attach::<UserRecord>(editor, ACCOUNT, "alice", ARN)).expect("both are there");
    }
    world.change(|editor| users::set_boundary(editor, ACCOUNT, "alice", Some(ARN))).expect("both are there");
    assert_eq!((policy(&world).attachments, policy(&world).boundaries), (1, 1));
    world.change(|editor| holders::detach::<UserRecord>(editor, ACCOUNT, "alice", ARN)).expect("it is attached");
    let again = world.change(|editor| holders::detach::<UserRecord>(editor, ACCOUNT, "alice", ARN));
    assert!(matches!(again, Err(IdentityError::NoSuchEntity(_))));
    let bounding = world.change(|editor| policies::delete(editor, ACCOUNT, ARN));
    assert!(matches!(bounding, Err(IdentityError::DeleteConflict(_))));
    world.change(|editor| users::delete(editor, ACCOUNT, "alice")).expect("a boundary does not hold it");
    world.change(|editor| policies::delete(editor, ACCOUNT, ARN)).expect("nobody has it");
}

#[test]
fn a_policy_is_not_detached_while_its_count_of_uses_cannot_be_read() {
    let mut world = world();
    world.change(|editor| holders::attach::<UserRecord>(editor, ACCOUNT, "alice", ARN)).expect("both are there");
    world.rows.unreadable = Some(IdentityKind::Policy);
    let detached = world.change(|editor| holders::detach::<UserRecord>(editor, ACCOUNT, "alice", ARN));
    assert!(matches!(detached, Err(IdentityError::Unavailable(_))), "{detached:?}");
    world.rows.unreadable = None;
    world.change(|editor| holders::detach::<UserRecord>(editor, ACCOUNT, "alice", ARN)).expect("it is still attached");
    assert_eq!(policy(&world).attachments, 0);
}

#[test]
fn only_existing_policies_can_be_attached() {
    let mut world = world();
    let mut attach = |arn: &str| world.change(|editor| holders::attach::<UserRecord>(editor, ACCOUNT, "alice", arn));
    for arn in [
        "arn:aws:iam::111122223333:policy/Own",
        "arn:aws:iam::111122223333:policy/p/own",
        "arn:aws-cn:iam::111122223333:policy/p/Own",
        "arn:aws:iam::444455556666:policy/p/Own",
        "arn:aws:iam::aws:policy/X",
        "arn:aws-cn:iam::aws:policy/AmazonS3ReadOnlyAccess",
    ] {
        assert!(matches!(attach(arn), Err(IdentityError::NoSuchEntity(_))), "{arn}");
    }
    assert!(matches!(attach("nonsense"), Err(IdentityError::InvalidInput(_))));
    attach("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess").expect("everybody has it");
    let changed =
        world.change(|editor| policies::delete(editor, ACCOUNT, "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"));
    assert!(matches!(changed, Err(IdentityError::AccessDenied(_))));
}

#[test]
fn a_policy_has_at_most_five_versions_and_never_reuses_a_number() {
    let mut world = world();
    for number in 2..=5 {
        let made =
            world.change(|editor| policies::create_version(editor, ACCOUNT, ARN, ALLOW_S3, number == 3)).expect("room");
        assert_eq!(made.0.number, number);
    }
    let sixth = world.change(|editor| policies::create_version(editor, ACCOUNT, ARN, ALLOW_S3, false));
    assert!(matches!(sixth, Err(IdentityError::LimitExceeded(_))));
    let default = world.change(|editor| policies::delete_version(editor, ACCOUNT, ARN, "v3"));
    assert!(matches!(default, Err(IdentityError::DeleteConflict(_))));
    world.change(|editor| policies::delete_version(editor, ACCOUNT, ARN, "v5")).expect("it is not the default");
    let made = world.change(|editor| policies::create_version(editor, ACCOUNT, ARN, ALLOW_S3, false)).expect("room");
    assert_eq!(made.0.number, 6);
    for wrong in ["5", "v05", "vx", "v+1", ""] {
        let unset = world.change(|editor| policies::set_default_version(editor, ACCOUNT, ARN, wrong));
        assert!(matches!(unset, Err(IdentityError::Validation(_))), "{wrong}");
    }
    assert_eq!(policy(&world).default_version, 3);
}

#[test]
fn a_malformed_or_too_long_inline_policy_is_refused() {
    let mut world = world();
    let mut put = |document: &str| {
        world.change(|editor| holders::put_inline::<UserRecord>(editor, ACCOUNT, "alice", "inline", document))
    };
    for wrong in ["", "{}", "[]", r#"{"Version":"2012-10-17"}"#] {
        assert!(matches!(put(wrong), Err(IdentityError::MalformedPolicyDocument(_))), "{wrong}");
    }
    let long = ALLOW_S3.replace("s3:*", &format!("s3:{}", "x".repeat(2000)));
    assert!(matches!(put(&long), Err(IdentityError::LimitExceeded(_))));
    assert!(put(ALLOW_S3).is_ok());
}

#[test]
fn a_trust_policy_can_name_only_existing_principals() {
    let mut world = world();
    let trust = |who: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[
                {{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"AWS":"{who}"}}}}]}}"#
        )
    };
    let mut create = |name: &str, trust: &str| {
        let new = NewRole {
            name,
            path: "/",
            description: None,
            trust,
            session_seconds_max: 3600,
            tags: Vec::new(),
            boundary: None,
        };
        world.change(|editor| roles::create(editor, ACCOUNT, new))
    };
    for (at, known) in
        ["*", ACCOUNT, "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/alice"].iter().enumerate()
    {
        assert!(create(&format!("r{at}"), &trust(known)).is_ok(), "{known}");
    }
    for strange in ["arn:aws:iam::111122223333:user/nobody", "999988887777", "arn:aws:iam::111122223333:user/x/alice"] {
        let refused = create("r", &trust(strange));
        assert!(matches!(refused, Err(IdentityError::MalformedPolicyDocument(_))), "{strange}");
    }
    assert!(matches!(create("r", ALLOW_S3), Err(IdentityError::MalformedPolicyDocument(_))));
    assert_eq!(world.all::<RoleRecord>("111122223333/").len(), 4);
}
