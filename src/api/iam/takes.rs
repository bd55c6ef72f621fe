//! Selects the requests on the S3 port that are calls of IAM and STS: those for `/` that are signed for one of them,
//! and a form that is posted there without any signature, as only they have such.

/// The head of a request, as far as it matters here. Names of headers without regard to case; absent ones are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// The query without the question mark.
    pub query: &'a str,
    pub content_type: &'a str,
    pub authorization: &'a str,
}

/// Returns whether `answer` takes the request, and not S3.
pub fn takes(head: &Head<'_>) -> bool {
    if !matches!(head.method, "GET" | "POST") || !matches!(head.path, "" | "/") {
        return false;
    }
    if !head.authorization.is_empty() {
        return matches!(scope_service(head.authorization), Some("iam" | "sts"));
    }
    if head.method != "POST" {
        return false;
    }
    // With a bucket's name in the host, `/` is a bucket, whose deletes of many objects have their own parameter.
    let media_type = head.content_type.split(';').next().unwrap_or_default().trim();
    let is_form = media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let names_action = head.query.split('&').any(|pair| pair.starts_with("Action="));
    names_action || (is_form && head.query.is_empty())
}

/// The service that a signature is for.
fn scope_service(authorization: &str) -> Option<&str> {
    let (_, after) = authorization.split_once("Credential=")?;
    let credential = after.split([',', ' ']).next()?;
    // An access key may hold slashes; the scope is the last four fields.
    credential.rsplit('/').nth(1)
}

#[cfg(test)]
mod tests {
    use super::{Head, takes};

    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

    fn signed_for(service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, \
             Signature=00"
        )
    }

    #[test]
    fn a_request_signed_for_iam_or_sts_is_theirs() {
        for (service, expected) in [("iam", true), ("sts", true), ("s3", false)] {
            let authorization = signed_for(service);
            let head = Head { method: "POST", path: "/", content_type: FORM, authorization: &authorization, query: "" };
            assert_eq!(takes(&head), expected, "{service}");
            assert_eq!(takes(&Head { method: "GET", ..head }), expected, "{service}");
            assert!(!takes(&Head { method: "PUT", ..head }) && !takes(&Head { path: "/bucket", ..head }));
        }
        assert!(!takes(&Head { method: "GET", path: "/", content_type: FORM, ..Head::default() }));
    }

    #[test]
    fn an_unsigned_form_is_for_sts_and_an_unsigned_delete_is_not() {
        let head = Head { method: "POST", path: "/", content_type: FORM, ..Head::default() };
        assert!(takes(&head));
        assert!(takes(&Head {
            content_type: "",
            query: "Action=AssumeRoleWithWebIdentity&Version=2011-06-15",
            ..head
        }));
        assert!(!takes(&Head { query: "delete", ..head }));
        assert!(!takes(&Head { content_type: "multipart/form-data; boundary=x", ..head }));
        assert!(!takes(&Head { content_type: "", ..head }));
    }
}
