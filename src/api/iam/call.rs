//! The input of an IAM action (`Call`: view, caller and parameters), its result (`Outcome`), and the paging of lists.

use super::authorize::{Caller, resource_tag_keys};
use super::parameters::{Paging, Parameters};
use super::xml::Xml;
use crate::actors::meta::DocumentWrite;
use crate::api::identity::changes::keys::Whose;
use crate::api::identity::names;
use crate::api::identity::records::Record;
use crate::api::identity::{Decided, Directory, Editor, IdentityError, PrincipalKind, Resolved};
use crate::limits::IDENTITIES_LISTED_BYTES;
use crate::types::UnixMs;

/// The number of rows that are read at once while a page is filled.
const ROWS_AT_ONCE: usize = 256;

/// The parameters that name the subject of a call, for the logs. None of them is secret or long.
const NAMES: [&str; 19] = [
    "AccessKeyId",
    "AccountAlias",
    "ClientID",
    "GroupName",
    "Name",
    "NewGroupName",
    "NewPath",
    "NewUserName",
    "OpenIDConnectProviderArn",
    "PermissionsBoundary",
    "PolicyArn",
    "PolicyName",
    "RoleArn",
    "RoleName",
    "RoleSessionName",
    "Status",
    "Url",
    "UserName",
    "VersionId",
];
/// Returns the subject of a call: the names and values of the parameters in `NAMES`.
pub fn subject(parameters: &Parameters) -> Vec<(&'static str, String)> {
    NAMES.iter().filter_map(|name| Some((*name, parameters.text(name)?.to_owned()))).collect()
}

#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub editor: &'a Editor<'a>,
    pub caller: Caller<'a>,
    pub parameters: &'a Parameters,
    /// Returns the last use of an access key, as far as this host knows.
    pub last_used: &'a dyn Fn(&str) -> Option<LastUse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    pub at: UnixMs,
    /// `s3`, `iam`, `sts` or `sherd-admin`.
    pub service: &'static str,
}

/// The writes and the result of a call. A call without a result has no body.
#[derive(Debug, Default)]
pub struct Outcome {
    pub writes: Vec<DocumentWrite>,
    pub body: Option<Xml>,
}

pub type Answered = Result<Outcome, IdentityError>;

impl Outcome {
    /// Returns the outcome of a lookup, which writes nothing.
    pub fn lookup(fill: impl FnOnce(&mut Xml)) -> Answered {
        let mut body = Xml::default();
        fill(&mut body);
        Ok(Self { writes: Vec::new(), body: Some(body) })
    }

    /// Returns the outcome of a change with a result.
    pub fn made<T>(decided: Decided<T>, fill: impl FnOnce(&mut Xml, &T)) -> Answered {
        let mut body = Xml::default();
        fill(&mut body, &decided.answer);
        Ok(Self { writes: decided.writes, body: Some(body) })
    }

    /// Returns the outcome of a change without a result.
    pub fn done<T>(decided: Decided<T>) -> Answered {
        Ok(Self { writes: decided.writes, body: None })
    }
}

impl<'a> Call<'a> {
    pub fn account(&self) -> &'a str {
        &self.caller.resolved.principal.account
    }

    pub fn resolved(&self) -> &'a Resolved {
        self.caller.resolved
    }

    pub fn directory(&self) -> Directory<'a> {
        self.editor.directory
    }

    pub fn required(&self, name: &str) -> Result<&'a str, IdentityError> {
        self.parameters.required(name)
    }

    pub fn path(&self) -> &'a str {
        self.parameters.text("Path").unwrap_or("/")
    }

    /// Checks that the caller's policies allow the action. `keys` are further condition keys of this action.
    pub fn allow(&self, action: &str, resource: &str, keys: &[(&str, &str)]) -> Result<(), IdentityError> {
        self.caller.check(action, resource, keys)
    }

    /// Checks an action on a resource with these tags, which are condition keys besides the given ones.
    pub fn allow_tagged(
        &self,
        action: &str,
        resource: &str,
        tags: &[(String, String)],
        keys: &[(&str, &str)],
    ) -> Result<(), IdentityError> {
        let of_tags: Vec<(String, &str)> = resource_tag_keys(tags).collect();
        let of_tags = of_tags.iter().map(|(key, value)| (key.as_str(), *value));
        self.allow(action, resource, &of_tags.chain(keys.iter().copied()).collect::<Vec<_>>())
    }

    /// Checks an action on a named record. If the record exists, its own ARN and tags are checked, else the ARN that it
    /// would have under the path `/`.
    pub fn allow_named<R: Record>(
        &self,
        action: &str,
        name: &str,
        arn: impl Fn(&R) -> String,
        keys: &[(&str, &str)],
    ) -> Result<(), IdentityError> {
        let existing = self.directory().record::<R>(&names::path_of(self.account(), name))?;
        match existing {
            Some(stored) => self.allow_tagged(action, &arn(&stored.record), stored.record.tags(), keys),
            None => self.allow(action, &names::arn(self.account(), R::WHAT, "/", name), keys),
        }
    }

    /// Returns whose access keys a call is about. Without the parameter `UserName` it is the caller.
    pub fn whose(&self) -> Result<Whose<'a>, IdentityError> {
        if let Some(name) = self.parameters.text("UserName") {
            return Ok(Whose::User(name));
        }
        let principal = &self.resolved().principal;
        match (&principal.kind, &principal.user_name) {
            (PrincipalKind::Root, _) => Ok(Whose::Root),
            (PrincipalKind::User, Some(name)) => Ok(Whose::User(name)),
            _ => Err(IdentityError::Validation(
                "Must specify userName when calling with non-User credentials".to_owned(),
            )),
        }
    }

    /// Returns a page of those records of the account that `keep` accepts, in order of name without regard to case.
    pub fn records<R: Record>(&self, keep: impl Fn(&R) -> bool) -> Result<Page<R>, IdentityError> {
        let Paging { after, limit } = self.parameters.paging()?;
        self.scan(&mut Scan { limit, bytes: IDENTITIES_LISTED_BYTES }, after, keep)
    }

    /// Scans the records of the account after this name, and returns those that `keep` accepts, within the limits of
    /// the scan.
    pub fn scan<R: Record>(
        &self,
        scan: &mut Scan,
        after: Option<&str>,
        keep: impl Fn(&R) -> bool,
    ) -> Result<Page<R>, IdentityError> {
        let prefix = format!("{}/", self.account());
        let name_of = |record: &R| record.path().strip_prefix(&prefix).unwrap_or_default().to_owned();
        let begun = after.unwrap_or_default().to_owned();
        let mut after = after.map(|after| format!("{prefix}{after}"));
        let mut items: Vec<R> = Vec::new();
        loop {
            let page = self.directory().page::<R>(&prefix, after.as_deref(), ROWS_AT_ONCE)?;
            let seen = page.records.last().map(|record| (record.path(), name_of(record)));
            items.extend(page.records.into_iter().filter(|record| keep(record)));
            scan.bytes = scan.bytes.saturating_sub(page.bytes);
            if items.len() > scan.limit {
                items.truncate(scan.limit);
                let marker = items.last().map(name_of).unwrap_or(begun);
                scan.limit = 0;
                return Ok(Page { items, marker: Some(marker) });
            }
            let Some((path, name)) = seen.filter(|_| page.more) else {
                scan.limit -= items.len();
                return Ok(Page { items, marker: None });
            };
            if scan.bytes == 0 {
                return Ok(Page { items, marker: Some(name) });
            }
            after = Some(path);
        }
    }

    /// Returns a page of the given items, which are ordered by key.
    pub fn page_of<T>(&self, items: Vec<T>, key: impl Fn(&T) -> String) -> Result<Page<T>, IdentityError> {
        let Paging { after, limit } = self.parameters.paging()?;
        let start = match after {
            None => 0,
            // If the entry of the marker is gone, the list begins anew, so that no entry is left out.
            Some(after) => items.iter().position(|item| key(item) == after).map_or(0, |at| at + 1),
        };
        let more = items.len() > start + limit;
        let items: Vec<T> = items.into_iter().skip(start).take(limit).collect();
        let marker = items.last().filter(|_| more).map(key);
        Ok(Page { items, marker })
    }
}

/// The limits that are left to a list call: items to return, and bytes of records to read. A page that reaches the
/// limit of bytes has fewer items than it could have.
pub struct Scan {
    pub limit: usize,
    pub bytes: usize,
}

pub struct Page<T> {
    pub items: Vec<T>,
    /// The marker for the next page, if there are more items.
    pub marker: Option<String>,
}

impl<T> Page<T> {
    pub fn end(&self, xml: &mut Xml) {
        xml.flag("IsTruncated", self.marker.is_some());
        xml.optional("Marker", self.marker.as_deref());
    }
}
