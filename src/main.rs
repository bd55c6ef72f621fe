//! The entry point: parses arguments and environment, starts the log, and runs the store or a command. Exit codes: 0
//! after a graceful stop, 1 if the store could not start or had to stop, 2 if the configuration is wrong.

#![forbid(unsafe_code)]

use rustix::fs::Mode;
use sherd::admin::AdminFailure;
use sherd::config::{Invocation, SystemFiles, from_process};
use sherd::health_command::{self, Scheme};
use sherd::host::HostError;
use sherd::{admin, dev, host, logging, output, panics};
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    panics::end_the_process();
    // The allocator reserves much memory and touches little of it. Huge pages would multiply the resident part.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        let _ = writeln!(io::stderr(), "sherd: huge pages cannot be disabled, so more memory is used: {error}");
    }
    // Only the store's own user may read the files that it writes, its tables included.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let invocation = match from_process(std::env::args_os(), std::env::vars_os(), &SystemFiles) {
        Ok(invocation) => invocation,
        Err(error) => return fail(2, &error),
    };
    match invocation {
        Invocation::Run(config) => {
            let logging = logging::start(&config.log_filter, config.log_format);
            if rustix::process::geteuid().is_root() {
                tracing::warn!(
                    "sherd runs as root, which it does not need: give its directories to a user and run it as that user, as the \
                     entry point of the container image does"
                );
            }
            let ended = host::run(*config);
            // Writes the queued log lines before the error message.
            drop(logging);
            of_host(ended)
        }
        Invocation::Check(config) => host::check(*config).map_or_else(|error| fail(1, &error), |text| print(&text)),
        Invocation::Health(config) => {
            let scheme = if config.admin_tls.is_some() { Scheme::Https } else { Scheme::Http };
            health_command::ready(config.admin_listen, scheme)
                .map_or_else(|error| fail(1, &error), |()| ExitCode::SUCCESS)
        }
        Invocation::Credentials(source) => of_admin(admin::show_credentials(&source).map(|()| 0)),
        Invocation::Salvage { config, goes_on } => {
            let _logging = logging::start(&config.log_filter, config.log_format);
            of_host(host::salvage(*config, goes_on))
        }
        Invocation::Recover { config, from, goes_on } => {
            let _logging = logging::start(&config.log_filter, config.log_format);
            of_host(host::recover(&config, from.as_deref(), goes_on))
        }
        Invocation::Rejoin { config, wish } => {
            let _logging = logging::start(&config.log_filter, config.log_format);
            of_host(host::rejoin(&config, wish))
        }
        Invocation::OpenTables(directory) => {
            host::open_tables(&directory).map_or_else(|error| fail(1, &error), |()| ExitCode::SUCCESS)
        }
        Invocation::Admin(invocation) => of_admin(admin::run(&invocation)),
        Invocation::Dev(options) => dev::run(&options).map_or_else(|error| fail(1, &error), |()| ExitCode::SUCCESS),
        Invocation::Print { text, code: 0 } => print(&text),
        Invocation::Print { text, code } => end(code, text),
    }
}

fn of_host(ended: Result<(), HostError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(HostError::Output(cause)) if output::is_unread(&cause) => ExitCode::FAILURE,
        Err(error) => fail(1, &error),
    }
}

fn of_admin(ended: Result<u8, AdminFailure>) -> ExitCode {
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(AdminFailure::Output(cause)) if output::is_unread(&cause) => ExitCode::FAILURE,
        Err(error) => fail(1, &error),
    }
}

fn print(text: &str) -> ExitCode {
    of_host(output::print(text).map_err(HostError::Output))
}

/// The longest wait for the error message to be written: its reader may be blocked.
const LAST_WORD_PATIENCE: Duration = Duration::from_secs(1);

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    end(code, format!("sherd: {error}\n"))
}

/// Writes the last words to standard error; returns the exit code.
fn end(code: u8, text: String) -> ExitCode {
    let (sender, is_written) = mpsc::channel();
    thread::spawn(move || {
        let written = io::stderr().write_all(text.as_bytes());
        sender.send(written)
    });
    let _ = is_written.recv_timeout(LAST_WORD_PATIENCE);
    ExitCode::from(code)
}
