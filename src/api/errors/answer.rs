//! Writes the response to a refused request, and reads the error out of a response that s3s wrote by itself. Both
//! happen nowhere else.

use super::details::ErrorContext;
use super::fault::Fault;
use super::request_head::RequestFault;
use crate::api::text::xml::escape;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use s3s::xml::Deserializer;
use s3s::{Body, HttpResponse, S3Error, S3ErrorCode, dto};

/// The ids of the response, and the parts of the request that it repeats.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub named: ErrorContext<'a>,
    /// The path of the request.
    pub resource: &'a str,
    pub request_id: &'a str,
    pub host_id: &'a str,
}

/// Writes the response to a refused request. Its XML has code, message, the elements of the code and the error, and the
/// ids.
pub fn written(error: &S3Error, names: &Names<'_>) -> HttpResponse {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let has_body = status != StatusCode::NOT_MODIFIED;
    let body = if has_body { Body::from(Bytes::from(xml(error, names))) } else { Body::empty() };
    let mut response = HttpResponse::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = error.headers().cloned().unwrap_or_default();
    if has_body {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    }
    response
}

fn xml(error: &S3Error, Names { named, resource, request_id, host_id }: &Names<'_>) -> String {
    let code = error.code().as_str();
    let message = escape(error.message().unwrap_or("The request cannot be served."));
    let elements = named.elements(error);
    // S3 leaves out the resource for `InvalidRequest`.
    let resource = match *error.code() {
        S3ErrorCode::InvalidRequest => String::new(),
        _ => format!("<Resource>{}</Resource>", escape(resource)),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message>{elements}\
         {resource}<RequestId>{request_id}</RequestId><HostId>{host_id}</HostId></Error>"
    )
}

/// Reads the error out of a response that s3s wrote by itself, for a request that it did not pass on. s3s has such
/// errors in no other form. Errors of this store never take this path.
pub fn of_s3s(answer: &HttpResponse) -> S3Error {
    let bytes = answer.body().bytes().unwrap_or_default();
    let read = Deserializer::new(&bytes).named_element("Error", Deserializer::content::<dto::Error>);
    let Some(code) = read.as_ref().ok().and_then(|error| error.code.clone()) else {
        return Fault::Internal("The answer could not be written.".to_owned()).into();
    };
    let mut error = match read.ok().and_then(|error| error.message) {
        Some(message) => S3Error::with_message(code.parse().unwrap_or(S3ErrorCode::InternalError), message),
        None => without_message(&code),
    };
    error.set_status_code(answer.status());
    error
}

/// Returns the error for a code that s3s gives without a message, with the message of S3.
fn without_message(code: &str) -> S3Error {
    let fault = match code {
        "IncompleteBody" => Fault::IncompleteBody,
        "InvalidBucketName" => Fault::InvalidBucketName,
        "InvalidURI" => RequestFault::InvalidUri.into(),
        "KeyTooLongError" => Fault::KeyTooLong,
        "MalformedXML" => Fault::MalformedXml,
        "MethodNotAllowed" => Fault::MethodNotAllowed,
        "MissingContentLength" => Fault::MissingContentLength,
        "MissingRequestBodyError" => RequestFault::NoBody.into(),
        "MaxMessageLengthExceeded" => Fault::MessageTooLong,
        other => return S3Error::new(other.parse().unwrap_or(S3ErrorCode::InternalError)),
    };
    fault.into()
}

#[cfg(test)]
mod tests {
    use super::{Names, of_s3s, written};
    use crate::api::errors::{ErrorContext, Fault, FormFault, RequestFault};
    use http::{HeaderMap, HeaderValue, StatusCode, header};
    use s3s::{S3Error, S3ErrorCode};

    fn text(error: impl Into<S3Error>, named: ErrorContext<'_>) -> String {
        let names = Names { named, resource: "/b/<k>", request_id: "0001", host_id: "host" };
        let answer = written(&error.into(), &names);
        String::from_utf8(answer.body().bytes().unwrap_or_default().to_vec()).expect("text")
    }

    #[test]
    fn an_error_names_its_resource_and_request() {
        assert_eq!(
            text(Fault::NoSuchKey, ErrorContext::default()),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code><Message>The specified key does not \
             exist.</Message><Resource>/b/&lt;k&gt;</Resource><RequestId>0001</RequestId><HostId>host</HostId></Error>"
        );
    }

    #[test]
    fn an_invalid_request_error_has_no_resource() {
        let xml = text(Fault::InvalidRequest("why".to_owned()), ErrorContext::default());
        assert!(xml.contains("<Message>why</Message><RequestId>0001</RequestId>"), "{xml}");
    }

    #[test]
    fn apostrophes_in_messages_are_not_escaped() {
        let xml = text(Fault::InvalidContentSha256 { computed: None }, ErrorContext::default());
        assert!(xml.contains("<Message>The provided 'x-amz-content-sha256' header does not match"), "{xml}");
    }

    #[test]
    fn details_of_a_fault_follow_its_message() {
        let xml = text(Fault::from(RequestFault::OtherLength { provided: 4, expected: 32 }), ErrorContext::default());
        let lengths = "header</Message><NumberBytesExpected>32</NumberBytesExpected>\
                       <NumberBytesProvided>4</NumberBytesProvided>";
        assert!(xml.contains(lengths), "{xml}");
        let xml = text(Fault::from(RequestFault::NotAForm), ErrorContext::default());
        assert!(xml.contains("did not hold</Message><Condition>Bucket POST must be"), "{xml}");
    }

    #[test]
    fn an_error_names_the_missing_bucket_or_key() {
        let named = ErrorContext { bucket: Some("b"), key: Some("<k>"), ..ErrorContext::default() };
        assert!(text(Fault::NoSuchKey, named).contains("</Message><Key>&lt;k&gt;</Key><Resource>"));
        assert!(text(Fault::NoSuchBucket, named).contains("</Message><BucketName>b</BucketName><Resource>"));
        assert!(text(Fault::NoSuchUpload, named).contains("</Message><Resource>"));
    }

    #[test]
    fn headers_of_an_error_are_in_its_answer_and_a_304_has_no_body() {
        let names = Names { named: ErrorContext::default(), resource: "/", request_id: "", host_id: "" };
        let short = written(&Fault::InvalidRange { size_bytes: 7 }.into(), &names);
        assert_eq!(short.headers()[header::CONTENT_RANGE], "bytes */7");
        assert_eq!(short.headers()[header::CONTENT_TYPE], "application/xml");
        let validators = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"1\""))]);
        let same = written(&Fault::NotModified(Box::new(validators.clone())).into(), &names);
        assert_eq!((same.status(), same.headers()), (StatusCode::NOT_MODIFIED, &validators));
    }

    #[test]
    fn an_error_is_read_from_the_response_that_s3s_wrote() {
        let read = |error: S3Error| of_s3s(&error.to_http_response().expect("it can be written"));
        let unknown = read(S3Error::with_message(S3ErrorCode::NotImplemented, "Unknown <operation> & \"more\""));
        assert_eq!(unknown.code(), &S3ErrorCode::NotImplemented);
        assert_eq!(unknown.message(), Some("Unknown <operation> & \"more\""));
        assert_eq!(unknown.status_code(), Some(StatusCode::NOT_IMPLEMENTED));
        for (code, message) in [
            (S3ErrorCode::InvalidBucketName, "The specified bucket is not valid."),
            (S3ErrorCode::KeyTooLongError, "Your key is too long"),
            (S3ErrorCode::MissingRequestBodyError, "Request Body is empty"),
        ] {
            let error = read(S3Error::new(code.clone()));
            assert_eq!((error.code(), error.message()), (&code, Some(message)));
        }
        let form = read(Fault::Form(FormFault::FieldsTooLarge).into());
        assert_eq!(form.code().as_str(), "MaxPostPreDataLengthExceeded");
        let none = of_s3s(&s3s::HttpResponse::new(s3s::Body::empty()));
        assert_eq!(none.code(), &S3ErrorCode::InternalError);
    }
}
