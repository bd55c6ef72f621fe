//! A line of the audit log: a JSON object. It names what a call was about, but holds no contents: no policies, tags or
//! secrets.

use super::operations::Service;
use crate::api::identity::{PrincipalKind, ROOT_ACCOUNT, ResolvedPrincipal};
use crate::limits::AUDIT_TEXT_BYTES_MAX;
use crate::types::UnixMs;
use serde::{Serialize, Serializer};
use std::fmt;
use time::OffsetDateTime;

/// The listener that received a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    S3,
    Admin,
}

/// A line. The fields are written in this order.
#[derive(Clone, Debug, Serialize)]
pub struct Line<'a> {
    #[serde(serialize_with = "time")]
    pub time: UnixMs,
    pub id: &'a str,
    pub host: &'a str,
    /// `None` if the line is not about a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Listener>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub from: &'a str,
    pub who: LineCaller<'a>,
    pub service: Service,
    pub operation: &'a str,
    #[serde(serialize_with = "named")]
    pub resource: &'a [(&'static str, String)],
    /// Names of what the call created, such as an access key.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "named")]
    pub result: &'a [(&'static str, String)],
    pub outcome: &'a str,
    /// `None` if there was no response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LineCaller<'a> {
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short")]
    pub access_key: Option<&'a str>,
}

impl<'a> LineCaller<'a> {
    /// Returns the caller with its access key. A key without a principal is only claimed by the request, not verified.
    pub fn of(principal: Option<&'a ResolvedPrincipal>, access_key: Option<&'a str>) -> Self {
        let access_key = access_key.filter(|key| !key.is_empty());
        let Some(principal) = principal else {
            let kind = if access_key.is_some() { "unverified" } else { "anonymous" };
            return Self { kind, account: None, arn: None, access_key };
        };
        let kind = match principal.kind {
            PrincipalKind::Root => "root",
            PrincipalKind::User => "user",
            PrincipalKind::AssumedRole => "role-session",
            PrincipalKind::FederatedUser => "federated-user",
        };
        Self { kind, account: Some(&principal.account), arn: Some(&principal.arn), access_key }
    }

    /// Returns the caller of changes that the settings make: the store itself.
    pub fn settings() -> Self {
        Self { kind: "settings", account: Some(ROOT_ACCOUNT), arn: None, access_key: None }
    }
}

impl Line<'_> {
    /// Returns the line with its newline.
    pub fn render(&self) -> Vec<u8> {
        // A line of texts and numbers cannot fail to serialize.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Serializes a time as in RFC 3339, with milliseconds.
fn time<S: Serializer>(at: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
    let nanos = i128::from(at.0) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, milli) = at.to_hms_milli();
    let month = u8::from(month);
    serializer.collect_str(&format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

fn named<S: Serializer>(pairs: &&[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, Short(value))))
}

fn short<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    Short(text.unwrap_or_default()).serialize(serializer)
}

/// A text from the client, which is cut to a maximum length.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.floor_char_boundary(AUDIT_TEXT_BYTES_MAX);
        f.write_str(&self.0[..cut])?;
        if cut < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

impl Serialize for Short<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, LineCaller, Listener};
    use crate::api::audit::Service;
    use crate::limits::AUDIT_TEXT_BYTES_MAX;
    use crate::types::UnixMs;

    fn line<'a>(resource: &'a [(&'static str, String)], access_key: Option<&'a str>) -> Line<'a> {
        Line {
            time: UnixMs(1_549_411_238_007),
            id: "0A",
            host: "this-host",
            listener: Some(Listener::S3),
            from: "192.0.2.3:41",
            who: LineCaller::of(None, access_key),
            service: Service::Iam,
            operation: "CreateUser",
            resource,
            result: &[],
            outcome: "AccessDenied",
            status: Some(403),
        }
    }

    #[test]
    fn an_audit_line_is_one_json_object_with_ordered_fields() {
        let resource = [("UserName", "alice".to_owned())];
        let expected = concat!(
            r#"{"time":"2019-02-06T00:00:38.007Z","id":"0A","host":"this-host","listener":"s3","from":"192.0.2.3:41","#,
            r#""who":{"kind":"unverified","access_key":"AKIA"},"service":"iam","operation":"CreateUser","#,
            r#""resource":{"UserName":"alice"},"outcome":"AccessDenied","status":403}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(line(&resource, Some("AKIA")).render()).expect("text"), expected);
    }

    #[test]
    fn a_text_of_a_client_cannot_break_or_bloat_an_audit_line() {
        let resource = [("UserName", format!("\"}}\r\n{{\u{2028}{}", "é".repeat(100_000)))];
        let text = String::from_utf8(line(&resource, Some(&"k".repeat(10_000))).render()).expect("text");
        assert_eq!(text.lines().count(), 1);
        assert!(text.len() < 4 * AUDIT_TEXT_BYTES_MAX, "{}", text.len());
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let name = read["resource"]["UserName"].as_str().expect("a text");
        assert!(name.starts_with("\"}\r\n{") && name.ends_with("é…"), "{name}");
    }
}
