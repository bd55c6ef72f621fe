//! Inline and attached policies of users, groups and roles, which work the same for all three.

use super::editor::{Decided, Decision, Editor, write};
use super::policies::{self, Use};
use crate::api::identity::directory::Stored;
use crate::api::identity::error::IdentityError;
use crate::api::identity::names::{self, POLICY_NAME_MAX};
use crate::api::identity::policy_text::{self, TextOf};
use crate::api::identity::records::{Granted, GroupRecord, Record, RoleRecord, UserRecord};

/// AWS's quota for each holder is 10, and 20 on request.
pub const ATTACHED_MAX: usize = 20;

/// A record that holds policies: a user, a group or a role.
pub trait PolicyHolder: Record {
    /// The most characters of all inline policies together, without whitespace (IAM User Guide, "IAM and AWS STS
    /// quotas").
    const INLINE_CHARS_MAX: usize;

    fn granted(&self) -> &Granted;
    fn granted_mut(&mut self) -> &mut Granted;
}

macro_rules! holders {
    ($($record:ident $inline_chars_max:literal;)*) => {
        $(impl PolicyHolder for $record {
            const INLINE_CHARS_MAX: usize = $inline_chars_max;

            fn granted(&self) -> &Granted {
                &self.granted
            }

            fn granted_mut(&mut self) -> &mut Granted {
                &mut self.granted
            }
        })*
    };
}

holders! {
    UserRecord 2048;
    GroupRecord 5120;
    RoleRecord 10240;
}

pub fn put_inline<H: PolicyHolder>(
    editor: &Editor<'_>,
    account: &str,
    name: &str,
    policy: &str,
    document: &str,
) -> Decision<()> {
    names::check_name("policyName", policy, POLICY_NAME_MAX)?;
    let Stored { record: mut holder, expect } = editor.directory.named::<H>(account, name)?;
    policy_text::check(TextOf::Inline, policy, document)?;
    let inline = &mut holder.granted_mut().inline;
    let others = inline.iter().filter(|(name, _)| *name != policy).map(|(_, document)| policy_text::chars_of(document));
    let chars = policy_text::chars_of(document) + others.sum::<usize>();
    // The quota counts no whitespace, so the whitespace of each policy is bounded, too.
    let kept = policy_text::within(policy_text::chars_of(document), document);
    let fits = chars <= H::INLINE_CHARS_MAX;
    let Some(document) = kept.filter(|_| fits) else {
        return Err(IdentityError::LimitExceeded(format!(
            "Maximum policy size of {} bytes exceeded for {} {name}",
            H::INLINE_CHARS_MAX,
            H::WHAT
        )));
    };
    inline.insert(policy.to_owned(), document);
    Ok(Decided::new(vec![write(&holder, expect)], ()))
}

pub fn inline<H: PolicyHolder>(
    editor: &Editor<'_>,
    account: &str,
    name: &str,
    policy: &str,
) -> Result<(H, String), IdentityError> {
    let holder = editor.directory.named::<H>(account, name)?.record;
    let document = holder.granted().inline.get(policy).cloned().ok_or_else(|| no_such_inline::<H>(policy))?;
    Ok((holder, document))
}

fn no_such_inline<H: PolicyHolder>(policy: &str) -> IdentityError {
    IdentityError::NoSuchEntity(format!("The {} policy with name {policy} cannot be found.", H::WHAT))
}

pub fn delete_inline<H: PolicyHolder>(editor: &Editor<'_>, account: &str, name: &str, policy: &str) -> Decision<()> {
    let Stored { record: mut holder, expect } = editor.directory.named::<H>(account, name)?;
    if holder.granted_mut().inline.remove(policy).is_none() {
        return Err(no_such_inline::<H>(policy));
    }
    Ok(Decided::new(vec![write(&holder, expect)], ()))
}

/// Attaches a policy; no effect if it is attached.
pub fn attach<H: PolicyHolder>(editor: &Editor<'_>, account: &str, name: &str, arn: &str) -> Decision<()> {
    let Stored { record: mut holder, expect } = editor.directory.named::<H>(account, name)?;
    let counted = policies::count(editor, account, arn, Use::Attachment, true)?;
    let attached = &mut holder.granted_mut().attached;
    if attached.iter().any(|existing| existing == arn) {
        return Ok(Decided::new(Vec::new(), ()));
    }
    if attached.len() >= ATTACHED_MAX {
        return Err(IdentityError::LimitExceeded(format!(
            "Cannot exceed quota for PoliciesPer{}: {ATTACHED_MAX}",
            capitalized(H::WHAT)
        )));
    }
    attached.push(arn.to_owned());
    let mut writes = vec![write(&holder, expect)];
    writes.extend(counted);
    Ok(Decided::new(writes, ()))
}

pub fn detach<H: PolicyHolder>(editor: &Editor<'_>, account: &str, name: &str, arn: &str) -> Decision<()> {
    let Stored { record: mut holder, expect } = editor.directory.named::<H>(account, name)?;
    let attached = &mut holder.granted_mut().attached;
    let before = attached.len();
    attached.retain(|existing| existing != arn);
    if attached.len() == before {
        return Err(IdentityError::NoSuchEntity(format!("Policy {arn} was not found.")));
    }
    let mut writes = vec![write(&holder, expect)];
    writes.extend(policies::count(editor, account, arn, Use::Attachment, false)?);
    Ok(Decided::new(writes, ()))
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
