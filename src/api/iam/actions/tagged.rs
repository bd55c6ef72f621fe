//! The actions on the tags of users, roles, policies and OpenID Connect providers: the same three for each.

use super::{Action, as_pairs, policies, providers, removed_keys, roles, tag_keys, tags, users};
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::identity::changes::policies::changeable;
use crate::api::identity::changes::tagging;
use crate::api::identity::records::{PolicyRecord, ProviderRecord, Record, RoleRecord, Tags, UserRecord};
use crate::api::identity::{Directory, IdentityError, Stored};

pub const ACTIONS: &[(&str, Action)] = &[
    ("TagUser", tag::<UserRecord>),
    ("UntagUser", untag::<UserRecord>),
    ("ListUserTags", list::<UserRecord>),
    ("TagRole", tag::<RoleRecord>),
    ("UntagRole", untag::<RoleRecord>),
    ("ListRoleTags", list::<RoleRecord>),
    ("TagPolicy", tag::<PolicyRecord>),
    ("UntagPolicy", untag::<PolicyRecord>),
    ("ListPolicyTags", list::<PolicyRecord>),
    ("TagOpenIDConnectProvider", tag::<ProviderRecord>),
    ("UntagOpenIDConnectProvider", untag::<ProviderRecord>),
    ("ListOpenIDConnectProviderTags", list::<ProviderRecord>),
];

/// A kind of record with tags, with its name in actions.
trait Tagged: Record {
    /// `User`, as in `TagUser`.
    const CALLED: &'static str;

    /// Returns the record's name or ARN in the call, after a check that the caller may perform the action on it.
    fn allowed<'a>(call: &Call<'a>, action: &str, keys: &[(&str, &str)]) -> Result<&'a str, IdentityError>;
    fn changeable(call: &Call<'_>, name: &str) -> Result<Stored<Self>, IdentityError>;
    fn tags_mut(&mut self) -> &mut Tags;

    fn tags_of(call: &Call<'_>, name: &str) -> Result<Tags, IdentityError> {
        Ok(Self::changeable(call, name)?.record.tags().to_vec())
    }
}

macro_rules! tagged {
    ($($record:ident $called:literal $allowed:path, $changeable:path $(, $tags_of:path)?;)*) => {
        $(impl Tagged for $record {
            const CALLED: &'static str = $called;

            fn allowed<'a>(call: &Call<'a>, action: &str, keys: &[(&str, &str)]) -> Result<&'a str, IdentityError> {
                $allowed(call, action, keys)
            }

            fn changeable(call: &Call<'_>, name: &str) -> Result<Stored<Self>, IdentityError> {
                $changeable(&call.directory(), call.account(), name)
            }

            fn tags_mut(&mut self) -> &mut Tags {
                &mut self.tags
            }

            $(fn tags_of(call: &Call<'_>, name: &str) -> Result<Tags, IdentityError> {
                $tags_of(call, name)
            })?
        })*
    };
}

tagged! {
    UserRecord "User" users::allowed, Directory::user;
    RoleRecord "Role" roles::allowed, Directory::role;
    PolicyRecord "Policy" policies::allowed, changeable, policies::tags_of;
    ProviderRecord "OpenIDConnectProvider" providers::allowed, Directory::provider;
}

fn tag<R: Tagged>(call: &Call<'_>) -> Answered {
    let added = call.parameters.tags("Tags");
    let name = R::allowed(call, &format!("iam:Tag{}", R::CALLED), &as_pairs(&tag_keys(&added)))?;
    Outcome::done(tagging::add(R::changeable(call, name)?, R::tags_mut, added)?)
}

fn untag<R: Tagged>(call: &Call<'_>) -> Answered {
    let gone = call.parameters.list("TagKeys");
    let name = R::allowed(call, &format!("iam:Untag{}", R::CALLED), &removed_keys(&gone))?;
    Outcome::done(tagging::remove(R::changeable(call, name)?, R::tags_mut, &gone)?)
}

fn list<R: Tagged>(call: &Call<'_>) -> Answered {
    let name = R::allowed(call, &format!("iam:List{}Tags", R::CALLED), &[])?;
    let page = call.page_of(R::tags_of(call, name)?, |(key, _)| key.clone())?;
    Outcome::lookup(|xml| {
        page.end(xml);
        tags(xml, &page.items);
    })
}
