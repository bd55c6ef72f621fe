//! The webhook destination of the audit log: one POST for each line, in order, signed like bucket notifications.

use super::{AuditSink, Settled};
use crate::actors::events::{EventSink, Message, SinkFault};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// Sends each line to a webhook as a message. The message's id is made of the host's id and the request's, so that the
/// receiver can recognise a line that comes twice.
#[derive(Debug)]
pub struct WebhookSink {
    hook: Arc<dyn EventSink>,
    /// The id of this host: the first part of the messages' ids.
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
    /// Sends the first line alone, so that no attempt takes longer than one message may.
    async fn write(&self, lines: &[Bytes]) -> Settled {
        let Some(line) = lines.first() else { return Settled::default() };
        match self.hook.send(&self.message(line)).await {
            Ok(()) => Settled { written: 1, ..Settled::default() },
            Err(SinkFault::Refused { .. }) => Settled { refused: 1, ..Settled::default() },
            Err(fault @ SinkFault::Unreachable { .. }) => {
                Settled { fault: Some(fault.to_string()), ..Settled::default() }
            }
        }
    }
}
