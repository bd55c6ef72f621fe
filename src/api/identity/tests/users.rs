//! Tests of users and groups.

use super::memory::{ACCOUNT, World};
use crate::api::identity::changes::groups;
use crate::api::identity::changes::keys::{self, NewKey, Whose};
use crate::api::identity::changes::tagging;
use crate::api::identity::changes::users::{self, NewUser};
use crate::api::identity::{IdentityError, PrincipalKind};

pub fn new_user(name: &str) -> NewUser<'_> {
    NewUser { name, path: "/", tags: Vec::new(), boundary: None }
}

fn world_with(names: &[&str]) -> World {
    let mut world = World::new();
    for name in names {
        world.change(|editor| users::create(editor, ACCOUNT, new_user(name))).expect("a fresh name");
    }
    world
}

#[test]
fn names_of_users_are_unique_regardless_of_case() {
    let mut world = world_with(&["Alice"]);
    let again = world.change(|editor| users::create(editor, ACCOUNT, new_user("aLICE")));
    assert!(matches!(again, Err(IdentityError::EntityAlreadyExists(_))));
    let found = world.directory().user(ACCOUNT, "ALICE").expect("it is there");
    assert_eq!(found.record.arn(), "arn:aws:iam::111122223333:user/Alice");
    assert!(world.directory().user("444455556666", "Alice").is_err(), "another account has its own users");
}

#[test]
fn a_renamed_user_keeps_its_id_and_keys() {
    let mut world = world_with(&["alice", "bob"]);
    let key =
        world.change(|editor| keys::create(editor, ACCOUNT, Whose::User("alice"), NewKey::default())).expect("a key");
    let id = world.directory().user(ACCOUNT, "alice").expect("it is there").record.id;
    let taken = world.change(|editor| users::update(editor, ACCOUNT, "alice", Some("Bob"), None));
    assert!(matches!(taken, Err(IdentityError::EntityAlreadyExists(_))));
    world.change(|editor| users::update(editor, ACCOUNT, "alice", Some("Carol"), Some("/x/"))).expect("a free name");
    let resolved = world.resolve(&key.record.id, None).expect("the key is good");
    assert_eq!(resolved.principal.arn, "arn:aws:iam::111122223333:user/x/Carol");
    assert_eq!((&resolved.principal.user_id, &resolved.principal.kind), (&id, &PrincipalKind::User));
    assert!(world.directory().user(ACCOUNT, "alice").is_err());
}

#[test]
fn a_user_with_access_keys_cannot_be_deleted() {
    let mut world = world_with(&["alice"]);
    let key =
        world.change(|editor| keys::create(editor, ACCOUNT, Whose::User("alice"), NewKey::default())).expect("a key");
    let refused = world.change(|editor| users::delete(editor, ACCOUNT, "alice"));
    assert!(matches!(refused, Err(IdentityError::DeleteConflict(_))));
    world.change(|editor| keys::delete(editor, ACCOUNT, Whose::User("alice"), &key.record.id)).expect("it is there");
    world.change(|editor| users::delete(editor, ACCOUNT, "ALICE")).expect("nothing hangs on it");
    assert!(world.directory().user(ACCOUNT, "alice").is_err());
}

#[test]
fn adding_a_member_conflicts_with_deleting_its_group() {
    let mut world = world_with(&["alice"]);
    world.change(|editor| groups::create(editor, ACCOUNT, "Staff", "/")).expect("a fresh name");
    let joining = groups::add_user(&world.editor(), ACCOUNT, "staff", "alice").expect("both are there").writes;
    let deletion = groups::delete(&world.editor(), ACCOUNT, "staff").expect("it is empty").writes;
    assert!(world.rows.apply(joining));
    assert!(!world.rows.apply(deletion), "decided on what no longer stands");
    let refused = world.change(|editor| groups::delete(editor, ACCOUNT, "staff"));
    assert!(matches!(refused, Err(IdentityError::DeleteConflict(_))));
}

#[test]
fn members_follow_a_renamed_group() {
    let mut world = world_with(&["alice", "bob"]);
    world.change(|editor| groups::create(editor, ACCOUNT, "Staff", "/")).expect("a fresh name");
    for _ in 0..2 {
        world.change(|editor| groups::add_user(editor, ACCOUNT, "Staff", "alice")).expect("both are there");
    }
    world.change(|editor| groups::update(editor, ACCOUNT, "staff", Some("Crew"), Some("/c/"))).expect("a free name");
    let members = groups::members(&world.editor(), ACCOUNT, "crew").expect("they can be read");
    assert_eq!(members.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["alice"]);
    assert_eq!(world.directory().group(ACCOUNT, "crew").expect("it is there").record.members, 1);
    world.change(|editor| groups::remove_user(editor, ACCOUNT, "crew", "alice")).expect("it is in it");
    let not_in_it = world.change(|editor| groups::remove_user(editor, ACCOUNT, "crew", "bob"));
    assert!(matches!(not_in_it, Err(IdentityError::NoSuchEntity(_))));
    world.change(|editor| groups::delete(editor, ACCOUNT, "crew")).expect("it is empty");
}

#[test]
fn tags_replace_those_of_the_same_key_regardless_of_case() {
    let mut world = world_with(&["alice"]);
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut add = |added| {
        world.change(|editor| tagging::add(editor.directory.user(ACCOUNT, "alice")?, |user| &mut user.tags, added))
    };
    add(vec![tag("Team", "a"), tag("x", "")]).expect("good tags");
    add(vec![tag("team", "b")]).expect("good tags");
    let keys = ["X".to_owned()];
    world
        .change(|editor| tagging::remove(editor.directory.user(ACCOUNT, "alice")?, |user| &mut user.tags, &keys))
        .expect("good keys");
    assert_eq!(world.directory().user(ACCOUNT, "alice").expect("it is there").record.tags, [tag("team", "b")]);
}
