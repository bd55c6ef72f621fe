//! Tests of accounts and the accounts file.

use super::memory::{ACCOUNT, World};
use crate::api::identity::changes::accounts::{self, AccountShape};
use crate::api::identity::changes::accounts_file::{AccountsFile, check, decide};
use crate::api::identity::changes::keys::{self, GivenKey, NewKey, Whose};
use crate::api::identity::{IdentityError, ResolveError};

const FILE: &str = r#"{"accounts": [
    {"id": "444455556666", "name": "alt", "email": "alt@example.org",
     "keys": [{"access_key": "altkey", "secret_key": "altsecret"}],
     "users": [{"name": "Bob", "path": "/x/", "keys": [{"access_key": "bobkey", "secret_key": "bobsecret"}],
                "policies": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
                "inline_policies": {"own": {"Version": "2012-10-17", "Statement": [
                    {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}]}}}]}
]}"#;

fn apply(world: &mut World, text: &str) -> Result<usize, IdentityError> {
    let file = AccountsFile::parse(text).expect("a good file");
    check(&world.editor(), &file)?;
    let mut written = 0;
    for step in file.steps() {
        let writes = decide(&world.editor(), step)?.writes;
        written += writes.len();
        assert!(world.rows.apply(writes), "nothing changed since the decision");
    }
    Ok(written)
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
    let of = |user: &str| {
        format!(
            r#"{{"accounts": [{{"id": "{ACCOUNT}", "name": "main", "users": [
                {{"name": "{user}", "keys": [{{"access_key": "thekey", "secret_key": "thesecret"}}]}}]}}]}}"#
        )
    };
    apply(&mut world, &of("alice")).expect("it can be applied");
    apply(&mut world, &of("bob")).expect("it can be applied");
    assert!(world.resolve("thekey", None).is_ok_and(|bob| bob.principal.user_name.as_deref() == Some("bob")));
    let alice = world.directory().user(ACCOUNT, "alice").expect("the user stays").record;
    assert!(alice.keys.is_empty());
    assert_eq!(apply(&mut world, &of("bob")), Ok(0));
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
