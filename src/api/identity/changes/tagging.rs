//! Changes of the tags of users, roles, policies and providers. Keys are compared without regard to case.

use super::editor::{Decided, Decision, write};
use crate::api::identity::directory::Stored;
use crate::api::identity::names;
use crate::api::identity::records::{Record, Tags};

/// Adds tags to those of a record, which `tags` selects. They replace those of the same key.
pub fn add<R: Record>(stored: Stored<R>, tags: fn(&mut R) -> &mut Tags, added: Tags) -> Decision<()> {
    names::check_tags(&added)?;
    let Stored { mut record, expect } = stored;
    let tags = tags(&mut record);
    tags.retain(|(key, _)| !added.iter().any(|(new, _)| new.eq_ignore_ascii_case(key)));
    tags.extend(added);
    names::check_tags(tags)?;
    Ok(Decided::new(vec![write(&record, expect)], ()))
}

/// Removes the tags with these keys from those of a record, which `tags` selects. Unknown keys are ignored.
pub fn remove<R: Record>(stored: Stored<R>, tags: fn(&mut R) -> &mut Tags, keys: &[String]) -> Decision<()> {
    let Stored { mut record, expect } = stored;
    tags(&mut record).retain(|(key, _)| !keys.iter().any(|gone| gone.eq_ignore_ascii_case(key)));
    Ok(Decided::new(vec![write(&record, expect)], ()))
}
