//! An ACME server (RFC 8555) of its own: it verifies each request's signature, nonce and URL, proves names by tls-alpn-01
//! (RFC 8737) against the store's listener, and issues certificates for what the request was signed for.

use super::super::{Pki, pem};
use super::proof;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64_simd::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use time::OffsetDateTime;

/// The longest wait of a proof for its listener's address.
const LISTENER_WAIT_MAX: Duration = Duration::from_secs(60);
/// A P-256 key's SubjectPublicKeyInfo, up to the point.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

pub struct AcmeServer {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    /// The beginning of its URLs.
    base: String,
    pki: Pki,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    nonces: BTreeSet<String>,
    given: usize,
    /// The first nonce is not taken, though it was given.
    refused_a_nonce: bool,
    /// Public keys, by number, and the contacts.
    accounts: Vec<([u8; 65], String)>,
    orders: Vec<Order>,
    /// Where names are proven.
    listener: Option<SocketAddr>,
    /// The life of what is issued.
    life_seconds: i64,
    refuses_orders: bool,
    refused_orders: usize,
}

struct Order {
    account: usize,
    /// Each with its token and the state of its proof.
    names: Vec<(String, String, Proof)>,
    certificate: Option<String>,
}

enum Proof {
    Pending,
    Valid,
    Invalid(String),
}

/// An answer: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

impl AcmeServer {
    pub fn start(pki: Pki) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &pki.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { life_seconds: 90 * 86_400, ..State::default() };
        let base = format!("https://localhost:{port}");
        let shared = Arc::new(Shared { base, pki, state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (shared, config) = (Arc::clone(&serving), Arc::clone(&config));
                // A client that goes away ends its thread.
                std::thread::spawn(move || drop(serve(&shared, config, tcp)));
            }
        });
        Self { shared, port }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/directory", self.port)
    }

    pub fn pki(&self) -> &Pki {
        &self.shared.pki
    }

    pub fn prove_at(&self, listener: SocketAddr) {
        self.shared.state.lock().unwrap().listener = Some(listener);
        self.shared.changed.notify_all();
    }

    pub fn refuse_orders(&self, refuses: bool) {
        self.shared.state.lock().unwrap().refuses_orders = refuses;
    }

    pub fn issue_for(&self, seconds: i64) {
        self.shared.state.lock().unwrap().life_seconds = seconds;
    }

    /// The contacts of the accounts.
    pub fn contacts(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().accounts.iter().map(|(_, contact)| contact.clone()).collect()
    }

    pub fn issued(&self) -> usize {
        self.shared.state.lock().unwrap().orders.iter().filter(|order| order.certificate.is_some()).count()
    }

    pub fn refused_orders(&self) -> usize {
        self.shared.state.lock().unwrap().refused_orders
    }
}

fn serve(shared: &Arc<Shared>, config: Arc<ServerConfig>, tcp: TcpStream) -> std::io::Result<()> {
    tcp.set_read_timeout(Some(LISTENER_WAIT_MAX))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, headers, body) = shared.answer(method, path, &body);
    let nonce = shared.state.lock().unwrap().give_nonce();
    let mut head = format!("HTTP/1.1 {status} Answer\r\nReplay-Nonce: {nonce}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    let stream = stream.get_mut();
    // Both framings are among what servers send.
    match path.starts_with("/certificate/") {
        false => write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len())?,
        true => write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len())?,
    }
    stream.write_all(&body)?;
    if path.starts_with("/certificate/") {
        write!(stream, "\r\n0\r\n\r\n")?;
    }
    stream.conn.send_close_notify();
    stream.flush()
}

impl State {
    fn give_nonce(&mut self) -> String {
        self.given += 1;
        let nonce = format!("nonce-{}", self.given);
        self.nonces.insert(nonce.clone());
        nonce
    }
}

fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status});
    (status, vec![], body.to_string().into_bytes())
}

fn decoded(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode_to_vec(text.as_str().unwrap_or_default()).unwrap_or_default()
}

/// The point of the P-256 key in a certificate or a request.
pub fn point_in(der: &[u8]) -> Option<[u8; 65]> {
    let at = der.windows(P256.len()).position(|window| window == P256)? + P256.len();
    der.get(at..at + 65)?.try_into().ok()
}

impl Shared {
    fn answer(self: &Arc<Self>, method: &str, path: &str, body: &[u8]) -> Answer {
        let url = |path: &str| format!("{}/{path}", self.base);
        match (method, path) {
            ("GET", "/directory") => {
                let urls = json!({"newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order")});
                (200, vec![], urls.to_string().into_bytes())
            }
            ("HEAD", "/nonce") => (200, vec![], vec![]),
            ("POST", path) => match self.verify(path, body) {
                Ok((account, payload)) => self.act(path, account, &payload),
                Err(answer) => answer,
            },
            _ => problem(404, "malformed", "no such resource"),
        }
    }

    /// Verifies a request; returns the number of its account and its payload, `None` for one that only reads.
    fn verify(&self, path: &str, body: &[u8]) -> Result<(usize, Option<Value>), Answer> {
        let malformed = |why: &str| problem(400, "malformed", why);
        let jws: Value = serde_json::from_slice(body).map_err(|_| malformed("no JWS"))?;
        let header: Value = serde_json::from_slice(&decoded(&jws["protected"])).map_err(|_| malformed("no header"))?;
        if header["alg"] != "ES256" || header["url"] != format!("{}{path}", self.base) {
            return Err(malformed("another algorithm or URL"));
        }
        let mut state = self.state.lock().unwrap();
        if !state.nonces.remove(header["nonce"].as_str().unwrap_or_default()) || !state.refused_a_nonce {
            state.refused_a_nonce = true;
            return Err(problem(400, "badNonce", "another nonce"));
        }
        let (jwk, kid) = (&header["jwk"], header["kid"].as_str());
        let key: [u8; 65] = match (path, kid) {
            ("/account", None) if jwk["kty"] == "EC" && jwk["crv"] == "P-256" => {
                let point = [vec![4], decoded(&jwk["x"]), decoded(&jwk["y"])].concat();
                point.try_into().map_err(|_| malformed("no key"))?
            }
            ("/account", _) => return Err(malformed("no key")),
            (_, Some(kid)) => {
                let number = kid.strip_prefix(&format!("{}/account/", self.base)).and_then(|text| text.parse().ok());
                let known = number.and_then(|number: usize| state.accounts.get(number));
                known.ok_or_else(|| problem(400, "accountDoesNotExist", "who are you?"))?.0
            }
            (_, None) => return Err(malformed("no account")),
        };
        let text = |name: &str| jws[name].as_str().unwrap_or_default().to_owned();
        let signed = format!("{}.{}", text("protected"), text("payload"));
        let is_signed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(signed.as_bytes(), &decoded(&jws["signature"]));
        is_signed.map_err(|_| malformed("a wrong signature"))?;
        let payload = decoded(&jws["payload"]);
        let payload = (!payload.is_empty()).then(|| serde_json::from_slice(&payload).unwrap());
        let number = state.accounts.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            let contact = payload.as_ref().map(|payload: &Value| payload["contact"].to_string()).unwrap_or_default();
            state.accounts.push((key, contact));
            state.accounts.len() - 1
        });
        Ok((number, payload))
    }

    fn act(self: &Arc<Self>, path: &str, account: usize, payload: &Option<Value>) -> Answer {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let number = |at: usize| parts.get(at).and_then(|part| part.parse::<usize>().ok()).unwrap_or_default();
        let (order, name) = (number(1), number(2));
        let mut state = self.state.lock().unwrap();
        let is_own = |state: &State| state.orders.get(order).is_some_and(|order| order.account == account);
        match (parts[0], payload) {
            ("account", Some(payload)) if payload["termsOfServiceAgreed"] == true => {
                let location = format!("{}/account/{account}", self.base);
                (201, vec![("Location", location)], json!({"status": "valid"}).to_string().into_bytes())
            }
            ("order", Some(_)) if state.refuses_orders => {
                state.refused_orders += 1;
                problem(429, "rateLimited", "too many certificates already issued")
            }
            ("order", Some(payload)) => {
                let names = payload["identifiers"].as_array().unwrap().iter().enumerate();
                let token = |at: usize| format!("token-{}-{at}", state.orders.len());
                let names =
                    names.map(|(at, name)| (name["value"].as_str().unwrap().to_owned(), token(at), Proof::Pending));
                let new = Order { account, names: names.collect(), certificate: None };
                state.orders.push(new);
                let number = state.orders.len() - 1;
                let location = format!("{}/order/{number}", self.base);
                (201, vec![("Location", location)], self.order(&state, number))
            }
            _ if !is_own(&state) => problem(403, "unauthorized", "not yours"),
            ("order", None) => (200, vec![], self.order(&state, order)),
            ("authorization", None) => {
                (200, vec![("Retry-After", "0".to_owned())], self.authorization(&state, order, name))
            }
            ("challenge", Some(_)) => {
                let shared = Arc::clone(self);
                std::thread::spawn(move || shared.prove(account, order, name));
                (200, vec![], self.challenge(&state, order, name).to_string().into_bytes())
            }
            ("finalize", Some(payload)) if state.orders[order].is_ready() => {
                match self.issue(&state, order, &decoded(&payload["csr"])) {
                    Ok(issued) => state.orders[order].certificate = Some(issued),
                    Err(why) => return problem(400, "badCSR", &why),
                }
                (200, vec![], self.order(&state, order))
            }
            ("certificate", None) => {
                let certificate = state.orders[order].certificate.clone();
                certificate.map_or_else(|| problem(404, "malformed", "none yet"), |pem| (200, vec![], pem.into_bytes()))
            }
            _ => problem(400, "malformed", "not understood"),
        }
    }

    fn order(&self, state: &State, number: usize) -> Vec<u8> {
        let order = &state.orders[number];
        let url = |what: &str| format!("{}/{what}/{number}", self.base);
        let names = 0..order.names.len();
        let status = match (&order.certificate, order.is_ready()) {
            (Some(_), _) => "valid",
            (None, true) => "ready",
            (None, false) => "pending",
        };
        let authorizations: Vec<String> = names.map(|at| format!("{}/{at}", url("authorization"))).collect();
        let mut body = json!({"status": status, "authorizations": authorizations, "finalize": url("finalize")});
        if order.certificate.is_some() {
            body["certificate"] = json!(url("certificate"));
        }
        body.to_string().into_bytes()
    }

    fn authorization(&self, state: &State, order: usize, at: usize) -> Vec<u8> {
        let challenge = self.challenge(state, order, at);
        let other = json!({"type": "http-01", "url": "https://localhost/", "token": "x", "status": "pending"});
        let identifier = json!({"type": "dns", "value": state.orders[order].names[at].0});
        let status = challenge["status"].clone();
        json!({"status": status, "identifier": identifier, "challenges": [other, challenge]}).to_string().into_bytes()
    }

    fn challenge(&self, state: &State, order: usize, at: usize) -> Value {
        let (_, token, proof) = &state.orders[order].names[at];
        let (status, error) = match proof {
            Proof::Pending => ("pending", None),
            Proof::Valid => ("valid", None),
            Proof::Invalid(why) => ("invalid", Some(json!({"type": "urn:ietf:params:acme:error:tls", "detail": why}))),
        };
        let url = format!("{}/challenge/{order}/{at}", self.base);
        let mut challenge = json!({"type": "tls-alpn-01", "url": url, "token": token, "status": status});
        if let Some(error) = error {
            challenge["error"] = error;
        }
        challenge
    }

    /// Proves a name at the listener, once there is one.
    fn prove(&self, account: usize, order: usize, at: usize) {
        let mut state = self.state.lock().unwrap();
        let waiting = self.changed.wait_timeout_while(state, LISTENER_WAIT_MAX, |state| state.listener.is_none());
        state = waiting.unwrap().0;
        let (name, token, _) = &state.orders[order].names[at];
        let (name, token, key) = (name.clone(), token.clone(), state.accounts[account].0);
        let listener = state.listener;
        drop(state);
        let proven = listener.ok_or_else(|| "no listener".to_owned());
        let proven = proven.and_then(|listener| proof::check(listener, &name, &proof::authorization(&token, &key)));
        self.state.lock().unwrap().orders[order].names[at].2 = match proven {
            Ok(()) => Proof::Valid,
            Err(why) => Proof::Invalid(why),
        };
    }

    /// Issues what a request (RFC 2986) asks for, which must be signed by its key and have the names of the order.
    fn issue(&self, state: &State, order: usize, request: &[u8]) -> Result<String, String> {
        struct Point([u8; 65]);
        impl PublicKeyData for Point {
            fn der_bytes(&self) -> &[u8] {
                &self.0
            }

            fn algorithm(&self) -> &'static SignatureAlgorithm {
                &PKCS_ECDSA_P256_SHA256
            }
        }
        let (whole, _) = element(request).ok_or("no request")?;
        let (_, after) = element(whole).ok_or("no content")?;
        let signed = &whole[..whole.len() - after.len()];
        let (_, signature) = element(after).ok_or("no algorithm")?;
        let (signature, _) = element(signature).ok_or("no signature")?;
        let point = point_in(signed).ok_or("no key of P-256")?;
        // A bit string begins with the number of its unused bits.
        let is_signed = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(signed, &signature[1..]);
        is_signed.map_err(|_| "a wrong signature".to_owned())?;
        let names: Vec<String> = state.orders[order].names.iter().map(|(name, ..)| name.clone()).collect();
        let has = |name: &String| proof::holds(signed, &[&[0x82, name.len() as u8], name.as_bytes()].concat());
        if !names.iter().all(has) {
            return Err("other names than those of the order".to_owned());
        }
        let mut params = CertificateParams::new(names).map_err(|error| error.to_string())?;
        params.not_before = OffsetDateTime::now_utc();
        params.not_after = params.not_before + time::Duration::seconds(state.life_seconds);
        let issued = params.signed_by(&Point(point), &self.pki.issuer).map_err(|error| error.to_string())?;
        Ok(pem("CERTIFICATE", issued.der()))
    }
}

impl Order {
    fn is_ready(&self) -> bool {
        self.names.iter().all(|(.., proof)| matches!(proof, Proof::Valid))
    }
}

/// The content of the first element of DER, and the rest after it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = (*der.get(1)?, der.get(2..)?);
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        _ => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}
