//! Tests of how many bytes of identities a request reads in the worst case, and of how policies are stored.

use super::memory::{ACCOUNT, Rows, World};
use super::users::new_user;
use crate::actors::meta::{DocumentKey, DocumentRow, IdentityKind, KvError};
use crate::api::identity::changes::holders::{self, ATTACHED_MAX};
use crate::api::identity::changes::policies::{self, NewPolicy, VERSIONS_MAX};
use crate::api::identity::changes::{groups, users};
use crate::api::identity::directory::{Directory, Documents, DocumentsPage};
use crate::api::identity::records::{GroupRecord, PolicyRecord, UserRecord};
use crate::api::identity::{Editor, TextOf, resolve_named};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A document store that counts bytes read.
struct Counting<'a> {
    rows: &'a Rows,
    bytes: AtomicUsize,
}

impl Documents for Counting<'_> {
    fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRow>, KvError> {
        let found = self.rows.document(key)?;
        self.bytes.fetch_add(found.as_ref().map_or(0, |row| row.value.len()), Ordering::Relaxed);
        Ok(found)
    }

    fn identity_documents(
        &self,
        kind: IdentityKind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DocumentsPage, KvError> {
        self.rows.identity_documents(kind, prefix, after, limit)
    }
}

/// Returns a policy of the maximum length that contains `mark`, padded with whitespace to `bytes`.
fn longest(mark: &str, bytes: usize) -> String {
    let text = |id: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Id":"{id}","Statement":[{{"Effect":"Allow","Action":"s3:*","Resource":"*"}}]}}"#
        )
    };
    let id = format!("{mark}{}", "i".repeat(TextOf::Managed.chars_max() - text(mark).len()));
    let text = text(&id);
    format!("{{{}{}", " ".repeat(bytes.saturating_sub(text.len())), &text[1..])
}

fn new_policy<'a>(name: &'a str, document: &'a str) -> NewPolicy<'a> {
    NewPolicy { name, path: "/", description: None, document, tags: Vec::new() }
}

fn arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:policy/{name}")
}

#[test]
fn a_request_reads_only_default_policy_versions_and_little_whitespace() {
    let mut world = World::new();
    world.change(|editor| users::create(editor, ACCOUNT, new_user("u"))).expect("a new user");
    for number in 0..ATTACHED_MAX {
        let name = format!("p{number}");
        let document = longest("1", 100 << 10);
        world.change(|editor| policies::create(editor, ACCOUNT, new_policy(&name, &document))).expect("a good policy");
        for _ in 1..VERSIONS_MAX {
            let made = |editor: &Editor<'_>| policies::create_version(editor, ACCOUNT, &arn(&name), &document, false);
            world.change(made).expect("a good version");
        }
        let attach = |editor: &Editor<'_>| holders::attach::<UserRecord>(editor, ACCOUNT, "u", &arn(&name));
        world.change(attach).expect("it may be attached");
    }
    let counting = Counting { rows: &world.rows, bytes: AtomicUsize::new(0) };
    let resolved = resolve_named(&Directory::new(&counting, &world.root), ACCOUNT, Some("u")).expect("it is there");
    assert_eq!(resolved.own_policies.len(), ATTACHED_MAX);
    let bytes = counting.bytes.into_inner();
    assert!(bytes <= ATTACHED_MAX * (8 << 10), "{bytes} bytes of {ATTACHED_MAX} policies");
}

#[test]
fn policy_versions_keep_their_texts_until_the_policy_is_deleted() {
    let mut world = World::new();
    let texts: Vec<String> = (1..=VERSIONS_MAX).map(|number| longest(&number.to_string(), 0)).collect();
    world.change(|editor| policies::create(editor, ACCOUNT, new_policy("P", &texts[0]))).expect("a good policy");
    for (number, text) in texts.iter().enumerate().skip(1) {
        let in_force = number % 2 == 0;
        let made = |editor: &Editor<'_>| policies::create_version(editor, ACCOUNT, &arn("P"), text, in_force);
        world.change(made).expect("a good version");
    }
    for in_force in [1, 4, 4, 2, 5, 3] {
        let version = format!("v{in_force}");
        let set = |editor: &Editor<'_>| policies::set_default_version(editor, ACCOUNT, &arn("P"), &version);
        world.change(set).expect("it is a version");
        let policy = world.directory().local_policy(ACCOUNT, &arn("P")).expect("it is there").record;
        assert_eq!(policy.document, texts[in_force - 1]);
        for (number, text) in (1..).zip(&texts) {
            assert_eq!(policies::text_of(&world.directory(), &policy, number).as_ref(), Ok(text), "v{number}");
        }
    }
    for version in ["v1", "v2", "v4", "v5"] {
        let deleted = |editor: &Editor<'_>| policies::delete_version(editor, ACCOUNT, &arn("P"), version);
        world.change(deleted).expect("it is not in force");
    }
    world.change(|editor| policies::delete(editor, ACCOUNT, &arn("P"))).expect("one version is left");
    assert!(world.all::<PolicyRecord>("").is_empty(), "no row of a policy or a version");
}

#[test]
fn padded_inline_policies_are_stored_compacted() {
    let mut world = World::new();
    world.change(|editor| users::create(editor, ACCOUNT, new_user("u"))).expect("a new user");
    world.change(|editor| groups::create(editor, ACCOUNT, "g", "/")).expect("a new group");
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    let padded = format!("{{{}{}", " ".repeat(100 << 10), &text[1..]);
    for name in ["a", "b", "c"] {
        let of_user = |editor: &Editor<'_>| holders::put_inline::<UserRecord>(editor, ACCOUNT, "u", name, &padded);
        world.change(of_user).expect("a good policy");
        let of_group = |editor: &Editor<'_>| holders::put_inline::<GroupRecord>(editor, ACCOUNT, "g", name, &padded);
        world.change(of_group).expect("a good policy");
    }
    let user = world.directory().user(ACCOUNT, "u").expect("it is there").record;
    let group = world.directory().group(ACCOUNT, "g").expect("it is there").record;
    for inline in user.granted.inline.values().chain(group.granted.inline.values()) {
        assert_eq!(inline, text);
    }
}
