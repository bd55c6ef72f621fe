//! The start until the store serves: refusals that leave nothing behind, and a host that reports what it waits for.

use crate::harness::client::get_plain;
use crate::harness::cluster::{CLUSTER_SECRET, Cluster, Shape};
use crate::harness::server::{Server, Setup};
use crate::harness::{admin, eventually};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts with these settings, which must be refused without making anything in the data directory; returns the error.
fn refused(settings: &[(&str, &str)]) -> String {
    let root = tempfile::tempdir().unwrap();
    let setup = settings.iter().fold(Setup::single(root.path()), |setup, (name, value)| setup.with(name, value));
    let ended = setup.fail_to_start();
    assert!(!root.path().join("d1").exists(), "nothing is made by a start that is refused: {}", ended.stderr);
    ended.stderr
}

#[test]
fn a_port_that_is_taken_is_refused_before_the_store_is_formed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["SHERD_S3_LISTEN", "SHERD_ADMIN_LISTEN"] {
        let message = refused(&[(setting, &address)]);
        let expected = format!("sherd: cannot listen on {address} ({setting}): Address already in use");
        assert!(message.contains(&expected), "{message}");
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let hosts = format!("a={address}");
    let message = refused(&[
        ("SHERD_CLUSTER_LISTEN", &address),
        ("SHERD_HOSTS", &hosts),
        ("SHERD_HOST", "a"),
        ("SHERD_CLUSTER_SECRET", "a-secret-of-tests-0123456789abcdef"),
    ]);
    assert!(message.contains(&format!("cannot listen on {address} (SHERD_CLUSTER_LISTEN)")), "{message}");
}

#[test]
fn files_of_the_wrong_kind_are_refused_before_the_store_is_formed() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("file");
    std::fs::write(&file, "neither a certificate, nor a key, nor JSON").unwrap();
    let file = file.to_str().unwrap();
    for settings in [
        &[("SHERD_TLS_CERT", file), ("SHERD_TLS_KEY", file)] as &[_],
        &[
            ("SHERD_ACME_CA_FILE", file),
            ("SHERD_ACME_DOMAINS", "s3.example.test"),
            ("SHERD_ACME_CONTACT", "mailto:ops@example.test"),
        ],
        &[("SHERD_WEBHOOK_A_CA_FILE", file), ("SHERD_WEBHOOK_A_URL", "https://localhost:1/")],
        &[("SHERD_ROOT_KEY_FILE", file)],
        &[("SHERD_ACCOUNTS_FILE", file)],
        &[("SHERD_OIDC_KEYS", &format!("https://login.example.test={file}"))],
    ] {
        let message = refused(settings);
        assert!(message.contains(&format!("{}: ", settings[0].0)) && message.contains(file), "{message}");
        let root = tempfile::tempdir().unwrap();
        let setup = settings.iter().fold(Setup::single(root.path()), |setup, (name, value)| setup.with(name, value));
        let checked = setup.run(&["check"]);
        assert_eq!((checked.status.code(), checked.stdout.as_slice()), (Some(1), &b""[..]));
        assert!(String::from_utf8_lossy(&checked.stderr).contains(settings[0].0), "{checked:?}");
        assert!(!root.path().join("d1").exists(), "a check makes nothing");
    }
}

#[test]
fn sherd_check_works_while_the_store_runs_and_creates_nothing() {
    let (_root, server) = Server::fresh();
    let (s3, admin) = (server.s3.to_string(), server.admin.to_string());
    let listen = ["check", "--s3-listen", &s3, "--admin-listen", &admin];
    let checked = server.setup().run(&listen);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert_eq!(checked.stdout, b"the configuration is valid\n");
    let root = tempfile::tempdir().unwrap();
    let checked = Setup::drives(root.path(), 2).with("SHERD_EC", "2+0").run(&["check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).starts_with("warning: SHERD_EC=2+0"), "{checked:?}");
    assert!(!root.path().join("d1").exists(), "a check makes nothing");
}

#[test]
fn parity_that_does_not_survive_the_loss_of_a_drive_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let ended = Setup::drives(root.path(), 2).with("SHERD_EC", "4+2").fail_to_start();
    assert!(ended.stderr.contains("sherd: SHERD_EC: 4+2 on 2 drives puts 3 shards"), "{}", ended.stderr);
    let checked = Setup::drives(root.path(), 2).with("SHERD_EC", "4+2").run(&["check"]);
    assert!(String::from_utf8_lossy(&checked.stdout).contains("; no store is formed so\n"), "{checked:?}");
    assert!(!root.path().join("d1").exists());
    let server = Setup::drives(root.path(), 2).with("SHERD_EC", "2+0").start();
    assert!(server.log().contains("SHERD_EC=2+0 has no parity"), "{}", server.log());
}

#[test]
fn a_store_on_one_drive_warns_that_it_can_lose_all_objects() {
    let (_root, server) = Server::fresh();
    assert_eq!(server.log().matches("this store is 1+0 on one drive").count(), 1, "{}", server.log());
}

/// Changes a setting of the second host, or removes it; returns the former value.
fn set(cluster: &Cluster, name: &str, value: Option<&str>) -> Option<String> {
    let mut setup = cluster.hosts[1].setup.lock().unwrap();
    let was = setup.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    setup.environment.retain(|(known, _)| known != name);
    setup.environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    was
}

/// Waits until a host reports in its health and log that it cannot found a cluster for this reason; checks that it
/// still runs.
fn waits_because(cluster: &Cluster, host: usize, words: &str) {
    let at = cluster.hosts[host].admin;
    eventually(PATIENCE, words, || {
        let ready = get_plain(at, "/health/ready").ok()?;
        (ready.status == 503 && ready.text().contains(words)).then_some(())
    });
    assert_eq!(get_plain(at, "/health/live").unwrap().status, 200);
    assert_eq!(cluster.hosts[host].metric("sherd_health_level"), Some(3.0), "alerts go by it");
    let health = cluster.try_admin(host, &["health"]);
    assert!(String::from_utf8_lossy(&health.stdout).contains(words), "{health:?}");
    let info = cluster.try_admin(host, &["info"]);
    assert!(String::from_utf8_lossy(&info.stderr).contains("this host is starting: "), "{info:?}");
    cluster.hosts[host].wait_for_log(PATIENCE, words);
}

#[test]
fn founders_with_different_settings_wait_and_name_the_host_and_the_difference() {
    let cluster = Cluster::laid_out(&Shape { founders: 2, is_direct: true, ..Shape::three(1, 7) });
    let key = cluster.root.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let hosts = set(&cluster, "SHERD_HOSTS", None).unwrap();
    set(&cluster, "SHERD_HOSTS", Some(&hosts));
    let more_hosts = format!("{hosts},c=127.0.0.1:1");
    cluster.start(0);
    for (name, value, here, there) in [
        ("SHERD_EC", "2+0", "SHERD_EC (2+0 there, auto here)", "SHERD_EC (auto there, 2+0 here)"),
        (
            "SHERD_ROOT_KEY_FILE",
            key.to_str().unwrap(),
            "SHERD_ROOT_KEY_FILE (the key of id ",
            "(no key there, the key of ",
        ),
        ("SHERD_HOSTS", &more_hosts, "SHERD_HOSTS (c=127.0.0.1:1 is only there)", "(c=127.0.0.1:1 is only here)"),
    ] {
        let was = set(&cluster, name, Some(value));
        cluster.start(1);
        waits_because(&cluster, 0, &format!("b was given another {here}"));
        waits_because(&cluster, 1, there);
        cluster.kill(1);
        set(&cluster, name, was.as_deref());
    }
    cluster.start(1);
    for host in 0..2 {
        cluster.wait_until_ready(host);
        eventually(PATIENCE, "the metric to be that of a host that serves", || {
            (cluster.hosts[host].metric("sherd_health_level")? < 3.0).then_some(())
        });
    }
}

#[test]
fn the_store_of_a_single_host_is_not_started_as_a_host_of_a_cluster() {
    let (_root, server) = Server::fresh();
    server.client().create_bucket("kept").unwrap().expect(200);
    server.client().put("kept", "object", b"bytes").unwrap().expect(200);
    let (setup, ..) = server.stop();
    let place = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (setting, value) in [("SHERD_HOSTS", format!("a={place}")), ("SHERD_JOIN", place.clone())] {
        let setup = setup.clone().with(setting, &value).with("SHERD_HOST", "a");
        let setup = setup.with("SHERD_CLUSTER_LISTEN", &place).with("SHERD_CLUSTER_SECRET", CLUSTER_SECRET);
        let ended = setup.fail_to_start();
        assert!(ended.stderr.contains("are the store of a single host"), "{}", ended.stderr);
        assert!(ended.stderr.contains("start it without SHERD_HOSTS, SHERD_JOIN"), "{}", ended.stderr);
    }
    let server = setup.start();
    assert!(server.client().get("kept", "object").unwrap().expect(200).body == b"bytes");
}

#[test]
fn the_only_host_of_a_cluster_that_was_started_alone_once_comes_back_to_it() {
    let cluster = Cluster::formed(&Shape { founders: 1, ..Shape::three(1, 3) });
    cluster.stop(0);
    let of_cluster = cluster.hosts[0].setup.lock().unwrap().clone();
    let is_of_cluster =
        |name: &str| name.starts_with("SHERD_CLUSTER_") || name == "SHERD_HOSTS" || name == "SHERD_HOST";
    cluster.hosts[0].setup.lock().unwrap().environment.retain(|(name, _)| !is_of_cluster(name));
    cluster.start(0);
    cluster.wait_until_ready(0);
    cluster.stop(0);
    *cluster.hosts[0].setup.lock().unwrap() = of_cluster;
    cluster.start(0);
    cluster.wait_until_ready(0);
}

#[test]
fn a_host_with_another_root_key_does_not_join() {
    let cluster = Cluster::laid_out(&Shape { founders: 1, joiners: 1, is_direct: true, ..Shape::three(1, 5) });
    let key = |name: &str, byte: u8| {
        let path = cluster.root.path().join(name);
        std::fs::write(&path, [byte; 32]).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ours, another) = (key("ours", 7), key("another", 8));
    cluster.hosts[0].setup.lock().unwrap().environment.push(("SHERD_ROOT_KEY_FILE".to_owned(), ours.clone()));
    cluster.start(0);
    cluster.wait_until_ready(0);
    for (given, words) in
        [(None, "it has no key in SHERD_ROOT_KEY_FILE"), (Some(another.as_str()), "it has the key of id ")]
    {
        set(&cluster, "SHERD_ROOT_KEY_FILE", given);
        cluster.start(1);
        let ended = eventually(PATIENCE, "the host to be refused", || cluster.hosts[1].ended());
        assert!(!ended.status.success() && ended.stderr.contains(words), "{}", ended.stderr);
        cluster.forget(1);
    }
    set(&cluster, "SHERD_ROOT_KEY_FILE", Some(&ours));
    cluster.start(1);
    cluster.wait_until_ready(1);
}

#[test]
fn an_admin_command_sent_to_the_s3_listener_names_the_right_address() {
    let (_root, server) = Server::fresh();
    let answer = admin::run(server.s3, &server.keys, &["info"]);
    let message = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(answer.status.code(), Some(1));
    assert!(
        message.contains("is not the admin listener of a host of Sherd: it answers in XML, as the S3 listener"),
        "{message}"
    );
    assert!(message.contains("SHERD_ADMIN_URL"), "{message}");
}

#[test]
fn a_directory_as_a_plain_argument_is_refused_with_a_hint_to_data() {
    for arguments in [&["/mnt/data"] as &[_], &["server", "/mnt/data"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sherd")).env_clear().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("given by --data or SHERD_DATA"), "{message}");
    }
}

#[test]
fn tls_bytes_on_a_plain_port_log_no_error() {
    let (_root, server) = Server::fresh();
    for port in [server.s3, server.admin] {
        let mut client = TcpStream::connect(port).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03").unwrap();
        // The server closes the connection, with or without an answer.
        let _ = client.read_to_end(&mut Vec::new());
    }
    let (_setup, ended, _) = server.stop();
    assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
}

/// The drive hangs because its identity file is a named pipe that nobody else opens.
#[test]
fn a_host_starts_without_a_hanging_drive_and_takes_it_back_later() {
    let cluster = Cluster::formed(&Shape { founders: 1, ..Shape::three(3, 1) }.with("SHERD_EC", "2+1"));
    let bytes = vec![7; 200_000];
    let has_it = || {
        let found = cluster.client(0).get("held", "object").unwrap().expect(200);
        assert!(found.body == bytes);
    };
    cluster.client(0).create_bucket("held").unwrap().expect(200);
    cluster.client(0).put("held", "object", &bytes).unwrap().expect(200);
    cluster.stop(0);
    let dir = cluster.hosts[0].setup.lock().unwrap().dirs[1].clone();
    let (identity, kept) = (dir.join("identity.json"), cluster.root.path().join("identity.kept"));
    std::fs::rename(&identity, &kept).unwrap();
    assert!(Command::new("mkfifo").arg(&identity).status().unwrap().success());
    cluster.start(0);
    let named = format!("the drive in {} has not answered yet", dir.display());
    eventually(PATIENCE, "health to name the drive while the host starts", || {
        let health = get_plain(cluster.hosts[0].admin, "/health/ready").ok()?;
        (health.status == 503 && health.text().contains(&named)).then_some(())
    });
    assert_eq!(cluster.hosts[0].metric("sherd_health_level"), Some(3.0));
    cluster.wait_until_ready(0);
    has_it();
    assert!(cluster.hosts[0].log().contains(&named));
    let drives = |words: &str| {
        let health = get_plain(cluster.hosts[0].admin, "/health/ready").unwrap().text();
        let health: serde_json::Value = serde_json::from_str(&health).unwrap();
        let drives = health["drives"].as_array().unwrap().clone();
        drives.iter().filter(|drive| drive["why"].as_str().is_some_and(|why| why.contains(words))).count()
    };
    assert_eq!(drives("this host goes on without it"), 1);
    cluster.stop(0);
    std::fs::remove_file(&identity).unwrap();
    std::fs::rename(&kept, &identity).unwrap();
    cluster.start(0);
    cluster.wait_until_ready(0);
    assert_eq!(drives("without it"), 0, "it is taken back as the drive that it was");
    has_it();
}
