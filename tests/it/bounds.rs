//! Bounds on the memory and storage that clients can make the store use: documents, bodies, anonymous callers.

use crate::harness::client::Body;
use crate::harness::server::{Server, Setup};
use crate::harness::sigv4::{Scope, ToSign, sign_headers};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn cors(origin: &str) -> Vec<u8> {
    let rule = format!("<AllowedMethod>GET</AllowedMethod><AllowedOrigin>{origin}</AllowedOrigin>");
    format!("<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>").into_bytes()
}

#[test]
fn bucket_documents_are_refused_above_their_bound_and_kept_over_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::drives(root.path(), 2);
    let server = setup.start();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let put = |body: &[u8]| s3.call("PUT", "/box", &[("cors", "")], &[], Body::Signed(body)).unwrap();
    let large = cors(&"\"".repeat(60 << 10));
    put(&large).expect(200);
    for bytes in [64 << 10, 1 << 20, 4 << 20, 5 << 20, 6 << 20, 8 << 20] {
        let refused = put(&cors(&"\"".repeat(bytes)));
        assert_eq!((refused.status, refused.code().as_str()), (400, "MaxMessageLengthExceeded"), "{bytes}");
    }
    s3.put("box", "key", b"bytes").unwrap().expect(200);
    drop(server);
    let server = setup.start();
    let s3 = server.client();
    let stands = s3.call("GET", "/box", &[("cors", "")], &[], Body::None).unwrap().expect(200);
    assert!(stands.body.len() > 60 << 10);
    assert_eq!(s3.get("box", "key").unwrap().expect(200).body, b"bytes");
}

/// Returns the head of a request that sets a bucket's tags, signed or anonymous.
fn tagging_head(server: &Server, signed: bool, length: usize) -> String {
    let request = ToSign {
        method: "PUT".to_owned(),
        host: server.s3.to_string(),
        path: "/box".to_owned(),
        query: vec![("tagging".to_owned(), String::new())],
        headers: Vec::new(),
    };
    let lines: String = if signed {
        let (headers, _) = sign_headers(&Scope::now(&server.keys), &request, "UNSIGNED-PAYLOAD");
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    } else {
        format!("host: {}\r\n", server.s3)
    };
    format!("PUT /box?tagging= HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n")
}

fn connected(server: &Server, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.s3).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn requests_whose_bodies_never_come_do_not_block_others() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    for signed in [false, true] {
        let head = tagging_head(&server, signed, (8 << 20) - 1024);
        let waiting: Vec<TcpStream> = (0..64).map(|_| connected(&server, &head)).collect();
        for _ in 0..3 {
            let answer = s3.call("PUT", "/box", &[("tagging", "")], &[], Body::Signed(tags)).unwrap();
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        drop(waiting);
    }
}

/// Each upload reserves the memory of a large upload, and sends one byte.
#[test]
fn stalled_uploads_leave_memory_to_others() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::single(root.path()).with("SHERD_MEMORY_MAX", "64MiB").start();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    s3.create_bucket("own").unwrap().expect(200);
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::box/*"}]}"#;
    s3.call("PUT", "/box", &[("policy", "")], &[], Body::Signed(policy.as_bytes())).unwrap().expect(204);
    let head = |number: usize| {
        let length = 64 << 20;
        format!("PUT /box/{number} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n\r\nx", server.s3)
    };
    let waiting: Vec<TcpStream> = (0..100).map(|number| connected(&server, &head(number))).collect();
    let content = vec![7; 300_000];
    for turn in 0..5 {
        s3.put("own", &format!("{turn}"), &content).unwrap().expect(200);
        assert_eq!(s3.get("own", &format!("{turn}")).unwrap().expect(200).body, content);
    }
    drop(waiting);
}

#[test]
fn an_anonymous_request_is_refused_before_its_body_is_read() {
    let (_root, server) = Server::fresh();
    server.client().create_bucket("box").unwrap().expect(200);
    let mut stream = connected(&server, &tagging_head(&server, false, 8 << 20));
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 403");
}

#[test]
fn a_completion_of_too_many_parts_is_refused_before_it_is_parsed() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let upload = s3.create_upload("box", "key").unwrap();
    let process = server.process();
    process.reset_resident_peak();
    let before = process.resident_bytes();
    let parts = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", "<Part/>".repeat(590_000));
    let completion = [("uploadId", upload.as_str())];
    for (body, code) in [(parts.as_str(), "MalformedXML"), (&"<Part/>".repeat(1_200_000), "MaxMessageLengthExceeded")] {
        let refused = s3.call("POST", "/box/key", &completion, &[], Body::Unsigned(body.as_bytes())).unwrap();
        assert_eq!((refused.status, refused.code().as_str()), (400, code));
    }
    let grown = process.resident_bytes_peak().saturating_sub(before);
    assert!(grown < 64 << 20, "a list of empty parts took {grown} bytes");
}

/// The signature of an IAM call covers its body, so the body is read before the caller is known.
#[test]
fn unauthenticated_iam_calls_take_little_memory() {
    let root = tempfile::tempdir().unwrap();
    let server = Setup::single(root.path()).with("SHERD_MEMORY_MAX", "32MiB").start();
    server.client().create_bucket("box").unwrap().expect(200);
    let before = server.process().resident_bytes();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        server.s3,
        1 << 20
    );
    let body = [b"Action=CreateUser&Version=2010-05-08&UserName=", &[b'a'; 1_000_000][..]].concat();
    let mut refused = 0;
    let streams: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = connected(&server, &head);
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            // A refused client may find the connection closed.
            refused += usize::from(stream.write_all(&body).is_err());
            stream
        })
        .collect();
    server.client().put("box", "key", b"bytes").unwrap().expect(200);
    let grown = server.process().resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "200 forms of a mebibyte took {grown} bytes; {refused} were cut off");
    drop(streams);
}
