//! Tests of signatures, permissions, answers, errors and lists of IAM calls.

use super::{ALICE, FILE, Host, OTHER_ROOT, ROOT, escaped};
use crate::actors::meta::{DocumentWrite, Expect};
use crate::api::iam::store::{IdentityStore, Written};
use crate::api::iam::{IamFault, Impersonation, RequestFacts, administer};
use crate::api::identity::changes::accounts_file::AccountsFile;
use crate::api::identity::records::{Granted, Record, UserRecord, encode, key_of};
use crate::limits::IDENTITIES_LISTED_BYTES;
use serde_json::json;
use std::sync::atomic::Ordering;

const READ_USERS: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*"}]}"#;

#[tokio::test]
async fn an_accounts_file_is_applied_as_a_whole_or_not_at_all() {
    let host = Host::new().await;
    // The user's key has left the file; its policy does not exist.
    let alice = r#""keys": [{"access_key": "alicekey", "secret_key": "alicesecret"}]"#;
    let wrong = FILE.replace(alice, r#""policies": ["arn:aws:iam::aws:policy/NoSuchPolicy"]"#);
    assert_ne!(wrong, FILE);
    let mut written = 0;
    let applied = host.service.apply_accounts(&AccountsFile::parse(&wrong).expect("a good file"), &mut written).await;
    assert!(applied.is_err() && written == 0, "{applied:?}, {written} documents");
    let answer = host.signed(ALICE, "us-east-1", "sts", "Action=GetCallerIdentity&Version=2011-06-15").await;
    assert_eq!(answer.status, 200, "the key is there: {}", answer.text);
}

#[tokio::test]
async fn answers_and_errors_have_the_xml_of_aws() {
    let host = Host::new().await;
    let response = host.iam(ROOT, "Action=CreateUser&UserName=bob&Path=%2Fx%2F").await;
    assert_eq!(response.status, 200);
    let id = response.element("UserId").to_owned();
    assert_eq!(
        response.text,
        format!(
            "<CreateUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><CreateUserResult><User>\
             <Path>/x/</Path>\
             <UserName>bob</UserName><UserId>{id}</UserId><Arn>arn:aws:iam::111122223333:user/x/bob</Arn>\
             <CreateDate>2024-05-01T00:00:00Z</CreateDate></User></CreateUserResult><ResponseMetadata>\
             <RequestId>0001</RequestId></ResponseMetadata></CreateUserResponse>"
        )
    );
    let gone = host.iam(ROOT, "Action=DeleteUser&UserName=bob").await;
    assert!(!gone.text.contains("Result>"), "nothing is answered but that it was done: {}", gone.text);
    let absent = host.iam(ROOT, "Action=GetUser&UserName=bob").await;
    assert_eq!(
        absent.text,
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
         <Code>NoSuchEntity</Code><Message>The user with name bob cannot be found.</Message></Error>\
         <RequestId>0001</RequestId></ErrorResponse>"
    );
}

#[tokio::test]
async fn requested_region_is_that_of_the_store_whatever_is_signed() {
    let host = Host::new().await;
    let condition = r#""Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}},"Effect""#;
    let document = escaped(&READ_USERS.replace(r#""Effect""#, condition));
    let put = format!("Action=PutUserPolicy&UserName=alice&PolicyName=p&PolicyDocument={document}");
    assert_eq!(host.iam(ROOT, &put).await.status, 200);
    let form = "Action=ListUsers&Version=2010-05-08";
    for region in ["eu-west-1", "us-east-1", ""] {
        assert_eq!(host.signed(ALICE, region, "iam", form).await.status, 200, "{region}");
    }
    assert_eq!(host.iam(ROOT, &put.replace("eu-west-1", "us-east-1")).await.status, 200);
    assert_eq!(host.signed(ALICE, "us-east-1", "iam", form).await.code(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_call_must_be_signed_with_a_valid_key_for_its_service() {
    let host = Host::new().await;
    let form = "Action=ListUsers&Version=2010-05-08";
    assert_eq!(host.answer(&[], "", form).await.code(), (403, "MissingAuthenticationToken"));
    assert_eq!(
        host.answer(&[("authorization", "AWS4-HMAC-SHA256 x")], "", form).await.code(),
        (403, "IncompleteSignature")
    );
    let wrong = [
        (("mainkey", "wrong"), "eu-west-1", "iam", "SignatureDoesNotMatch"),
        (("nokey", "wrong"), "eu-west-1", "iam", "InvalidClientTokenId"),
        (("ASIAAAAAAAAAAAAAAAAA", "wrong"), "eu-west-1", "iam", "SignatureDoesNotMatch"),
        (ROOT, "eu-west-1", "sts", "SignatureDoesNotMatch"),
        (ROOT, "eu-west-1", "s3", "SignatureDoesNotMatch"),
    ];
    for (key, region, service, code) in wrong {
        let response = host.signed(key, region, service, form).await;
        assert_eq!(response.code(), (403, code), "{key:?} {region} {service}");
    }
    for region in ["eu-west-1", "us-east-1", "aws-global", "us-west-2", ""] {
        assert_eq!(host.signed(ROOT, region, "iam", form).await.status, 200, "{region}");
    }
}

#[tokio::test]
async fn a_session_key_without_its_token_is_refused() {
    let host = Host::new().await;
    let key = "ASIAAAAAAAAAAAAAAAAA";
    let secret = host.service.sessions.secret_of(key);
    assert_eq!(host.sts((key, &secret), "Action=GetCallerIdentity").await.code(), (403, "InvalidClientTokenId"));
}

#[tokio::test]
async fn a_malformed_iam_call_is_refused() {
    let host = Host::new().await;
    for (body, code) in [("Action=Nonsense", "InvalidAction"), ("", "InvalidAction"), ("a=%zz", "MalformedInput")] {
        assert_eq!(host.signed(ROOT, "eu-west-1", "iam", body).await.code(), (400, code), "{body}");
    }
    assert_eq!(host.iam(ROOT, "Action=CreateUser").await.code(), (400, "ValidationError"));
}

#[tokio::test]
async fn a_user_may_do_what_its_policies_allow_in_its_own_account() {
    let host = Host::new().await;
    assert_eq!(host.iam(ALICE, "Action=ListUsers").await.code(), (403, "AccessDenied"));
    let put = format!("Action=PutUserPolicy&UserName=alice&PolicyName=read&PolicyDocument={}", escaped(READ_USERS));
    assert_eq!(host.iam(ALICE, &put).await.code(), (403, "AccessDenied"));
    assert_eq!(host.iam(ROOT, &put).await.status, 200);
    let listed = host.iam(ALICE, "Action=ListUsers").await;
    assert!(listed.text.contains("<UserName>alice</UserName>"), "{}", listed.text);
    assert!(!host.iam(OTHER_ROOT, "Action=ListUsers").await.text.contains("alice"));
    assert_eq!(host.iam(OTHER_ROOT, "Action=GetUser&UserName=alice").await.code(), (404, "NoSuchEntity"));
    assert_eq!(host.iam(ALICE, "Action=GetUser&UserName=nobody").await.code(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_list_of_users_is_paged_in_order_of_name() {
    let host = Host::new().await;
    for name in ["Zoe", "bob", "Carl", "dora"] {
        host.iam(ROOT, &format!("Action=CreateUser&UserName={name}&Path=%2Fp%2F")).await;
    }
    let mut names = Vec::new();
    let mut marker = String::new();
    loop {
        let response = host.iam(ROOT, &format!("Action=ListUsers&PathPrefix=%2Fp&MaxItems=1&Marker={marker}")).await;
        names.push(response.element("UserName").to_owned());
        marker = response.element("Marker").to_owned();
        assert_eq!(response.element("IsTruncated") == "true", !marker.is_empty());
        if marker.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["bob", "Carl", "dora", "Zoe"]);
}

#[tokio::test]
async fn a_change_is_decided_again_after_a_conflict_up_to_a_limit() {
    let host = Host::new().await;
    host.store.interrupted.store(3, Ordering::Relaxed);
    assert_eq!(host.iam(ROOT, "Action=CreateUser&UserName=bob").await.status, 200);
    host.store.interrupted.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(host.iam(ROOT, "Action=CreateUser&UserName=carl").await.code(), (503, "ServiceUnavailable"));
}

#[tokio::test]
async fn get_access_key_last_used_returns_the_last_use() {
    let host = Host::new().await;
    let form = "Action=GetAccessKeyLastUsed&AccessKeyId=alicekey";
    assert_eq!(host.iam(ROOT, form).await.element("ServiceName"), "N/A");
    host.sts(ALICE, "Action=GetCallerIdentity").await;
    let response = host.iam(ROOT, form).await;
    assert_eq!((response.element("ServiceName"), response.element("LastUsedDate")), ("sts", "2024-05-01T00:00:00Z"));
    assert_eq!(host.iam(OTHER_ROOT, form).await.code(), (404, "NoSuchEntity"));
}

#[tokio::test]
async fn an_administrator_calls_iam_as_the_root_of_any_account_in_json() {
    let host = Host::new().await;
    let call = async |account: &str, action: &str, pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        administer(
            &host.service,
            Impersonation::RootOf(account),
            (account, action),
            pairs,
            (&RequestFacts::default(), None),
        )
        .await
    };
    let (main, alt) = ("111122223333", "444455556666");
    let made = call(main, "CreateUser", &[("UserName", "bob")]).await.expect("a good name");
    assert_eq!(made["User"]["Arn"], "arn:aws:iam::111122223333:user/bob");
    assert_eq!(call(main, "DeleteUser", &[("UserName", "bob")]).await, Ok(json!({})));
    let users = call(alt, "ListUsers", &[]).await.expect("a list");
    assert_eq!(users, json!({"IsTruncated": false, "Users": []}));
    let code = |fault: Result<_, IamFault>| fault.map_err(|fault| fault.status_and_code());
    assert_eq!(code(call(alt, "GetUser", &[("UserName", "alice")]).await), Err((404, "NoSuchEntity")));
    assert_eq!(code(call("000000000001", "ListUsers", &[]).await), Err((404, "NoSuchEntity")));
    assert_eq!(code(call(main, "AssumeRole", &[]).await), Err((400, "InvalidAction")));
}

#[tokio::test]
async fn a_service_key_is_created_listed_and_enforced_with_its_limits() {
    let host = Host::new().await;
    let form = format!(
        "Action=CreateServiceKey&UserName=alice&Name=backup&DurationSeconds=60&PolicyDocument={}",
        escaped(READ_USERS)
    );
    assert_eq!(host.iam(ALICE, &form).await.code(), (403, "AccessDenied"));
    let made = host.iam(ROOT, &form).await;
    let (id, secret) = (made.element("AccessKeyId").to_owned(), made.element("SecretAccessKey").to_owned());
    assert_eq!(made.element("ExpirationDate"), "2024-05-01T00:01:00Z", "{}", made.text);
    let listed = host.iam(ROOT, "Action=ListAccessKeys&UserName=alice").await.text;
    assert!(listed.contains("<Name>backup</Name>") && listed.contains("<PolicyDocument>%7B"), "{listed}");
    let put = format!("Action=PutUserPolicy&UserName=alice&PolicyName=read&PolicyDocument={}", escaped(READ_USERS));
    assert_eq!(host.iam(ROOT, &put).await.status, 200);
    assert_eq!(host.iam((&id, &secret), "Action=ListUsers").await.status, 200);
    assert_eq!(host.iam((&id, &secret), "Action=GetUser").await.code(), (403, "AccessDenied"));
    for wrong in ["DurationSeconds=0", "DurationSeconds=x", "PolicyDocument=x"] {
        let refused = host.iam(ROOT, &format!("Action=CreateServiceKey&UserName=alice&{wrong}")).await;
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text);
    }
}

/// The characters of a large tag value; each takes four bytes.
const LONG_VALUE: usize = 256;

#[tokio::test]
async fn a_page_of_large_identities_reads_a_bounded_number_of_bytes() {
    let host = Host::new().await;
    let tags: Vec<_> = (0..50).map(|n| (format!("key{n}"), "\u{10348}".repeat(LONG_VALUE))).collect();
    let now = host.world.ambient.clock.unix_ms();
    let names: Vec<String> = (0..600).map(|number| format!("large{number:03}")).collect();
    let users = names.iter().map(|name| {
        let user = UserRecord {
            account: "111122223333".to_owned(),
            name: name.clone(),
            path: "/large/".to_owned(),
            id: format!("AIDA{name}"),
            created: now,
            tags: tags.clone(),
            granted: Granted {
                attached: vec!["arn:aws:iam::aws:policy/AmazonS3FullAccess".to_owned()],
                ..Granted::default()
            },
            groups: Vec::new(),
            boundary: None,
            keys: Vec::new(),
        };
        DocumentWrite { key: key_of::<UserRecord>(&user.path()), expect: Expect::Absent, value: Some(encode(&user)) }
    });
    assert_eq!(host.store.write(users.collect()).await, Ok(Written::Done));
    for (form, element) in [
        ("Action=ListUsers&PathPrefix=/large/", "UserName"),
        (
            "Action=ListEntitiesForPolicy&PolicyArn=arn:aws:iam::aws:policy/AmazonS3FullAccess&PathPrefix=/large/",
            "UserName",
        ),
    ] {
        let (mut found, mut marker, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let response = host.iam(ROOT, &format!("{form}&MaxItems=1000&Marker={}", escaped(&marker))).await;
            assert_eq!(response.status, 200, "{}", response.text);
            let begin = format!("<{element}>");
            let names = response.text.split(&begin).skip(1).filter_map(|rest| rest.split('<').next());
            let count = found.len();
            found.extend(names.map(str::to_owned));
            let read = (found.len() - count) * 50 * LONG_VALUE * 4;
            assert!(read <= IDENTITIES_LISTED_BYTES + (2 << 20), "{read} bytes in one page");
            pages += 1;
            if response.element("IsTruncated") == "false" {
                break;
            }
            marker = response.element("Marker").to_owned();
        }
        assert_eq!((found, pages), (names.clone(), 2), "{form}");
    }
}

#[tokio::test]
async fn policies_are_listed_completely_in_pages_of_every_size() {
    let host = Host::new().await;
    let document = escaped(READ_USERS);
    for name in ["One", "two", "Three"] {
        let made = host.iam(ROOT, &format!("Action=CreatePolicy&PolicyName={name}&PolicyDocument={document}")).await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
    let whole = host.iam(ROOT, "Action=ListPolicies&MaxItems=1000").await;
    let names = |text: &str| -> Vec<String> {
        text.split("<PolicyName>").skip(1).filter_map(|rest| rest.split('<').next()).map(str::to_owned).collect()
    };
    let all = names(&whole.text);
    assert_eq!(all[all.len() - 3..], ["One", "Three", "two"]);
    for limit in 1..=all.len() {
        let (mut found, mut marker) = (Vec::new(), String::new());
        for page in 0.. {
            assert!(page <= all.len(), "pages of {limit} without end");
            let response =
                host.iam(ROOT, &format!("Action=ListPolicies&MaxItems={limit}&Marker={}", escaped(&marker))).await;
            found.extend(names(&response.text));
            if response.element("IsTruncated") == "false" {
                break;
            }
            marker = response.element("Marker").to_owned();
        }
        assert_eq!(found, all, "in pages of {limit}");
    }
}

#[tokio::test]
async fn entities_of_a_policy_are_listed_completely_in_pages_of_every_size() {
    let host = Host::new().await;
    let arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
    for form in [
        "Action=CreateGroup&GroupName=g1",
        "Action=CreateGroup&GroupName=g2",
        "Action=CreateUser&UserName=u1",
        "Action=CreateUser&UserName=u2",
        "Action=CreateUser&UserName=u3",
    ] {
        assert_eq!(host.iam(ROOT, form).await.status, 200, "{form}");
    }
    for held in ["Group&GroupName=g1", "Group&GroupName=g2", "User&UserName=u1", "User&UserName=u3"] {
        let attached =
            host.iam(ROOT, &format!("Action=Attach{}&PolicyArn={arn}", held.replacen('&', "Policy&", 1))).await;
        assert_eq!(attached.status, 200, "{held}: {}", attached.text);
    }
    for limit in 1..=5 {
        let (mut found, mut marker) = (Vec::new(), String::new());
        for page in 0.. {
            assert!(page <= 6, "pages of {limit} without end");
            let form =
                format!("Action=ListEntitiesForPolicy&PolicyArn={arn}&MaxItems={limit}&Marker={}", escaped(&marker));
            let response = host.iam(ROOT, &form).await;
            let named = response.text.split("Name>").skip(1).step_by(2).filter_map(|rest| rest.split('<').next());
            found.extend(named.map(str::to_owned));
            if response.element("IsTruncated") == "false" {
                break;
            }
            marker = response.element("Marker").to_owned();
        }
        assert_eq!(found, ["g1", "g2", "u1", "u3"], "in pages of {limit}");
    }
}
