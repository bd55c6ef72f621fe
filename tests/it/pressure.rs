//! The store under pressure: a nearly full drive, clients that are slow or vanish, wrong lengths, bounded memory.

use crate::harness::client::Body;
use crate::harness::server::{Server, Setup};
use crate::harness::settings::number;
use crate::harness::sigv4::{Scope, ToSign, sign_headers};
use crate::harness::small_drives::SmallDrive;
use crate::harness::{data, eventually, or_skipped};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// F3: out of space is an error of its own, and the store stays readable and deletable.
#[test]
fn a_nearly_full_drive_refuses_writes_and_serves_reads_and_deletes() {
    let root = tempfile::tempdir().unwrap();
    let Some(drive) = or_skipped(SmallDrive::mount(&root.path().join("d1"))) else { return };
    let server = Setup::single(root.path()).with("SHERD_SCALE", "small").start();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    s3.put("box", "small", b"inline").unwrap().expect(200);
    let bytes = data::bytes(1, 8 << 20);
    let mut stored = 0;
    let refused = loop {
        let answer = s3.put("box", &format!("large-{stored}"), &bytes).unwrap();
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < 400, "more was stored than the drive holds");
    };
    assert!(stored > 10, "only {stored} objects of 8 MiB fit into 1.5 GiB");
    assert!(matches!(refused.status, 503 | 507), "{} {}", refused.status, refused.text());
    assert!(!refused.code().is_empty());
    for number in 0..stored {
        assert!(s3.get("box", &format!("large-{number}")).unwrap().expect(200).body == bytes);
    }
    for number in 0..stored {
        s3.delete("box", &format!("large-{number}")).unwrap().expect(204);
    }
    // M2, W12: what was deleted is reclaimed, and there is room again.
    eventually(Duration::from_secs(120), "room after the deletes", || {
        (s3.put("box", "again", &bytes).unwrap().status == 200).then_some(())
    });
    drop(server);
    drop(drive);
}

fn signed_put(server: &Server, path: &str, length: usize) -> String {
    let request = ToSign {
        method: "PUT".to_owned(),
        host: server.s3.to_string(),
        path: path.to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
    };
    let (headers, _) = sign_headers(&Scope::now(&server.keys), &request, "UNSIGNED-PAYLOAD");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("PUT {path} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n")
}

/// F4: a declared length is not trusted.
#[test]
fn a_false_content_length_allocates_and_stores_nothing() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let before = server.process().resident_bytes();
    let mut streams = Vec::new();
    for number in 0..20 {
        let mut stream = TcpStream::connect(server.s3).unwrap();
        stream.write_all(signed_put(&server, &format!("/box/lie-{number}"), 4 << 30).as_bytes()).unwrap();
        stream.write_all(&data::bytes(number, 1000)).unwrap();
        streams.push(stream);
    }
    s3.put("box", "meanwhile", b"x").unwrap().expect(200);
    let grown = server.process().resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "twenty claims of 4 GiB took {grown} bytes");
    drop(streams);
    s3.put("box", "after", b"x").unwrap().expect(200);
    let keys: Vec<String> = s3.list_all("box").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["after", "meanwhile"]);
}

#[test]
fn slow_clients_do_not_block_others() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let slow: Vec<TcpStream> = (0..50)
        .map(|number| {
            let mut stream = TcpStream::connect(server.s3).unwrap();
            stream.write_all(signed_put(&server, &format!("/box/slow-{number}"), 1 << 20).as_bytes()).unwrap();
            stream.write_all(b"x").unwrap();
            stream
        })
        .collect();
    for number in 0..50 {
        s3.put("box", &format!("quick-{number}"), &data::bytes(number, 50_000)).unwrap().expect(200);
    }
    drop(slow);
    assert_eq!(s3.list_all("box").unwrap().len(), 50);
}

#[test]
fn a_slow_upload_that_makes_progress_succeeds() {
    let (_root, server) = Server::fresh();
    server.client().create_bucket("box").unwrap().expect(200);
    let bytes = data::bytes(1, 300_000);
    let mut stream = TcpStream::connect(server.s3).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(signed_put(&server, "/box/slow", bytes.len()).as_bytes()).unwrap();
    for piece in bytes.chunks(10_000) {
        stream.write_all(piece).unwrap();
        // The slow pace is the subject of the test; this does not wait for a condition.
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert!(server.client().get("box", "slow").unwrap().expect(200).body == bytes);
}

#[test]
fn abandoned_downloads_release_their_resources() {
    let (_root, server) = Server::fresh_four();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    s3.put("box", "k", &data::bytes(1, 8 << 20)).unwrap().expect(200);
    let url = s3.presigned("GET", "/box/k", &[], 600);
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.s3).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {url} HTTP/1.1\r\nhost: {}\r\n\r\n", server.s3).unwrap();
        let mut some = [0; 1000];
        stream.read_exact(&mut some).unwrap();
    }
    eventually(PATIENCE, "the abandoned requests to end", || {
        (server.metric("sherd_s3_requests_active", &[]) == 0.0).then_some(())
    });
    assert!(s3.get("box", "k").unwrap().expect(200).body == data::bytes(1, 8 << 20));
}

/// P8: each request holds a few stripes in memory, whatever the size of its object.
#[test]
fn sixteen_large_uploads_at_once_stay_within_their_memory() {
    let mebibytes = usize::try_from(number("SHERD_TEST_UPLOAD_MB").unwrap_or(64)).unwrap();
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    // How much of the code of a debug build is resident is the kernel's matter. The benchmark has the bound of all.
    let idle = server.process().anonymous_bytes();
    assert!(idle < 56 << 20, "idle at {} MiB", idle >> 20);
    let bytes = data::bytes(1, mebibytes << 20);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (s3, bytes) = (s3.clone(), &bytes);
            scope.spawn(move || {
                s3.call("PUT", &format!("/box/{number}"), &[], &[], Body::Unsigned(bytes)).unwrap().expect(200);
            });
        }
    });
    let peak = server.process().resident_bytes_peak();
    assert!(peak < 300 << 20, "sixteen uploads of {mebibytes} MiB took {} MiB", peak >> 20);
}

#[test]
fn malformed_requests_get_the_error_that_s3_documents() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let post = |query: &[(&str, &str)], body: &str| {
        s3.call("POST", "/box", query, &[], Body::Signed(body.as_bytes())).unwrap()
    };
    assert_eq!(post(&[("delete", "")], "<Delete><Object>").expect(400).code(), "MalformedXML");
    assert_eq!(s3.create_bucket("B_").unwrap().expect(400).code(), "InvalidBucketName");
    assert_eq!(s3.get("none", "k").unwrap().expect(404).code(), "NoSuchBucket");
    let upload = s3.create_upload("box", "k").unwrap();
    assert_eq!(s3.put_part("box", "k", &upload, 10_001, b"x").unwrap().expect(400).code(), "InvalidArgument");
    assert_eq!(s3.call("GET", "/box", &[("abac", "")], &[], Body::None).unwrap().expect(501).code(), "NotImplemented");
    for garbage in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PUT /box/k HTTP/1.1\r\ncontent-length: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.s3).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(garbage.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.take(1000).read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"),
            "{garbage:?}"
        );
    }
    assert_eq!(server.admin("/health/live").unwrap().status, 200);
}

/// What a client sends ahead is decoded one request at a time: hundreds at once would take megabytes a connection.
#[test]
fn requests_sent_ahead_and_answers_left_unread_take_little_memory() {
    const CONNECTIONS: usize = 100;
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::box/*"}]}"#;
    s3.call("PUT", "/box", &[("policy", "")], &[], Body::Signed(policy.as_bytes())).unwrap().expect(204);
    s3.put("box", "k", &data::bytes(1, 8 << 20)).unwrap().expect(200);
    let before = server.process().resident_bytes();
    let ahead = "GET /box/k HTTP/1.1\r\nhost: h\r\n\r\n".repeat(1000);
    let unread: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(server.s3).unwrap();
            stream.write_all(ahead.as_bytes()).unwrap();
            stream
        })
        .collect();
    eventually(PATIENCE, "the first request of many connections to be carried out", || {
        (server.metric("sherd_s3_requests_active", &[]) >= CONNECTIONS as f64 / 2.0).then_some(())
    });
    let grown = server.process().resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{CONNECTIONS} connections took {} MiB", grown >> 20);
    drop(unread);
    assert!(s3.get("box", "k").unwrap().expect(200).body == data::bytes(1, 8 << 20));
}

#[test]
fn requests_sent_ahead_are_carried_out_in_order_whatever_their_bodies() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    // Bytes that look like the ends of heads, and like a request.
    let lines = b"\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(5000);
    let chunked = [b"5;x=y\r\nhello\r\n".as_slice(), format!("{:x}\r\n", lines.len()).as_bytes(), &lines].concat();
    let chunked = [chunked.as_slice(), b"\r\n0\r\n\r\n"].concat();
    let scope = s3.scope();
    let plain = |method: &str, key: &str, body: &[u8]| s3.request(&scope, method, &format!("/box/{key}"), body);
    let head = plain("PUT", "chunked", b"");
    let in_chunks = [head.strip_suffix(b"\r\n").unwrap(), b"transfer-encoding: chunked\r\n\r\n", &chunked].concat();
    let requests = [
        plain("PUT", "lines", &lines),
        plain("GET", "lines", b""),
        in_chunks,
        plain("GET", "nothing", b""),
        plain("PUT", "small", b"\n\n"),
        plain("DELETE", "lines", b""),
        plain("GET", "lines", b""),
        plain("GET", "small", b""),
    ];
    let mut stream = TcpStream::connect(server.s3).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || writing.write_all(&requests.concat()).unwrap());
    let mut statuses = Vec::new();
    let mut bodies = Vec::new();
    for _ in 0..8 {
        let (status, body) = read_answer(&mut stream);
        statuses.push(status);
        bodies.push(body);
    }
    writer.join().unwrap();
    // AWS answers a PUT without a length with 411.
    assert_eq!(statuses, [200, 200, 411, 404, 200, 204, 404, 200]);
    assert!(bodies[1] == lines && bodies[7] == b"\n\n");
}

/// Reads one answer, and no byte more.
fn read_answer(stream: &mut TcpStream) -> (u16, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    (head[9..12].parse().unwrap(), body)
}
