//! Notification configurations as clients send them, compared with S3's answers.

use super::{fault_of, from_dto, to_dto, verify};
use crate::actors::events::{EventSink, Message, NotificationRules, SinkFault, Target, Targets};
use crate::api::errors::Fault;
use async_trait::async_trait;
use bytes::Bytes;
use s3s::dto::{
    Event, EventBridgeConfiguration, FilterRule, FilterRuleName, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, TopicConfiguration,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const QUEUE: &str = "arn:aws:sqs:us-west-2:111122223333:s3notificationqueue";

fn filter(rules: &[(&'static str, &str)]) -> Option<NotificationConfigurationFilter> {
    let rule = |(name, value): &(&'static str, &str)| FilterRule {
        name: Some(FilterRuleName::from_static(name)),
        value: Some((*value).to_owned()),
    };
    let key = S3KeyFilter { filter_rules: Some(rules.iter().map(rule).collect()) };
    Some(NotificationConfigurationFilter { key: Some(key) })
}

fn queue(id: Option<&str>, arn: &str, events: &[&str], rules: &[(&'static str, &str)]) -> QueueConfiguration {
    QueueConfiguration {
        events: events.iter().map(|event| Event::from((*event).to_owned())).collect(),
        filter: if rules.is_empty() { None } else { filter(rules) },
        id: id.map(str::to_owned),
        queue_arn: arn.to_owned(),
    }
}

fn queues(queues: Vec<QueueConfiguration>) -> NotificationConfiguration {
    NotificationConfiguration { queue_configurations: Some(queues), ..NotificationConfiguration::default() }
}

fn parse(given: NotificationConfiguration) -> Result<NotificationRules, Fault> {
    from_dto(given, || "fresh".to_owned())
}

fn refusal(given: NotificationConfiguration) -> String {
    let refused = parse(given).and_then(|rules| rules.validate().map_err(fault_of));
    match refused.expect_err("it is refused") {
        Fault::InvalidArgument(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Compares with AWS's answer to the same configuration: names of filters with a capital, in the order given.
#[test]
fn a_notification_configuration_reads_back_as_s3_shows_it() {
    let events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"];
    let given = [("suffix", "testfile.txt"), ("prefix", "testupload/")];
    let shown = to_dto(parse(queues(vec![queue(None, QUEUE, &events, &given)])).expect("rules"));
    let expected = [("Suffix", "testfile.txt"), ("Prefix", "testupload/")];
    assert_eq!(shown.queue_configurations, Some(vec![queue(Some("fresh"), QUEUE, &events, &expected)]));
    assert_eq!((shown.topic_configurations, shown.lambda_function_configurations), (None, None));
    assert_eq!(shown.event_bridge_configuration, None);
}

#[test]
fn topics_and_event_bridge_of_a_configuration_read_back() {
    let topic = TopicConfiguration {
        events: vec![Event::from("s3:ReducedRedundancyLostObject".to_owned())],
        filter: None,
        id: Some("t".to_owned()),
        topic_arn: "arn:aws:sns:us-east-1:356671443308:s3notificationtopic2".to_owned(),
    };
    let given = NotificationConfiguration {
        event_bridge_configuration: Some(EventBridgeConfiguration::default()),
        topic_configurations: Some(vec![topic.clone()]),
        ..NotificationConfiguration::default()
    };
    let shown = to_dto(parse(given).expect("rules"));
    assert_eq!(shown.topic_configurations, Some(vec![topic]));
    assert!(shown.event_bridge_configuration.is_some());
}

#[test]
fn an_empty_notification_configuration_has_no_rules() {
    assert!(parse(NotificationConfiguration::default()).expect("rules").is_empty());
}

#[test]
fn an_invalid_notification_configuration_is_refused_with_s3s_message() {
    let one = |arn, events: &[&str], rules: &[(&'static str, &str)]| queues(vec![queue(None, arn, events, rules)]);
    let put = ["s3:ObjectCreated:Put"];
    assert_eq!(refusal(one("invalid-queue", &put, &[])), "The ARN could not be parsed");
    assert_eq!(refusal(one(QUEUE, &["notarealeventname"], &[])), "The event is not supported for notifications");
    let named = refusal(one(QUEUE, &put, &[("INVALID", "x")]));
    assert_eq!(named, "filter rule name must be either prefix or suffix");
    assert!(refusal(one(QUEUE, &put, &[("prefix", "a"), ("Prefix", "b")])).contains("more than one prefix rule"));
    assert!(refusal(one(QUEUE, &put, &[("suffix", &"s".repeat(1025))])).contains("1024 bytes"));
    assert_eq!(parse(one(QUEUE, &[], &[])), Err(Fault::MalformedXml));
}

#[test]
fn overlapping_notification_configurations_are_refused_with_s3s_message() {
    let created = ["s3:ObjectCreated:*"];
    let both = |one: &[(&'static str, &str)], two: &[(&'static str, &str)]| {
        refusal(queues(vec![queue(Some("a"), QUEUE, &created, one), queue(Some("b"), QUEUE, &created, two)]))
    };
    assert!(both(&[], &[]).starts_with("Configurations overlap."));
    assert!(both(&[("prefix", "images")], &[]).starts_with("Configuration is ambiguously defined."));
    let same = vec![
        queue(Some("a"), QUEUE, &created, &[("prefix", "x")]),
        queue(Some("a"), QUEUE, &created, &[("prefix", "y")]),
    ];
    assert!(refusal(queues(same)).starts_with("Same ID used"));
}

#[test]
fn repeated_events_of_a_notification_configuration_are_kept_once() {
    let many = vec!["s3:ObjectCreated:*"; 8_000];
    let given = |id, prefix| queue(Some(id), QUEUE, &many, &[("prefix", prefix)]);
    let rules = parse(queues(vec![given("a", "x"), given("b", "y")])).expect("rules");
    assert_eq!(rules.validate(), Ok(()));
    assert_eq!(rules.rules.iter().map(|rule| rule.events.len()).collect::<Vec<_>>(), [1, 1]);
    assert!(refusal(queues(vec![given("a", "x"), given("b", "xy")])).starts_with("Configuration is ambiguously"));
}

/// A webhook that counts messages, and accepts or refuses all of them.
#[derive(Debug)]
struct Counting {
    heard: AtomicUsize,
    takes: bool,
}

#[async_trait]
impl EventSink for Counting {
    async fn send(&self, _: &Message) -> Result<(), SinkFault> {
        self.heard.fetch_add(1, Ordering::SeqCst);
        if self.takes { Ok(()) } else { Err(SinkFault::Unreachable { why: "away".to_owned() }) }
    }
}

#[tokio::test]
async fn notification_targets_must_exist_and_accept_a_test_message() {
    let sink = |takes| Arc::new(Counting { heard: AtomicUsize::new(0), takes });
    let (there, away, bridge) = (sink(true), sink(false), sink(false));
    let target = |sink: &Arc<Counting>| Target { sink: Arc::clone(sink) as Arc<dyn EventSink>, queue_limit: 1 };
    let named = [("THERE", target(&there)), ("AWAY", target(&away)), ("EVENTBRIDGE", target(&bridge))];
    let targets = Targets::new(named.map(|(name, target)| (name.to_owned(), target)));
    let message = Message { id: "m".to_owned(), body: Bytes::new() };
    let rules = |names: &[&str], event_bridge| {
        let arn = |name: &str| format!("arn:sherd:sqs:::{name}:webhook");
        let configurations = names.iter().map(|name| queue(None, &arn(name), &["s3:ObjectCreated:*"], &[])).collect();
        NotificationRules { event_bridge, ..parse(queues(configurations)).expect("rules") }
    };
    assert_eq!(verify(&targets, &rules(&["there", "THERE"], true), &message).await, Ok(()));
    assert_eq!((there.heard.load(Ordering::SeqCst), bridge.heard.load(Ordering::SeqCst)), (1, 0));
    for names in [&["AWAY"][..], &["NOWHERE"], &["THERE", "NOWHERE"]] {
        let refused = verify(&targets, &rules(names, false), &message).await;
        let why = "Unable to validate the following destination configurations".to_owned();
        assert_eq!(refused, Err(Fault::InvalidArgument(why)), "{names:?}");
    }
}
