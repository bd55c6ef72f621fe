//! Changes of the tags of users, roles, policies and providers. Keys are compared without regard to case.

use crate::api::identity::error::IdentityError;
use crate::api::identity::names;
use crate::api::identity::records::Tags;

/// Returns the existing tags with the added ones, which replace those of the same key.
pub fn with(existing: &Tags, added: Tags) -> Result<Tags, IdentityError> {
    names::check_tags(&added)?;
    let kept = existing.iter().filter(|(key, _)| !added.iter().any(|(new, _)| new.eq_ignore_ascii_case(key)));
    let mut tags: Tags = kept.cloned().collect();
    tags.extend(added);
    names::check_tags(&tags)?;
    Ok(tags)
}

/// Returns the existing tags without those of these keys. Unknown keys are ignored.
pub fn without(existing: &Tags, keys: &[String]) -> Tags {
    let kept = existing.iter().filter(|(key, _)| !keys.iter().any(|gone| gone.eq_ignore_ascii_case(key)));
    kept.cloned().collect()
}
