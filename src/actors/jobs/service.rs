//! `JobService`: answers calls of other hosts about the jobs of this host, once the jobs have started.

use super::messages::{Ask, JOBS_GROUP, KIND};
use super::own::OwnJobs;
use crate::net::{GroupCall, GroupService, PeerError, decode_body, encode_body};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// The jobs of this host, empty until they have started. Cheap to clone; all clones share one value.
#[derive(Clone, Debug, Default)]
pub struct LateJobs(Arc<OnceLock<OwnJobs>>);

impl LateJobs {
    /// Sets the jobs that answer from now on. Only the first call has an effect.
    pub fn answer_by(&self, jobs: OwnJobs) {
        let _ = self.0.set(jobs);
    }
}

/// The group service of a host: answers calls to `JOBS_GROUP`, and passes all others to `groups`.
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
                "a call about jobs has the unknown kind {}; does the caller run another version?",
                call.kind
            )));
        }
        let ask: Ask = decode_body(&call.body)?;
        let jobs = self.jobs.0.get().ok_or_else(|| refused("this host is starting".to_owned()))?;
        Ok(encode_body(&jobs.answer(ask)))
    }
}
