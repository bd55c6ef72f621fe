//! Tests of accounts and the accounts file.

use super::memory::{ACCOUNT, World};
use crate::api::identity::changes::accounts::{self, AccountShape};
use crate::api::identity::changes::accounts_file::{AccountsFile, check, decide};
use crate::api::identity::changes::keys::{self, GivenKey, NewKey, Whose};
use crate::api::identity::changes::{holders, users};
use crate::api::identity::records::UserRecord;
use crate::api::identity::{IdentityError, ResolveError};

const FILE: &str = r#"{"accounts": [
    {"id": "444455556666", "name": "alt", "email": "alt@example.org",
     "keys": [{"access_key": "altkey", "secret_key": "altsecret"}],
     "users": [{"name": "Bob", "path": "/x/", "keys": [{"access_key": "bobkey", "secret_key": "bobsecret"}],
                "policies": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
                "inline_policies": {"own": {"Version": "2012-10-17", "Statement": [
                    {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}]}}}]}
]}"#;

/// Applies a file whose keys are all accepted, and returns the number of documents written.
fn apply(world: &mut World, text: &str) -> Result<usize, IdentityError> {
    let (written, refused) = apply_in_part(world, text)?;
    assert!(refused.is_empty(), "{refused:?}");
    Ok(written)
}

/// Applies a file, and returns the number of documents written, and why keys were refused.
fn apply_in_part(world: &mut World, text: &str) -> Result<(usize, Vec<String>), IdentityError> {
    let file = AccountsFile::parse(text).expect("a good file");
    check(&world.editor(), &file)?;
    let (mut written, mut refused) = (0, Vec::new());
    for step in file.steps() {
        let decided = decide(&world.editor(), step)?;
        written += decided.writes.len();
        refused.extend(decided.answer);
        assert!(world.rows.apply(decided.writes), "nothing changed since the decision");
    }
    Ok((written, refused))
}

/// Returns a file with the users alice and bob, in which one of them has the key `thekey`.
fn file_with_key_of(owner: &str) -> String {
    let user = |name: &str| {
        let keys = if name == owner { r#"{"access_key": "thekey", "secret_key": "thesecret"}"# } else { "" };
        format!(r#"{{"name": "{name}", "keys": [{keys}]}}"#)
    };
    let (alice, bob) = (user("alice"), user("bob"));
    format!(r#"{{"accounts": [{{"id": "{ACCOUNT}", "name": "main", "users": [{alice}, {bob}]}}]}}"#)
}

#[test]
fn applying_the_accounts_file_twice_writes_nothing_more() {
    let mut world = World::new();
    assert!(apply(&mut world, FILE).expect("it can be applied") > 0);
    let bob = world.resolve("bobkey", None).expect("it is good");
    assert_eq!(bob.principal.arn, "arn:aws:iam::444455556666:user/x/Bob");
    assert_eq!(world.secret_key("bobkey"), Ok("bobsecret".to_owned()));
    assert_eq!(bob.own_policies.len(), 2);
    let root = world.resolve("altkey", None).expect("it is good");
    assert_eq!(root.principal.account_name, "alt");
    assert_eq!(apply(&mut world, FILE), Ok(0));
}

#[test]
fn two_users_of_an_account_whose_names_differ_by_case_only_are_refused() {
    let parse = |second: &str| {
        let users = format!(r#"[{{"name": "Bob"}}, {{"name": "{second}"}}]"#);
        AccountsFile::parse(&format!(r#"{{"accounts": [{{"id": "{ACCOUNT}", "name": "main", "users": {users}}}]}}"#))
    };
    let why = parse("bob").expect_err("both would be one user");
    assert_eq!(why, format!("the user bob of the account {ACCOUNT} is listed twice"));
    assert!(parse("bobby").is_ok());
}

#[test]
fn a_key_of_the_accounts_file_is_updated_and_deleted_with_it() {
    let mut world = World::new();
    apply(&mut world, FILE).expect("it can be applied");
    apply(&mut world, &FILE.replace("bobsecret", "othersecret")).expect("it can be applied");
    assert_eq!(world.secret_key("bobkey"), Ok("othersecret".to_owned()));
    let without = FILE.replace(r#"{"access_key": "bobkey", "secret_key": "bobsecret"}"#, "");
    apply(&mut world, &without).expect("it can be applied");
    assert_eq!(world.resolve("bobkey", None), Err(ResolveError::UnknownKey));
    let keys = world.directory().user("444455556666", "bob").expect("the user stays").record.keys;
    assert!(keys.is_empty());
}

#[test]
fn a_key_of_the_accounts_file_can_move_to_another_user() {
    let mut world = World::new();
    apply(&mut world, &file_with_key_of("alice")).expect("it can be applied");
    apply(&mut world, &file_with_key_of("bob")).expect("it can be applied");
    assert!(world.resolve("thekey", None).is_ok_and(|bob| bob.principal.user_name.as_deref() == Some("bob")));
    let alice = world.directory().user(ACCOUNT, "alice").expect("the user stays").record;
    assert!(alice.keys.is_empty());
    assert_eq!(apply(&mut world, &file_with_key_of("bob")), Ok(0));
}

#[test]
fn a_deactivated_key_of_the_accounts_file_stays_inactive() {
    let mut world = World::new();
    let set = |world: &mut World, active: bool| {
        let bob = Whose::User("bob");
        world.change(|editor| keys::set_active(editor, "444455556666", bob, "bobkey", active)).expect("it is there");
    };
    apply(&mut world, FILE).expect("it can be applied");
    set(&mut world, false);
    assert_eq!(apply(&mut world, FILE), Ok(0));
    assert_eq!(world.resolve("bobkey", None), Err(ResolveError::UnknownKey));
    let other = FILE.replace("bobsecret", "othersecret");
    apply(&mut world, &other).expect("it can be applied");
    assert_eq!(world.resolve("bobkey", None), Err(ResolveError::UnknownKey), "its secret changed");
    set(&mut world, true);
    assert_eq!(apply(&mut world, &other), Ok(0));
    assert_eq!(world.secret_key("bobkey"), Ok("othersecret".to_owned()));
}

#[test]
fn a_deactivated_key_that_moves_to_another_user_stays_inactive() {
    let mut world = World::new();
    apply(&mut world, &file_with_key_of("alice")).expect("it can be applied");
    let alice = Whose::User("alice");
    world.change(|editor| keys::set_active(editor, ACCOUNT, alice, "thekey", false)).expect("it is there");
    apply(&mut world, &file_with_key_of("bob")).expect("it can be applied");
    assert_eq!(world.directory().user(ACCOUNT, "bob").expect("the user").record.keys, ["thekey"]);
    assert_eq!(world.resolve("thekey", None), Err(ResolveError::UnknownKey));
}

#[test]
fn a_key_of_the_accounts_file_stays_with_its_renamed_user() {
    let mut world = World::new();
    apply(&mut world, FILE).expect("it can be applied");
    world
        .change(|editor| users::update(editor, "444455556666", "bob", Some("robert"), None))
        .expect("the name is free");
    let changed = FILE.replace("altsecret", "othersecret");
    let (_, refused) = apply_in_part(&mut world, &changed).expect("the rest can be applied");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("bobkey") && refused[0].contains("robert"), "{refused:?}");
    let robert = world.resolve("bobkey", None).expect("it is good");
    assert_eq!(robert.principal.user_name.as_deref(), Some("robert"));
    assert!(world.directory().user("444455556666", "bob").expect("it is made").record.keys.is_empty());
    assert_eq!(world.secret_key("altkey"), Ok("othersecret".to_owned()), "the rest is applied");
    assert_eq!(apply_in_part(&mut world, &changed), Ok((0, refused)));
}

#[test]
fn policies_of_the_accounts_file_that_were_removed_are_back_when_it_is_applied_again() {
    let mut world = World::new();
    apply(&mut world, FILE).expect("it can be applied");
    let arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
    let account = "444455556666";
    world.change(|editor| holders::detach::<UserRecord>(editor, account, "bob", arn)).expect("it is attached");
    world.change(|editor| holders::delete_inline::<UserRecord>(editor, account, "bob", "own")).expect("it is there");
    apply(&mut world, FILE).expect("it can be applied");
    let granted = world.directory().user(account, "bob").expect("the user").record.granted;
    assert_eq!((granted.attached, granted.inline.len()), (vec![arn.to_owned()], 1));
}

#[test]
fn the_accounts_file_cannot_take_over_an_existing_key() {
    let mut world = World::new();
    let new = NewKey { given: Some(GivenKey { access_key: "bobkey", secret_key: "somesecret" }), ..NewKey::default() };
    world.change(|editor| keys::create(editor, ACCOUNT, Whose::Root, new)).expect("a free key");
    assert!(matches!(apply(&mut world, FILE), Err(IdentityError::EntityAlreadyExists(_))));
}

#[test]
fn an_accounts_file_with_a_mistake_is_refused_as_a_whole() {
    let wrong = [
        "",
        r#"{"accounts": [{"id": "1"}]}"#,
        r#"{"accounts": [], "other": 1}"#,
        r#"{"accounts": [{"id": "111122223333", "name": "a"}, {"id": "111122223333", "name": "b"}]}"#,
        r#"{"accounts": [{"id": "111122223333", "name": "a", "keys": [
            {"access_key": "aaa", "secret_key": "xxxxxxxx"}, {"access_key": "aaa", "secret_key": "yyyyyyyy"}]}]}"#,
        r#"{"accounts": [{"id": "111122223333", "name": "a", "keys": [{"access_key": "aaa", "secret_key": ""}]}]}"#,
    ];
    for text in wrong {
        assert!(AccountsFile::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_of_which_a_part_is_refused_changes_nothing() {
    let mut world = World::new();
    apply(&mut world, FILE).expect("it can be applied");
    // Bob's key left the file, the new user's is refused.
    let wrong = FILE.replace("bobkey", "newkey").replace("AmazonS3ReadOnlyAccess", "NoSuchPolicy");
    assert!(apply(&mut world, &wrong).is_err());
    assert_eq!(world.secret_key("bobkey"), Ok("bobsecret".to_owned()));
}

#[test]
fn accounts_cannot_share_a_canonical_id_or_email_address() {
    let mut world = World::new();
    let shape = AccountShape { id: "444455556666", name: "alt", email: None, canonical_id: None };
    let canonical_id = world.directory().account(ACCOUNT).expect("read").expect("there").record.canonical_id;
    let root_id = world.root.canonical_id.clone();
    let same_email = AccountShape { email: Some("main@example.org"), ..shape };
    let same_id = AccountShape { canonical_id: Some(&canonical_id), ..shape };
    let of_root = AccountShape { canonical_id: Some(&root_id), ..shape };
    let no_id = AccountShape { id: "44445555666x", ..shape };
    for wrong in [same_email, same_id, of_root, no_id] {
        assert!(world.change(|editor| accounts::put(editor, wrong)).is_err(), "{wrong:?}");
    }
    let with_email = AccountShape { email: Some("a@example.org"), ..shape };
    world.change(|editor| accounts::put(editor, with_email)).expect("a good account");
    world.change(|editor| accounts::put(editor, shape)).expect("without the address");
    assert_eq!(world.directory().account_by_email("a@example.org"), Ok(None));
    let others = AccountShape { id: ACCOUNT, name: "main", email: Some("a@example.org"), canonical_id: None };
    world.change(|editor| accounts::put(editor, others)).expect("the address is free");
}
