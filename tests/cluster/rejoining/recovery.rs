//! `sherd recover`: the majority of the voters is lost for good, and the metadata group is formed anew with a remaining
//! host.

use super::drives::{copies_of, dirs, id_on, shards_on, swap};
use super::{OBJECTS, PATIENCE, check, put, wait_until_one, wait_until_whole};
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::{admin, eventually, lose_drive};
use crate::trial::{beside_others, seed};
use std::path::Path;
use std::process::Output;

const LEFT: usize = 0;

pub fn run(cluster: &Cluster, host: usize, arguments: &[&str]) -> Output {
    cluster.hosts[host].setup.lock().expect("no one panics with it").clone().run(arguments)
}

fn recovered(cluster: &Cluster, host: usize) {
    let dirs = dirs(cluster, host);
    let before = id_on(&dirs[0]);
    let explained = admin::text(&run(cluster, host, &["recover"]));
    for words in
        ["as its only voter", "kept: all changes up to entry", "\"b\" at ", "\"c\" at ", "no metadata was changed"]
    {
        assert!(explained.contains(words), "{explained}");
    }
    assert_eq!(id_on(&dirs[0]), before);
    let done = admin::text(&run(cluster, host, &["recover", "--yes"]));
    assert!(done.contains("the metadata group is formed anew"), "{done}");
    let after = id_on(&dirs[0]);
    assert!(after != before && dirs.iter().all(|dir| id_on(dir) == after && !dir.join("recovering").exists()));
}

/// Starts hosts that were given up, and checks that they end as soon as they reach a host of the new group.
fn are_refused(cluster: &Cluster, hosts: &[usize]) {
    hosts.iter().for_each(|host| cluster.start(*host));
    for &host in hosts {
        let ended = eventually(PATIENCE, "the former member to end", || cluster.hosts[host].ended());
        assert!(!ended.status.success() && ended.stderr.contains("was given up by its cluster"), "{}", ended.stderr);
        assert!(ended.stderr.contains("run sherd rejoin on it"), "{}", ended.stderr);
        cluster.forget(host);
    }
}

#[test]
fn a_recovered_host_goes_on_alone_and_the_others_must_rejoin_or_be_empty() {
    let _turn = beside_others();
    // Each host has a whole copy of each object.
    let cluster = Cluster::formed(&Shape::three(2, seed()).with("SHERD_EC", "1+2"));
    put(&cluster, LEFT, 0..OBJECTS);
    wait_until_whole(&cluster);
    (0..3).for_each(|host| cluster.kill(host));
    let lost: Vec<_> = [1, 2].map(|host| dirs(&cluster, host)).into();
    let held = shards_on(&lost[0]);
    let copies: Vec<_> = lost.iter().map(|dirs| copies_of(dirs)).collect();
    lost.iter().flatten().for_each(|dir| lose_drive(dir));
    recovered(&cluster, LEFT);
    cluster.start(LEFT);
    eventually(PATIENCE, "the objects to be readable", || {
        (cluster.client(LEFT).get(super::BUCKET, "0").ok()?.status == 200).then_some(())
    });
    check(&cluster, &[LEFT], 0..OBJECTS);

    // Both other hosts reappear: they are a majority of the former group.
    lost.iter().flatten().for_each(|dir| std::fs::create_dir_all(dir).expect("made"));
    lost.iter().zip(&copies).for_each(|(dirs, copies)| swap(dirs, copies));
    are_refused(&cluster, &[1]);
    are_refused(&cluster, &[1, 2]);
    check(&cluster, &[LEFT], 0..OBJECTS);
    // They remember that they were given up, even if no host of the new group runs.
    cluster.stop(LEFT);
    are_refused(&cluster, &[1, 2]);
    cluster.start(LEFT);

    // One host rejoins with its shards, the other one empty.
    assert!(admin::text(&run(&cluster, 1, &["rejoin", "--yes"])).contains("decided; start the host"));
    cluster.start(1);
    cluster.wait_until_ready(1);
    put(&cluster, 1, OBJECTS..OBJECTS + 4);
    lost[1].iter().for_each(|dir| lose_drive(dir));
    cluster.start(2);
    cluster.wait_until_ready(2);
    wait_until_one(&cluster);
    wait_until_whole(&cluster);
    put(&cluster, 2, OBJECTS + 4..OBJECTS + 8);
    check(&cluster, &[0, 1, 2], 0..OBJECTS + 8);
    cluster.stop(1);
    let now = shards_on(&lost[0]);
    assert!(held.iter().all(|(shard, chunks)| now.get(shard) == Some(chunks)), "each shard is the one that it was");
}

fn recover_from(cluster: &Cluster, host: usize, file: &Path) -> Output {
    run(cluster, host, &["recover", "--yes", "--from", file.to_str().expect("it is text")])
}

/// Returns true if a drive has the report of a recovery.
fn has_report(dir: &Path) -> bool {
    let mut entries = std::fs::read_dir(dir.join("meta")).expect("it can be read").flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("recovery-"))
}

/// All hosts lose their metadata, but not their shards.
#[test]
fn an_exported_metadata_copy_is_restored_and_unknown_shards_are_kept() {
    let _turn = beside_others();
    let cluster = Cluster::formed(&Shape::three(2, seed()).with("SHERD_EC", "1+2"));
    put(&cluster, 0, 0..OBJECTS);
    wait_until_whole(&cluster);
    let file = cluster.root.path().join("metadata.copy");
    let name = file.to_str().expect("it is text");
    let exported = cluster.admin(1, &["metadata", "export", name]);
    assert!(exported["entry"].as_u64() > Some(0) && exported["file"] == name, "{exported}");
    assert!(!cluster.try_admin(1, &["metadata", "export", name]).status.success(), "it exists");
    let shown = cluster.try_admin(1, &["metadata", "export"]).stdout;
    assert!(shown.starts_with(b"SHRDEXP1"));
    // The exported copy does not know these objects.
    put(&cluster, 0, OBJECTS..OBJECTS + 4);
    wait_until_whole(&cluster);
    (0..3).for_each(|host| drop(cluster.stop(host)));
    let all: Vec<_> = (0..3).map(|host| dirs(&cluster, host)).collect();
    let held: Vec<_> = all.iter().map(|dirs| shards_on(dirs)).collect();
    all.iter().flatten().for_each(|dir| ["meta", "state"].iter().for_each(|part| lose_drive(&dir.join(part))));

    let (whole, before) = (std::fs::read(&file).expect("it can be read"), id_on(&all[0][0]));
    let cut = file.with_extension("cut");
    std::fs::write(&cut, &whole[..whole.len() - 9]).expect("it can be written");
    let refused = recover_from(&cluster, 0, &cut);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("cut off"), "{refused:?}");
    assert_eq!(id_on(&all[0][0]), before);
    let done = admin::text(&recover_from(&cluster, 0, &file));
    assert!(done.contains("it was exported at") && done.contains("the metadata group is formed anew"), "{done}");
    (0..3).for_each(|host| cluster.start(host));
    (0..3).for_each(|host| cluster.wait_until_ready(host));
    wait_until_one(&cluster);
    wait_until_whole(&cluster);
    check(&cluster, &[0, 1, 2], 0..OBJECTS);
    let lost = cluster.client(0).get(super::BUCKET, &OBJECTS.to_string()).expect("it answers");
    assert_eq!(lost.status, 404);
    // The comparison has found unknown shards, and has kept them.
    eventually(PATIENCE, "unknown shards to be counted", || {
        (0..3).all(|host| cluster.hosts[host].metric("sherd_orphaned_shards") > Some(0.0)).then_some(())
    });
    let health = cluster.try_admin(0, &["health"]);
    let health = String::from_utf8_lossy(&health.stdout);
    assert!(health.contains("sherd admin metadata drop-unknown"), "{health}");
    cluster.stop(1);
    assert_eq!(shards_on(&all[1]), held[1]);
    cluster.start(1);
    cluster.wait_until_ready(1);

    // Recovers again from the same copy, which knows the other hosts by their former ids. Nobody reads what it prints.
    (0..3).for_each(|host| drop(cluster.stop(host)));
    let unread = cluster.hosts[0].setup.lock().expect("no one panics with it").clone().with_unread_output();
    let again = unread.run(&["recover", "--yes", "--from", name]);
    assert!(again.status.success(), "{again:?}");
    assert!(all[0].iter().all(|dir| has_report(dir)), "its report is on every drive");
    for host in [1, 2] {
        assert!(admin::text(&run(&cluster, host, &["rejoin", "--yes"])).contains("decided; start the host"));
    }
    (0..3).for_each(|host| cluster.start(host));
    (0..3).for_each(|host| cluster.wait_until_ready(host));
    wait_until_one(&cluster);
    wait_until_whole(&cluster);
    check(&cluster, &[0, 1, 2], 0..OBJECTS);

    put(&cluster, 1, OBJECTS..OBJECTS + 4);
    assert!(!cluster.try_admin(2, &["metadata", "drop-unknown"]).status.success());
    cluster.admin(2, &["metadata", "drop-unknown", "--yes"]);
    cluster.admin(2, &["heal", "start"]);
    eventually(PATIENCE, "unknown shards to be dropped", || {
        (0..3).all(|host| cluster.hosts[host].metric("sherd_orphaned_shards") == Some(0.0)).then_some(())
    });
    check(&cluster, &[0, 1, 2], 0..OBJECTS + 4);
}
