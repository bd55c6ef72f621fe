//! How far a long command is, on standard error, where that is a terminal and standard output is none or is not being
//! scrolled by the answer itself.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const REDRAW_EVERY: Duration = Duration::from_millis(200);
const BAR_CHARS: usize = 30;

/// A line that is drawn over itself.
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

    /// For a command that writes nothing until it is done.
    pub fn of_silence(what: &'static str) -> Self {
        Self { shown: io::stderr().is_terminal(), ..Self::new(what) }
    }

    /// So many more are done, of this many where that is known.
    pub fn advance(&mut self, more: u64, of: Option<u64>) {
        self.done = self.done.saturating_add(more);
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW_EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        // What cannot be drawn is not worth failing for.
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

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_fills_with_what_is_done() {
        assert_eq!(line("shards", 12, None), "12 shards");
        assert_eq!(line("MiB", 5, Some(10)), format!("[{}{}]  50 % of 10 MiB", "#".repeat(15), " ".repeat(15)));
        assert_eq!(line("MiB", 20, Some(10)), format!("[{}] 100 % of 10 MiB", "#".repeat(30)));
        assert_eq!(line("MiB", 20, Some(0)), "20 MiB");
    }
}
