//! Tests of AssumeRoleWithWebIdentity.

use super::{ALICE, Host, MemoryStore, ROOT, Response, escaped};
use crate::api::iam::KeySets;
use crate::api::identity::tests::memory::Rows;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;

const ISSUER: &str = "https://id.example.org/realm";
/// 1 May 2024, the time of the tests.
const NOW: i64 = 1_714_521_600;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes.as_ref())
}

/// A provider that signs with ES256.
struct Provider {
    pair: EcdsaKeyPair,
}

impl Provider {
    fn new() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).expect("its own key");
        Self { pair }
    }

    fn key_set(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "x": x, "y": y});
        json!({"keys": [{"kty": "oct", "k": "AA"}, key]}).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("it can sign");
        format!("{signed}.{}", encoded(signature))
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "subject", "aud": ["app", "other"], "exp": NOW + 60, "iat": NOW, "azp": "app"})
}

/// A source of one key set. The stored identities change while it is fetched.
struct KeysDuringChange {
    key_set: String,
    store: Arc<MemoryStore>,
    after: Rows,
}

impl std::fmt::Debug for KeysDuringChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeysDuringChange").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl KeySets for KeysDuringChange {
    async fn key_set(&self, _url: &str) -> Result<String, String> {
        *self.store.rows.lock().expect("no test panics with it") = self.after.clone();
        Ok(self.key_set.clone())
    }
}

/// Returns a host with a role that one subject of the provider may assume through the client `app`.
async fn host(provider: &Provider) -> Host {
    let host = Host::new().await;
    *host.key_set.0.lock().expect("no test panics with it") = Ok(provider.key_set());
    let url = escaped(ISSUER);
    host.iam(ROOT, &format!("Action=CreateOpenIDConnectProvider&Url={url}&ClientIDList.member.1=app")).await;
    let trust = escaped(
        &json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
            "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/id.example.org/realm"},
            "Condition": {"StringEquals": {"id.example.org/realm:sub": "subject"}},
        }]})
        .to_string(),
    );
    let response = host.iam(ROOT, &format!("Action=CreateRole&RoleName=web&AssumeRolePolicyDocument={trust}")).await;
    assert_eq!(response.status, 200, "{}", response.text);
    host
}

async fn assume(host: &Host, token: &str) -> Response {
    let form = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/web\
         &RoleSessionName=job&WebIdentityToken={token}"
    );
    host.answer(&[], "", &form).await
}

#[tokio::test]
async fn a_token_of_the_provider_gets_a_session_of_the_role() {
    let provider = Provider::new();
    let host = host(&provider).await;
    let response = assume(&host, &provider.token(&claims())).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(response.element("SubjectFromWebIdentityToken"), "subject");
    assert_eq!((response.element("Provider"), response.element("Audience")), (ISSUER, "app"));
    assert_eq!(response.element("Arn"), "arn:aws:sts::111122223333:assumed-role/web/job");
    let by_query = format!(
        "Action=AssumeRoleWithWebIdentity&RoleArn=arn:aws:iam::111122223333:role/web&RoleSessionName=job\
         &WebIdentityToken={}",
        provider.token(&claims())
    );
    assert_eq!(host.answer(&[], &by_query, "").await.status, 200, "some clients send it all in the query");
}

#[tokio::test]
async fn a_forged_expired_or_foreign_web_identity_token_is_refused() {
    let provider = Provider::new();
    let host = host(&provider).await;
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        provider.token(&claims)
    };
    let good = provider.token(&claims());
    let (signed, signature) = good.rsplit_once('.').expect("it has three parts");
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{signed}.{other}{}", &signature[1..]);
    let none = format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(claims().to_string()));
    let cases = [
        (Provider::new().token(&claims()), 400, "InvalidIdentityToken"),
        (changed, 400, "InvalidIdentityToken"),
        (none, 400, "InvalidIdentityToken"),
        ("abcdef".to_owned(), 400, "InvalidIdentityToken"),
        (with("exp", json!(NOW)), 400, "ExpiredTokenException"),
        (with("nbf", json!(NOW + 3600)), 400, "InvalidIdentityToken"),
        (with("nbf", json!((NOW - 60).to_string())), 400, "InvalidIdentityToken"),
        (with("iat", json!(null)), 400, "InvalidIdentityToken"),
        (with("iss", json!("https://other.example.org")), 400, "InvalidIdentityToken"),
        (with("iss", json!("http://id.example.org/realm")), 400, "InvalidIdentityToken"),
        (with("sub", json!("somebody else")), 403, "AccessDenied"),
        (with("sub", json!(null)), 400, "InvalidIdentityToken"),
    ];
    for (token, status, code) in cases {
        assert_eq!(assume(&host, &token).await.code(), (status, code), "{token}");
    }
    let mut strange = claims();
    (strange["aud"], strange["azp"]) = (json!("strange"), json!("strange"));
    assert_eq!(assume(&host, &provider.token(&strange)).await.code(), (400, "InvalidIdentityToken"));
    *host.key_set.0.lock().expect("no test panics with it") = Err("it is away".to_owned());
    assert_eq!(assume(&host, &good).await.code(), (400, "IDPCommunicationError"));
}

#[tokio::test]
async fn a_web_identity_token_is_for_a_client_id_of_its_provider() {
    let provider = Provider::new();
    let host = host(&provider).await;
    let invalid = (400, "InvalidIdentityToken");
    for (audiences, party, expected) in [
        (json!("app"), json!("app"), (200, "")),
        (json!(["other", "app"]), json!("app"), (200, "")),
        (json!("app"), json!("strange"), invalid),
        (json!("app"), json!(["app"]), invalid),
        (json!("app"), json!(null), invalid),
        (json!("strange"), json!("app"), invalid),
        (json!([]), json!("app"), invalid),
        (json!(null), json!("app"), invalid),
    ] {
        let mut claims = claims();
        (claims["aud"], claims["azp"]) = (audiences, party);
        assert_eq!(assume(&host, &provider.token(&claims)).await.code(), expected, "{claims}");
    }
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove("azp");
    assert_eq!(assume(&host, &provider.token(&claims)).await.code(), (200, ""), "no token needs a party");
}

#[tokio::test]
async fn a_provider_without_client_ids_accepts_no_token() {
    let provider = Provider::new();
    let host = host(&provider).await;
    let token = provider.token(&claims());
    let arn = "arn:aws:iam::111122223333:oidc-provider/id.example.org/realm";
    let change = async |action: &str| {
        let form = format!("Action={action}OpenIDConnectProvider&OpenIDConnectProviderArn={arn}&ClientID=app");
        assert_eq!(host.iam(ROOT, &form).await.status, 200, "{form}");
    };
    change("RemoveClientIDFrom").await;
    assert_eq!(assume(&host, &token).await.code(), (400, "InvalidIdentityToken"));
    change("AddClientIDTo").await;
    assert_eq!(assume(&host, &token).await.status, 200);
}

#[tokio::test]
async fn a_provider_or_role_that_is_deleted_while_its_keys_are_fetched_gives_no_session() {
    let provider = Provider::new();
    let delete_provider = "Action=DeleteOpenIDConnectProvider\
                           &OpenIDConnectProviderArn=arn:aws:iam::111122223333:oidc-provider/id.example.org/realm";
    for (form, expected) in
        [(delete_provider, (400, "InvalidIdentityToken")), ("Action=DeleteRole&RoleName=web", (403, "AccessDenied"))]
    {
        let mut host = host(&provider).await;
        let rows = || host.store.rows.lock().expect("no test panics with it").clone();
        let before = rows();
        assert_eq!(host.iam(ROOT, form).await.status, 200, "{form}");
        let after = rows();
        *host.store.rows.lock().expect("no test panics with it") = before;
        assert_eq!(assume(&host, &provider.token(&claims())).await.status, 200);
        let keys = KeysDuringChange { key_set: provider.key_set(), store: Arc::clone(&host.store), after };
        host.service.key_sets = Arc::new(keys);
        assert_eq!(assume(&host, &provider.token(&claims())).await.code(), expected, "{form}");
    }
}

#[tokio::test]
async fn the_existence_of_a_role_is_hidden_without_a_valid_token() {
    let provider = Provider::new();
    let host = host(&provider).await;
    let mut strange = claims();
    strange["iss"] = json!("https://other.example.org");
    let mut somebody = claims();
    somebody["sub"] = json!("somebody else");
    for token in [provider.token(&strange), Provider::new().token(&claims()), provider.token(&somebody)] {
        let ask = async |role: &str| {
            let form = format!(
                "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/{role}\
                 &RoleSessionName=job&WebIdentityToken={token}"
            );
            let response = host.answer(&[], "", &form).await;
            (response.code().0, response.code().1.to_owned(), response.element("Message").to_owned())
        };
        assert_eq!(ask("web").await, ask("absent").await);
    }
}

#[tokio::test]
async fn a_session_tag_with_several_values_is_refused() {
    let provider = Provider::new();
    let host = host(&provider).await;
    let mut claims = claims();
    claims["https://aws.amazon.com/tags"] = json!({"principal_tags": {"Department": ["Engineering", "Sales"]}});
    assert_eq!(assume(&host, &provider.token(&claims)).await.code(), (400, "InvalidIdentityToken"));
}

#[tokio::test]
async fn a_web_identity_token_can_set_session_tags() {
    let provider = Provider::new();
    let host = host(&provider).await;
    let mut claims = claims();
    claims["https://aws.amazon.com/tags"] =
        json!({"principal_tags": {"Department": ["Engineering"]}, "transitive_tag_keys": ["Department"]});
    let response = assume(&host, &provider.token(&claims)).await;
    let (key, token) = (response.element("AccessKeyId"), response.element("SessionToken"));
    let session = host.service.sessions.open(key, token, host.world.ambient.clock.unix_ms()).expect("a good token");
    assert_eq!(session.tags, [("Department".to_owned(), "Engineering".to_owned())]);
    assert!(session.claims.contains(&("id.example.org/realm:aud".to_owned(), "app".to_owned())));
    let denied =
        host.sts(ALICE, "Action=AssumeRole&RoleArn=arn:aws:iam::111122223333:role/web&RoleSessionName=job").await;
    assert_eq!(denied.code(), (403, "AccessDenied"), "the role is for the provider's only");
}
