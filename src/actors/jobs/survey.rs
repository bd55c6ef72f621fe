//! `AllJobs`: asks several hosts the same question about their jobs at once.

use super::messages::{Ask, JOBS_GROUP, JobAnswer, KIND};
use super::own::OwnJobs;
use crate::limits::JOBS_PATIENCE;
use crate::net::{GroupCall, GroupTransport, decode_body, encode_body};
use crate::types::HostId;
use futures::future::join_all;
use std::sync::Arc;
use tokio::time::timeout;

/// Asks hosts about their jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AllJobs {
    /// The id of this host, which answers from `own` without a call.
    pub host: HostId,
    pub own: OwnJobs,
    pub others: Arc<dyn GroupTransport>,
}

/// The answer of one host, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReply {
    pub host: HostId,
    pub answer: Result<JobAnswer, String>,
}

impl AllJobs {
    /// Asks these hosts at once. Returns one answer for each, in their order, within `JOBS_PATIENCE`.
    pub async fn ask(&self, hosts: impl IntoIterator<Item = HostId>, ask: Ask) -> Vec<JobReply> {
        let asked =
            hosts.into_iter().map(|host| async move { JobReply { host, answer: self.ask_one(host, ask).await } });
        join_all(asked).await
    }

    async fn ask_one(&self, host: HostId, ask: Ask) -> Result<JobAnswer, String> {
        if host == self.host {
            return Ok(self.own.answer(ask));
        }
        let call = GroupCall { group: JOBS_GROUP, kind: KIND, body: encode_body(&ask) };
        let answer = timeout(JOBS_PATIENCE, self.others.call(host, call)).await;
        let late = || format!("it did not answer within {} s", JOBS_PATIENCE.as_secs());
        let answer = answer.map_err(|_| late())?.map_err(|error| error.to_string())?;
        decode_body(&answer).map_err(|error| error.to_string())
    }
}
