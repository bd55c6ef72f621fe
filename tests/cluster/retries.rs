//! Requests with retries as SDKs make them: up to three tries, each on another host, with a growing random pause
//! between them, after a missing answer or an error of the server.

use crate::harness::client::{Answer, Answered, S3};
use crate::harness::data::Random;
use std::time::{Duration, Instant};

pub const TRIES: usize = 3;
/// The time within which a request is refused: 8 s, and the rest for a busy machine.
pub const REFUSED_WITHIN: Duration = Duration::from_secs(10);
/// The time after which a client gives up. Only a host that is stopped, or cut off from the client, may take so long.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(20);

/// One try of a request: its host, duration, and status; 0 if there was no answer.
#[derive(Clone, Debug)]
pub struct Try {
    pub host: usize,
    pub status: u16,
    pub took: Duration,
    pub error: String,
    /// False if there was no connection, so that the request surely had no effect.
    pub was_sent: bool,
}

#[derive(Debug)]
pub struct Tried {
    pub tries: Vec<Try>,
    pub answer: Option<Answer>,
    pub took: Duration,
}

impl Tried {
    /// Returns the status of the last try.
    pub fn status(&self) -> u16 {
        self.answer.as_ref().map_or(0, |answer| answer.status)
    }

    /// Returns whether a failed try may have, or may yet have, an effect.
    pub fn may_have_happened(&self) -> bool {
        self.tries.iter().any(|one| is_failure(one.status) && one.was_sent)
    }

    pub fn words(&self) -> String {
        let tries = self.tries.iter().map(|one| {
            format!("{} on host {} after {:.1} s {}", one.status, one.host, one.took.as_secs_f64(), one.error)
        });
        tries.collect::<Vec<_>>().join("; ")
    }
}

pub fn is_failure(status: u16) -> bool {
    status == 0 || status >= 500
}

/// Returns the status of an answer. An error in the body of a 200 (CompleteMultipartUpload) counts as 500.
fn status_of(answered: &Answered) -> u16 {
    match answered {
        Err(_) => 0,
        Ok(answer) if answer.status == 200 && answer.body.len() < 4096 && !answer.code().is_empty() => 500,
        Ok(answer) => answer.status,
    }
}

/// Returns true if no connection was made, so that the request surely had no effect.
pub fn was_not_sent(error: &ureq::Error) -> bool {
    let is_refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    matches!(error, ureq::Error::ConnectionFailed) || matches!(error, ureq::Error::Io(error) if is_refused(error))
}

pub fn with_retries(hosts: &[S3], random: &mut Random, request: impl Fn(&S3) -> Answered) -> Tried {
    with_retries_on(&(0..hosts.len()).collect::<Vec<_>>(), hosts, random, request)
}

/// Sends a request with retries on some of the hosts only.
pub fn with_retries_on(some: &[usize], hosts: &[S3], random: &mut Random, request: impl Fn(&S3) -> Answered) -> Tried {
    let begun = Instant::now();
    let first = usize::try_from(random.below(some.len() as u64)).expect("hosts are few");
    let mut tries = Vec::new();
    loop {
        let host = some[(first + tries.len()) % some.len()];
        let tried = Instant::now();
        let answered = request(&hosts[host]);
        let status = status_of(&answered);
        let error = match &answered {
            Err(error) => error.to_string(),
            Ok(answer) if is_failure(status) => answer.text().chars().take(300).collect(),
            Ok(_) => String::new(),
        };
        tries.push(Try {
            host,
            status,
            took: tried.elapsed(),
            error,
            was_sent: !answered.as_ref().is_err_and(was_not_sent),
        });
        if !is_failure(status) || tries.len() == TRIES {
            let answer = answered.ok().filter(|_| !is_failure(status));
            return Tried { tries, answer, took: begun.elapsed() };
        }
        // Full jitter with a base that doubles from one second, as in the SDKs' standard mode.
        let base_ms = 1000 << (tries.len() - 1);
        std::thread::sleep(Duration::from_millis(random.below(base_ms)));
    }
}
