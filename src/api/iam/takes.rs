//! Tells calls of IAM and STS from S3 requests on the same port. A call is a request for `/` that is signed for `iam`
//! or `sts`, or an unsigned form that is posted to `/`, as S3 has no such request.

/// The parts of a request's head that decide. An absent header is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// The query without the question mark.
    pub query: &'a str,
    pub content_type: &'a str,
    pub authorization: &'a str,
}

/// Returns whether the request is a call of IAM or STS.
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
    // In the virtual-hosted style, `/` is a bucket, and DeleteObjects is an S3 POST with a query of its own.
    let media_type = head.content_type.split(';').next().unwrap_or_default().trim();
    let is_form = media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let names_action = head.query.split('&').any(|pair| pair.starts_with("Action="));
    names_action || (is_form && head.query.is_empty())
}

/// Returns the service in the scope of a signature.
fn scope_service(authorization: &str) -> Option<&str> {
    let (_, after) = authorization.split_once("Credential=")?;
    let credential = after.split([',', ' ']).next()?;
    // An access key may contain slashes; the scope is the last four fields.
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
    fn a_request_signed_for_iam_or_sts_is_taken_as_a_call() {
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
    fn an_unsigned_form_is_an_sts_call_and_an_unsigned_delete_is_not() {
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
