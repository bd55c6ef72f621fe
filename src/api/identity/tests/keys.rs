//! Tests of access keys.

use super::memory::{ACCOUNT, ALLOW_S3, Turned, World};
use super::users::new_user;
use crate::api::identity::changes::keys::{self, GivenKey, NewKey, Whose};
use crate::api::identity::changes::users;
use crate::api::identity::records::ServiceKey;
use crate::api::identity::{IdentityError, ResolveError, sealed_under};
use crate::types::UnixMs;

fn world() -> World {
    let mut world = World::new();
    world.change(|editor| users::create(editor, ACCOUNT, new_user("Alice"))).expect("a fresh name");
    world
}

#[test]
fn a_secret_key_is_shown_once_and_stored_sealed() {
    let mut world = world();
    let made =
        world.change(|editor| keys::create(editor, ACCOUNT, Whose::User("alice"), NewKey::default())).expect("room");
    assert_eq!((made.record.id.len(), made.secret_key.len(), made.user.as_deref()), (20, 40, Some("Alice")));
    assert!(made.record.id.starts_with("AKIA"));
    assert!(!made.record.sealed.contains(&made.secret_key));
    assert_eq!(world.secret_key(&made.record.id).as_ref(), Ok(&made.secret_key));
    let moved = super::super::secrets::open(&Turned, "AKIAANOTHER", &made.record.sealed);
    assert!(matches!(moved, Err(IdentityError::Unreadable(_))), "a secret is of one key only");
}

#[test]
fn a_user_has_at_most_two_keys_besides_service_keys() {
    let mut world = world();
    let mut create = |service: Option<ServiceKey>| {
        let new = NewKey { service, ..NewKey::default() };
        world.change(|editor| keys::create(editor, ACCOUNT, Whose::User("alice"), new))
    };
    let service = || {
        Some(ServiceKey { name: "backup".to_owned(), description: String::new(), policy: Some(ALLOW_S3.to_owned()) })
    };
    assert!(create(None).is_ok() && create(None).is_ok() && create(service()).is_ok());
    assert!(matches!(create(None), Err(IdentityError::LimitExceeded(_))));
    let bad = Some(ServiceKey { name: "x".to_owned(), description: String::new(), policy: Some("{}".to_owned()) });
    assert!(matches!(create(bad), Err(IdentityError::MalformedPolicyDocument(_))));
    let (_, all) = keys::list(&world.editor(), ACCOUNT, Whose::User("alice")).expect("they can be read");
    assert_eq!(all.len(), 3);
}

#[test]
fn an_inactive_expired_or_deleted_key_does_not_resolve() {
    let mut world = world();
    let expires = Some(UnixMs(world.ambient.clock.unix_ms().0 + 10_000));
    let new = NewKey { expires, ..NewKey::default() };
    let key = world.change(|editor| keys::create(editor, ACCOUNT, Whose::Root, new)).expect("room").record.id;
    assert!(world.resolve(&key, None).is_ok());
    world.change(|editor| keys::set_active(editor, ACCOUNT, Whose::Root, &key, false)).expect("it is there");
    assert_eq!(world.resolve(&key, None), Err(ResolveError::UnknownKey));
    world.change(|editor| keys::set_active(editor, ACCOUNT, Whose::Root, &key, true)).expect("it is there");
    world.pass(11);
    assert_eq!(world.resolve(&key, None), Err(ResolveError::UnknownKey));
    let others = world.change(|editor| keys::delete(editor, ACCOUNT, Whose::User("alice"), &key));
    assert!(matches!(others, Err(IdentityError::NoSuchEntity(_))), "it is the root's");
    world.change(|editor| keys::delete(editor, ACCOUNT, Whose::Root, &key)).expect("it is there");
    assert_eq!(world.resolve(&key, None), Err(ResolveError::UnknownKey));
}

#[test]
fn a_given_key_must_be_well_formed_and_unused() {
    let mut world = world();
    let mut give = |access_key: &str, secret_key: &str| {
        let new = NewKey { given: Some(GivenKey { access_key, secret_key }), ..NewKey::default() };
        world.change(|editor| keys::create(editor, ACCOUNT, Whose::Root, new)).map(|made| made.secret_key)
    };
    assert_eq!(give("mykey", "mysecret").as_deref(), Ok("mysecret"));
    for (taken, secret) in [("mykey", "mysecret"), ("rootkey", "mysecret")] {
        assert!(matches!(give(taken, secret), Err(IdentityError::EntityAlreadyExists(_))), "{taken}");
    }
    for (wrong, secret) in
        [("a/b", "mysecret"), ("ab", "mysecret"), ("abc", "short"), ("ASIAABC", "mysecret"), ("a=b", "mysecret")]
    {
        assert!(matches!(give(wrong, secret), Err(IdentityError::Validation(_))), "{wrong}");
    }
}

#[test]
fn resealing_proceeds_by_pages_and_keeps_the_secrets() {
    let mut world = world();
    let made: Vec<_> = [Whose::Root, Whose::Root, Whose::User("alice")]
        .into_iter()
        .map(|whose| world.change(|editor| keys::create(editor, ACCOUNT, whose, NewKey::default())).expect("room"))
        .collect();
    let (count, next) = world.change(|editor| keys::reseal(editor, [0; 8], None, 2)).expect("they open");
    assert!(count == 2 && next.is_some());
    let rest = world.change(|editor| keys::reseal(editor, [0; 8], next.as_deref(), 2)).expect("they open");
    assert_eq!(rest, (1, None));
    for key in &made {
        assert_eq!(world.secret_key(&key.record.id).as_ref(), Ok(&key.secret_key));
    }
    // Secrets that the current root key has sealed are not written again.
    let root_key_id = sealed_under(&made[0].record.sealed).expect("it is sealed");
    let before = world.editor().directory.access_key(&made[0].record.id).expect("it can be read").expect("it is there");
    world.change(|editor| keys::reseal(editor, root_key_id, None, 9)).expect("they open");
    let after = world.editor().directory.access_key(&made[0].record.id).expect("it can be read").expect("it is there");
    assert_eq!(before, after);
}
