//! The catalogue of settings: names, flags, defaults and help, in the order of `sherd --help`. `values` parses single
//! values; `mod` checks how settings fit together.

/// A setting. Its flag and its variable take the same values.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// The flag without its dashes.
    pub flag: &'static str,
    /// The placeholder of the value in help.
    pub value: &'static str,
    /// The default as it would be written; empty if there is none.
    pub default: &'static str,
    pub help: &'static str,
    /// Present if the value is a secret. Then `name` also exists with the suffix `_FILE`, and so does MinIO's name.
    pub secret: Option<Secret>,
}

/// Properties of a setting whose value is never shown, and may be read from a file.
#[derive(Clone, Copy, Debug)]
pub struct Secret {
    /// The variable of MinIO that is accepted instead, if there is one.
    pub minio: Option<&'static str>,
}

/// The address that `sherd admin` asks; the store itself does not use it.
pub const ADMIN_URL: &str = "SHERD_ADMIN_URL";
pub const ADMIN_URL_DEFAULT: &str = "http://127.0.0.1:9001";
/// The certificates that `sherd admin` trusts; the store itself does not use it.
pub const ADMIN_CA_FILE: &str = "SHERD_ADMIN_CA_FILE";

pub const DATA: &str = "SHERD_DATA";
pub const S3_LISTEN: &str = "SHERD_S3_LISTEN";
pub const ADMIN_LISTEN: &str = "SHERD_ADMIN_LISTEN";
pub const ACCESS_KEY: &str = "SHERD_ACCESS_KEY";
pub const SECRET_KEY: &str = "SHERD_SECRET_KEY";
pub const ROOT_KEY_FILE: &str = "SHERD_ROOT_KEY_FILE";
pub const REGION: &str = "SHERD_REGION";
pub const DOMAIN: &str = "SHERD_DOMAIN";
pub const WEBSITE_DOMAIN: &str = "SHERD_WEBSITE_DOMAIN";
pub const SIGV2: &str = "SHERD_SIGV2";
pub const OBJECT_OWNERSHIP: &str = "SHERD_OBJECT_OWNERSHIP";
pub const EC: &str = "SHERD_EC";
pub const DURABILITY: &str = "SHERD_DURABILITY";
pub const ROLES: &str = "SHERD_ROLES";
pub const MEMORY_MAX: &str = "SHERD_MEMORY_MAX";
pub const SCRUB_INTERVAL: &str = "SHERD_SCRUB_INTERVAL";
pub const ACCESS_LOG_INTERVAL: &str = "SHERD_ACCESS_LOG_INTERVAL";
pub const AUDIT_LOG: &str = "SHERD_AUDIT_LOG";
pub const AUDIT_WEBHOOK: &str = "SHERD_AUDIT_WEBHOOK";
pub const LIFECYCLE_DAY: &str = "SHERD_LIFECYCLE_DAY";
pub const SCALE: &str = "SHERD_SCALE";
pub const ACCOUNTS_FILE: &str = "SHERD_ACCOUNTS_FILE";
pub const OIDC_KEYS: &str = "SHERD_OIDC_KEYS";
pub const TLS_CERT: &str = "SHERD_TLS_CERT";
pub const TLS_KEY: &str = "SHERD_TLS_KEY";
pub const ACME_DOMAINS: &str = "SHERD_ACME_DOMAINS";
pub const ACME_CONTACT: &str = "SHERD_ACME_CONTACT";
pub const ACME_DIRECTORY: &str = "SHERD_ACME_DIRECTORY";
pub const ACME_CA_FILE: &str = "SHERD_ACME_CA_FILE";
pub const ADMIN_TLS_CERT: &str = "SHERD_ADMIN_TLS_CERT";
pub const ADMIN_TLS_KEY: &str = "SHERD_ADMIN_TLS_KEY";
pub const METRICS_TOKEN: &str = "SHERD_METRICS_TOKEN";
pub const HOSTS: &str = "SHERD_HOSTS";
pub const HOST: &str = "SHERD_HOST";
pub const CLUSTER_LISTEN: &str = "SHERD_CLUSTER_LISTEN";
pub const CLUSTER_SECRET: &str = "SHERD_CLUSTER_SECRET";
pub const JOIN: &str = "SHERD_JOIN";
pub const DOMAIN_LABEL: &str = "SHERD_DOMAIN_LABEL";
pub const OTLP_ENDPOINT: &str = "SHERD_OTLP_ENDPOINT";
pub const OTLP_SAMPLE_RATIO: &str = "SHERD_OTLP_SAMPLE_RATIO";
pub const OTLP_SERVICE_NAME: &str = "SHERD_OTLP_SERVICE_NAME";
pub const OTLP_CA_FILE: &str = "SHERD_OTLP_CA_FILE";
pub const LOG: &str = "SHERD_LOG";
pub const LOG_FORMAT: &str = "SHERD_LOG_FORMAT";

/// The prefix of the store's variables.
pub const PREFIX: &str = "SHERD_";

pub const SETTINGS: &[Setting] = &[
    Setting {
        name: DATA,
        flag: "data",
        value: "DIRS",
        default: "./sherd-data",
        help: "Data directories, one for each drive, separated by commas or spaces; {1...4} stands for 1 2 3 4",
        secret: None,
    },
    Setting {
        name: S3_LISTEN,
        flag: "s3-listen",
        value: "ADDR:PORT",
        default: "127.0.0.1:9000",
        help: "Address of the S3 listener; :PORT means all IPv4 addresses, port 0 a free one",
        secret: None,
    },
    Setting {
        name: ADMIN_LISTEN,
        flag: "admin-listen",
        value: "ADDR:PORT",
        default: "127.0.0.1:9001",
        help: "Address of the listener for health, metrics and the admin API",
        secret: None,
    },
    Setting {
        name: ACCESS_KEY,
        flag: "access-key",
        value: "KEY",
        default: "",
        help: "Root access key; with none, a pair is made once, kept in the data directories and printed",
        secret: Some(Secret { minio: Some("MINIO_ROOT_USER") }),
    },
    Setting {
        name: SECRET_KEY,
        flag: "secret-key",
        value: "KEY",
        default: "",
        help: "Root secret key (better by variable or file: other users of a machine can see flags)",
        secret: Some(Secret { minio: Some("MINIO_ROOT_PASSWORD") }),
    },
    Setting {
        name: ROOT_KEY_FILE,
        flag: "root-key-file",
        value: "FILE",
        default: "",
        help: "File with the root keys, which wrap the keys of objects, the same on all hosts; without it, one is derived or generated",
        secret: None,
    },
    Setting {
        name: REGION,
        flag: "region",
        value: "NAME",
        default: "us-east-1",
        help: "Region of all buckets, which clients' signatures must name",
        secret: None,
    },
    Setting {
        name: DOMAIN,
        flag: "domain",
        value: "NAMES",
        default: "",
        help: "Domains under which BUCKET.DOMAIN addresses a bucket; path style always works",
        secret: None,
    },
    Setting {
        name: WEBSITE_DOMAIN,
        flag: "website-domain",
        value: "NAMES",
        default: "",
        help: "Domains under which BUCKET.DOMAIN is the website of a bucket, for browsers",
        secret: None,
    },
    Setting {
        name: SIGV2,
        flag: "sigv2",
        value: "on|urls|off",
        default: "off",
        help: "Where signatures of version 2 are accepted: everywhere, only in presigned URLs of an object and in forms, or nowhere",
        secret: None,
    },
    Setting {
        name: OBJECT_OWNERSHIP,
        flag: "object-ownership",
        value: "NAME",
        default: "ObjectWriter",
        help: "Object ownership of new buckets whose creator names none: ObjectWriter, BucketOwnerPreferred or BucketOwnerEnforced",
        secret: None,
    },
    Setting {
        name: EC,
        flag: "ec",
        value: "auto|K+M",
        default: "auto",
        help: "Data and parity shards of each object: any M of its K+M shards may be lost. Fixed when the store is formed",
        secret: None,
    },
    Setting {
        name: DURABILITY,
        flag: "durability",
        value: "MODE",
        default: "strict",
        help: "strict: acknowledged writes are on stable storage. relaxed:200ms: a power cut may lose those of the last 200 ms",
        secret: None,
    },
    Setting {
        name: ROLES,
        flag: "roles",
        value: "LIST",
        default: "gateway,meta,storage",
        help: "Roles of this host: serve S3, vote on metadata, store shards; only a host that joins a cluster may omit any of them",
        secret: None,
    },
    Setting {
        name: MEMORY_MAX,
        flag: "memory-max",
        value: "BYTES",
        default: "a quarter of the memory",
        help: "Memory that all requests together may use (KiB, MiB, GiB); the default is of the cgroup's limit, if there is one",
        secret: None,
    },
    Setting {
        name: SCRUB_INTERVAL,
        flag: "scrub-interval",
        value: "TIME",
        default: "30d",
        help: "Time from the end of a drive's scrub to the begin of its next one: a number with s, m, h or d",
        secret: None,
    },
    Setting {
        name: ACCESS_LOG_INTERVAL,
        flag: "access-log-interval",
        value: "TIME",
        default: "5m",
        help: "Longest time before a line of a bucket's access log is written: a number with s, m, h or d",
        secret: None,
    },
    Setting {
        name: AUDIT_LOG,
        flag: "audit-log",
        value: "FILE|-",
        default: "",
        help: "File that gets a JSON line for each change of users, buckets, keys and hosts, and each denied call; - is stderr",
        secret: None,
    },
    Setting {
        name: AUDIT_WEBHOOK,
        flag: "audit-webhook",
        value: "NAME",
        default: "",
        help: "Webhook (SHERD_WEBHOOK_NAME_URL) that gets the lines of the audit log, and nothing else",
        secret: None,
    },
    Setting {
        name: LIFECYCLE_DAY,
        flag: "lifecycle-day",
        value: "SECONDS",
        default: "86400",
        help: "Length of a day in lifecycle rules, in seconds; less than 86400 is for trying rules out",
        secret: None,
    },
    Setting {
        name: SCALE,
        flag: "scale",
        value: "NAME",
        default: "production",
        help: "Sizes of segments and memory tables, and times between chores: production, or small for tests",
        secret: None,
    },
    Setting {
        name: ACCOUNTS_FILE,
        flag: "accounts-file",
        value: "FILE",
        default: "",
        help: "File (JSON) with accounts, users and keys, which are created at start if they do not exist yet",
        secret: None,
    },
    Setting {
        name: OIDC_KEYS,
        flag: "oidc-keys",
        value: "URL=FILE|URL,...",
        default: "",
        help: "Files or URLs with the keys (JWKS) of identity providers, for AssumeRoleWithWebIdentity",
        secret: None,
    },
    Setting {
        name: TLS_CERT,
        flag: "tls-cert",
        value: "FILE",
        default: "",
        help: "Certificate chain (PEM) of the S3 listener, for TLS; needs --tls-key",
        secret: None,
    },
    Setting {
        name: TLS_KEY,
        flag: "tls-key",
        value: "FILE",
        default: "",
        help: "Private key (PEM) of the S3 listener's certificate",
        secret: None,
    },
    Setting {
        name: ACME_DOMAINS,
        flag: "acme-domains",
        value: "NAMES",
        default: "",
        help: "Names of a certificate for S3 over TLS that the store orders and renews by itself (ACME); with a contact",
        secret: None,
    },
    Setting {
        name: ACME_CONTACT,
        flag: "acme-contact",
        value: "mailto:ADDRESS",
        default: "",
        help: "Contact of the account with the ACME server; it agrees to the server's terms of service",
        secret: None,
    },
    Setting {
        name: ACME_DIRECTORY,
        flag: "acme-directory",
        value: "URL",
        default: "https://acme-v02.api.letsencrypt.org/directory",
        help: "Directory of the ACME server",
        secret: None,
    },
    Setting {
        name: ACME_CA_FILE,
        flag: "acme-ca-file",
        value: "FILE",
        default: "",
        help: "Authorities (PEM) that the ACME server's own certificate may come from, instead of the system's",
        secret: None,
    },
    Setting {
        name: ADMIN_TLS_CERT,
        flag: "admin-tls-cert",
        value: "FILE",
        default: "",
        help: "Certificate chain (PEM) of the admin listener, for TLS; needs --admin-tls-key",
        secret: None,
    },
    Setting {
        name: ADMIN_TLS_KEY,
        flag: "admin-tls-key",
        value: "FILE",
        default: "",
        help: "Private key (PEM) of the admin listener's certificate",
        secret: None,
    },
    Setting {
        name: METRICS_TOKEN,
        flag: "metrics-token",
        value: "TEXT",
        default: "",
        help: "Bearer token that /metrics requires, at least 16 characters; without one, anybody may read /metrics",
        secret: Some(Secret { minio: None }),
    },
    Setting {
        name: HOSTS,
        flag: "hosts",
        value: "NAME=ADDR:PORT,...",
        default: "",
        help: "The hosts that found a cluster together, the same list on each; without it, this host alone is the store",
        secret: None,
    },
    Setting {
        name: HOST,
        flag: "host",
        value: "NAME",
        default: "the machine's name",
        help: "This host's name in the cluster; an empty host that starts under the name of a lost one is filled with its data",
        secret: None,
    },
    Setting {
        name: CLUSTER_LISTEN,
        flag: "cluster-listen",
        value: "ADDR:PORT",
        default: "0.0.0.0:9100",
        help: "Address of the listener for the other hosts of the cluster (QUIC over UDP)",
        secret: None,
    },
    Setting {
        name: CLUSTER_SECRET,
        flag: "cluster-secret",
        value: "TEXT",
        default: "",
        help: "Secret that the hosts of a cluster share and prove to each other, at least 16 characters",
        secret: Some(Secret { minio: None }),
    },
    Setting {
        name: JOIN,
        flag: "join",
        value: "ADDR:PORT,...",
        default: "",
        help: "Addresses of hosts of an existing cluster, which this host joins",
        secret: None,
    },
    Setting {
        name: DOMAIN_LABEL,
        flag: "domain-label",
        value: "NAME",
        default: "",
        help: "Failure domain of this host (a rack, a room); without one, the host is a failure domain of its own",
        secret: None,
    },
    Setting {
        name: OTLP_ENDPOINT,
        flag: "otlp-endpoint",
        value: "URL",
        default: "",
        help: "OpenTelemetry collector that traces of S3 requests are sent to (OTLP over HTTP), such as http://127.0.0.1:4318",
        secret: None,
    },
    Setting {
        name: OTLP_SAMPLE_RATIO,
        flag: "otlp-sample-ratio",
        value: "RATIO",
        default: "1",
        help: "Part of the requests that is traced, from 0 to 1; a client's own trace counts more",
        secret: None,
    },
    Setting {
        name: OTLP_SERVICE_NAME,
        flag: "otlp-service-name",
        value: "NAME",
        default: "sherd",
        help: "Name of the store in traces (service.name)",
        secret: None,
    },
    Setting {
        name: OTLP_CA_FILE,
        flag: "otlp-ca-file",
        value: "FILE",
        default: "",
        help: "Authorities (PEM) that the collector's certificate may come from, instead of the system's",
        secret: None,
    },
    Setting {
        name: LOG,
        flag: "log",
        value: "FILTER",
        default: "info",
        help: "Filter of log lines: a level, or a list such as info,sherd::actors=debug",
        secret: None,
    },
    Setting {
        name: LOG_FORMAT,
        flag: "log-format",
        value: "text|json",
        default: "text",
        help: "Format of log lines",
        secret: None,
    },
];

/// The setting with this variable.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Returns every variable that is read, `_FILE` forms and MinIO's names included.
pub fn known_names() -> Vec<String> {
    let mut names = vec![ADMIN_URL.to_owned(), ADMIN_CA_FILE.to_owned()];
    for setting in SETTINGS {
        names.push(setting.name.to_owned());
        if let Some(secret) = setting.secret {
            names.push(format!("{}_FILE", setting.name));
            let minio = secret.minio.into_iter();
            names.extend(minio.flat_map(|minio| [minio.to_owned(), format!("{minio}_FILE")]));
        }
    }
    names
}

/// Returns the known `SHERD_` name that is nearest to `name`, unless none is near.
pub fn nearest_name(name: &str) -> Option<String> {
    let candidates = known_names().into_iter().filter(|known| known.starts_with(PREFIX));
    let (distance, nearest) = candidates.map(|known| (edit_distance(name, &known), known)).min()?;
    let own_length = name.len().saturating_sub(PREFIX.len());
    (distance <= own_length.div_ceil(2).max(2)).then_some(nearest)
}

/// Levenshtein's distance: insertions, deletions and substitutions of bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let substituted = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = substituted.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        row[0] = i + 1;
    }
    row.last().copied().unwrap_or_default()
}
