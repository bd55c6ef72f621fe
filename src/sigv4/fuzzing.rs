//! The fuzz target of signatures in a header: verifies an arbitrary request, and one that is signed here, which must be
//! accepted.

use super::{Received, Signer, Verifier, claimed, read_stamp};

const NOW: u64 = 1_440_938_160;
const HOST: &str = "localhost:9001";

/// The input's lines are a target, then headers `name:value`; after an empty line the body follows.
pub fn signatures(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let (target, lines) = head.split_once('\n').unwrap_or((head, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = body.as_bytes();
    let mut headers: Vec<(&str, &str)> = lines.lines().filter_map(|line| line.split_once(':')).collect();
    let verifier = Verifier {
        access_key: "key".to_owned(),
        secret_key: "secret".to_owned(),
        region: "us-east-1".to_owned(),
        services: &["iam", "s3"],
    };
    let received = Received { method: "POST", path, query, headers: &headers, body };
    let _ = (claimed(&received), verifier.verify(&received, NOW));
    for (_, value) in &headers {
        let _ = read_stamp(value);
    }
    let signer = Signer { access_key: "key", secret_key: "secret", region: "us-east-1", service: "iam" };
    let signed = signer.headers(NOW, "POST", target, HOST, body);
    headers.clear();
    headers.push(("host", HOST));
    headers.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
    let received = Received { method: "POST", path, query, headers: &headers, body };
    assert_eq!(verifier.verify(&received, NOW), Ok(()));
}
