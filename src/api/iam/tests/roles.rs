//! Tests of AssumeRole, GetSessionToken and GetFederationToken.

use super::{ACCOUNT, ALICE, Host, OTHER_ROOT, ROOT, Response, escaped};
use crate::api::identity::{Documents, Resolved, resolve, secret_key};

const ROLE: &str = "RoleArn=arn:aws:iam::111122223333:role/Reader&RoleSessionName=job";

fn trust(who: &str, action: &str) -> String {
    escaped(&format!(
        r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Action":{action},"Principal":{{"AWS":"{who}"}}}}]}}"#
    ))
}

async fn with_role(who: &str) -> Host {
    let host = Host::new().await;
    let trust = trust(who, "\"sts:AssumeRole\"");
    let response = host.iam(ROOT, &format!("Action=CreateRole&RoleName=Reader&AssumeRolePolicyDocument={trust}")).await;
    assert_eq!(response.status, 200, "{}", response.text);
    host
}

async fn allow(host: &Host, root: (&str, &str), user: &str, action: &str) {
    let document = escaped(&format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
    ));
    let form = format!("Action=PutUserPolicy&UserName={user}&PolicyName=p&PolicyDocument={document}");
    assert_eq!(host.iam(root, &form).await.status, 200);
}

/// Resolves the credentials in an answer to the caller.
fn who(host: &Host, response: &Response) -> Resolved {
    let rows: Box<dyn Documents> = Box::new(host.store.rows.lock().expect("no test panics with it").clone());
    let (key, token) = (response.element("AccessKeyId"), response.element("SessionToken"));
    let now = host.world.ambient.clock.unix_ms();
    let directory = host.service.directory(&*rows);
    let secret = secret_key(&directory, host.service.credential_keys(), key, now).expect("a session's key");
    assert_eq!(secret, response.element("SecretAccessKey"));
    resolve(&directory, host.service.credential_keys(), key, Some(token), now).expect("a good token")
}

#[tokio::test]
async fn a_user_named_by_a_trust_policy_may_assume_the_role() {
    let host = with_role("arn:aws:iam::111122223333:user/alice").await;
    let response = host.sts(ALICE, &format!("Action=AssumeRole&{ROLE}")).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(response.element("Expiration"), "2024-05-01T01:00:00Z");
    let who = who(&host, &response);
    assert_eq!(who.principal.arn, "arn:aws:sts::111122223333:assumed-role/Reader/job");
    assert_eq!(host.sts(ROOT, &format!("Action=AssumeRole&{ROLE}")).await.code(), (403, "AccessDenied"));
    let respelled = host.sts(ALICE, &format!("Action=AssumeRole&{}", ROLE.replace("Reader", "reader"))).await;
    assert_eq!(respelled.code(), (403, "AccessDenied"), "the role's ARN is another");
    for wrong in ["x", "a b", ""] {
        let form = format!("Action=AssumeRole&RoleArn=arn:aws:iam::111122223333:role/Reader&RoleSessionName={wrong}");
        assert_eq!(host.sts(ALICE, &form).await.code(), (400, "ValidationError"), "{wrong}");
    }
}

#[tokio::test]
async fn a_trust_policy_that_names_an_account_requires_an_identity_policy() {
    let host = with_role(ACCOUNT).await;
    let form = format!("Action=AssumeRole&{ROLE}");
    assert_eq!(host.sts(ALICE, &form).await.code(), (403, "AccessDenied"));
    allow(&host, ROOT, "alice", "sts:AssumeRole").await;
    assert_eq!(host.sts(ALICE, &form).await.status, 200);
    let absent = host.sts(ALICE, &form.replace("Reader", "Nothing")).await;
    assert_eq!(absent.code(), (403, "AccessDenied"), "the answer hides whether the role exists");
}

#[tokio::test]
async fn session_tags_need_tag_session_in_the_trust_policy() {
    let host = with_role("arn:aws:iam::111122223333:user/alice").await;
    let form = format!(
        "Action=AssumeRole&{ROLE}&Tags.member.1.Key=team&Tags.member.1.Value=a&TransitiveTagKeys.member.1=team"
    );
    assert_eq!(host.sts(ALICE, &form).await.code(), (403, "AccessDenied"));
    let trust = trust("arn:aws:iam::111122223333:user/alice", r#"["sts:AssumeRole","sts:TagSession"]"#);
    host.iam(ROOT, &format!("Action=UpdateAssumeRolePolicy&RoleName=Reader&PolicyDocument={trust}")).await;
    let who = who(&host, &host.sts(ALICE, &form).await);
    assert_eq!(who.principal.tags, [("team".to_owned(), "a".to_owned())]);
    assert_eq!(who.session.expect("it is a session").transitive.len(), 1);
}

#[tokio::test]
async fn what_a_session_passes_on_needs_the_trust_of_the_next_role_too() {
    let by_account = |action: &str| trust(ACCOUNT, action);
    for (passed, action) in [
        ("&Tags.member.1.Key=team&Tags.member.1.Value=a&TransitiveTagKeys.member.1=team", "sts:TagSession"),
        ("&SourceIdentity=alice", "sts:SetSourceIdentity"),
    ] {
        let host = with_role(ACCOUNT).await;
        allow(&host, ROOT, "alice", "*").await;
        let all = escaped(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#);
        let wide = by_account(&format!(r#"["sts:AssumeRole","{action}"]"#));
        for form in [
            format!("Action=CreateRole&RoleName=First&AssumeRolePolicyDocument={wide}"),
            format!("Action=PutRolePolicy&RoleName=First&PolicyName=p&PolicyDocument={all}"),
        ] {
            assert_eq!(host.iam(ROOT, &form).await.status, 200);
        }
        let first = host.sts(ALICE, &format!("Action=AssumeRole&{}{passed}", ROLE.replace("Reader", "First"))).await;
        assert_eq!(first.status, 200, "{}", first.text);
        let second = format!("Action=AssumeRole&{ROLE}");
        assert_eq!(host.sts_with(&first, &second).await.code(), (403, "AccessDenied"), "{action}");
        host.iam(ROOT, &format!("Action=UpdateAssumeRolePolicy&RoleName=Reader&PolicyDocument={wide}")).await;
        let second = host.sts_with(&first, &second).await;
        assert_eq!(second.status, 200, "{}", second.text);
    }
}

#[tokio::test]
async fn the_duration_of_a_session_is_limited_by_its_role() {
    let host = with_role("arn:aws:iam::111122223333:user/alice").await;
    for (seconds, status) in [(900, 200), (3600, 200), (3601, 400), (899, 400), (43_201, 400)] {
        let response = host.sts(ALICE, &format!("Action=AssumeRole&{ROLE}&DurationSeconds={seconds}")).await;
        assert_eq!(response.status, status, "{seconds}: {}", response.text);
    }
    host.iam(ROOT, "Action=UpdateRole&RoleName=Reader&MaxSessionDuration=7200").await;
    assert_eq!(host.sts(ALICE, &format!("Action=AssumeRole&{ROLE}&DurationSeconds=7200")).await.status, 200);
}

#[tokio::test]
async fn get_session_token_gives_the_rights_of_the_calling_user_or_root() {
    let host = Host::new().await;
    let response = host.sts(ALICE, "Action=GetSessionToken").await;
    let resolved = who(&host, &response);
    assert_eq!(resolved.principal.arn, "arn:aws:iam::111122223333:user/alice");
    assert!(resolved.session.is_some() && resolved.session_policies.is_none());
    let root = host.sts(OTHER_ROOT, "Action=GetSessionToken").await;
    assert_eq!(root.element("Expiration"), "2024-05-01T01:00:00Z", "a root's lasts an hour");
    assert_eq!(who(&host, &root).principal.arn, "arn:aws:iam::444455556666:root");
}

#[tokio::test]
async fn tags_of_a_federated_user_need_tag_session() {
    let host = Host::new().await;
    let plain = "Action=GetFederationToken&Name=bob";
    let tagged = format!("{plain}&Tags.member.1.Key=team&Tags.member.1.Value=a");
    allow(&host, ROOT, "alice", "sts:GetFederationToken").await;
    assert_eq!(host.sts(ALICE, plain).await.status, 200);
    assert_eq!(host.sts(ALICE, &tagged).await.code(), (403, "AccessDenied"));
    let limited = escaped(
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:GetFederationToken","sts:TagSession"],
            "Resource":"*","Condition":{"StringEqualsIfExists":{"aws:RequestTag/team":"a"}}}]}"#,
    );
    let form = format!("Action=PutUserPolicy&UserName=alice&PolicyName=p&PolicyDocument={limited}");
    assert_eq!(host.iam(ROOT, &form).await.status, 200);
    let response = host.sts(ALICE, &tagged).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert_eq!(who(&host, &response).principal.tags, [("team".to_owned(), "a".to_owned())]);
    assert_eq!(host.sts(ALICE, &tagged.replace("Value=a", "Value=b")).await.code(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_federated_user_is_limited_by_the_session_policies_of_the_call() {
    let host = Host::new().await;
    assert_eq!(host.sts(ALICE, "Action=GetFederationToken&Name=bob").await.code(), (403, "AccessDenied"));
    allow(&host, ROOT, "alice", "sts:GetFederationToken").await;
    let response = host.sts(ALICE, "Action=GetFederationToken&Name=bob").await;
    assert_eq!(response.element("Arn"), "arn:aws:sts::111122223333:federated-user/bob");
    assert_eq!(who(&host, &response).session_policies, Some(Vec::new()));
    let long = escaped(&format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:{}","Resource":"*"}}]}}"#,
        "x".repeat(2048)
    ));
    let response = host.sts(ALICE, &format!("Action=GetFederationToken&Name=bob&Policy={long}")).await;
    assert_eq!(response.code(), (400, "PackedPolicyTooLarge"));
}

#[tokio::test]
async fn a_session_whose_token_would_be_too_long_is_not_issued() {
    let host = Host::new().await;
    allow(&host, ROOT, "alice", "sts:*").await;
    for (count, code) in [(5, (200, "")), (50, (400, "PackedPolicyTooLarge"))] {
        let value = escaped(&"\u{10348}".repeat(256));
        let tags = (1..=count).map(|at| format!("&Tags.member.{at}.Key=k{at}&Tags.member.{at}.Value={value}"));
        let form = format!("Action=GetFederationToken&Name=bob{}", tags.collect::<String>());
        let response = host.sts(ALICE, &form).await;
        assert_eq!(response.code(), code, "{count} tags");
        if response.status == 200 {
            assert_eq!(who(&host, &response).principal.tags.len(), count);
        }
    }
}

#[tokio::test]
async fn a_user_with_the_name_of_a_former_one_may_not_assume_its_roles() {
    let host = with_role("arn:aws:iam::111122223333:user/alice").await;
    let assume = format!("Action=AssumeRole&{ROLE}");
    assert_eq!(host.sts(ALICE, &assume).await.status, 200);
    let delete_key = format!("Action=DeleteAccessKey&UserName=alice&AccessKeyId={}", ALICE.0);
    for form in [&delete_key, "Action=DeleteUser&UserName=alice", "Action=CreateUser&UserName=alice"] {
        let response = host.iam(ROOT, form).await;
        assert_eq!(response.status, 200, "{form}: {}", response.text);
    }
    let key = host.iam(ROOT, "Action=CreateAccessKey&UserName=alice").await;
    let newer = (key.element("AccessKeyId"), key.element("SecretAccessKey"));
    assert_eq!(host.sts(newer, &assume).await.code(), (403, "AccessDenied"));
    let trust = trust("arn:aws:iam::111122223333:user/alice", "\"sts:AssumeRole\"");
    host.iam(ROOT, &format!("Action=UpdateAssumeRolePolicy&RoleName=Reader&PolicyDocument={trust}")).await;
    assert_eq!(host.sts(newer, &assume).await.status, 200, "it is named now");
}

#[tokio::test]
async fn temporary_credentials_may_call_few_actions_of_sts() {
    let host = with_role(ACCOUNT).await;
    allow(&host, ROOT, "alice", "*").await;
    let all = escaped(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#);
    let federated = host.sts(ALICE, &format!("Action=GetFederationToken&Name=bob&Policy={all}")).await;
    let session = host.sts(ALICE, "Action=GetSessionToken").await;
    let assume = format!("Action=AssumeRole&{ROLE}");
    let info = format!("Action=GetAccessKeyInfo&AccessKeyId={}", ALICE.0);
    let chained = host.sts_with(&session, &assume).await;
    let may = [
        (&federated, "Action=GetCallerIdentity", 200),
        (&federated, &assume, 403),
        (&federated, &info, 403),
        (&session, "Action=GetCallerIdentity", 200),
        (&session, &assume, 200),
        (&session, &info, 403),
        (&session, "Action=GetSessionToken", 403),
        (&chained, "Action=GetCallerIdentity", 200),
        (&chained, "Action=GetSessionToken", 403),
    ];
    for (number, (credentials, form, status)) in may.into_iter().enumerate() {
        let response = host.sts_with(credentials, form).await;
        assert_eq!(response.status, status, "case {number}, {form}: {}", response.text);
    }
}
