//! GetBucketNotificationConfiguration, PutBucketNotificationConfiguration.

use crate::actors::events::{
    EVENT_BRIDGE, EventPattern, FILTER_BYTES_MAX, KeyFilter, Message, NotificationRule, NotificationRules, RulesFault,
    TargetArn, TargetKind, Targets, test_message,
};
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::documents::bucket_document;
use crate::api::s3::event_drafts::rules_of;
use crate::api::s3::{Store, documents};
use futures::future::join_all;
use s3s::S3Result;
use s3s::dto::{
    Event, EventBridgeConfiguration, FilterRule, FilterRuleName, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration, NotificationConfiguration,
    NotificationConfigurationFilter, PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
    QueueConfiguration, S3KeyFilter, TopicConfiguration,
};

/// S3's limit on the characters of a configuration's id.
const ID_CHARS_MAX: usize = 255;

pub async fn get(
    store: &Store,
    input: GetBucketNotificationConfigurationInput,
) -> S3Result<GetBucketNotificationConfigurationOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    Ok(to_dto(rules_of(&view, &bucket)?))
}

/// PutBucketNotificationConfiguration. An empty configuration ends notifications. The targets are sent a test message
/// first, unless the request skips that.
pub async fn put(
    store: &Store,
    input: PutBucketNotificationConfigurationInput,
) -> S3Result<PutBucketNotificationConfigurationOutput> {
    let origin = store.call.origin.clone();
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let fresh_id = || format!("{:032x}", store.ambient.random_u128());
    let rules = from_dto(input.notification_configuration, fresh_id)?;
    rules.validate().map_err(fault_of)?;
    if !input.skip_destination_validation.unwrap_or(false) {
        let at = store.ambient.clock.unix_ms();
        let body = test_message(&input.bucket, at, &origin.request_id, &origin.host_id);
        let message = Message { id: format!("test-{}", origin.request_id), body: body.into() };
        verify(&store.targets, &rules, &message).await?;
    }
    let key = bucket_document(&bucket, BucketDocument::Notification);
    if rules.is_empty() {
        documents::remove(store, key).await?;
    } else {
        documents::save(store, key, &rules).await?;
    }
    Ok(PutBucketNotificationConfigurationOutput::default())
}

/// Checks that every webhook exists and accepts a test message. EventBridge is sent none.
async fn verify(targets: &Targets, rules: &NotificationRules, message: &Message) -> Result<(), Fault> {
    let names = rules.webhooks();
    let tries = names.iter().map(|name| async move {
        let taken = match targets.get(name) {
            None => false,
            Some(_) if name == EVENT_BRIDGE => true,
            Some(target) => {
                let sent = target.sink.send(message).await;
                sent.inspect_err(
                    |why| tracing::info!(webhook = %name, %why, "a webhook did not accept the test message"),
                )
                .is_ok()
            }
        };
        (name, taken)
    });
    match join_all(tries).await.into_iter().find(|(_, taken)| !taken) {
        None => Ok(()),
        Some(_) => {
            Err(Fault::InvalidArgument("Unable to validate the following destination configurations".to_owned()))
        }
    }
}

fn fault_of(fault: RulesFault) -> Fault {
    let why = match fault {
        RulesFault::TooMany { .. } => "The number of notification configurations of a bucket is limited to 100.",
        RulesFault::SameId(_) => "Same ID used for multiple configurations. IDs must be unique",
        RulesFault::SharedEvent(..) => {
            "Configurations overlap. Configurations on the same bucket cannot share a common event type."
        }
        RulesFault::Ambiguous(..) => {
            "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are \
             overlapping for the same event type."
        }
    };
    Fault::InvalidArgument(why.to_owned())
}

/// A configuration of a topic, a queue or a function, before it is validated.
struct Given {
    kind: TargetKind,
    id: Option<String>,
    arn: String,
    events: Vec<Event>,
    filter: Option<NotificationConfigurationFilter>,
}

pub(in crate::api::s3) fn from_dto(
    given: NotificationConfiguration,
    fresh_id: impl Fn() -> String,
) -> Result<NotificationRules, Fault> {
    let topics = given.topic_configurations.unwrap_or_default().into_iter().map(|one| Given {
        kind: TargetKind::Topic,
        id: one.id,
        arn: one.topic_arn,
        events: one.events,
        filter: one.filter,
    });
    let queues = given.queue_configurations.unwrap_or_default().into_iter().map(|one| Given {
        kind: TargetKind::Queue,
        id: one.id,
        arn: one.queue_arn,
        events: one.events,
        filter: one.filter,
    });
    let functions = given.lambda_function_configurations.unwrap_or_default().into_iter().map(|one| Given {
        kind: TargetKind::Function,
        id: one.id,
        arn: one.lambda_function_arn,
        events: one.events,
        filter: one.filter,
    });
    let rules = topics.chain(queues).chain(functions).map(|one| rule(one, &fresh_id)).collect::<Result<_, _>>()?;
    Ok(NotificationRules { rules, event_bridge: given.event_bridge_configuration.is_some() })
}

fn rule(given: Given, fresh_id: impl Fn() -> String) -> Result<NotificationRule, Fault> {
    let invalid = |why: &str| Fault::InvalidArgument(why.to_owned());
    let target = TargetArn::parse(given.kind, &given.arn).ok_or_else(|| invalid("The ARN could not be parsed"))?;
    if given.events.is_empty() {
        return Err(Fault::MalformedXml);
    }
    let events = given.events.iter().map(|event| EventPattern::parse(event.as_ref())).collect::<Option<_>>();
    let id = given.id.filter(|id| !id.is_empty()).unwrap_or_else(fresh_id);
    if id.chars().count() > ID_CHARS_MAX {
        return Err(invalid(&format!(
            "The id of a notification configuration is longer than {ID_CHARS_MAX} characters."
        )));
    }
    Ok(NotificationRule {
        id,
        kind: given.kind,
        target,
        events: events
            .map(EventPattern::distinct)
            .ok_or_else(|| invalid("The event is not supported for notifications"))?,
        filters: filters(given.filter)?,
    })
}

fn filters(given: Option<NotificationConfigurationFilter>) -> Result<Vec<KeyFilter>, Fault> {
    let invalid = |why: &str| Err(Fault::InvalidArgument(why.to_owned()));
    let mut filters: Vec<KeyFilter> = Vec::new();
    for rule in given.and_then(|filter| filter.key?.filter_rules).unwrap_or_default() {
        let (Some(name), Some(value)) = (rule.name, rule.value) else { return Err(Fault::MalformedXml) };
        if value.len() > FILTER_BYTES_MAX {
            return invalid("Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation");
        }
        let is_there = |like: fn(&KeyFilter) -> bool| filters.iter().any(like);
        // As in S3, names are accepted in any case.
        if name.as_str().eq_ignore_ascii_case(FilterRuleName::PREFIX) {
            if is_there(|filter| matches!(filter, KeyFilter::Prefix(_))) {
                return invalid("Cannot specify more than one prefix rule in a filter.");
            }
            filters.push(KeyFilter::Prefix(value));
        } else if name.as_str().eq_ignore_ascii_case(FilterRuleName::SUFFIX) {
            if is_there(|filter| matches!(filter, KeyFilter::Suffix(_))) {
                return invalid("Cannot specify more than one suffix rule in a filter.");
            }
            filters.push(KeyFilter::Suffix(value));
        } else {
            return invalid("filter rule name must be either prefix or suffix");
        }
    }
    Ok(filters)
}

fn to_dto(rules: NotificationRules) -> GetBucketNotificationConfigurationOutput {
    let (mut topics, mut queues, mut functions) = (Vec::new(), Vec::new(), Vec::new());
    for rule in rules.rules {
        let (id, arn, filter) = (Some(rule.id), rule.target.as_str().to_owned(), shown_filter(rule.filters));
        let events = rule.events.iter().map(|event| Event::from(event.to_string())).collect();
        match rule.kind {
            TargetKind::Topic => topics.push(TopicConfiguration { events, filter, id, topic_arn: arn }),
            TargetKind::Queue => queues.push(QueueConfiguration { events, filter, id, queue_arn: arn }),
            TargetKind::Function => {
                functions.push(LambdaFunctionConfiguration { events, filter, id, lambda_function_arn: arn });
            }
        }
    }
    GetBucketNotificationConfigurationOutput {
        event_bridge_configuration: rules.event_bridge.then(EventBridgeConfiguration::default),
        lambda_function_configurations: Some(functions).filter(|list| !list.is_empty()),
        queue_configurations: Some(queues).filter(|list| !list.is_empty()),
        topic_configurations: Some(topics).filter(|list| !list.is_empty()),
    }
}

/// Returns the filter of a rule for an answer. S3 shows names of filters with a capital letter, however they were
/// given.
fn shown_filter(filters: Vec<KeyFilter>) -> Option<NotificationConfigurationFilter> {
    let shown = |filter| {
        let (name, value) = match filter {
            KeyFilter::Prefix(value) => ("Prefix", value),
            KeyFilter::Suffix(value) => ("Suffix", value),
        };
        FilterRule { name: Some(FilterRuleName::from_static(name)), value: Some(value) }
    };
    let rules: Vec<FilterRule> = filters.into_iter().map(shown).collect();
    let key = S3KeyFilter { filter_rules: Some(rules) };
    (key.filter_rules.as_ref().is_some_and(|rules| !rules.is_empty()))
        .then_some(NotificationConfigurationFilter { key: Some(key) })
}

#[cfg(test)]
mod tests;
