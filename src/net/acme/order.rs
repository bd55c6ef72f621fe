//! The course of one order: account, order, challenges, request, certificate (RFC 8555, section 7).

use super::{AccountKey, AcmeClient, AcmeError, Answer, ChallengeAnswers, Issued, Problem, exchange};
use base64_simd::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Attempts of a request whose nonce the server does not take (any more).
const NONCES_MAX: usize = 4;
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
/// The pauses between looks at what the server works on: the first, and the longest.
const POLL_MIN: Duration = Duration::from_millis(250);
const POLL_MAX: Duration = Duration::from_secs(10);
/// A chain of more bytes is not kept.
const CHAIN_BYTES_MAX: usize = 32 << 10;
const CHALLENGE: &str = "tls-alpn-01";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
    new_order: String,
}

#[derive(Deserialize)]
struct Order {
    status: String,
    authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Authorization {
    status: String,
    identifier: Identifier,
    challenges: Vec<Challenge>,
}

#[derive(Deserialize)]
struct Identifier {
    value: String,
}

#[derive(Deserialize)]
struct Challenge {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    #[serde(default)]
    token: String,
    error: Option<Problem>,
}

/// The requests of one order. Each but the first is signed with a nonce that the server gave.
pub(super) struct Session<'a> {
    client: &'a AcmeClient,
    key: &'a AccountKey,
    directory: Directory,
    /// The account's URL.
    account: Option<String>,
    nonce: Option<String>,
}

impl<'a> Session<'a> {
    /// Reads the directory, and finds or makes the account.
    pub(super) async fn begin(client: &'a AcmeClient, key: &'a AccountKey) -> Result<Self, AcmeError> {
        let answer = exchange(&client.tls, "GET", &client.directory, None).await?;
        let directory = parse(&client.directory, &checked(&client.directory, answer)?.body)?;
        let mut session = Self { client, key, directory, account: None, nonce: None };
        let url = session.directory.new_account.clone();
        let account = json!({"termsOfServiceAgreed": true, "contact": [client.contact]});
        let answer = session.post(&url, Some(&account)).await?;
        session.account = Some(location(&url, &answer)?);
        Ok(session)
    }

    pub(super) async fn order(
        &mut self,
        names: &[String],
        answers: &dyn ChallengeAnswers,
    ) -> Result<Issued, AcmeError> {
        let url = self.directory.new_order.clone();
        let identifiers: Vec<Value> = names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let answer = self.post(&url, Some(&json!({"identifiers": identifiers}))).await?;
        let order_url = location(&url, &answer)?;
        let order: Order = parse(&url, &answer.body)?;
        for authorization in &order.authorizations {
            self.prove(authorization, answers).await?;
        }
        let ready = self.order_beyond(&order_url, &["pending"]).await?;
        let (order, key) = self.finalize(&order_url, &ready, names).await?;
        let (Some(url), "valid") = (&order.certificate, order.status.as_str()) else {
            return Err(protocol(&order_url, &format!("an order without a certificate is {:?}", order.status)));
        };
        let answer = self.post(url, None).await?;
        if answer.body.len() > CHAIN_BYTES_MAX {
            return Err(protocol(url, &format!("a certificate has more than {CHAIN_BYTES_MAX} bytes")));
        }
        let chain = String::from_utf8(answer.body).map_err(|_| protocol(url, "a certificate is not PEM"))?;
        Ok(Issued { chain, key })
    }

    /// Sends the request for the certificate, with a fresh key; returns the order that has one, and the key.
    async fn finalize(
        &mut self,
        order_url: &str,
        order: &Order,
        names: &[String],
    ) -> Result<(Order, String), AcmeError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        let request = json!({"csr": URL_SAFE_NO_PAD.encode_to_string(request.der())});
        self.post(&order.finalize, Some(&request)).await?;
        let order = self.order_beyond(order_url, &["ready", "processing"]).await?;
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            base64_simd::STANDARD.encode_to_string(key.serialize_der())
        );
        Ok((order, pem))
    }

    /// Proves control of the name of one authorization.
    async fn prove(&mut self, url: &str, answers: &dyn ChallengeAnswers) -> Result<(), AcmeError> {
        let mut authorization: Authorization = self.read(url).await?.0;
        if authorization.status == "pending" {
            let name = &authorization.identifier.value;
            let Some(challenge) = authorization.challenges.iter().find(|challenge| challenge.kind == CHALLENGE) else {
                return Err(protocol(url, &format!("no challenge {CHALLENGE} is offered for {name}")));
            };
            answers.show(name, Arc::new(self.key.challenge_certificate(name, &challenge.token)?));
            self.post(&challenge.url, Some(&json!({}))).await?;
        }
        let mut pauses = Pauses::new();
        while authorization.status == "pending" {
            pauses.wait().await;
            let (read, retry_after) = self.read::<Authorization>(url).await?;
            pauses.asked(retry_after);
            authorization = read;
        }
        if authorization.status == "valid" {
            return Ok(());
        }
        let problem = authorization.challenges.into_iter().find_map(|challenge| challenge.error);
        Err(AcmeError::Unproven { name: authorization.identifier.value, problem: problem.unwrap_or_default() })
    }

    /// Returns the order once it has another status than these.
    async fn order_beyond(&mut self, url: &str, statuses: &[&str]) -> Result<Order, AcmeError> {
        let mut pauses = Pauses::new();
        loop {
            let (order, retry_after) = self.read::<Order>(url).await?;
            if let Some(problem) = order.error {
                return Err(AcmeError::Failed { problem });
            }
            if !statuses.contains(&order.status.as_str()) {
                return Ok(order);
            }
            pauses.asked(retry_after);
            pauses.wait().await;
        }
    }

    async fn read<T: DeserializeOwned>(&mut self, url: &str) -> Result<(T, Option<Duration>), AcmeError> {
        let answer = self.post(url, None).await?;
        Ok((parse(url, &answer.body)?, answer.retry_after))
    }

    /// Sends a signed request; a nonce that is not taken is replaced.
    async fn post(&mut self, url: &str, payload: Option<&Value>) -> Result<Answer, AcmeError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let nonce = self.nonce().await?;
            let body = self.key.sign(self.account.as_deref(), &nonce, url, payload)?;
            let answer = exchange(&self.client.tls, "POST", url, Some(&body)).await?;
            self.nonce = answer.nonce.clone();
            match checked(url, answer) {
                Err(AcmeError::Refused { problem, .. }) if problem.kind == BAD_NONCE && attempts < NONCES_MAX => {}
                checked => return checked,
            }
        }
    }

    async fn nonce(&mut self) -> Result<String, AcmeError> {
        if let Some(nonce) = self.nonce.take() {
            return Ok(nonce);
        }
        let url = &self.directory.new_nonce;
        let answer = checked(url, exchange(&self.client.tls, "HEAD", url, None).await?)?;
        answer.nonce.ok_or_else(|| protocol(url, "an answer has no Replay-Nonce"))
    }
}

/// The pauses between looks at what the server works on, longer each time.
struct Pauses {
    next: Duration,
    asked: Option<Duration>,
}

impl Pauses {
    fn new() -> Self {
        Self { next: POLL_MIN, asked: None }
    }

    /// The server may ask for longer pauses; the order's own bound holds.
    fn asked(&mut self, retry_after: Option<Duration>) {
        self.asked = retry_after;
    }

    async fn wait(&mut self) {
        sleep(self.asked.take().map_or(self.next, |asked| asked.max(self.next))).await;
        self.next = (2 * self.next).min(POLL_MAX);
    }
}

fn checked(url: &str, answer: Answer) -> Result<Answer, AcmeError> {
    let Answer { status, retry_after, .. } = answer;
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let problem = serde_json::from_slice(&answer.body).unwrap_or_default();
    Err(AcmeError::Refused { url: url.to_owned(), status, problem, retry_after })
}

fn parse<T: DeserializeOwned>(url: &str, body: &[u8]) -> Result<T, AcmeError> {
    serde_json::from_slice(body).map_err(|error| protocol(url, &error.to_string()))
}

fn location(url: &str, answer: &Answer) -> Result<String, AcmeError> {
    answer.location.clone().ok_or_else(|| protocol(url, "an answer has no Location"))
}

fn protocol(url: &str, why: &str) -> AcmeError {
    AcmeError::Protocol { url: url.to_owned(), why: why.to_owned() }
}
