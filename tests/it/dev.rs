//! Tests of `sherd dev`: a cluster on loopback that is started, used, stopped and started again.

use crate::harness::client::S3;
use crate::harness::server::assert_no_panic;
use crate::harness::sigv4::Keys;
use crate::harness::{data, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest start of several debug builds on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A running `sherd dev`. Dropping it asks it to end, and kills it if it does not.
struct Dev {
    child: Child,
    /// Its output: standard output and standard error.
    told: [Arc<Mutex<String>>; 2],
}

impl Dev {
    fn start(dir: &Path, hosts: &str, drives: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
        command.env_clear().args(["dev", "--hosts", hosts, "--drives", drives, "--dir"]).arg(dir);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = [gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap())];
        Self { child, told }
    }

    fn text(&self, stream: usize) -> String {
        self.told[stream].lock().unwrap().clone()
    }

    fn wait_until_ready(&mut self) {
        let found = eventually(READY_TIMEOUT, "every host to be ready", || {
            let ended = self.child.try_wait().unwrap().map(|status| format!("ended: {status}"));
            ended.or_else(|| self.text(0).contains("ready: every host serves").then(String::new))
        });
        assert!(found.is_empty(), "{found}\n{}", self.text(1));
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(process, signal).unwrap();
    }

    /// Asks it to end, and waits until no process of it is left.
    fn stop(mut self, signal: Signal) {
        let hosts = self.processes();
        self.signal(signal);
        let status = eventually(Duration::from_secs(30), "the cluster to end", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}\n{}", self.text(1));
        for process in hosts {
            assert!(!Path::new(&format!("/proc/{process}")).exists(), "process {process} is left");
        }
    }

    /// Returns the processes of the hosts, the youngest of each name last.
    fn processes(&self) -> Vec<u32> {
        let text = self.text(1);
        text.lines().filter_map(|line| line.split_once("started, process ")?.1.trim().parse().ok()).collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::TERM);
            let begun = std::time::Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if !std::thread::panicking() {
            // Its standard error has the hosts' logs.
            assert_no_panic(&self.text(1));
        }
    }
}

fn gather(from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let told = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&told);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push_str(&format!("{line}\n"));
        }
    });
    told
}

/// The content of `dev.json`.
struct Plan(Value);

impl Plan {
    fn read(dir: &Path) -> Self {
        Self(serde_json::from_slice(&std::fs::read(dir.join("dev.json")).unwrap()).unwrap())
    }

    fn keys(&self) -> Keys {
        Keys::new(self.0["access_key"].as_str().unwrap(), self.0["secret_key"].as_str().unwrap())
    }

    fn client(&self, host: usize) -> S3 {
        S3::new(self.0["hosts"][host]["s3"].as_str().unwrap().parse().unwrap(), self.keys())
    }

    /// Runs `sherd admin` with these arguments on this host.
    fn admin(&self, host: usize, arguments: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
        let (url, keys) = (format!("http://{}", self.0["hosts"][host]["admin"].as_str().unwrap()), self.keys());
        command.env_clear().env("SHERD_ACCESS_KEY", keys.access).env("SHERD_SECRET_KEY", keys.secret);
        let output = command.args(["admin", "--json", "--url", &url]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_killed_dev_host_is_started_again_with_its_data() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("dev");
    let mut dev = Dev::start(&dir, "1", "2");
    dev.wait_until_ready();
    let mode = std::fs::metadata(dir.join("dev.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let plan = Plan::read(&dir);
    plan.client(0).create_bucket("box").unwrap().expect(200);
    plan.client(0).put("box", "k", b"kept").unwrap().expect(200);
    let first = dev.processes();
    kill_process(Pid::from_raw(i32::try_from(first[0]).unwrap()).unwrap(), Signal::KILL).unwrap();
    eventually(READY_TIMEOUT, "the host to be started again", || (dev.processes().len() == 2).then_some(()));
    eventually(READY_TIMEOUT, "the object to be there again", || {
        plan.client(0).get("box", "k").ok().filter(|answer| answer.status == 200)
    });
    assert!(dev.text(1).contains("[a] ended (signal: 9"), "{}", dev.text(1));
    dev.stop(Signal::INT);
    let again = Dev::start(&dir, "2", "2");
    let mut again = again;
    let refused = eventually(READY_TIMEOUT, "the refusal", || again.child.try_wait().unwrap());
    assert_eq!(refused.code(), Some(1), "a cluster of another size");
}

#[test]
fn a_dev_cluster_of_three_hosts_keeps_its_data_over_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("dev");
    let mut dev = Dev::start(&dir, "3", "2");
    dev.wait_until_ready();
    let plan = Plan::read(&dir);
    assert!(dev.text(0).contains("aws configure set aws_access_key_id dev-"));
    let bytes = data::bytes(1, 3 << 20);
    plan.client(0).create_bucket("box").unwrap().expect(200);
    plan.client(1).put("box", "k", &bytes).unwrap().expect(200);
    assert!(plan.client(2).get("box", "k").unwrap().expect(200).body == bytes);
    let info = plan.admin(1, &["info"]);
    let names: Vec<&str> =
        info["hosts"].as_array().unwrap().iter().map(|host| host["name"].as_str().unwrap()).collect();
    assert_eq!(
        {
            let mut names = names.clone();
            names.sort_unstable();
            names
        },
        ["a", "b", "c"]
    );
    assert_eq!(info["guarantee"]["hosts"].as_u64(), Some(1), "{info}");
    assert_eq!(plan.admin(0, &["layout", "show"])["nodes"].as_array().unwrap().len(), 6);
    dev.stop(Signal::TERM);
    let mut again = Dev::start(&dir, "3", "2");
    again.wait_until_ready();
    assert!(plan.client(2).get("box", "k").unwrap().expect(200).body == bytes);
    again.stop(Signal::TERM);
}

/// C10: an operator moves the lead, to a host by name and to any other.
#[test]
fn the_lead_is_moved_by_an_operator() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("dev");
    let mut dev = Dev::start(&dir, "3", "1");
    dev.wait_until_ready();
    let plan = Plan::read(&dir);
    let voters = || {
        let info = plan.admin(0, &["info"]);
        let hosts = info["hosts"].as_array().unwrap().clone();
        hosts.iter().filter(|host| matches!(host["metadata"].as_str(), Some("leader" | "voter"))).count()
    };
    eventually(READY_TIMEOUT, "three voters", || (voters() == 3).then_some(()));
    for (host, name) in ["b", "c", "a", "b"].into_iter().enumerate() {
        let moved = plan.admin(host % 3, &["leader", "move", "--to", name]);
        assert_eq!(moved["name"], name);
        eventually(READY_TIMEOUT, "the others to hear of it", || {
            (0..3).all(|host| plan.admin(host, &["info"])["leader"] == moved["leader"]).then_some(())
        });
    }
    assert_ne!(plan.admin(1, &["leader", "move"])["name"], "b");
    dev.stop(Signal::TERM);
}
