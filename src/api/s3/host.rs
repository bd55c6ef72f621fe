//! Virtual-host addressing: `bucket.domain` for each configured domain. Any other host is path style, so that both work
//! at once.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

pub struct Domains {
    /// The domains in lower case, without port.
    domains: Vec<String>,
}

impl Domains {
    pub fn new(domains: &[String]) -> Self {
        Self { domains: domains.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect() }
    }

    /// Returns the bucket that a host names.
    pub fn bucket(&self, host: &str) -> Option<String> {
        self.split(host).0
    }

    /// Returns the bucket that a host names, and the domain that it is under; without a bucket, the host's whole name.
    fn split(&self, host: &str) -> (Option<String>, String) {
        let name = host
            .rsplit_once(':')
            .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // Domains may be nested: the longest one that matches counts.
        let under = self
            .domains
            .iter()
            .filter_map(|domain| Some((name.strip_suffix(domain.as_str())?.strip_suffix('.')?, domain)))
            .min_by_key(|(bucket, _)| bucket.len());
        match under {
            Some((bucket, domain)) if !self.domains.contains(&name) => (Some(bucket.to_owned()), domain.clone()),
            _ => (None, name),
        }
    }
}

/// The hosts that are websites of buckets: `bucket.domain` for each domain for websites. If these are nested with the
/// domains of virtual-host addressing, the longest one that matches counts.
pub struct WebsiteHosts {
    /// The domains for websites and those of virtual-host addressing.
    all: Domains,
    /// The domains for websites.
    websites: Vec<String>,
}

impl WebsiteHosts {
    pub fn new(websites: &[String], domains: &[String]) -> Self {
        Self { all: Domains::new(&[websites, domains].concat()), websites: Domains::new(websites).domains }
    }

    /// Returns the bucket whose website a host is.
    pub fn bucket(&self, host: &str) -> Option<String> {
        if self.websites.is_empty() {
            return None;
        }
        let (bucket, domain) = self.all.split(host);
        bucket.filter(|_| self.websites.contains(&domain))
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let (bucket, domain) = self.split(host);
        let parsed = VirtualHost::new(domain);
        Ok(match bucket {
            Some(bucket) => parsed.with_bucket(bucket),
            None => parsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Domains, WebsiteHosts};

    #[test]
    fn a_host_under_a_domain_names_a_bucket_and_any_other_does_not() {
        let domains = Domains::new(&["s3.example.com".to_owned(), "eu.s3.example.com".to_owned()]);
        let bucket = |host: &str| domains.split(host).0;
        assert_eq!(bucket("photos.s3.example.com").as_deref(), Some("photos"));
        assert_eq!(bucket("a.b.S3.example.com:9000").as_deref(), Some("a.b"));
        assert_eq!(bucket("photos.eu.s3.example.com").as_deref(), Some("photos"));
        for host in ["s3.example.com", "eu.s3.example.com:9000", "localhost:9000", "127.0.0.1:9000", "xs3.example.com"]
        {
            assert_eq!(bucket(host), None, "{host}");
        }
    }

    #[test]
    fn only_hosts_under_a_domain_for_websites_are_websites() {
        let hosts = |websites: &[&str], domains: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
            WebsiteHosts::new(&owned(websites), &owned(domains))
        };
        let beside = hosts(&["website.test"], &["s3.test"]);
        assert_eq!(beside.bucket("photos.website.test").as_deref(), Some("photos"));
        assert_eq!(beside.bucket("A.b.Website.test:9000").as_deref(), Some("a.b"));
        for host in ["website.test", "photos.s3.test", "s3.test:9000", "localhost", "127.0.0.1:9000", "xwebsite.test"] {
            assert_eq!(beside.bucket(host), None, "{host}");
        }
        let above = hosts(&["test"], &["s3.test"]);
        assert_eq!(above.bucket("photos.test").as_deref(), Some("photos"));
        assert_eq!((above.bucket("s3.test"), above.bucket("photos.s3.test")), (None, None));
        let below = hosts(&["website.s3.test"], &["s3.test"]);
        assert_eq!(below.bucket("photos.website.s3.test").as_deref(), Some("photos"));
        assert_eq!((below.bucket("website.s3.test"), below.bucket("photos.s3.test")), (None, None));
        assert_eq!(hosts(&[], &["s3.test"]).bucket("photos.s3.test"), None);
    }
}
