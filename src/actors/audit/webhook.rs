//! The audit log by webhook: a POST for each line, in order, signed as notifications are.

use super::{AuditSink, Settled};
use crate::actors::events::{EventSink, Message, SinkFault};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// A webhook that gets the lines as messages. Their id is that of the line's request, so that one which comes twice can be
/// told.
#[derive(Debug)]
pub struct WebhookSink {
    hook: Arc<dyn EventSink>,
    /// The host's id; requests have ids of their own.
    host: String,
}

impl WebhookSink {
    pub fn new(hook: Arc<dyn EventSink>, host: String) -> Self {
        Self { hook, host }
    }

    fn message(&self, line: &Bytes) -> Message {
        let id = serde_json::from_slice::<serde_json::Value>(line)
            .ok()
            .and_then(|line| line["id"].as_str().map(str::to_owned));
        Message { id: format!("{}-{}", self.host, id.unwrap_or_default()), body: line.clone() }
    }
}

#[async_trait]
impl AuditSink for WebhookSink {
    async fn write(&self, lines: &[Bytes]) -> Settled {
        let mut settled = Settled::default();
        for line in lines {
            match self.hook.send(&self.message(line)).await {
                Ok(()) => settled.written += 1,
                Err(SinkFault::Refused { .. }) => settled.refused += 1,
                Err(fault @ SinkFault::Unreachable { .. }) => {
                    settled.fault = Some(fault.to_string());
                    break;
                }
            }
        }
        settled
    }
}
