//! One host process of a development cluster: starts it, watches it, restarts it and stops it. Its output is passed on
//! line by line, with the host's name before each line.

use super::DevError;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The pause before a restart, during which one can see the cluster without the host.
const RESTART_AFTER: Duration = Duration::from_secs(5);
const LINE_BYTES_MAX: u64 = 64 << 10;

pub struct Host {
    pub name: String,
    program: PathBuf,
    environment: Vec<(String, String)>,
    state: State,
}

enum State {
    Running(Child),
    /// The process ended in order or by a signal, and is started again.
    Ended {
        at: Instant,
    },
    /// The process ended with an error, which a restart would only repeat.
    Failed,
}

impl Host {
    pub fn start(name: &str, program: PathBuf, environment: Vec<(String, String)>) -> Result<Self, DevError> {
        let mut host = Self { name: name.to_owned(), program, environment, state: State::Failed };
        host.spawn()?;
        Ok(host)
    }

    fn spawn(&mut self) -> Result<(), DevError> {
        let failed = |cause: io::Error| DevError::Start { host: self.name.clone(), cause };
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
            child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let name = self.name.clone();
            // The thread ends with the process whose output it reads.
            thread::Builder::new().spawn(move || pass_on(&name, output)).map_err(failed)?;
        }
        say(&self.name, &format!("started, process {}", child.id()));
        self.state = State::Running(child);
        Ok(())
    }

    /// Checks whether the process has ended, and restarts it after the pause.
    pub fn tend(&mut self, now: Instant) -> Result<(), DevError> {
        match &mut self.state {
            State::Running(child) => {
                let ended = child.try_wait().map_err(|cause| DevError::Watch { host: self.name.clone(), cause })?;
                if let Some(status) = ended {
                    self.state = after(status, now);
                    let next = match self.state {
                        State::Failed => "it stays down",
                        _ => "it is started again in 5 seconds",
                    };
                    say(&self.name, &format!("ended ({status}); {next}"));
                }
                Ok(())
            }
            State::Ended { at } if now.duration_since(*at) >= RESTART_AFTER => self.spawn(),
            State::Ended { .. } | State::Failed => Ok(()),
        }
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// Asks the process to end.
    pub fn terminate(&mut self) {
        if let State::Running(child) = &self.state
            && let Some(process) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            // Until it is waited for, an ended child keeps its process id, so no other process can be hit.
            let _ = kill_process(process, Signal::TERM);
        }
    }

    /// Returns true if the process has ended.
    pub fn is_gone(&mut self) -> bool {
        match &mut self.state {
            State::Running(child) => !matches!(child.try_wait(), Ok(None)),
            State::Ended { .. } | State::Failed => true,
        }
    }

    pub fn kill(&mut self) {
        if let State::Running(child) = &mut self.state {
            say(&self.name, "did not end in time and is killed");
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Kills the process if it still runs, so that it does not outlive `sherd dev` after an error.
impl Drop for Host {
    fn drop(&mut self) {
        if !self.is_gone() {
            self.kill();
        }
    }
}

/// Returns the state after the process ended. In order or by a signal, the user has ended it to try something out.
fn after(status: ExitStatus, now: Instant) -> State {
    match status.code() {
        Some(0) | None => State::Ended { at: now },
        Some(_) => State::Failed,
    }
}

fn pass_on(name: &str, output: impl Read) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match output.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => say(name, String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

/// Writes a line to the log.
pub fn say(name: &str, line: &str) {
    // The reader of the log may be gone; the cluster goes on.
    let _ = writeln!(io::stderr().lock(), "[{name}] {line}");
}

#[cfg(test)]
mod tests {
    use super::{State, after};
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Instant;

    #[test]
    fn a_killed_or_stopped_host_is_restarted_and_a_failed_one_is_not() {
        let now = Instant::now();
        assert!(matches!(after(ExitStatus::from_raw(9), now), State::Ended { .. }), "kill -9");
        assert!(matches!(after(ExitStatus::from_raw(0), now), State::Ended { .. }), "SIGTERM, in order");
        assert!(matches!(after(ExitStatus::from_raw(2 << 8), now), State::Failed), "a configuration that is wrong");
    }
}
