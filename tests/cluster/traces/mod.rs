//! Traces over several hosts: the spans of other hosts are children of the calls of the host that serves the client.

use crate::harness::cluster::{Cluster, Shape};
use crate::harness::collector::{Collector, Manner, Span};
use crate::harness::data;
use crate::trial::beside_others;
use std::collections::BTreeSet;

const CALLS: [(&str, &str); 2] = [("PutObject", "NodeService/append_chunks"), ("GetObject", "NodeService/read_chunks")];

#[test]
fn the_spans_of_other_hosts_join_the_trace_of_a_request() {
    let _turn = beside_others();
    let collector = Collector::start(Manner::Takes);
    let cluster = Cluster::formed(&Shape::three(2, 1).with("SHERD_OTLP_ENDPOINT", &collector.url()));
    let s3 = cluster.client(0);
    s3.create_bucket("box").unwrap().expect(200);
    let content = data::bytes(1, 3 << 20);
    s3.put("box", "large", &content).unwrap().expect(200);
    assert!(s3.get("box", "large").unwrap().expect(200).body == content);
    for (operation, call) in CALLS {
        // The other hosts send their spans by themselves. A call that was given up need not have reached one.
        let is_answered =
            |trace: &[Span], span: &Span| trace.iter().any(|other| other.parent.as_ref() == Some(&span.id));
        let is_whole = |trace: &[Span]| {
            let mut calls = trace.iter().filter(|span| span.name == call && span.kind == 3).peekable();
            calls.peek().is_some() && calls.all(|span| !span.text("error.type").is_empty() || is_answered(trace, span))
        };
        let trace = collector.trace(operation, "large", is_whole);
        let root = trace.iter().find(|span| span.parent.is_none()).expect("a root");
        let served: Vec<&Span> = trace.iter().filter(|span| span.name == call && span.kind == 2).collect();
        for span in &served {
            let caller = trace.iter().find(|other| Some(&other.id) == span.parent.as_ref()).expect("its caller");
            assert_eq!((caller.kind, caller.host()), (3, root.host()), "{caller:?}");
            assert_ne!(span.host(), root.host());
            assert_eq!(caller.text("sherd.peer"), span.host());
            for same in ["sherd.node", "sherd.shard", "sherd.blob"] {
                assert_eq!(caller.attributes[same], span.attributes[same], "{same}");
            }
        }
        let hosts: BTreeSet<&str> = served.iter().map(|span| span.host()).collect();
        assert!(!hosts.is_empty(), "{operation}");
    }
}
