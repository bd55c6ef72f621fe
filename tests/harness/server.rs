//! The real binary with its own directories and free ports; killed when dropped.

use super::client::S3;
use super::process::Process;
use super::sigv4::Keys;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const ACCESS_KEY: &str = "test-access-key";
pub const SECRET_KEY: &str = "test-secret-key-0123456789";
/// The longest start of a debug build on a busy machine.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_sherd");
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The setup of a server. The directories outlive it, so that it can be started again.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary: the one under test, if not another build of it.
    pub binary: PathBuf,
    pub dirs: Vec<PathBuf>,
    pub environment: Vec<(String, String)>,
    pub keys: Option<Keys>,
    /// A program, by its whole path, and its arguments, that runs the binary in its own place (`ip netns exec …`).
    pub wrapper: Vec<String>,
    /// Its log is not searched for panics.
    pub may_panic: bool,
    /// Where its standard output goes: to the test, if not elsewhere.
    pub stdout: fn() -> Stdio,
}

impl Setup {
    /// One directory within `root`.
    pub fn single(root: &Path) -> Self {
        Self::drives(root, 1)
    }

    /// `count` directories within `root`: `d1`, `d2`…
    pub fn drives(root: &Path, count: usize) -> Self {
        let dirs = (1..=count).map(|number| root.join(format!("d{number}"))).collect();
        let keys = Some(Keys::new(ACCESS_KEY, SECRET_KEY));
        let binary = PathBuf::from(BINARY);
        let (environment, wrapper) = (Vec::new(), Vec::new());
        Self { binary, dirs, environment, keys, wrapper, may_panic: false, stdout: Stdio::piped }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without_keys(mut self) -> Self {
        self.keys = None;
        self
    }

    /// For a test that does what ends the process by a panic, and knows it.
    pub fn that_may_panic(mut self) -> Self {
        self.may_panic = true;
        self
    }

    /// With a standard output whose reader has ended.
    pub fn with_unread_output(mut self) -> Self {
        self.stdout = || {
            let (reader, writer) = io::pipe().expect("a pipe can be made");
            drop(reader);
            writer.into()
        };
        self
    }

    /// With a standard output on a disk that is full.
    pub fn with_full_output(mut self) -> Self {
        self.stdout = || File::options().write(true).open("/dev/full").expect("Linux has it").into();
        self
    }

    fn command(&self) -> Command {
        let binary = self.binary.to_str().expect("paths of tests are text");
        let mut words = self.wrapper.iter().map(String::as_str).chain([binary]);
        let mut command = Command::new(words.next().expect("the binary is one"));
        command.args(words);
        let dirs: Vec<&str> = self.dirs.iter().map(|dir| dir.to_str().expect("paths of tests are text")).collect();
        command.env_clear().env("SHERD_DATA", dirs.join(","));
        command.env("SHERD_S3_LISTEN", "127.0.0.1:0").env("SHERD_ADMIN_LISTEN", "127.0.0.1:0");
        if let Some(keys) = &self.keys {
            command.env("SHERD_ACCESS_KEY", &keys.access).env("SHERD_SECRET_KEY", &keys.secret);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout((self.stdout)()).stderr(Stdio::piped());
        command
    }

    /// The binary with these arguments and the same settings, until it has ended.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.command().args(arguments).output().expect("the binary can be started")
    }

    /// Starts, and waits until both listeners are bound and the store is ready.
    pub fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|ended| panic!("the server ended at its start: {ended:?}"))
    }

    /// Like `start`, for a process that may end at its start.
    pub fn try_start(&self) -> Result<Server, Ended> {
        let mut server = Server::launch(self)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts, and waits until both listeners are bound.
    pub fn start_unready(&self) -> Server {
        match Server::launch(self) {
            Ok(server) => server,
            Err(ended) => panic!("the server ended at its start: {ended:?}"),
        }
    }

    /// Starts, and waits for nothing: the addresses are those that its environment names.
    pub fn spawn_bound(&self, s3: SocketAddr, admin: SocketAddr) -> Server {
        let (child, stdout, stderr) = self.spawn(None);
        let keys = self.keys.clone().expect("who names the addresses names the keys");
        Server { child, s3, admin, keys, setup: self.clone(), stdout, stderr }
    }

    /// Starts, and waits until the store is ready. The addresses are those that its environment names.
    pub fn start_bound(&self, s3: SocketAddr, admin: SocketAddr) -> Server {
        let (child, stdout, stderr) = self.spawn(None);
        let keys = self.keys.clone().unwrap_or_else(|| Keys::new(ACCESS_KEY, SECRET_KEY));
        let mut server = Server { child, s3, admin, keys, setup: self.clone(), stdout, stderr };
        if let Err(ended) = server.wait_until_ready() {
            panic!("the server ended at its start: {ended:?}");
        }
        if self.keys.is_none() {
            server.keys = kept_keys(self).expect("a first start keeps its keys");
        }
        server
    }

    fn spawn(&self, lines: Option<Sender<String>>) -> (Child, Output, Output) {
        let mut child = self.command().spawn().expect("the binary can be started");
        let stdout: Box<dyn Read + Send> = match child.stdout.take() {
            Some(stdout) => Box::new(stdout),
            None => Box::new(io::empty()),
        };
        let stdout = Output::collect(stdout, lines);
        let stderr = Output::collect(child.stderr.take().expect("it is piped"), None);
        (child, stdout, stderr)
    }

    /// Starts, and kills after this long, wherever it is by then.
    pub fn start_and_kill(&self, after: Duration) {
        let (mut child, _, mut stderr) = self.spawn(None);
        std::thread::sleep(after);
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        stderr.finish();
        self.check_log(&stderr.text());
    }

    /// Expects that it does not start.
    pub fn fail_to_start(&self) -> Ended {
        match Server::launch(self) {
            Ok(_) => panic!("the server started"),
            Err(ended) => {
                self.check_log(&ended.stderr);
                ended
            }
        }
    }

    fn check_log(&self, log: &str) {
        if !self.may_panic {
            assert_no_panic(log);
        }
    }
}

/// A release build ends by a panic, the build that is tested goes on: nothing but its log tells of it.
pub fn assert_no_panic(log: &str) {
    let Some(at) = log.find(" panicked at ") else { return };
    let line = log[..at].rfind('\n').map_or(0, |end| end + 1);
    let told: Vec<&str> = log[line..].lines().take(10).collect();
    panic!("a panic is in the log:\n{}", told.join("\n"));
}

/// A text's last lines.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The end of a process that did not start, or was stopped.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

pub struct Server {
    child: Child,
    pub s3: SocketAddr,
    pub admin: SocketAddr,
    pub keys: Keys,
    setup: Setup,
    stdout: Output,
    stderr: Output,
}

impl Server {
    /// One server on one new directory, which goes with the `TempDir`.
    pub fn fresh() -> (TempDir, Self) {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let server = Setup::single(root.path()).start();
        (root, server)
    }

    /// One server on four new directories.
    pub fn fresh_four() -> (TempDir, Self) {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let server = Setup::drives(root.path(), 4).start();
        (root, server)
    }

    /// Or how it ended before it was.
    fn wait_until_ready(&mut self) -> Result<(), Ended> {
        super::eventually(START_TIMEOUT, "the store to be ready", || {
            if let Some(ended) = self.ended() {
                return Some(Err(ended));
            }
            (self.admin("/health/ready").ok()?.status == 200).then_some(Ok(()))
        })
    }

    fn launch(setup: &Setup) -> Result<Self, Ended> {
        let (lines, first) = channel();
        let (mut child, mut stdout, mut stderr) = setup.spawn(Some(lines));
        let Some((s3, admin)) = wait_for_listening(&first) else {
            let _ = child.kill();
            let status = child.wait().expect("it is our child");
            stdout.finish();
            stderr.finish();
            return Err(Ended { status, stdout: stdout.text(), stderr: stderr.text() });
        };
        let keys = setup.keys.clone().or_else(|| printed_keys(&stdout.text())).or_else(|| kept_keys(setup));
        let keys = keys.unwrap_or_else(|| Keys::new(ACCESS_KEY, SECRET_KEY));
        Ok(Self { child, s3, admin, keys, setup: setup.clone(), stdout, stderr })
    }

    /// A new client with connections of its own.
    pub fn client(&self) -> S3 {
        S3::new(self.s3, self.keys.clone())
    }

    pub fn admin(&self, path: &str) -> Result<super::client::Answer, ureq::Error> {
        super::client::get_plain(self.admin, path)
    }

    /// A metric's value for each combination of its labels, as written: `{node="0",log="x"}`.
    pub fn series(&self, name: &str) -> BTreeMap<String, f64> {
        self.try_series(name).expect("metrics are served")
    }

    pub fn try_series(&self, name: &str) -> Result<BTreeMap<String, f64>, ureq::Error> {
        Ok(series_in(&self.admin("/metrics")?.text(), name))
    }

    /// The value of a metric, summed over its series that have all of these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = self.series(name).into_iter();
        series
            .filter(|(found, _)| wanted.iter().all(|label| found.contains(label.as_str())))
            .map(|(_, value)| value)
            .sum()
    }

    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// SIGKILL, and gone when this returns; one that is dead already stays so.
    pub fn kill(mut self) -> Setup {
        self.end();
        self.setup.clone()
    }

    /// The same, for one whose whole log is to be read afterwards.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stdout.finish();
        self.stderr.finish();
    }

    /// SIGTERM, by which it must end well; how it ended, and after how long.
    #[track_caller]
    pub fn stop(mut self) -> (Setup, Ended, Duration) {
        let begun = Instant::now();
        self.process().signal(Signal::TERM);
        let ended = super::eventually(STOP_TIMEOUT * 2, "the process to end after SIGTERM", || self.ended());
        let took = begun.elapsed();
        assert!(ended.status.success(), "it ended with {:?} after SIGTERM", ended.status);
        (self.setup.clone(), ended, took)
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().expect("it is our child")?;
        self.stdout.finish();
        self.stderr.finish();
        Some(Ended { status, stdout: self.stdout.text(), stderr: self.stderr.text() })
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }
}

/// A metric's value for each combination of its labels, in the text that `/metrics` serves.
pub fn series_in(text: &str, name: &str) -> BTreeMap<String, f64> {
    let series = |line: &str| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let is_same = labels.is_empty() || labels.starts_with('{');
        Some((labels.to_owned(), is_same.then(|| value.parse().ok())??))
    };
    text.lines().filter_map(series).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        let log = self.stderr.text();
        match std::thread::panicking() {
            true => eprintln!("--- the server's last log lines\n{}", tail(&log, 40)),
            false => self.setup.check_log(&log),
        }
    }
}

/// In the place of the S3 listener's address, where there is none: nobody is ever there.
const NO_S3: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The line `listening s3=ADDR admin=ADDR`, which says that both are bound, with `-` in the place of a listener that is not
/// there; `None` where the process ended before.
fn wait_for_listening(lines: &Receiver<String>) -> Option<(SocketAddr, SocketAddr)> {
    let end = Instant::now() + START_TIMEOUT;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(found) = parse_listening(&line) {
                    return Some(found);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => return None,
        }
    }
}

fn parse_listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut fields = line.strip_prefix("listening ")?.split_whitespace();
    let s3 = match fields.next()?.strip_prefix("s3=")? {
        "-" => NO_S3,
        address => address.parse().ok()?,
    };
    let admin = fields.next()?.strip_prefix("admin=")?.parse().ok()?;
    Some((s3, admin))
}

/// The `aws configure set` lines of a first start.
fn printed_keys(stdout: &str) -> Option<Keys> {
    let value = |name: &str| {
        let line = stdout.lines().find(|line| line.contains(&format!("aws configure set {name} ")))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    Some(Keys { access: value("aws_access_key_id")?, secret: value("aws_secret_access_key")? })
}

/// Returns the keys of an earlier first start.
fn kept_keys(setup: &Setup) -> Option<Keys> {
    let file = setup.dirs.iter().find_map(|dir| std::fs::read(dir.join("credentials.json")).ok())?;
    let document: serde_json::Value = serde_json::from_slice(&file).ok()?;
    let field = |name: &str| document["body"][name].as_str().map(str::to_owned);
    Some(Keys { access: field("access_key")?, secret: field("secret_key")? })
}

/// The output of a process, collected by a thread.
struct Output {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Output {
    fn collect(from: impl Read + Send + 'static, lines: Option<Sender<String>>) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                {
                    let mut text = into.lock().expect("no one panics with it");
                    text.push_str(&line);
                    text.push('\n');
                }
                if let Some(lines) = &lines {
                    let _ = lines.send(line);
                }
            }
        });
        Self { text, thread: Some(thread) }
    }

    fn text(&self) -> String {
        self.text.lock().expect("no one panics with it").clone()
    }

    /// Returns when all is gathered: the process has ended.
    fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
