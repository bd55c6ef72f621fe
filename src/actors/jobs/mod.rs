//! The jobs of every host, whichever host is asked: repairs and comparisons, scrub passes, moves of shards. Each host answers
//! for its own drives (`OwnJobs`); whoever is asked by an operator asks all others the same (`AllJobs`), as group calls under a
//! number that no consensus group has. None of it is on the way of a request.

mod messages;
mod own;
mod service;
mod survey;
#[cfg(test)]
mod tests;

pub use messages::{Ask, JobAnswer, JobStatus, ScrubJob};
pub use own::OwnJobs;
pub use service::{JobService, LateJobs};
pub use survey::{AllJobs, Answered};
