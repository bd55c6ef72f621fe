//! Progress on standard error: a line with the progress of a long command, drawn only on a terminal that the command's
//! output does not scroll; and waiting for a job of the hosts (`--wait`).

use super::show::duration;
use super::{ASK_EVERY, AdminFailure};
use crate::ambient::Clock;
use crate::config::Waiting;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const REDRAW_EVERY: Duration = Duration::from_millis(200);
const BAR_CHARS: usize = 30;
/// The interval of a job's progress lines, except on a terminal, where one line is drawn over itself.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The longest time for which a host may not answer before the waiting ends.
pub(super) const ABSENCE_MAX: Duration = Duration::from_secs(120);
/// The window over which the speed of a job is measured.
const RATE_OVER: Duration = Duration::from_secs(60);
const LOOKS_KEPT: usize = 64;
/// Exit codes of a job that is not done when the time is over, and of a wait that was interrupted.
pub(super) const TIMED_OUT: u8 = 3;
const INTERRUPTED: i32 = 130;

/// A progress line, which is redrawn in place.
pub struct Progress {
    what: &'static str,
    shown: bool,
    done: u64,
    drawn: Option<Instant>,
}

impl Progress {
    pub fn new(what: &'static str) -> Self {
        Self { what, shown: io::stderr().is_terminal() && !io::stdout().is_terminal(), done: 0, drawn: None }
    }

    /// Makes a progress line for a command that prints nothing until it is done.
    pub fn of_silence(what: &'static str) -> Self {
        Self { shown: io::stderr().is_terminal(), ..Self::new(what) }
    }

    /// Adds to the number done, and redraws the line. `of` is the total, if it is known.
    pub fn advance(&mut self, more: u64, of: Option<u64>) {
        self.done = self.done.saturating_add(more);
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW_EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        // A failure to draw the progress must not end the command.
        let _ = write!(io::stderr(), "\r{}\x1b[K", line(self.what, self.done, of));
    }

    pub fn finish(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, of: Option<u64>) -> String {
    let Some(of) = of.filter(|of| *of > 0) else { return format!("{done} {what}") };
    let done = done.min(of);
    let filled = usize::try_from(u128::from(done) * BAR_CHARS as u128 / u128::from(of)).unwrap_or(BAR_CHARS);
    let percent = u128::from(done) * 100 / u128::from(of);
    format!("[{}{}] {percent:3} % of {of} {what}", "#".repeat(filled), " ".repeat(BAR_CHARS - filled))
}

/// The state of a job, as of one answer.
pub enum Look {
    Left {
        left: u64,
        /// Further information; may be empty.
        note: String,
    },
    Done {
        /// Further information; may be empty.
        note: String,
    },
    /// The job was undone or ended early, and will not complete.
    Failed(String),
    /// A host that takes part does not answer now.
    Silent(String),
}

impl Look {
    pub fn done() -> Self {
        Self::Done { note: String::new() }
    }
}

/// A job that is waited for.
pub struct Job {
    pub name: &'static str,
    /// The unit of the counts, such as `shards`.
    pub unit: &'static str,
    /// Formats a count.
    pub count: fn(u64) -> String,
    /// What becomes of the job when the waiting ends early.
    pub afterwards: &'static str,
}

/// Waits for a job, and shows its progress on standard error; returns the exit code. Ctrl-C ends the waiting, not the
/// job.
pub fn wait(
    job: &Job,
    waiting: Waiting,
    clock: &dyn Clock,
    look: impl FnMut() -> Result<Look, AdminFailure>,
) -> Result<u8, AdminFailure> {
    end_on_interrupt(job)?;
    let is_terminal = io::stderr().is_terminal();
    let say = |line: &str, is_last: bool| {
        // A failure to draw the progress must not end the command.
        let _ = match (is_terminal, is_last) {
            (true, false) => write!(io::stderr(), "\r{line}\x1b[K"),
            (true, true) => writeln!(io::stderr(), "\r{line}\x1b[K"),
            (false, _) => writeln!(io::stderr(), "{line}"),
        };
    };
    let line_every = if is_terminal { Duration::ZERO } else { LINE_EVERY };
    Watch { job, waiting, clock, line_every, pause: &std::thread::sleep }.until_over(look, say)
}

/// Starts a thread that ends the process at SIGINT, after printing that the job goes on.
fn end_on_interrupt(job: &Job) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut interrupt = {
        let _entered = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    let words = format!("waiting for the {} was interrupted: {}", job.name, job.afterwards);
    std::thread::spawn(move || {
        runtime.block_on(interrupt.recv());
        let _ = writeln!(io::stderr(), "\n{words}");
        std::process::exit(INTERRUPTED)
    });
    Ok(())
}

struct Watch<'a> {
    job: &'a Job,
    waiting: Waiting,
    clock: &'a dyn Clock,
    line_every: Duration,
    pause: &'a dyn Fn(Duration),
}

impl Watch<'_> {
    /// Waits until the job is done, fails, or the time is over. The second argument of `say` is true for the last line.
    fn until_over(
        &self,
        mut look: impl FnMut() -> Result<Look, AdminFailure>,
        mut say: impl FnMut(&str, bool),
    ) -> Result<u8, AdminFailure> {
        let (name, began) = (self.job.name, self.clock.monotonic());
        let (mut answered, mut line_shown, mut tally) = (began, None, Tally::default());
        loop {
            let looked = look();
            let now = self.clock.monotonic();
            let line = match looked {
                Ok(Look::Done { note }) => {
                    say(&format!("{name}: done{note}"), true);
                    return Ok(0);
                }
                Ok(Look::Failed(why)) => {
                    say(&format!("{name}: {why}"), true);
                    return Ok(1);
                }
                Ok(Look::Left { left, note }) => {
                    answered = now;
                    tally.see(left, now);
                    format!("{name}: {}{note}", tally.words(self.job))
                }
                Ok(Look::Silent(why)) if now.saturating_sub(answered) > ABSENCE_MAX => {
                    say(&format!("{name}: gave up waiting: {why}"), true);
                    return Ok(1);
                }
                Ok(Look::Silent(why)) => format!("{name}: {why}; asking again"),
                Err(error) if error.may_pass() && now.saturating_sub(answered) <= ABSENCE_MAX => {
                    format!("{name}: {error}; asking again")
                }
                Err(error) => return Err(error),
            };
            if self.waiting.timeout.is_some_and(|timeout| now.saturating_sub(began) >= timeout) {
                say(&format!("{line}\n{name}: not done in time: {}", self.job.afterwards), true);
                return Ok(TIMED_OUT);
            }
            if line_shown.is_none_or(|line_shown| now.saturating_sub(line_shown) >= self.line_every) {
                say(&line, false);
                line_shown = Some(now);
            }
            (self.pause)(ASK_EVERY);
        }
    }
}

/// The amounts left at the last looks, from which rate and remaining time are computed. Pure.
#[derive(Default)]
struct Tally {
    /// The largest amount left so far, which stands for the total.
    most: u64,
    looks: VecDeque<(Duration, u64)>,
}

impl Tally {
    fn see(&mut self, left: u64, now: Duration) {
        self.most = self.most.max(left);
        let is_old = |at: Duration| now.saturating_sub(at) > RATE_OVER;
        while self.looks.len() >= LOOKS_KEPT || self.looks.front().is_some_and(|(at, _)| is_old(*at)) {
            self.looks.pop_front();
        }
        self.looks.push_back((now, left));
    }

    /// Returns the rate per second; 0 if the amount left does not shrink.
    fn rate(&self) -> f64 {
        let (Some((began, first)), Some((now, left))) = (self.looks.front(), self.looks.back()) else { return 0.0 };
        let seconds = now.saturating_sub(*began).as_secs_f64();
        if seconds > 0.0 { first.saturating_sub(*left) as f64 / seconds } else { 0.0 }
    }

    fn words(&self, job: &Job) -> String {
        let left = self.looks.back().map_or(0, |(_, left)| *left);
        let (done, most) = ((job.count)(self.most - left), (job.count)(self.most));
        let text = format!("{done} of {most} {}", job.unit);
        match self.rate() {
            rate if rate > 0.0 => {
                let seconds = (left as f64 / rate).ceil() as u64;
                format!("{text}, {} a second, {} left", (job.count)(rate as u64), duration(seconds))
            }
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ABSENCE_MAX, ASK_EVERY, AdminFailure, Job, Look, Tally, Watch, line};
    use crate::ambient::Clock;
    use crate::config::Waiting;
    use crate::types::UnixMs;
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    const JOB: Job = Job { name: "repair", unit: "shards", count: |count| count.to_string(), afterwards: "it goes on" };

    #[test]
    fn the_progress_bar_fills_as_work_is_done() {
        assert_eq!(line("shards", 12, None), "12 shards");
        assert_eq!(line("MiB", 5, Some(10)), format!("[{}{}]  50 % of 10 MiB", "#".repeat(15), " ".repeat(15)));
        assert_eq!(line("MiB", 20, Some(10)), format!("[{}] 100 % of 10 MiB", "#".repeat(30)));
        assert_eq!(line("MiB", 20, Some(0)), "20 MiB");
    }

    #[test]
    fn rate_and_time_left_follow_from_the_last_looks() {
        let mut tally = Tally::default();
        tally.see(100, Duration::ZERO);
        assert_eq!(tally.words(&JOB), "0 of 100 shards");
        tally.see(80, Duration::from_secs(2));
        assert_eq!(tally.words(&JOB), "20 of 100 shards, 10 a second, 8 s left");
        tally.see(140, Duration::from_secs(3));
        assert_eq!(tally.words(&JOB), "0 of 140 shards", "more came than was done");
        for second in 4..2000 {
            tally.see(140, Duration::from_secs(second));
        }
        assert!(tally.looks.len() <= super::LOOKS_KEPT);
    }

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn unix_ms(&self) -> UnixMs {
            UnixMs(0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    /// Waits with a simulated clock; returns the exit code or the error, the lines, and the number of looks.
    fn waited(
        timeout: Option<u64>,
        look: impl Fn(u64) -> Result<Look, AdminFailure>,
    ) -> (Result<u8, String>, Vec<String>, u64) {
        let (clock, lines, looks) = (Hand::default(), RefCell::new(Vec::new()), AtomicU64::new(0));
        let pause = |pause: Duration| {
            clock.0.fetch_add(pause.as_millis() as u64, Ordering::Relaxed);
        };
        let waiting = Waiting { timeout: timeout.map(Duration::from_secs) };
        let watch = Watch { job: &JOB, waiting, clock: &clock, line_every: Duration::ZERO, pause: &pause };
        let look = || look(looks.fetch_add(1, Ordering::Relaxed));
        let code = watch.until_over(look, |line, _| lines.borrow_mut().push(line.to_owned()));
        (code.map_err(|error| error.to_string()), lines.into_inner(), looks.into_inner())
    }

    fn left(left: u64) -> Result<Look, AdminFailure> {
        Ok(Look::Left { left, note: String::new() })
    }

    fn gone() -> AdminFailure {
        AdminFailure::Unreachable { authority: "a".to_owned(), cause: "refused".to_owned() }
    }

    #[test]
    fn a_job_is_waited_for_until_it_is_done_or_fails() {
        let (code, lines, _) = waited(None, |look| if look < 2 { left(10 - 5 * look) } else { Ok(Look::done()) });
        assert_eq!(code, Ok(0));
        assert_eq!(lines, ["repair: 0 of 10 shards", "repair: 5 of 10 shards, 5 a second, 1 s left", "repair: done"]);
        let (code, lines, _) = waited(None, |_| Ok(Look::Failed("it was undone".to_owned())));
        assert_eq!((code, lines), (Ok(1), vec!["repair: it was undone".to_owned()]));
    }

    #[test]
    fn a_job_that_is_not_done_in_time_ends_with_exit_code_3() {
        let (code, lines, looks) = waited(Some(5), |_| left(7));
        assert_eq!((code, looks), (Ok(3), 6), "the last look is when the time is over");
        assert!(lines.last().is_some_and(|line| line.ends_with("not done in time: it goes on")), "{lines:?}");
        let (code, ..) = waited(Some(5), |_| Err(gone()));
        assert_eq!(code, Ok(3));
    }

    #[test]
    fn waiting_ends_when_a_host_does_not_answer_for_two_minutes() {
        let absence = ABSENCE_MAX.as_secs() / ASK_EVERY.as_secs();
        let back = |look: u64| if (1..absence).contains(&look) { Err(gone()) } else { left(1) };
        let (code, lines, _) = waited(None, |look| if look > absence + 9 { Ok(Look::done()) } else { back(look) });
        assert!(code == Ok(0) && lines[1].contains("asking again"), "{code:?} {lines:?}");
        let (code, _, looks) = waited(None, |look| if look == 0 { left(1) } else { Err(gone()) });
        assert!(code.is_err_and(|error| error.contains("does not answer")));
        assert!((absence..absence + 3).contains(&looks), "{looks}");
        let (code, ..) = waited(None, |_| Ok(Look::Silent("host b does not answer".to_owned())));
        assert_eq!(code, Ok(1));
        let refused = || AdminFailure::Refused { status: 403, code: "x".to_owned(), message: "no".to_owned() };
        let (code, _, looks) = waited(None, |_| Err(refused()));
        assert!(code.is_err() && looks == 1, "asking again is of no use");
    }
}
