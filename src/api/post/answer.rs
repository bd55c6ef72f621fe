//! The response to a form whose PUT succeeded: an empty one, an XML document, or a redirect.

use super::escape::{escape, escape_form};
use super::form::Form;
use crate::api::text::xml::escape_markup;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use s3s::HttpResponse;

/// The response that a form asks for, to be sent when its PUT has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormAnswer {
    wanted: Wanted,
    bucket: String,
    key: String,
    /// The object's URL.
    location: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Empty(StatusCode),
    Document,
    /// A redirect to this URL.
    Redirect(String),
}

impl FormAnswer {
    /// Reads the wanted response from the form's fields. `base` is the URL of the bucket, with a slash at the end.
    pub fn new(form: &Form, bucket: &str, key: &str, base: &str) -> Self {
        let page = form.get("success_action_redirect").or(form.get("redirect")).filter(|url| is_absolute_url(url));
        let wanted = match (page, form.get("success_action_status").map(str::trim)) {
            (Some(url), _) => Wanted::Redirect(url.to_owned()),
            (None, Some("200")) => Wanted::Empty(StatusCode::OK),
            (None, Some("201")) => Wanted::Document,
            (None, _) => Wanted::Empty(StatusCode::NO_CONTENT),
        };
        let location = format!("{base}{}", escape(key));
        Self { wanted, bucket: bucket.to_owned(), key: key.to_owned(), location }
    }

    /// Converts the response of the successful PUT to the form's.
    pub fn finish(self, response: HttpResponse) -> HttpResponse {
        let (mut parts, _) = response.into_parts();
        let tag = parts.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        parts.headers.remove(header::CONTENT_LENGTH);
        let (status, location, body) = match &self.wanted {
            Wanted::Empty(status) => (*status, self.location.clone(), None),
            Wanted::Document => (StatusCode::CREATED, self.location.clone(), Some(self.document(&tag))),
            Wanted::Redirect(url) => (StatusCode::SEE_OTHER, self.redirect(url, &tag), None),
        };
        parts.status = status;
        if let Ok(location) = HeaderValue::try_from(location) {
            parts.headers.insert(header::LOCATION, location);
        }
        if body.is_some() {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        HttpResponse::from_parts(parts, body.map_or_else(s3s::Body::empty, |text| s3s::Body::from(Bytes::from(text))))
    }

    fn document(&self, tag: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket>\
             <Key>{}</Key><ETag>{}</ETag></PostResponse>",
            escape_markup(&self.location),
            escape_markup(&self.bucket),
            escape_markup(&self.key),
            escape_markup(tag)
        )
    }

    /// Adds bucket, key and entity tag to the query of the redirect's URL, before its fragment.
    fn redirect(&self, url: &str, tag: &str) -> String {
        let (page, fragment) = match url.split_once('#') {
            Some((page, fragment)) => (page, format!("#{fragment}")),
            None => (url, String::new()),
        };
        let joint = if page.contains('?') { '&' } else { '?' };
        let (bucket, key, tag) = (escape_form(&self.bucket), escape_form(&self.key), escape_form(tag));
        format!("{page}{joint}bucket={bucket}&key={key}&etag={tag}{fragment}")
    }
}

/// Returns whether a redirect's URL is absolute, with the scheme http or https; any other is ignored.
fn is_absolute_url(url: &str) -> bool {
    let after = ["http://", "https://"].iter().find_map(|scheme| {
        let (found, rest) = url.split_at_checked(scheme.len())?;
        found.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let has_host = after.is_some_and(|rest| !rest.starts_with(['/', '?', '#']) && !rest.is_empty());
    has_host && HeaderValue::try_from(url).is_ok()
}

#[cfg(test)]
mod tests {
    use super::FormAnswer;
    use crate::api::post::form::Form;
    use http::HeaderValue;
    use s3s::HttpResponse;

    const TAG: &str = "\"43281e21fce675ac3bcb3524b38ca4ed\"";

    fn succeeded(fields: &[(&str, &str)], key: &str) -> (u16, String, String) {
        let mut form = Form::default();
        fields.iter().for_each(|(name, value)| form.add(name, value));
        let mut response = HttpResponse::new(s3s::Body::empty());
        response.headers_mut().insert("etag", HeaderValue::from_static(TAG));
        let made = FormAnswer::new(&form, "pics", key, "http://h:9000/pics/").finish(response);
        assert_eq!(made.headers().get("etag").map(|tag| tag.as_bytes()), Some(TAG.as_bytes()));
        let location = made.headers().get("location").map(|url| url.to_str().expect("text").to_owned());
        let body = made.body().bytes().unwrap_or_default();
        (made.status().as_u16(), location.unwrap_or_default(), String::from_utf8(body.to_vec()).expect("text"))
    }

    #[test]
    fn a_form_is_answered_with_the_status_that_it_asks_for() {
        let url = "http://h:9000/pics/a%2Fb%20c".to_owned();
        assert_eq!(succeeded(&[], "a/b c"), (204, url.clone(), String::new()));
        for (wanted, status) in [("200", 200), ("204", 204), ("404", 204), ("", 204)] {
            assert_eq!(succeeded(&[("success_action_status", wanted)], "a/b c"), (status, url.clone(), String::new()));
        }
    }

    #[test]
    fn a_response_with_status_201_has_a_document() {
        let (status, location, body) = succeeded(&[("Success_Action_Status", "201")], "pr\u{e9}/<1>");
        assert_eq!((status, location.as_str()), (201, "http://h:9000/pics/pr%C3%A9%2F%3C1%3E"));
        let expected = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{location}</Location><Bucket>pics</Bucket>\
             <Key>pr\u{e9}/&lt;1&gt;</Key><ETag>&quot;43281e21fce675ac3bcb3524b38ca4ed&quot;</ETag></PostResponse>"
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn a_redirect_has_the_objects_bucket_key_and_tag_in_its_query() {
        let to = |url: &str| succeeded(&[("success_action_redirect", url), ("success_action_status", "201")], "a/b c");
        let query = "bucket=pics&key=a%2Fb+c&etag=%2243281e21fce675ac3bcb3524b38ca4ed%22";
        assert_eq!(to("http://e.org/p"), (303, format!("http://e.org/p?{query}"), String::new()));
        assert_eq!(to("HTTPS://e.org/p?q=1"), (303, format!("HTTPS://e.org/p?q=1&{query}"), String::new()));
        assert_eq!(to("http://e.org/p#top").1, format!("http://e.org/p?{query}#top"));
        assert_eq!(succeeded(&[("redirect", "http://e.org/")], "k").0, 303);
        for url in [
            "/relative",
            "javascript:alert(1)",
            "http://",
            "http:///p",
            "ftp://e.org/",
            "http://e.org/\r\nx: y",
            "http:",
        ] {
            assert_eq!(to(url).0, 201, "{url}");
        }
    }
}
