//! A store of four drives (2+2) whose drives are lost, corrupted, replaced or foreign, before the start or while it
//! runs.

use crate::harness::client::{Answer, Answered, Body, S3};
use crate::harness::server::{Server, Setup};
use crate::harness::{admin, data, eventually, lose_drive};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HEAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Objects of every kind of storage: empty, inline, of one stripe, of many stripes, in parts.
struct Corpus(Vec<(String, Vec<u8>)>);

impl Corpus {
    fn store(s3: &S3, bucket: &str) -> Self {
        s3.create_bucket(bucket).unwrap().expect(200);
        let mut objects = Vec::new();
        for len in [0, 1, 1000, 16 << 10, (16 << 10) + 1, 100_000, 1 << 20, (3 << 20) + 7] {
            let bytes = data::bytes(len as u64 + 7, len);
            let key = format!("plain/{len}");
            s3.put_with(bucket, &key, &bytes, &[("x-amz-meta-len", &len.to_string())]).unwrap().expect(200);
            objects.push((key, bytes));
        }
        let parts = [data::bytes(1, 5 << 20), data::bytes(2, 5 << 20), data::bytes(3, 1234)];
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        s3.put_multipart(bucket, "parts", &parts).unwrap().expect(200);
        objects.push(("parts".to_owned(), parts.concat()));
        Self(objects)
    }

    #[track_caller]
    fn check(&self, s3: &S3, bucket: &str) {
        for (key, bytes) in &self.0 {
            let answer = s3.get(bucket, key).unwrap().expect(200);
            assert!(answer.body == *bytes, "{key} differs");
            if key.starts_with("plain/") {
                assert_eq!(answer.header("x-amz-meta-len"), bytes.len().to_string());
            }
        }
        let listed: Vec<String> = s3.list_all(bucket).unwrap().into_iter().map(|(key, _)| key).collect();
        for (key, _) in &self.0 {
            assert!(listed.contains(key), "{key} is not listed");
        }
    }
}

fn pairs() -> Vec<(usize, usize)> {
    (0..4).flat_map(|a| (a + 1..4).map(move |b| (a, b))).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "seg" || extension == "snap") {
                found.push(path);
            }
        }
    }
    found
}

/// Overwrites every byte of every segment and snapshot, in place, with noise.
fn overwrite(dir: &Path) {
    for path in segments(dir) {
        let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let noise = data::bytes(99, len.min(1 << 20));
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut at = 0;
        while at < len {
            let piece = noise.len().min(len - at);
            std::os::unix::fs::FileExt::write_all_at(&file, &noise[..piece], at as u64).unwrap();
            at += piece;
        }
    }
}

#[test]
fn any_two_drives_lost_while_stopped_lose_no_object() {
    for (a, b) in pairs() {
        let (_root, server) = Server::fresh_four();
        let corpus = Corpus::store(&server.client(), "box");
        let (setup, ..) = server.stop();
        for lost in [a, b] {
            lose_drive(&setup.dirs[lost]);
        }
        let server = setup.start_unready();
        corpus.check(&server.client(), "box");
        let refused = server.client().put("box", "more", b"more").unwrap().expect(503);
        assert!(!refused.code().is_empty() && refused.text().contains("drive"), "{}", refused.text());
    }
}

#[test]
fn any_two_drives_lost_while_running_lose_no_object() {
    for (a, b) in [(0, 1), (1, 3), (2, 0)] {
        let (_root, server) = Server::fresh_four();
        let s3 = server.client();
        let corpus = Corpus::store(&s3, "box");
        let dirs = server.setup().dirs.clone();
        lose_drive(&dirs[a]);
        corpus.check(&s3, "box");
        // With three drives left, writes go on.
        s3.put("box", "with-three", &data::bytes(5, 300_000)).unwrap().expect(200);
        lose_drive(&dirs[b]);
        corpus.check(&s3, "box");
        assert!(s3.get("box", "with-three").unwrap().expect(200).body == data::bytes(5, 300_000));
    }
}

/// P6: one shard corrupt and another node's log missing, at the same time.
#[test]
fn a_corrupt_drive_and_a_missing_one_lose_no_object() {
    let (_root, server) = Server::fresh_four();
    let corpus = Corpus::store(&server.client(), "box");
    let (setup, ..) = server.stop();
    overwrite(&setup.dirs[0]);
    lose_drive(&setup.dirs[2]);
    let server = setup.start_unready();
    corpus.check(&server.client(), "box");
    // A drive that was absent at the start has a series, too, so that an alert sees it.
    let drives = server.series("sherd_drive_up");
    assert!(drives.iter().any(|(series, up)| series.contains("node=\"2\"") && *up == 0.0), "{drives:?}");
}

#[test]
fn two_drives_corrupted_while_running_give_no_wrong_byte() {
    let (_root, server) = Server::fresh_four();
    let s3 = server.client();
    let corpus = Corpus::store(&s3, "box");
    for dir in &server.setup().dirs[1..3] {
        overwrite(&dir.join("shards"));
    }
    corpus.check(&s3, "box");
}

#[test]
fn with_one_drive_left_of_four_the_start_is_refused() {
    let (_root, server) = Server::fresh_four();
    let (setup, ..) = server.stop();
    for dir in &setup.dirs[..3] {
        lose_drive(dir);
    }
    let ended = setup.fail_to_start();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("only 1 of 4 drives (SHERD_DATA) can be used, and at least 2 are needed"),
        "{}",
        ended.stderr
    );
}

/// Waits until every node is compared with the metadata, and no shard is missing.
fn wait_until_healed(server: &Server) {
    eventually(HEAL_TIMEOUT, "comparisons and repairs to end", || {
        let left = server.metric("sherd_comparisons_due", &[]) + server.metric("sherd_missing_shards", &[]);
        (left == 0.0).then_some(())
    });
}

#[test]
fn an_empty_drive_in_place_of_a_lost_one_is_filled_again() {
    let (_root, server) = Server::fresh_four();
    let corpus = Corpus::store(&server.client(), "box");
    let (setup, ..) = server.stop();
    lose_drive(&setup.dirs[1]);
    fs::create_dir(&setup.dirs[1]).unwrap();
    let server = setup.start();
    assert!(server.log().contains("takes the place of a lost one"), "{}", server.log());
    corpus.check(&server.client(), "box");
    wait_until_healed(&server);
    assert!(server.metric("sherd_repairs_done_total", &[("result", "repaired")]) > 0.0);
    // The repair is proven by losing two of the other drives.
    let (setup, ..) = server.stop();
    lose_drive(&setup.dirs[0]);
    lose_drive(&setup.dirs[2]);
    corpus.check(&setup.start_unready().client(), "box");
}

/// A replaced drive may lack all shards until it is compared, even if the host was killed and started before.
#[test]
fn a_restart_does_not_forget_that_a_drive_is_still_to_be_filled() {
    let (_root, server) = Server::fresh_four();
    let corpus = Corpus::store(&server.client(), "box");
    let (setup, ..) = server.stop();
    lose_drive(&setup.dirs[0]);
    fs::create_dir(&setup.dirs[0]).unwrap();
    for ms in [30, 100, 200] {
        setup.start_and_kill(Duration::from_millis(ms));
    }
    // Makes the mark again, as if the last process had been killed before the comparison.
    fs::write(setup.dirs[0].join("unfilled"), b"").unwrap();
    let server = setup.start_unready();
    let health = || -> Value {
        let told = admin::run(server.admin, &server.keys, &["health", "--json"]);
        serde_json::from_slice(&told.stdout).unwrap_or_default()
    };
    assert!(server.log().contains("took the place of another and was not filled before the last end"));
    eventually(HEAL_TIMEOUT, "the store to be whole", || (health()["status"] == "ok").then_some(()));
    corpus.check(&server.client(), "box");
    eventually(HEAL_TIMEOUT, "it to be forgotten once they are compared", || all_are_filled(&server).then_some(()));
}

fn all_are_filled(server: &Server) -> bool {
    server.setup().dirs.iter().all(|dir| !dir.join("unfilled").exists())
}

/// The process could go on writing to its open files, which would be gone at the next start.
#[test]
fn a_directory_that_is_deleted_under_a_running_store_is_noticed() {
    let (_root, server) = Server::fresh_four();
    let dir = &server.setup().dirs[0];
    eventually(HEAL_TIMEOUT, "the drive to be looked at", || {
        (server.metric("sherd_drive_up", &[("node", "0")]) == 1.0).then_some(())
    });
    lose_drive(&dir.join("meta"));
    server.client().create_bucket("box").unwrap().expect(200);
    let health = || String::from_utf8(admin::run(server.admin, &server.keys, &["health"]).stdout).unwrap();
    eventually(HEAL_TIMEOUT, "the loss to be told", || health().contains("its directory meta is gone").then_some(()));
    assert_eq!(server.metric("sherd_drive_up", &[("node", "0")]), 0.0);
    server.client().create_bucket("more").unwrap().expect(200);
}

#[test]
fn a_drive_that_missed_writes_is_repaired_when_it_is_back() {
    let (root, server) = Server::fresh_four();
    let corpus = Corpus::store(&server.client(), "before");
    let (setup, ..) = server.stop();
    let away = root.path().join("away");
    fs::rename(&setup.dirs[3], &away).unwrap();
    let server = setup.start();
    let later = Corpus::store(&server.client(), "later");
    server.client().delete("before", "plain/1000").unwrap().expect(204);
    let (setup, ..) = server.stop();
    fs::rename(&away, &setup.dirs[3]).unwrap();
    let server = setup.start();
    server.client().get("before", "plain/1000").unwrap().expect(404);
    later.check(&server.client(), "later");
    wait_until_healed(&server);
    let (setup, ..) = server.stop();
    for lost in [0, 1] {
        lose_drive(&setup.dirs[lost]);
    }
    let server = setup.start_unready();
    later.check(&server.client(), "later");
    server.client().get("before", "plain/1000").unwrap().expect(404);
    let kept = corpus.0.into_iter().filter(|(key, _)| key != "plain/1000").collect();
    Corpus(kept).check(&server.client(), "before");
}

/// Such directories are left by an interrupted copy, or by a cleanup that went too far.
#[test]
fn a_store_with_only_identity_files_left_refuses_to_start() {
    let (_root, server) = Server::fresh_four();
    let corpus = Corpus::store(&server.client(), "box");
    let (setup, ..) = server.stop();
    let parts = ["meta", "state", "shards", "index"];
    let aside = |dir: &Path, part: &str| dir.join("..").join(format!("{}-{part}", dir.file_name().unwrap().display()));
    for dir in &setup.dirs {
        parts.iter().for_each(|part| fs::rename(dir.join(part), aside(dir, part)).unwrap_or_default());
    }
    let ended = setup.fail_to_start();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("this host has had some: put back"), "{}", ended.stderr);
    assert!(setup.dirs.iter().all(|dir| !dir.join("meta").exists()), "nothing is begun by a refusal");
    for dir in &setup.dirs {
        parts.iter().for_each(|part| fs::rename(aside(dir, part), dir.join(part)).unwrap_or_default());
    }
    corpus.check(&setup.start().client(), "box");
}

#[test]
fn drives_of_two_stores_are_not_mixed() {
    let (_one, first) = Server::fresh_four();
    let (_two, second) = Server::fresh_four();
    let (setup, ..) = first.stop();
    let (other, ..) = second.stop();
    let mut mixed = Setup { dirs: setup.dirs.clone(), ..setup };
    mixed.dirs[2] = other.dirs[2].clone();
    let ended = mixed.fail_to_start();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("belongs to another cluster"), "{}", ended.stderr);
    assert!(ended.stderr.contains(other.dirs[2].to_str().unwrap()), "{}", ended.stderr);
}

#[test]
fn a_data_directory_with_foreign_files_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::single(root.path());
    fs::create_dir(&setup.dirs[0]).unwrap();
    fs::write(setup.dirs[0].join("letter.txt"), "dear").unwrap();
    let ended = setup.fail_to_start();
    assert!(ended.stderr.contains("is not empty") && ended.stderr.contains("letter.txt"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(&setup.dirs[0]).unwrap().count(), 1);
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let (_root, server) = Server::fresh();
    let ended = server.setup().fail_to_start();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("is in use by another process"), "{}", ended.stderr);
}

#[test]
fn directories_in_another_order_are_the_same_store() {
    let (_root, server) = Server::fresh_four();
    let corpus = Corpus::store(&server.client(), "box");
    let (mut setup, ..) = server.stop();
    setup.dirs.reverse();
    corpus.check(&setup.start().client(), "box");
}

/// As a process leaves them that was killed twice while it opened them.
fn note_two_openings(dir: &Path) {
    for tables in fs::read_dir(dir.join("state")).unwrap() {
        fs::write(tables.unwrap().path().join("opening"), "..").unwrap();
    }
}

#[test]
fn tables_whose_openings_were_killed_still_prove_what_the_log_lost() {
    let (_root, server) = Server::fresh();
    let corpus = Corpus::store(&server.client(), "box");
    let (setup, ..) = server.stop();
    let log = segments(&setup.dirs[0].join("meta")).into_iter().max_by_key(|path| content_end(path)).unwrap();
    let whole = fs::read(&log).unwrap();
    let cut = u64::try_from(content_end(&log) * 4 / 5).unwrap();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(cut).unwrap();
    note_two_openings(&setup.dirs[0]);
    for _ in 0..2 {
        let ended = setup.fail_to_start();
        assert!(ended.stderr.contains("by the tables of node 0 it once held"), "{}", ended.stderr);
    }
    fs::write(&log, whole).unwrap();
    note_two_openings(&setup.dirs[0]);
    let server = setup.start();
    corpus.check(&server.client(), "box");
    let (_, ended, _) = server.stop();
    assert!(!ended.stderr.contains("rebuilt"), "{}", ended.stderr);
}

/// Returns the length of a file without the zeros at its end.
fn content_end(path: &Path) -> usize {
    fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

/// W10: the shard index and the metadata tables are derived.
#[test]
fn deleted_indexes_and_metadata_tables_are_rebuilt() {
    let (_root, server) = Server::fresh_four();
    let corpus = Corpus::store(&server.client(), "box");
    let setup = server.kill();
    for dir in &setup.dirs {
        for derived in ["index", "state"] {
            let _ = fs::remove_dir_all(dir.join(derived));
        }
    }
    corpus.check(&setup.start().client(), "box");
}

/// Returns every file below the directory that is not empty.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if entry.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Flips a bit, cuts off the end, or zeroes some bytes of a file: within its content, not within the zeros that follow
/// it.
fn damage(path: &Path, random: &mut data::Random) {
    let bytes = fs::read(path).unwrap();
    let content = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = random.below(content as u64);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let write = |bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
    match random.below(3) {
        0 => write(&[bytes[at as usize] ^ (1 << random.below(8))]),
        1 => file.set_len(at).unwrap(),
        _ => write(&vec![0; (content - at as usize).min(64)]),
    }
}

/// Starts the server, at most this often: damaged tables may end the process, and are made anew after a few such ends.
fn start_within(setup: &Setup, starts: usize) -> Server {
    for _ in 1..starts {
        if let Ok(server) = setup.try_start() {
            return server;
        }
    }
    setup.start()
}

/// Returns the first answer of three tries that is not 503.
#[track_caller]
fn retried(ask: impl Fn() -> Answered) -> Answer {
    let mut tries = std::iter::repeat_with(|| ask().unwrap()).take(3);
    tries.find(|answer| answer.status != 503).expect("one of three tries is answered").expect(200)
}

#[test]
fn damaged_tables_never_yield_a_wrong_answer() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let corpus = Corpus::store(&s3, "box");
    // Enough objects that tables are written out.
    let small = data::bytes(3, 16 << 10);
    for number in 0..300 {
        s3.put("box", &format!("small/{number}"), &small).unwrap().expect(200);
    }
    let mut random = data::Random::new(11);
    // The tables may end the process where their files are damaged.
    let mut setup = server.kill().that_may_panic();
    for round in 0..5 {
        let dir = &setup.dirs[0];
        let files: Vec<PathBuf> =
            ["state", "index"].iter().flat_map(|derived| files_below(&dir.join(derived))).collect();
        for _ in 0..2 {
            let path = &files[random.below(files.len() as u64) as usize];
            eprintln!("round {round}: {}", path.display());
            damage(path, &mut random);
        }
        let server = start_within(&setup, 3);
        let s3 = server.client();
        // The first read of damage may fail with 503; a retry, as clients make it, finds the object.
        retried(|| s3.call("GET", "/box", &[("list-type", "2")], &[], Body::None));
        for (key, _) in &corpus.0 {
            retried(|| s3.get("box", key));
        }
        for number in 0..300 {
            let answer = retried(|| s3.get("box", &format!("small/{number}")));
            assert!(answer.body == small);
        }
        corpus.check(&s3, "box");
        setup = server.kill();
    }
}
