//! A host's answers to others about its jobs, from when it has any.

use super::messages::{Ask, JOBS_GROUP, KIND, decode, encode};
use super::own::OwnJobs;
use crate::net::{GroupCall, GroupService, PeerError};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// The jobs of this host, once there are some. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LateJobs(Arc<OnceLock<OwnJobs>>);

impl LateJobs {
    /// Answers by these from now on. Once.
    pub fn answer_by(&self, jobs: OwnJobs) {
        let _ = self.0.set(jobs);
    }
}

/// The groups of a host, which answers besides for its jobs.
#[derive(Clone, Debug)]
pub struct JobService {
    pub jobs: LateJobs,
    pub groups: Arc<dyn GroupService>,
}

#[async_trait::async_trait]
impl GroupService for JobService {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        if call.group != JOBS_GROUP {
            return self.groups.group_call(call).await;
        }
        let refused = |why: String| PeerError::Refused { why };
        if call.kind != KIND {
            return Err(refused(format!(
                "call kind {} about jobs is not known; does the caller run another version?",
                call.kind
            )));
        }
        let ask: Ask = decode(&call.body)?;
        let jobs = self.jobs.0.get().ok_or_else(|| refused("this host is starting".to_owned()))?;
        Ok(encode(&jobs.answer(ask)))
    }
}
