//! Parsing of the components of an `Authorization` header, without verification.

/// Returns the value of a component of an `Authorization` header: `Credential`, `SignedHeaders` or `Signature`.
pub fn component<'a>(authorization: &'a str, name: &str) -> Option<&'a str> {
    let (_, components) = authorization.split_once(' ')?;
    components.split(',').find_map(|component| component.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The fields of a `Credential`: `key/20150830/us-east-1/s3/aws4_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    pub access_key: &'a str,
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    pub terminator: &'a str,
}

impl<'a> Credential<'a> {
    /// Splits a credential. The access key may contain slashes; the other fields may not.
    pub fn read(text: &'a str) -> Option<Self> {
        let mut fields = text.rsplitn(5, '/');
        let (terminator, service, region) = (fields.next()?, fields.next()?, fields.next()?);
        let (date, access_key) = (fields.next()?, fields.next()?);
        Some(Self { access_key, date, region, service, terminator })
    }
}

#[cfg(test)]
mod tests {
    use super::{Credential, component};

    #[test]
    fn authorization_components_are_found_by_their_whole_name() {
        let authorization = "AWS4-HMAC-SHA256 Credential=k/d, SignedHeaders=a;b,Signature=00";
        assert_eq!(component(authorization, "Credential"), Some("k/d"));
        assert_eq!(component(authorization, "SignedHeaders"), Some("a;b"));
        assert_eq!(component(authorization, "Signature"), Some("00"));
        assert_eq!(component(authorization, "Signed"), None);
        assert_eq!(component("AWS4-HMAC-SHA256", "Signature"), None);
    }

    #[test]
    fn an_access_key_may_contain_slashes() {
        let read = Credential::read("a/b/20150830/us-east-1/s3/aws4_request").expect("a credential");
        assert_eq!((read.access_key, read.date, read.region), ("a/b", "20150830", "us-east-1"));
        assert_eq!((read.service, read.terminator), ("s3", "aws4_request"));
        assert_eq!(Credential::read("20150830/us-east-1/s3/aws4_request"), None);
    }
}
