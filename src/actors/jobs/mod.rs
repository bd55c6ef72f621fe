//! Status and control of the background jobs of all hosts: repairs and comparisons, scrub passes, moves of shards. Each
//! host answers for its own drives (`OwnJobs`). The host that an operator asks passes the question on to all others
//! (`AllJobs`), as group calls under a number that no consensus group has. Nothing here is on the path of an S3
//! request.

mod messages;
mod own;
mod service;
mod survey;
#[cfg(test)]
mod tests;

pub use messages::{Ask, JobAnswer, JobStatus, ScrubJob};
pub use own::OwnJobs;
pub use service::{JobService, LateJobs};
pub use survey::{AllJobs, JobReply};
