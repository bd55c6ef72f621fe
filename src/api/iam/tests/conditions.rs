//! Tests of the resources and condition keys with which IAM actions are decided.

use super::{ALICE, Host, ROOT, Response, escaped};
use serde_json::{Value, json};

const POLICY: &str = "arn:aws:iam::111122223333:policy/p/Own";
const PROVIDER: &str = "arn:aws:iam::111122223333:oidc-provider/id.example.org";

/// Returns a host with a user, a role, a policy and a provider, each with two tags.
async fn host() -> Host {
    let host = Host::new().await;
    let all = escaped(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#);
    let trust = escaped(
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"}}]}"#,
    );
    let tags = "Tags.member.1.Key=team&Tags.member.1.Value=a&Tags.member.2.Key=cost&Tags.member.2.Value=b";
    for form in [
        "Action=CreateUser&UserName=bob&Path=%2Fstaff%2F".to_owned(),
        format!("Action=CreateRole&RoleName=Reader&AssumeRolePolicyDocument={trust}"),
        format!("Action=CreatePolicy&PolicyName=Own&Path=%2Fp%2F&PolicyDocument={all}"),
        "Action=CreateOpenIDConnectProvider&Url=https%3A%2F%2Fid.example.org".to_owned(),
    ] {
        done(&host, &format!("{form}&{tags}")).await;
    }
    host
}

async fn done(host: &Host, form: &str) -> Response {
    let response = host.iam(ROOT, form).await;
    assert_eq!(response.status, 200, "{form}: {}", response.text);
    response
}

/// Gives alice one inline policy of all IAM actions and this statement.
async fn alice_has(host: &Host, statement: Value) {
    let all = json!({"Effect": "Allow", "Action": "iam:*", "Resource": "*"});
    alice_has_only(host, json!([all, statement])).await;
}

async fn alice_has_only(host: &Host, statements: Value) {
    let document = escaped(&json!({"Version": "2012-10-17", "Statement": statements}).to_string());
    done(host, &format!("Action=PutUserPolicy&UserName=alice&PolicyName=p&PolicyDocument={document}")).await;
}

async fn refused(host: &Host, form: &str) {
    let response = host.iam(ALICE, form).await;
    assert_eq!(response.code(), (403, "AccessDenied"), "{form}: {}", response.text);
}

async fn allowed(host: &Host, form: &str) {
    let response = host.iam(ALICE, form).await;
    assert_eq!(response.status, 200, "{form}: {}", response.text);
}

#[tokio::test]
async fn a_denial_of_a_policy_cannot_be_passed_by_another_spelling_of_its_arn() {
    let host = host().await;
    let about_policy = ["iam:DeletePolicy", "iam:TagPolicy"];
    alice_has(&host, json!({"Effect": "Deny", "Action": about_policy, "Resource": POLICY})).await;
    let spellings = [POLICY.to_owned(), POLICY.replace("Own", "own"), POLICY.replacen("aws", "aws-cn", 1)];
    for arn in &spellings {
        for form in ["Action=DeletePolicy", "Action=TagPolicy&Tags.member.1.Key=k&Tags.member.1.Value=v"] {
            let response = host.iam(ALICE, &format!("{form}&PolicyArn={arn}")).await;
            let expected = if arn == POLICY { (403, "AccessDenied") } else { (404, "NoSuchEntity") };
            assert_eq!(response.code(), expected, "{form} {arn}: {}", response.text);
        }
    }
    let condition = json!({"ArnEquals": {"iam:PolicyARN": [POLICY, "arn:aws:iam::aws:policy/AdministratorAccess"]}});
    let attach = json!({"Effect": "Deny", "Action": "iam:AttachUserPolicy", "Resource": "*", "Condition": condition});
    alice_has(&host, attach).await;
    let built_in = "arn:aws-cn:iam::aws:policy/AdministratorAccess".to_owned();
    for arn in spellings.iter().skip(1).chain([&built_in]) {
        let response = host.iam(ALICE, &format!("Action=AttachUserPolicy&UserName=alice&PolicyArn={arn}")).await;
        assert_eq!(response.code(), (404, "NoSuchEntity"), "{arn}: {}", response.text);
    }
}

#[tokio::test]
async fn removing_tags_is_decided_by_their_keys() {
    let host = host().await;
    let condition = json!({"ForAllValues:StringEquals": {"aws:TagKeys": "team"}});
    alice_has_only(
        &host,
        json!([{"Effect": "Allow", "Action": "iam:Untag*", "Resource": "*", "Condition": condition}]),
    )
    .await;
    for subject in [
        "Action=UntagUser&UserName=bob".to_owned(),
        "Action=UntagRole&RoleName=Reader".to_owned(),
        format!("Action=UntagPolicy&PolicyArn={POLICY}"),
        format!("Action=UntagOpenIDConnectProvider&OpenIDConnectProviderArn={PROVIDER}"),
    ] {
        refused(&host, &format!("{subject}&TagKeys.member.1=cost")).await;
        refused(&host, &format!("{subject}&TagKeys.member.1=team&TagKeys.member.2=cost")).await;
        allowed(&host, &format!("{subject}&TagKeys.member.1=team")).await;
    }
}

#[tokio::test]
async fn tags_of_a_new_policy_or_provider_need_the_permission_to_tag() {
    let host = Host::new().await;
    let document =
        escaped(r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#);
    for (action, tag, parameters) in [
        ("CreatePolicy", "TagPolicy", format!("PolicyName=New&PolicyDocument={document}")),
        ("CreateOpenIDConnectProvider", "TagOpenIDConnectProvider", "Url=https%3A%2F%2Fnew.example.org".to_owned()),
    ] {
        let tagged = format!("Action={action}&{parameters}&Tags.member.1.Key=team&Tags.member.1.Value=a");
        let create = format!("iam:{action}");
        alice_has_only(&host, json!([{"Effect": "Allow", "Action": create, "Resource": "*"}])).await;
        refused(&host, &tagged).await;
        let both = [create, format!("iam:{tag}")];
        alice_has_only(&host, json!([{"Effect": "Allow", "Action": both, "Resource": "*"}])).await;
        allowed(&host, &tagged).await;
    }
}

#[tokio::test]
async fn removing_a_permissions_boundary_is_decided_by_that_boundary() {
    let host = host().await;
    let condition = json!({"StringEquals": {"iam:PermissionsBoundary": POLICY}});
    let removal = "iam:Delete*PermissionsBoundary";
    alice_has(&host, json!({"Effect": "Deny", "Action": removal, "Resource": "*", "Condition": condition})).await;
    for subject in ["User&UserName=bob", "Role&RoleName=Reader"] {
        let (kind, name) = subject.split_once('&').expect("it has both");
        for (boundary, may) in [(POLICY, false), ("arn:aws:iam::aws:policy/AmazonS3FullAccess", true)] {
            done(&host, &format!("Action=Put{kind}PermissionsBoundary&{name}&PermissionsBoundary={boundary}")).await;
            let form = format!("Action=Delete{kind}PermissionsBoundary&{name}");
            if may { allowed(&host, &form).await } else { refused(&host, &form).await }
        }
    }
}

#[tokio::test]
async fn tags_of_the_resource_are_condition_keys_of_iam_actions() {
    let host = host().await;
    let subjects = [
        "User&UserName=bob".to_owned(),
        "Role&RoleName=Reader".to_owned(),
        format!("Policy&PolicyArn={POLICY}"),
        format!("OpenIDConnectProvider&OpenIDConnectProviderArn={PROVIDER}"),
    ];
    for service in ["aws", "iam"] {
        for (value, may) in [("a", false), ("b", true)] {
            let condition = json!({"StringEquals": {format!("{service}:ResourceTag/team"): value}});
            let deny = json!({"Effect": "Deny", "Action": "iam:Get*", "Resource": "*", "Condition": condition});
            alice_has(&host, deny).await;
            for subject in &subjects {
                let form = format!("Action=Get{subject}");
                if may { allowed(&host, &form).await } else { refused(&host, &form).await }
            }
        }
    }
}

#[tokio::test]
async fn a_rename_is_decided_by_the_path_and_a_move_by_the_name_that_stay() {
    let host = host().await;
    done(&host, "Action=CreateGroup&GroupName=Team&Path=%2Fstaff%2F").await;
    for (kind, name) in [("User", "bob"), ("Group", "Team")] {
        let path = format!("arn:aws:iam::111122223333:{}", kind.to_ascii_lowercase());
        let action = format!("iam:Update{kind}");
        let within = json!({"Effect": "Allow", "Action": action, "Resource": format!("{path}/staff/*")});
        let moved = json!({"Effect": "Allow", "Action": action, "Resource": format!("{path}/out/{name}")});
        alice_has_only(&host, json!([within, moved])).await;
        let form = format!("Action=Update{kind}&{kind}Name={}", name.to_ascii_uppercase());
        refused(&host, &format!("{form}&NewPath=%2F")).await;
        allowed(&host, &format!("{form}&New{kind}Name={name}2")).await;
        done(&host, &format!("Action=Update{kind}&{kind}Name={name}2&New{kind}Name={name}")).await;
        allowed(&host, &format!("{form}&NewPath=%2Fout%2F")).await;
    }
}

#[tokio::test]
async fn an_account_has_at_most_a_hundred_providers() {
    let host = host().await;
    let form = |number: usize| format!("Action=CreateOpenIDConnectProvider&Url=https%3A%2F%2Fid{number}.example.org");
    for number in 1..100 {
        done(&host, &form(number)).await;
    }
    assert_eq!(host.iam(ROOT, &form(100)).await.code(), (409, "LimitExceeded"));
}
