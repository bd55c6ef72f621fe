//! Tests of sessions and their tokens.

use super::memory::{ACCOUNT, ALLOW_S3, World};
use super::users::new_user;
use crate::api::identity::changes::policies::{self, NewPolicy};
use crate::api::identity::changes::roles::{self, NewRole};
use crate::api::identity::changes::users::{self, NewUser};
use crate::api::identity::records::{RoleRecord, UserRecord};
use crate::api::identity::{
    Asking, IdOf, PrincipalKind, ResolveError, Session, SessionKeys, SessionLimits, SessionOf, TokenFault, fresh_id,
};
use crate::api::policy::{
    Account, Bucket, Ownership, ParsedPolicies, Policy, PolicyKind, PrincipalIds, PublicAccessBlock, ResourcePolicy,
    Target,
};
use crate::types::UnixMs;
use proptest::prelude::{any, proptest};

const TRUST: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"}}]}"#;

fn session(world: &World, of: SessionOf) -> Session {
    let now = world.ambient.clock.unix_ms();
    Session {
        access_key: fresh_id(&world.ambient, IdOf::SessionKey),
        account: ACCOUNT.to_owned(),
        of,
        issued: now,
        expires: UnixMs(now.0 + 900_000),
        limits: None,
        tags: Vec::new(),
        transitive: Vec::new(),
        source_identity: None,
        claims: Vec::new(),
    }
}

pub fn role(world: &mut World) -> RoleRecord {
    let new = NewRole {
        name: "Reader",
        path: "/r/",
        description: None,
        trust: TRUST,
        session_seconds_max: 3600,
        tags: vec![("team".to_owned(), "a".to_owned()), ("kept".to_owned(), "k".to_owned())],
        boundary: None,
    };
    world.change(|editor| roles::create(editor, ACCOUNT, new)).expect("a fresh name")
}

fn of_role(world: &World, role: &RoleRecord) -> Session {
    let of = SessionOf::Role { name: "reader".to_owned(), id: role.id.clone(), session: "job".to_owned() };
    session(world, of)
}

#[test]
fn a_session_token_is_valid_for_its_key_until_it_expires() {
    let mut world = World::new();
    let role = role(&mut world);
    let session = of_role(&world, &role);
    let token = world.sessions.seal(&world.ambient, &session);
    let resolved = world.resolve(&session.access_key, Some(&token)).expect("it is good");
    assert_eq!(resolved.principal.kind, PrincipalKind::AssumedRole);
    assert_eq!(resolved.principal.arn, "arn:aws:sts::111122223333:assumed-role/Reader/job");
    assert_eq!(world.secret_key(&session.access_key), Ok(world.sessions.secret_of(&session.access_key)));
    let invalid = Err(ResolveError::Token(TokenFault::Invalid));
    assert_eq!(world.resolve("ASIAANOTHERANOTHERAN", Some(&token)), invalid);
    assert_eq!(world.resolve("rootkey", Some(&token)), invalid, "a lasting key has no token");
    assert_eq!(world.resolve(&session.access_key, None), Err(ResolveError::UnknownKey));
    world.pass(900);
    let expired = world.resolve(&session.access_key, Some(&token));
    assert_eq!(expired, Err(ResolveError::Token(TokenFault::Expired)));
}

/// The clock of the host that issued it is wrong, and so is its expiry.
#[test]
fn a_session_that_begins_in_the_future_is_invalid() {
    let mut world = World::new();
    let role = role(&mut world);
    let begins_in = |world: &World, seconds: u64| {
        let mut session = of_role(world, &role);
        (session.issued.0, session.expires.0) = (session.issued.0 + seconds * 1000, session.expires.0 + seconds * 1000);
        let token = world.sessions.seal(&world.ambient, &session);
        world.resolve(&session.access_key, Some(&token)).map(|_| ())
    };
    assert_eq!(begins_in(&world, 15 * 60), Ok(()), "clocks may differ as much for a signature");
    assert_eq!(begins_in(&world, 60 * 86_400), Err(ResolveError::Token(TokenFault::Invalid)));
}

#[test]
fn a_token_sealed_with_other_key_material_is_invalid() {
    let mut world = World::new();
    let role = role(&mut world);
    let session = of_role(&world, &role);
    let token = SessionKeys::derive(b"other material").seal(&world.ambient, &session);
    assert_eq!(world.resolve(&session.access_key, Some(&token)), Err(ResolveError::Token(TokenFault::Invalid)));
}

#[test]
fn a_session_ends_when_its_role_is_deleted() {
    let mut world = World::new();
    let first = role(&mut world);
    let session = of_role(&world, &first);
    let token = world.sessions.seal(&world.ambient, &session);
    world.change(|editor| roles::delete(editor, ACCOUNT, "reader")).expect("nothing hangs on it");
    assert!(world.resolve(&session.access_key, Some(&token)).is_err());
    let second = role(&mut world);
    assert_ne!(first.id, second.id);
    assert!(world.resolve(&session.access_key, Some(&token)).is_err(), "another role of the same name");
}

#[test]
fn the_policies_of_a_role_are_looked_up_at_each_request() {
    let mut world = World::new();
    let role = role(&mut world);
    let session = of_role(&world, &role);
    let token = world.sessions.seal(&world.ambient, &session);
    let may = |world: &World, action: &str| {
        let resolved = world.resolve(&session.access_key, Some(&token)).expect("it is good");
        let asking = Asking::of(&resolved, &ParsedPolicies::default()).expect("its policies can be read");
        asking.decide(action, "*", Target::Account, &asking.context()).allowed
    };
    assert!(!may(&world, "s3:GetObject"));
    world.put_inline::<RoleRecord>("Reader", ALLOW_S3);
    assert!(may(&world, "s3:GetObject"));
}

#[test]
fn session_policies_limit_a_session_and_its_tags_override_those_of_the_role() {
    let mut world = World::new();
    let role = role(&mut world);
    world.put_inline::<RoleRecord>("Reader", ALLOW_S3);
    let mut session = of_role(&world, &role);
    session.limits = Some(SessionLimits {
        document: Some(ALLOW_S3.replace("s3:*", "s3:List*")),
        arns: vec!["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".to_owned()],
    });
    session.tags = vec![("Team".to_owned(), "b".to_owned())];
    let token = world.sessions.seal(&world.ambient, &session);
    let resolved = world.resolve(&session.access_key, Some(&token)).expect("it is good");
    let asking = Asking::of(&resolved, &ParsedPolicies::default()).expect("its policies can be read");
    let context = asking.context();
    let may = |action: &str| asking.decide(action, "*", Target::Account, &context).allowed;
    assert!(may("s3:ListBucket") && may("s3:GetObject") && !may("s3:PutObject"));
    assert_eq!(context.single("aws:principaltag/team"), Some("b"));
    assert_eq!(context.single("aws:principaltag/kept"), Some("k"));
    assert_eq!(context.single("aws:tokenissuetime"), Some("2024-05-01T00:00:00Z"));
}

#[test]
fn a_federated_user_without_a_session_policy_may_do_nothing() {
    let mut world = World::new();
    let user = world.change(|editor| users::create(editor, ACCOUNT, new_user("alice"))).expect("a fresh name");
    world.put_inline::<UserRecord>("alice", ALLOW_S3);
    for (limits, allowed) in
        [(SessionLimits::default(), false), (SessionLimits { document: Some(ALLOW_S3.to_owned()), arns: vec![] }, true)]
    {
        let by = Some(("alice".to_owned(), user.id.clone()));
        let mut session = session(&world, SessionOf::Federated { name: "bob".to_owned(), by });
        session.limits = Some(limits);
        let token = world.sessions.seal(&world.ambient, &session);
        let resolved = world.resolve(&session.access_key, Some(&token)).expect("it is good");
        assert_eq!(resolved.principal.arn, "arn:aws:sts::111122223333:federated-user/bob");
        let asking = Asking::of(&resolved, &ParsedPolicies::default()).expect("its policies can be read");
        assert_eq!(asking.decide("s3:GetObject", "*", Target::Account, &asking.context()).allowed, allowed);
    }
}

/// Returns whether a session may read from a bucket of its account whose policy allows everybody and denies one ARN.
fn may_read_what_is_public(world: &World, session: &Session, denied: &str) -> bool {
    let token = world.sessions.seal(&world.ambient, session);
    let resolved = world.resolve(&session.access_key, Some(&token)).expect("it is good");
    let asking = Asking::of(&resolved, &ParsedPolicies::default()).expect("its policies can be read");
    let (id, canonical_id) = (resolved.principal.account.clone(), resolved.principal.canonical_id.clone());
    let owner = Account { id, canonical_id };
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}},
            {{"Effect":"Deny","Principal":{{"AWS":"{denied}"}},"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}]}}"#
    );
    let policy = Policy::parse(PolicyKind::Bucket("b"), &text).expect("a good policy");
    let target = Target::Bucket(Bucket {
        owner: &owner,
        policy: Some(ResourcePolicy { policy: &policy, ids: &PrincipalIds::new() }),
        policy_binds_root: false,
        acl: None,
        ownership: Ownership::BucketOwnerEnforced,
        block: PublicAccessBlock::default(),
        object: None,
    });
    asking.decide("s3:GetObject", "arn:aws:s3:::b/k", target, &asking.context()).allowed
}

#[test]
fn a_session_without_any_policy_is_bound_by_the_denials_of_its_user_or_role() {
    let mut world = World::new();
    let deny = ALLOW_S3.replace("Allow", "Deny");
    let user = world.change(|editor| users::create(editor, ACCOUNT, new_user("alice"))).expect("a fresh name");
    let role = role(&mut world);
    let new = NewPolicy { name: "Limit", path: "/", description: None, document: ALLOW_S3, tags: Vec::new() };
    let limit = world.change(|editor| policies::create(editor, ACCOUNT, new)).expect("a good policy").arn();
    let by = Some(("alice".to_owned(), user.id));
    let mut federated = session(&world, SessionOf::Federated { name: "bob".to_owned(), by });
    federated.limits = Some(SessionLimits::default());
    let mut assumed = of_role(&world, &role);
    assumed.limits = Some(SessionLimits { document: None, arns: vec![limit.clone()] });
    world.change(|editor| policies::delete(editor, ACCOUNT, &limit)).expect("nobody has it");
    let sessions = [&federated, &assumed];
    let nobody = "arn:aws:iam::111122223333:user/nobody";
    assert_eq!(sessions.map(|session| may_read_what_is_public(&world, session, nobody)), [true, true]);
    world.put_inline::<UserRecord>("alice", &deny);
    world.put_inline::<RoleRecord>("Reader", &deny);
    assert_eq!(sessions.map(|session| may_read_what_is_public(&world, session, nobody)), [false, false]);
}

#[test]
fn a_federated_user_keeps_the_tags_of_its_issuer_and_the_denials_that_name_it() {
    let mut world = World::new();
    let tags = [("team", "a"), ("kept", "k")].map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let new = NewUser { tags, ..new_user("alice") };
    let user = world.change(|editor| users::create(editor, ACCOUNT, new)).expect("a fresh name");
    let by = Some(("alice".to_owned(), user.id.clone()));
    let mut session = session(&world, SessionOf::Federated { name: "bob".to_owned(), by });
    session.limits = Some(SessionLimits { document: Some(ALLOW_S3.to_owned()), arns: vec![] });
    session.tags = vec![("Team".to_owned(), "b".to_owned())];
    let token = world.sessions.seal(&world.ambient, &session);
    let resolved = world.resolve(&session.access_key, Some(&token)).expect("it is good");
    let tags = [("kept", "k"), ("Team", "b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(resolved.principal.tags, tags);
    assert!(may_read_what_is_public(&world, &session, "arn:aws:iam::111122223333:user/nobody"));
    assert!(!may_read_what_is_public(&world, &session, &user.arn()));
}

#[test]
fn a_session_token_has_only_one_valid_encoding() {
    let mut world = World::new();
    let role = role(&mut world);
    for length in 0..3 {
        let mut session = of_role(&world, &role);
        session.source_identity = Some("x".repeat(length));
        let token = world.sessions.seal(&world.ambient, &session);
        let taken = |last: char| {
            let text = format!("{}{last}", &token[..token.len() - 1]);
            world.resolve(&session.access_key, Some(&text)).is_ok()
        };
        assert_eq!(
            ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_', '=']).filter(|last| taken(*last)).count(),
            1
        );
    }
}

proptest! {
    #[test]
    fn a_changed_session_token_is_refused(at in any::<proptest::sample::Index>(), with in "[A-Za-z0-9_-]") {
        let mut world = World::new();
        let role = role(&mut world);
        let session = of_role(&world, &role);
        let token = world.sessions.seal(&world.ambient, &session);
        let at = at.index(token.len());
        let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
        let taken = world.resolve(&session.access_key, Some(&changed)).is_ok();
        assert_eq!(taken, changed == token);
    }

    #[test]
    fn no_access_key_or_token_makes_resolution_panic(token in ".{0,200}", key in "(ASIA)?.{0,20}") {
        let _ = World::new().resolve(&key, Some(&token));
    }
}
