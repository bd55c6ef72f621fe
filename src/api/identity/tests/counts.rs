//! Property test: after any sequence of changes, the counts in groups and policies agree with the users, groups and
//! roles.

use super::memory::{ACCOUNT, ALLOW_S3, World};
use super::users::new_user;
use crate::api::identity::changes::policies::{self, NewPolicy};
use crate::api::identity::changes::{groups, holders, users};
use crate::api::identity::records::{GroupRecord, PolicyRecord, UserRecord};
use proptest::prelude::{Strategy, any, prop_oneof, proptest};

const NAMES: [&str; 3] = ["a", "B", "c"];

#[derive(Clone, Copy, Debug)]
enum Step {
    CreateUser(usize),
    DeleteUser(usize),
    RenameUser(usize, usize),
    CreateGroup(usize),
    DeleteGroup(usize),
    RenameGroup(usize, usize),
    Join(usize, usize),
    Leave(usize, usize),
    CreatePolicy(usize),
    DeletePolicy(usize),
    Attach(usize, usize),
    Detach(usize, usize),
    AttachGroup(usize, usize),
    DetachGroup(usize, usize),
    Bound(usize, usize),
    Unbound(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let two = move || (name(), name());
    prop_oneof![
        name().prop_map(Step::CreateUser),
        name().prop_map(Step::DeleteUser),
        two().prop_map(|(a, b)| Step::RenameUser(a, b)),
        name().prop_map(Step::CreateGroup),
        name().prop_map(Step::DeleteGroup),
        two().prop_map(|(a, b)| Step::RenameGroup(a, b)),
        two().prop_map(|(a, b)| Step::Join(a, b)),
        two().prop_map(|(a, b)| Step::Leave(a, b)),
        name().prop_map(Step::CreatePolicy),
        name().prop_map(Step::DeletePolicy),
        two().prop_map(|(a, b)| Step::Attach(a, b)),
        two().prop_map(|(a, b)| Step::Detach(a, b)),
        two().prop_map(|(a, b)| Step::AttachGroup(a, b)),
        two().prop_map(|(a, b)| Step::DetachGroup(a, b)),
        two().prop_map(|(a, b)| Step::Bound(a, b)),
        (name(), any::<bool>()).prop_map(|(a, _)| Step::Unbound(a)),
    ]
}

fn arn(name: usize) -> String {
    format!("arn:aws:iam::{ACCOUNT}:policy/{}", NAMES[name])
}

/// Makes a change, which may be refused.
fn take(world: &mut World, step: Step) {
    let user = |at: usize| NAMES[at];
    let done = match step {
        Step::CreateUser(a) => world.change(|editor| users::create(editor, ACCOUNT, new_user(user(a)))).map(drop),
        Step::DeleteUser(a) => world.change(|editor| users::delete(editor, ACCOUNT, user(a))),
        Step::RenameUser(a, b) => {
            world.change(|editor| users::update(editor, ACCOUNT, user(a), Some(user(b)), None)).map(drop)
        }
        Step::CreateGroup(a) => world.change(|editor| groups::create(editor, ACCOUNT, user(a), "/")).map(drop),
        Step::DeleteGroup(a) => world.change(|editor| groups::delete(editor, ACCOUNT, user(a))),
        Step::RenameGroup(a, b) => {
            world.change(|editor| groups::update(editor, ACCOUNT, user(a), Some(user(b)), None)).map(drop)
        }
        Step::Join(a, b) => world.change(|editor| groups::add_user(editor, ACCOUNT, user(a), user(b))),
        Step::Leave(a, b) => world.change(|editor| groups::remove_user(editor, ACCOUNT, user(a), user(b))),
        Step::CreatePolicy(a) => {
            let new = NewPolicy { name: user(a), path: "/", description: None, document: ALLOW_S3, tags: Vec::new() };
            world.change(|editor| policies::create(editor, ACCOUNT, new)).map(drop)
        }
        Step::DeletePolicy(a) => world.change(|editor| policies::delete(editor, ACCOUNT, &arn(a))),
        Step::Attach(a, b) => world.change(|editor| holders::attach::<UserRecord>(editor, ACCOUNT, user(a), &arn(b))),
        Step::Detach(a, b) => world.change(|editor| holders::detach::<UserRecord>(editor, ACCOUNT, user(a), &arn(b))),
        Step::AttachGroup(a, b) => {
            world.change(|editor| holders::attach::<GroupRecord>(editor, ACCOUNT, user(a), &arn(b)))
        }
        Step::DetachGroup(a, b) => {
            world.change(|editor| holders::detach::<GroupRecord>(editor, ACCOUNT, user(a), &arn(b)))
        }
        Step::Bound(a, b) => world.change(|editor| users::set_boundary(editor, ACCOUNT, user(a), Some(&arn(b)))),
        Step::Unbound(a) => world.change(|editor| users::set_boundary(editor, ACCOUNT, user(a), None)),
    };
    drop(done);
}

fn check(world: &World) {
    let below = format!("{ACCOUNT}/");
    let users: Vec<UserRecord> = world.all(&below);
    let groups: Vec<GroupRecord> = world.all(&below);
    let policies: Vec<PolicyRecord> = world.all(&below);
    for group in &groups {
        let name = group.name.to_lowercase();
        assert_eq!(
            group.members,
            users.iter().filter(|user| user.groups.contains(&name)).count() as u64,
            "{}",
            group.name
        );
    }
    for user in &users {
        assert!(user.groups.iter().all(|name| groups.iter().any(|group| group.name.to_lowercase() == *name)));
    }
    for policy in &policies {
        let arn = policy.arn();
        let of_users = users.iter().filter(|user| user.granted.attached.contains(&arn)).count();
        let of_groups = groups.iter().filter(|group| group.granted.attached.contains(&arn)).count();
        assert_eq!(policy.attachments, (of_users + of_groups) as u64, "{arn}");
        let bound = users.iter().filter(|user| user.boundary.as_ref() == Some(&arn)).count();
        assert_eq!(policy.boundaries, bound as u64, "{arn}");
    }
    let attached = users.iter().flat_map(|user| user.granted.attached.iter().chain(&user.boundary));
    let attached = attached.chain(groups.iter().flat_map(|group| group.granted.attached.iter()));
    for arn in attached {
        assert!(policies.iter().any(|policy| policy.arn() == *arn), "{arn} is used and not there");
    }
}

proptest! {
    #[test]
    fn counts_of_members_and_attachments_stay_exact(taken in proptest::collection::vec(steps(), 1..60)) {
        let mut world = World::new();
        for step in taken {
            take(&mut world, step);
            check(&world);
        }
    }
}
