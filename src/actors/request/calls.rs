//! The spans of a request's calls to nodes, which are on this host or another one.

use super::RequestContext;
use crate::net::PeerError;
use crate::traces::{Span, SpanKind, TraceContext};
use crate::types::{NodeId, ShardId};
use std::sync::Arc;

impl RequestContext {
    /// Begins the span of a call to the node of a shard; `name` is the service and the method. A call to another host
    /// is a client's.
    pub fn begin_call(&self, name: &'static str, node: NodeId, shard: ShardId) -> CallSpan {
        if !self.spans.is_on() {
            return CallSpan::default();
        }
        let host = self.ring.current().host_of(node);
        let kind = if host == Some(self.host) { SpanKind::Internal } else { SpanKind::Client };
        let span = self.spans.begin_as(name, kind);
        if kind == SpanKind::Client {
            span.set("rpc.system", "sherd");
            host.into_iter().for_each(|host| span.set("sherd.peer", format!("{:016x}", host.0)));
        }
        span.set("sherd.node", u64::from(node.0));
        span.set("sherd.blob", shard.blob.to_string());
        span.set("sherd.shard", u64::from(shard.shard.0));
        CallSpan { span, is_answered: false }
    }

    /// Returns the context in which the spans of the request are children of this one.
    pub fn within(self: &Arc<Self>, span: &Span) -> Arc<Self> {
        match span.is_on() {
            true => Arc::new(Self { spans: span.children(), ..(**self).clone() }),
            false => Arc::clone(self),
        }
    }
}

/// The span of a call. If it is dropped before `end`, the call was given up.
#[derive(Debug, Default)]
pub struct CallSpan {
    span: Span,
    is_answered: bool,
}

impl CallSpan {
    /// Returns the context to send with the call.
    pub fn context(&self) -> Option<TraceContext> {
        self.span.context()
    }

    /// Ends the span with the result of the call.
    pub fn end<T>(mut self, result: &Result<T, PeerError>) {
        self.is_answered = true;
        if let Err(error) = result {
            self.span.fail(error.kind());
        }
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        if !self.is_answered {
            self.span.fail("given_up");
        }
    }
}
