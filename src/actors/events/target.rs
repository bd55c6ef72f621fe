//! The destinations of notifications: the ARNs in configurations, and the names of the webhooks that they stand for.

use serde::{Deserialize, Serialize};

/// The name of the webhook that gets all events of a bucket whose configuration enables EventBridge.
pub const EVENT_BRIDGE: &str = "EVENTBRIDGE";
/// The limit on the length of an ARN.
const ARN_BYTES_MAX: usize = 256;

/// The kind of destination that a configuration names. All of them are webhooks here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetKind {
    Topic,
    Queue,
    Function,
}

impl TargetKind {
    /// Returns the AWS service that ARNs of this kind name.
    const fn service(self) -> &'static str {
        match self {
            Self::Topic => "sns",
            Self::Queue => "sqs",
            Self::Function => "lambda",
        }
    }
}

/// An ARN that names a webhook, in the client's spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetArn(String);

impl TargetArn {
    /// Parses an ARN of one of these forms: `arn:sherd:sqs:::NAME:webhook`, `arn:minio:sqs:REGION:NAME:webhook`, and
    /// AWS's own `arn:aws:sqs:REGION:ACCOUNT:NAME`, `arn:aws:sns:REGION:ACCOUNT:NAME`,
    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME` with or without a qualifier. `None` if it has another form or is
    /// of another kind.
    pub fn parse(kind: TargetKind, text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let service = *fields.get(2)?;
        let fits = text.len() <= ARN_BYTES_MAX && fields[0] == "arn" && service == kind.service();
        (fits && name_in(&fields).and_then(webhook_name).is_some()).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the webhook, normalised by `webhook_name`.
    pub fn webhook(&self) -> String {
        let fields: Vec<&str> = self.0.split(':').collect();
        name_in(&fields).and_then(webhook_name).unwrap_or_default()
    }
}

fn name_in<'a>(fields: &[&'a str]) -> Option<&'a str> {
    match fields {
        [_, "sherd", _, _, _, name, "webhook"] | [_, "minio", _, _, name, "webhook"] => Some(name),
        [_, "sherd" | "minio", ..] => None,
        [_, partition, "lambda", _, _, "function", name] | [_, partition, "lambda", _, _, "function", name, _]
            if partition.starts_with("aws") =>
        {
            Some(name)
        }
        [_, _, "lambda", ..] => None,
        [_, partition, _, _, _, name] if partition.starts_with("aws") => Some(name),
        _ => None,
    }
}

/// Normalises a webhook's name to the form of settings (`SHERD_WEBHOOK_NAME_URL`): lower-case letters become capitals,
/// and hyphens become underscores. `None` if the text has other characters than ASCII letters, digits, hyphens and
/// underscores.
pub fn webhook_name(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (!text.is_empty() && text.bytes().all(allowed)).then(|| text.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::{TargetArn, TargetKind, webhook_name};

    fn webhook(kind: TargetKind, text: &str) -> Option<String> {
        TargetArn::parse(kind, text).map(|arn| arn.webhook())
    }

    #[test]
    fn every_supported_form_of_arn_names_a_webhook() {
        for text in [
            "arn:sherd:sqs:::PRIMARY:webhook",
            "arn:minio:sqs::PRIMARY:webhook",
            "arn:minio:sqs:us-east-1:primary:webhook",
            "arn:aws:sqs:us-west-2:444455556666:primary",
            "arn:aws-cn:sqs:cn-north-1:444455556666:PRIMARY",
        ] {
            assert_eq!(webhook(TargetKind::Queue, text).as_deref(), Some("PRIMARY"), "{text}");
        }
        let topic = webhook(TargetKind::Topic, "arn:aws:sns:us-east-1:356671443308:s3-notification-topic-2");
        assert_eq!(topic.as_deref(), Some("S3_NOTIFICATION_TOPIC_2"));
        for text in
            ["arn:aws:lambda:us-east-1:356671443308:function:thumbs", "arn:aws:lambda:us-east-1:1:function:thumbs:7"]
        {
            assert_eq!(webhook(TargetKind::Function, text).as_deref(), Some("THUMBS"), "{text}");
        }
    }

    #[test]
    fn a_malformed_arn_or_one_of_another_kind_is_not_parsed() {
        for text in [
            "invalid-queue",
            "",
            "arn:aws:sqs",
            "arn:aws:sns:us-east-1:1:topic",
            "arn:sherd:sqs:::PRIMARY:amqp",
            "arn:sherd:sqs:::PRI.MARY:webhook",
            "arn:sherd:sqs::::webhook",
            "arn:aws:sqs:us-east-1:1:",
        ] {
            assert_eq!(TargetArn::parse(TargetKind::Queue, text), None, "{text}");
        }
        assert_eq!(TargetArn::parse(TargetKind::Function, "arn:aws:lambda:us-east-1:1:thumbs"), None);
        let long = format!("arn:aws:sqs:us-east-1:1:{}", "q".repeat(300));
        assert_eq!(TargetArn::parse(TargetKind::Queue, &long), None);
    }

    #[test]
    fn webhook_names_are_normalised_to_those_of_settings() {
        assert_eq!(webhook_name("my-queue_1").as_deref(), Some("MY_QUEUE_1"));
        assert_eq!(webhook_name("a b"), None);
        assert_eq!(webhook_name("é"), None);
    }
}
