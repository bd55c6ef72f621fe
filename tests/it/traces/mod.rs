//! Traces: the spans of requests at a collector, sampling, the traces of clients, and a collector that does not answer.

use crate::harness::client::{Answer, Body};
use crate::harness::collector::{Collector, Manner, Span};
use crate::harness::server::{Server, Setup};
use crate::harness::{data, eventually};
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Six drives, 4+2.
fn traced(root: &Path, url: &str, environment: &[(&str, &str)]) -> Server {
    let setup = Setup::drives(root, 6).with("SHERD_EC", "4+2").with("SHERD_OTLP_ENDPOINT", url);
    environment.iter().fold(setup, |setup, (name, value)| setup.with(name, value)).start()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[track_caller]
fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(found.len(), 1, "{name} in {names:?}");
    found[0]
}

/// Checks that each span but the root has a parent in the trace, and lies within it.
#[track_caller]
fn check_nesting(spans: &[Span]) {
    for span in spans {
        let Some(parent) = &span.parent else { continue };
        let parent = spans.iter().find(|other| other.id == *parent);
        let parent = parent.unwrap_or_else(|| panic!("{} has no parent", span.name));
        assert!(span.is_within(parent), "{span:?} is not within {parent:?}");
    }
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent.is_none()).collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
}

fn parent_is(span: &Span, parent: &Span) -> bool {
    span.parent.as_ref() == Some(&parent.id)
}

fn all(_: &[Span]) -> bool {
    true
}

#[test]
fn a_put_and_a_get_of_an_erasure_coded_object_have_a_span_for_each_stage_and_drive() {
    let (root, collector) = (tempfile::tempdir().unwrap(), Collector::start(Manner::Takes));
    let server = traced(root.path(), &collector.url(), &[("SHERD_OTLP_SERVICE_NAME", "photos")]);
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let content = data::bytes(1, 1 << 20);
    s3.put("box", "large", &content).unwrap().expect(200);
    assert!(s3.get("box", "large").unwrap().expect(200).body == content);

    let put = collector.trace("PutObject", "large", all);
    check_nesting(&put);
    let whole = one(&put, "S3/PutObject");
    for (key, value) in [
        ("http.request.method", "PUT"),
        ("url.path", "/box/large"),
        ("url.scheme", "http"),
        ("aws.s3.bucket", "box"),
        ("rpc.method", "PutObject"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(whole.text(key), value, "{key}");
    }
    let numbers = |span: &Span, key: &str| span.attributes[key].as_i64().expect("a number");
    assert_eq!(numbers(whole, "http.response.status_code"), 200);
    assert_eq!(numbers(whole, "http.request.body.size"), 1 << 20);
    assert!(whole.kind == 2 && !whole.is_failed && !whole.text("aws.request_id").is_empty());
    assert_eq!(whole.resource["service.name"], "photos");
    assert!(["service.version", "host.name"].iter().all(|key| whole.resource[*key].as_str().is_some()));
    assert_eq!(whole.host().len(), 16);
    for name in
        ["authenticate", "authorize", "admit", "put.receive", "put.hash_encode", "put.append", "metadata.propose"]
    {
        assert!(parent_is(one(&put, name), whole), "{name}");
    }
    // One stripe is 1 MiB, so each drive gets one append.
    let appends = named(&put, "NodeService/append_chunks");
    let stage = one(&put, "put.append");
    let mut nodes: Vec<i64> = appends.iter().map(|append| numbers(append, "sherd.node")).collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!((appends.len(), nodes.len()), (6, 6));
    assert!(appends.iter().all(|append| parent_is(append, stage) && append.kind == 1));
    let stored = one(&put, "metadata.propose");
    assert!(stage.end <= stored.start && one(&put, "put.receive").end <= stored.start);

    let get = collector.trace("GetObject", "large", all);
    check_nesting(&get);
    assert_ne!(get[0].trace, put[0].trace);
    let (whole, body) = (one(&get, "S3/GetObject"), one(&get, "get.body"));
    assert_eq!(numbers(whole, "http.response.body.size"), 1 << 20);
    assert!(parent_is(one(&get, "get.lookup"), whole) && parent_is(body, whole));
    assert!(parent_is(one(&get, "get.first_chunk"), body));
    let reads = named(&get, "NodeService/read_chunks");
    // On a busy machine a read may be late, and parity read as well.
    assert!((4..=6).contains(&reads.len()) && reads.iter().all(|read| parent_is(read, body)), "{reads:?}");
}

#[test]
fn a_refused_request_has_its_error_and_no_signature() {
    let (root, collector) = (tempfile::tempdir().unwrap(), Collector::start(Manner::Takes));
    let server = traced(root.path(), &collector.url(), &[]);
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    s3.get("box", "absent").unwrap().expect(404);
    let target = s3.presigned("GET", "/box/presigned", &[], 60);
    s3.send("GET", &target, &[], &[]).unwrap().expect(404);
    let keys = crate::harness::sigv4::Keys::new(crate::harness::server::ACCESS_KEY, "another-secret-key-01234");
    s3.with_keys(keys).get("box", "forged").unwrap().expect(403);

    let absent = collector.trace("GetObject", "absent", all);
    let whole = one(&absent, "S3/GetObject");
    assert_eq!((whole.text("error.type"), whole.is_failed), ("NoSuchKey", false), "the client's mistake");
    let presigned = collector.trace("GetObject", "presigned", all);
    let whole = one(&presigned, "S3/GetObject");
    assert_eq!(whole.text("url.path"), "/box/presigned");
    let leaked = |span: &Span| span.attributes.values().any(|value| value.to_string().contains("X-Amz-Signature"));
    assert!(!collector.spans().iter().any(leaked));
    let forged = eventually(SOON, "the forged request", || {
        collector.spans().into_iter().find(|span| span.text("url.path") == "/box/forged")
    });
    assert_eq!((forged.name.as_str(), forged.text("error.type")), ("S3/Unresolved", "SignatureDoesNotMatch"));
}

fn with_parent(server: &Server, key: &str, flags: &str) -> Answer {
    let header = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
    server.client().call("PUT", &format!("/box/{key}"), &[], &[("traceparent", &header)], Body::Signed(b"x")).unwrap()
}

#[test]
fn the_trace_of_a_client_is_joined_and_its_sampling_counts() {
    let (root, collector) = (tempfile::tempdir().unwrap(), Collector::start(Manner::Takes));
    let server = traced(root.path(), &collector.url(), &[("SHERD_OTLP_SAMPLE_RATIO", "0")]);
    server.client().create_bucket("box").unwrap().expect(200);
    with_parent(&server, "unsampled", "00").expect(200);
    server.client().put("box", "unrelated", b"x").unwrap().expect(200);
    with_parent(&server, "sampled", "01").expect(200);
    let trace = collector.trace("PutObject", "sampled", all);
    assert!(trace.iter().all(|span| span.trace == TRACE));
    assert_eq!(one(&trace, "S3/PutObject").parent.as_deref(), Some("00f067aa0ba902b7"));
    assert!(server.log().contains(TRACE), "the line of the log names the trace");
    // A stop sends all that waits, so whatever is not there by then was not sampled.
    server.stop();
    let roots: Vec<String> =
        collector.spans().into_iter().filter(|span| span.kind == 2).map(|span| span.name).collect();
    assert_eq!(roots, ["S3/PutObject"]);
}

#[test]
fn a_stop_sends_the_traces_that_wait() {
    let (root, collector) = (tempfile::tempdir().unwrap(), Collector::start(Manner::Takes));
    let server = traced(root.path(), &collector.url(), &[]);
    server.client().create_bucket("box").unwrap().expect(200);
    for number in 0..20 {
        server.client().put("box", &format!("key-{number}"), b"x").unwrap().expect(200);
    }
    server.stop();
    let spans = collector.spans();
    assert_eq!(named(&spans, "S3/PutObject").len(), 20);
}

/// The collector is away, refuses, or never answers.
#[test]
fn requests_and_a_stop_do_not_wait_for_a_collector() {
    let gone = {
        let collector = Collector::start(Manner::Takes);
        collector.url()
    };
    let (hangs, refuses) = (Collector::start(Manner::Hangs), Collector::start(Manner::Answers(400)));
    for (url, fails_at_once) in [(gone, true), (refuses.url(), true), (hangs.url(), false)] {
        let root = tempfile::tempdir().unwrap();
        let server = traced(root.path(), &url, &[]);
        let s3 = server.client();
        s3.create_bucket("box").unwrap().expect(200);
        let began = Instant::now();
        for number in 0..50 {
            s3.put("box", &format!("key-{number}"), b"x").unwrap().expect(200);
            s3.get("box", &format!("key-{number}")).unwrap().expect(200);
        }
        // Each would wait for 10 seconds.
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        if fails_at_once {
            let failures = || server.metric("sherd_trace_export_failures_total", &[]);
            eventually(SOON, "an attempt that failed", || (failures() >= 1.0).then_some(()));
        }
        let (_, ended, took) = server.stop();
        assert!(took < crate::harness::server::STOP_TIMEOUT, "{took:?}");
        let told = ended.stderr.matches("traces cannot be sent to the collector").count();
        assert!(told <= 1 && (told == 1 || !fails_at_once), "{told}: {}", ended.stderr);
    }
}

#[test]
fn spans_that_the_collector_refuses_are_counted_as_dropped() {
    let (root, collector) = (tempfile::tempdir().unwrap(), Collector::start(Manner::Answers(400)));
    let server = traced(root.path(), &collector.url(), &[]);
    server.client().create_bucket("box").unwrap().expect(200);
    let counted = |result| server.metric("sherd_trace_spans_total", &[("result", result)]);
    eventually(SOON, "spans that are dropped", || (counted("dropped") >= 1.0).then_some(()));
    assert!(counted("exported") == 0.0);
}

#[test]
fn the_check_refuses_a_collector_that_cannot_be_used() {
    let root = tempfile::tempdir().unwrap();
    let pem = root.path().join("empty.pem");
    std::fs::write(&pem, "").unwrap();
    let check = |pairs: &[(&str, &str)]| {
        let setup = pairs.iter().fold(Setup::single(root.path()), |setup, (name, value)| setup.with(name, value));
        let output = setup.run(&["check"]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = check(&[("SHERD_OTLP_ENDPOINT", "collector:4318")]);
    assert!(code != Some(0) && told.contains("SHERD_OTLP_ENDPOINT"), "{told}");
    let url = ("SHERD_OTLP_ENDPOINT", "https://collector:4318");
    let (code, told) = check(&[url, ("SHERD_OTLP_CA_FILE", pem.to_str().unwrap())]);
    assert!(code != Some(0) && told.contains("SHERD_OTLP_CA_FILE"), "{told}");
}
