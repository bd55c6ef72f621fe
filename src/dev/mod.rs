//! The command `sherd dev`: a cluster of processes of this binary on loopback, for trying it out. It starts the hosts,
//! prints their addresses, passes on their logs, and stops all of them when it is stopped.

mod host;
mod plan;

use crate::ambient::Ambient;
use crate::config::DevOptions;
use crate::health_command::{self, Scheme};
use crate::output;
use host::Host;
use plan::Plan;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

const TEND_EVERY: Duration = Duration::from_millis(100);
/// The longest wait for hosts to stop before they are killed. A host stops within 15 seconds by itself.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
const READY_CHECK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
pub enum DevError {
    #[error("cannot {doing} {}: {cause}", dir.display())]
    Directory { doing: &'static str, dir: PathBuf, cause: io::Error },
    #[error("{} is of another version of this program (format {found})", dir.display())]
    OtherFormat { dir: PathBuf, found: u32 },
    #[error(
        "{} holds a cluster of {hosts} hosts with {drives} drives each; start it with --hosts {hosts} --drives {drives}, or name another directory",
        dir.display()
    )]
    OtherSize { dir: PathBuf, hosts: usize, drives: u16 },
    #[error("host {host} cannot be started: {cause}")]
    Start { host: String, cause: io::Error },
    #[error("host {host} cannot be watched: {cause}")]
    Watch { host: String, cause: io::Error },
    #[error("{doing}: {cause}")]
    System { doing: &'static str, cause: io::Error },
    #[error("every host has failed; their logs say why")]
    AllFailed,
}

/// Runs the cluster until the process is told to stop.
pub fn run(options: &DevOptions) -> Result<(), DevError> {
    let system = |doing| move |cause| DevError::System { doing, cause };
    let dir = std::path::absolute(&options.dir).map_err(system("find the directory"))?;
    let options = DevOptions { dir, ..options.clone() };
    let plan = Plan::open(&options, &Ambient::system())?;
    let program = std::env::current_exe().map_err(system("find this program"))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("start a runtime"))?;
    runtime.block_on(supervise(&options, &plan, &program))
}

async fn supervise(options: &DevOptions, plan: &Plan, program: &Path) -> Result<(), DevError> {
    let listen = |kind| signal(kind).map_err(|cause| DevError::System { doing: "wait for signals", cause });
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    // A closing terminal sends SIGHUP to the hosts, too, but they do not end by it.
    let mut hangup = listen(SignalKind::hangup())?;
    announce(options, plan);
    let mut hosts = Vec::new();
    for host in &plan.hosts {
        let own = plan.environment(host, &options.dir).into_iter().map(|(name, value)| (name.to_owned(), value));
        let environment = options.passed_on.iter().cloned().chain(own).collect();
        hosts.push(Host::start(&host.name, program.to_owned(), environment)?);
    }
    watch_readiness(plan.hosts.iter().map(|host| host.admin).collect())?;
    let mut tick = tokio::time::interval(TEND_EVERY);
    let tended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => break Ok(()),
            _ = tick.tick() => {
                if let Err(error) = tend(&mut hosts) {
                    break Err(error);
                }
            }
        }
    };
    stop(&mut hosts).await;
    tended
}

fn tend(hosts: &mut [Host]) -> Result<(), DevError> {
    let now = Instant::now();
    hosts.iter_mut().try_for_each(|host| host.tend(now))?;
    if hosts.iter().all(Host::has_failed) { Err(DevError::AllFailed) } else { Ok(()) }
}

async fn stop(hosts: &mut [Host]) {
    hosts.iter_mut().for_each(Host::terminate);
    let end = Instant::now() + STOP_WAIT_MAX;
    while !hosts.iter_mut().all(Host::is_gone) {
        if Instant::now() >= end {
            hosts.iter_mut().filter_map(|host| (!host.is_gone()).then_some(host)).for_each(Host::kill);
            return;
        }
        tokio::time::sleep(TEND_EVERY).await;
    }
}

/// Prints how to reach the cluster.
fn announce(options: &DevOptions, plan: &Plan) {
    let (count, dir) = (plan.hosts.len(), options.dir.display());
    output::say(format_args!("{count} hosts with {} drives each in {dir}", plan.drives));
    for host in &plan.hosts {
        output::say(format_args!("  host {}: s3=http://{} admin=http://{}", host.name, host.s3, host.admin));
    }
    output::say(format_args!("  aws configure set aws_access_key_id {}", plan.access_key));
    output::say(format_args!("  aws configure set aws_secret_access_key {}", plan.secret_key));
    let first = &plan.hosts[0];
    output::say(format_args!("  aws --endpoint-url http://{} s3 ls", first.s3));
    output::say(format_args!(
        "  SHERD_ACCESS_KEY={} SHERD_SECRET_KEY={} sherd admin --url http://{} info",
        plan.access_key, plan.secret_key, first.admin
    ));
}

/// Starts a thread that prints a line once every host is ready.
fn watch_readiness(admin: Vec<SocketAddr>) -> Result<(), DevError> {
    let watch = move || {
        while !admin.iter().all(|address| health_command::ready(*address, Scheme::Http).is_ok()) {
            thread::sleep(READY_CHECK_EVERY);
        }
        output::say("ready: every host serves");
    };
    let started = thread::Builder::new().spawn(watch);
    started.map(drop).map_err(|cause| DevError::System { doing: "start a thread", cause })
}
