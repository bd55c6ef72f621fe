//! `cutfs SOCKET CAPACITY_MIB MOUNTPOINT...`: a file system in memory, over FUSE, whose power can be cut. It mounts a drive at
//! each mount point and takes commands, a line each, on a Unix socket (`control`). One process has all drives under one lock,
//! so that a cut hits all of them at the same instant.

mod control;
mod fs;
mod image;
mod random;
mod world;

use fs::{CutFs, Timer};
use fuser::MountOption;
use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::Arc;
use world::Shared;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, capacity, mountpoints @ ..] = &arguments[..] else {
        eprintln!("usage: cutfs SOCKET CAPACITY_MIB MOUNTPOINT...");
        return ExitCode::from(2);
    };
    let Ok(capacity) = capacity.parse::<u64>() else {
        eprintln!("cutfs: the capacity is a number of MiB");
        return ExitCode::from(2);
    };
    let name = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
    let shared = Arc::new(Shared::new(&mountpoints.iter().map(name).collect::<Vec<_>>(), capacity << 20));
    let timer = Arc::new(Timer::default());
    {
        let (shared, timer) = (Arc::clone(&shared), Arc::clone(&timer));
        std::thread::spawn(move || timer.run(&shared));
    }
    let mut sessions = Vec::new();
    for (drive, mountpoint) in mountpoints.iter().enumerate() {
        let fs = CutFs {
            shared: Arc::clone(&shared),
            timer: Arc::clone(&timer),
            drive,
            listings: HashMap::new(),
            handles: 0,
        };
        let options = [MountOption::FSName("cutfs".to_owned()), MountOption::DefaultPermissions];
        match fuser::spawn_mount2(fs, mountpoint, &options) {
            Ok(session) => sessions.push(session),
            Err(error) => {
                eprintln!("cutfs: {mountpoint}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let _ = std::fs::remove_file(socket);
    let listener = match UnixListener::bind(socket) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cutfs: {socket}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("mounted");
    let (quit, quitting) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (shared, quit) = (Arc::clone(&shared), quit.clone());
            std::thread::spawn(move || {
                if control::serve(stream, &shared).unwrap_or(false) {
                    let _ = quit.send(());
                }
            });
        }
    });
    let _ = quitting.recv();
    drop(sessions);
    let _ = std::fs::remove_file(socket);
    ExitCode::SUCCESS
}
