//! The queue of log lines, and the thread that writes them to standard error, so that a blocked reader does not block
//! the threads that log. Lines are gathered for some milliseconds, so that a busy host needs fewer system calls. A
//! thread that logs a warning or an error waits until it is written, but no longer than a second.

use super::escape::escaped;
use crate::config::LogFormat;
use std::io::{self, ErrorKind, Write};
use std::mem::take;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The targets of the lines about requests.
const OF_REQUESTS: [&str; 2] = ["request", "access"];
/// The longest time for which lines are gathered before they are written.
const WAIT_MAX: Duration = Duration::from_millis(10);
/// The size of the queued lines at which they are written at once.
const BATCH_BYTES: usize = 64 << 10;
/// The largest size of the queued lines; further lines are lost.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// The longest wait for the writing of a warning or error, and of all lines at the end of the process.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause between attempts of a write that would block.
const AGAIN_AFTER: Duration = Duration::from_millis(1);

/// The queue of lines, and the output. Clones share both.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when lines are queued.
    begun: Condvar,
    /// Signalled when lines have been written.
    written: Condvar,
    /// Locked before lines are taken from the queue and until they are written, so that they stay in order.
    out: Mutex<Out>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// All bytes that were ever queued, and those of them that have been written or lost.
    came: u64,
    settled: u64,
    lost_lines: u64,
    is_urgent: bool,
    /// True if the thread that writes was started.
    has_writer: bool,
    /// True if the last wait ended without its line being written.
    is_stuck: bool,
}

struct Out {
    to: Box<dyn Write + Send>,
    /// True if each line is a JSON object.
    is_json: bool,
    /// True if the last write ended within a line.
    is_torn: bool,
}

impl Lines {
    pub fn new(to: impl Write + Send + 'static, format: LogFormat) -> Self {
        let is_json = format == LogFormat::Json;
        let out = Mutex::new(Out { to: Box::new(to), is_json, is_torn: false });
        Self(Arc::new(Shared { queue: Mutex::default(), begun: Condvar::new(), written: Condvar::new(), out }))
    }

    /// Starts the thread that writes lines, for as long as the process lives. Without it, each thread writes its own
    /// lines.
    pub fn keep_writing(&self) -> io::Result<()> {
        let lines = self.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || lines.write_what_comes())?;
        locked(&self.0.queue).has_writer = true;
        Ok(())
    }

    fn write_what_comes(&self) {
        loop {
            let queue = locked(&self.0.queue);
            let queue = self.0.begun.wait_while(queue, |queue| queue.waiting.is_empty());
            let queue = queue.unwrap_or_else(PoisonError::into_inner);
            let gathers = |queue: &mut Queue| !queue.is_urgent && queue.waiting.len() < BATCH_BYTES;
            drop(self.0.begun.wait_timeout_while(queue, WAIT_MAX, gathers));
            self.write_now(&mut locked(&self.0.out));
        }
    }

    /// Waits until all lines queued so far are written, at most for `PATIENCE`.
    pub fn flush(&self) {
        let mut queue = locked(&self.0.queue);
        if queue.has_writer {
            queue.is_stuck = false;
            self.wait(queue);
        } else {
            drop(queue);
            self.write_now(&mut locked(&self.0.out));
        }
    }

    /// Writes the queued lines, unless a thread is writing just now, which may be the calling thread itself (in a
    /// panic).
    pub fn flush_if_free(&self) {
        let Ok(mut out) = self.0.out.try_lock() else { return };
        // The queue is not locked during the write: a blocked reader must not block threads that log.
        let waiting = self.0.queue.try_lock().map(|mut queue| take(&mut queue.waiting)).unwrap_or_default();
        let _ = out.write(&waiting);
    }

    fn push(&self, line: &[u8], may_wait: bool) {
        let mut queue = locked(&self.0.queue);
        if queue.waiting.len() + line.len() > WAITING_BYTES_MAX {
            queue.lost_lines += 1;
            return;
        }
        queue.waiting.extend_from_slice(line);
        queue.came += line.len() as u64;
        let (is_first, is_much) = (queue.waiting.len() == line.len(), queue.waiting.len() >= BATCH_BYTES);
        if may_wait && queue.has_writer {
            if is_first || is_much {
                self.0.begun.notify_one();
            }
        } else if queue.has_writer {
            self.wait(queue);
        } else {
            drop(queue);
            self.write_now(&mut locked(&self.0.out));
        }
    }

    /// Waits until the queued lines are written. After one wait in vain, nobody waits until something is written again.
    fn wait(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.is_urgent = true;
        self.0.begun.notify_one();
        let upto = queue.came;
        let is_waited_for = |queue: &mut Queue| queue.settled < upto && !queue.is_stuck;
        let waited = self.0.written.wait_timeout_while(queue, PATIENCE, is_waited_for);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.is_stuck = queue.settled < upto;
    }

    fn write_now(&self, out: &mut Out) {
        let (bytes, lost, came) = {
            let mut queue = locked(&self.0.queue);
            queue.is_urgent = false;
            (take(&mut queue.waiting), take(&mut queue.lost_lines), queue.came)
        };
        // Lines were lost because the queue was full, so the queued lines are older.
        let unwritten = out.write(&bytes);
        let reported = if lost > 0 { out.tell_lost(lost) } else { 0 };
        let mut queue = locked(&self.0.queue);
        queue.lost_lines += unwritten + (lost - reported);
        queue.settled = came;
        if queue.waiting.is_empty() {
            queue.is_stuck = false;
        }
        self.0.written.notify_all();
    }
}

impl Out {
    /// Writes the bytes; returns the number of lines that were not written, including one that was begun.
    fn write(&mut self, bytes: &[u8]) -> u64 {
        if self.is_torn && !bytes.is_empty() && !self.write_some(b"\n").is_empty() {
            return lines_of(bytes);
        }
        lines_of(self.write_some(bytes))
    }

    /// Writes the bytes; returns those that could not be written.
    fn write_some<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut left = bytes;
        while !left.is_empty() {
            match self.to.write(left) {
                Ok(0) => break,
                Ok(count) => {
                    self.is_torn = !left[..count].ends_with(b"\n");
                    left = &left[count..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN_AFTER),
                Err(_) => break,
            }
        }
        left
    }

    /// Writes a line about lost lines; returns how many of them it reported.
    fn tell_lost(&mut self, lost: u64) -> u64 {
        let what = format!("the log lost {lost} lines here, which nobody took or that could not be written");
        let line = match self.is_json {
            true => format!("{{\"level\":\"WARN\",\"message\":\"{what}\",\"target\":\"sherd::logging\"}}\n"),
            false => format!("{what}\n"),
        };
        if self.write(line.as_bytes()) == 0 { lost } else { 0 }
    }
}

fn lines_of(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Queues whole lines. Unless `may_wait`, it then waits until they are written.
pub struct LineWriter<'a> {
    lines: &'a Lines,
    may_wait: bool,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(&escaped(line), self.may_wait);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { lines: self, may_wait: false }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { lines: self, may_wait: *line.level() >= Level::INFO }
    }
}

/// Returns true if the line is about the outcome of a request, or the reason why access was denied.
pub fn is_of_request(line: &Metadata<'_>) -> bool {
    *line.level() == Level::INFO && OF_REQUESTS.contains(&line.target())
}

#[cfg(test)]
mod tests {
    use super::{Lines, WAITING_BYTES_MAX};
    use crate::config::LogFormat;
    use std::io::{self, ErrorKind, Write};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    /// An output that collects the written bytes, and can be made to fail.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Sink>>);

    #[derive(Default)]
    struct Sink {
        bytes: Vec<u8>,
        /// The number of bytes that are accepted before this error.
        fails: Option<(usize, ErrorKind)>,
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").bytes.clone()).expect("text")
        }

        fn fails(&self, fails: Option<(usize, ErrorKind)>) {
            self.0.lock().expect("not poisoned").fails = fails;
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut sink = self.0.lock().expect("not poisoned");
            let taken = match &mut sink.fails {
                Some((0, kind)) => return Err((*kind).into()),
                Some((left, _)) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    taken
                }
                None => bytes.len(),
            };
            sink.bytes.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> (Lines, Written) {
        let written = Written::default();
        (Lines::new(written.clone(), LogFormat::Text), written)
    }

    fn eventually(what: &str, is: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn lines_are_written_in_order_and_urgent_ones_before_the_caller_goes_on() {
        let (lines, written) = lines();
        lines.keep_writing().expect("a thread");
        lines.push(b"a\n", true);
        lines.push(b"b\n", false);
        assert_eq!(written.text(), "a\nb\n");
        lines.push(b"c\n", true);
        lines.flush();
        assert_eq!(written.text(), "a\nb\nc\n");
        for expected in ["a\nb\nc\nd\n", "a\nb\nc\nd\nd\n"] {
            lines.push(b"d\n", true);
            eventually("it is written though nothing follows it", || written.text() == expected);
        }
    }

    #[test]
    fn without_a_writer_thread_a_line_is_written_at_once() {
        let (lines, written) = lines();
        lines.push(b"a\n", true);
        lines.push(b"b\n", false);
        assert_eq!(written.text(), "a\nb\n");
    }

    #[test]
    fn a_blocked_reader_blocks_no_thread_and_is_told_of_lost_lines() {
        let (lines, written) = lines();
        written.fails(Some((5, ErrorKind::WouldBlock)));
        lines.keep_writing().expect("a thread");
        let begun = Instant::now();
        let line = [b"x".repeat(1 << 20), b"\n".to_vec()].concat();
        for _ in 0..100 {
            lines.push(&line, true);
            lines.push(b"urgent\n", false);
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "each waits");
        assert!(lines.0.queue.lock().expect("not poisoned").waiting.len() <= WAITING_BYTES_MAX);
        written.fails(None);
        // The line about lost lines follows those that were queued before it, in a write of its own.
        let is_told = |text: &str| text.lines().any(|line| line.starts_with("the log lost "));
        eventually("it goes on, and tells of lost lines", || {
            lines.push(b"again\n", false);
            let text = written.text();
            text.ends_with("again\n") && is_told(&text)
        });
        let text = written.text();
        assert!(text.lines().all(|line| !line.contains('x') || line.len() == 1 << 20), "no line is torn");
    }

    #[test]
    fn after_a_failed_write_the_next_line_begins_on_a_new_line() {
        let (lines, written) = lines();
        written.fails(Some((3, ErrorKind::StorageFull)));
        lines.push(b"first\n", false);
        lines.push(b"second\n", false);
        written.fails(None);
        lines.push(b"third\n", false);
        let lost = "the log lost 2 lines here, which nobody took or that could not be written";
        assert_eq!(written.text(), format!("fir\nthird\n{lost}\n"));
    }

    #[test]
    fn flush_if_free_does_not_wait_for_a_write_under_way() {
        let (lines, written) = lines();
        let writing = lines.0.out.lock().expect("not poisoned");
        lines.flush_if_free();
        drop(writing);
        assert_eq!(written.text(), "");
    }
}
