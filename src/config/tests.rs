//! Tests of the configuration: no process environment, files from a map.

use super::{
    AccessQuestion, IdentityQuestion, JobQuestion, KeyQuestion, LayoutQuestion, RateLimitQuestion, UserOrGroup,
};
use super::{AdminCommand, AdminInvocation, KeySource, Limit, Question, Target, TopBy, TopOver, TopQuestion, Trust};
use super::{AuditConfig, AuditLog};
use super::{Config, ConfigError, Credentials, Durability, EcSetting, FileReader, Invocation, LogFormat, from_process};
use super::{ObjectOwnership, RejoinWish, SETTINGS, check_data_dirs, data_dir, settings, values, with_data};
use super::{ServiceKeyAsked, Waiting, WhoAsked};
use crate::limits::Scale;
use crate::types::{LegacySignatures, Roles};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Default)]
struct Files(BTreeMap<PathBuf, Vec<u8>>);

impl Files {
    fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect())
    }
}

impl FileReader for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn config_with(pairs: &[(&str, &str)], files: &Files) -> Result<Config, ConfigError> {
    Config::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), files)
}

fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    config_with(pairs, &Files::default())
}

/// Returns the message with which this value is refused.
fn refusal(name: &str, value: &str) -> String {
    config(&[(name, value)]).unwrap_err().to_string()
}

fn dirs(text: &str) -> Vec<String> {
    let dirs = config(&[("SHERD_DATA", text)]).unwrap().data;
    dirs.iter().map(|dir| dir.to_str().unwrap().to_owned()).collect()
}

#[test]
fn an_empty_environment_gives_the_defaults() {
    let config = config(&[]).unwrap();
    assert_eq!(config.data, [PathBuf::from("./sherd-data")]);
    assert_eq!(config.s3_listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9001");
    assert_eq!(config.credentials, None);
    assert_eq!(config.region, "us-east-1");
    assert!(config.domains.is_empty() && config.website_domains.is_empty());
    assert_eq!(config.sigv2, LegacySignatures::Off);
    assert_eq!(config.object_ownership, ObjectOwnership::ObjectWriter);
    assert_eq!(config.ec, EcSetting::Auto);
    assert_eq!(config.durability, Durability::Strict);
    assert_eq!(config.roles, Roles::ALL);
    assert_eq!(config.scrub_interval, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(config.access_log_interval, Duration::from_secs(300));
    assert_eq!(config.lifecycle_day, Duration::from_secs(24 * 3600));
    assert!(config.webhooks.is_empty());
    assert_eq!((config.tls, config.admin_tls), (None, None), "a plain start speaks plain HTTP");
    assert_eq!(config.log_filter, "info");
    assert_eq!(config.log_format, LogFormat::Text);
    assert!(config.warnings.is_empty());
}

#[test]
fn every_refusal_names_the_variable_the_value_and_what_is_allowed() {
    let wrong = [
        ("SHERD_DATA", "/d{1..4}"),
        ("SHERD_S3_LISTEN", "example.org:9000"),
        ("SHERD_ADMIN_LISTEN", "9001"),
        ("SHERD_REGION", "the moon"),
        ("SHERD_DOMAIN", "https://s3.example.org"),
        ("SHERD_WEBSITE_DOMAIN", "website.test:9000"),
        ("SHERD_SIGV2", "yes"),
        ("SHERD_OBJECT_OWNERSHIP", "nobody"),
        ("SHERD_EC", "4-2"),
        ("SHERD_DURABILITY", "lax"),
        ("SHERD_ROLES", "gateway,king"),
        ("SHERD_MEMORY_MAX", "lots"),
        ("SHERD_SCRUB_INTERVAL", "monthly"),
        ("SHERD_ACCESS_LOG_INTERVAL", "2d"),
        ("SHERD_LIFECYCLE_DAY", "1h"),
        ("SHERD_SCALE", "huge"),
        ("SHERD_WEBHOOK_HOOK_URL", "example.org"),
        ("SHERD_LOG", "loud"),
        ("SHERD_LOG", "sherd=loud"),
        ("SHERD_LOG", "info,sherd::actors"),
        ("SHERD_LOG", "sherd="),
        ("SHERD_LOG_FORMAT", "xml"),
    ];
    for (name, value) in wrong {
        let message = refusal(name, value);
        assert!(message.starts_with(&format!("{name}: {value:?} is not allowed; expected ")), "{message}");
    }
}

#[test]
fn a_log_filter_is_a_list_of_levels_and_targets_with_levels() {
    for filter in ["off", "WARN", "warn,sherd=info", "info,sherd::actors=debug", "info,[put{bucket=a}]=trace"] {
        assert_eq!(config(&[("SHERD_LOG", filter)]).unwrap().log_filter, filter);
    }
    let message = refusal("SHERD_LOG", "loud");
    assert!(message.contains("expected a level (off, error, warn, info, debug, trace) or"), "{message}");
}

#[test]
fn a_geometry_without_parity_is_warned_about() {
    let warnings = |ec: &str| config(&[("SHERD_EC", ec), ("SHERD_DATA", "/d{1...2}")]).unwrap().warnings;
    assert_eq!(warnings("2+0"), ["SHERD_EC=2+0 has no parity: the loss of any drive loses objects"]);
    assert_eq!(warnings("1+1"), [""; 0]);
    assert_eq!(warnings("auto"), [""; 0]);
}

#[test]
fn signatures_of_version_2_are_accepted_if_configured() {
    let taken = |text: &str| config(&[("SHERD_SIGV2", text)]).unwrap().sigv2;
    assert_eq!((taken("on"), taken("off")), (LegacySignatures::On, LegacySignatures::Off));
    assert_eq!(taken("urls"), LegacySignatures::Urls);
}

#[test]
fn new_buckets_have_the_configured_ownership() {
    let named = |text: &str| config(&[("SHERD_OBJECT_OWNERSHIP", text)]).unwrap().object_ownership;
    assert_eq!(named("BucketOwnerEnforced"), ObjectOwnership::BucketOwnerEnforced);
    assert_eq!(named("BucketOwnerPreferred"), ObjectOwnership::BucketOwnerPreferred);
}

#[test]
fn a_domain_cannot_be_for_s3_and_for_websites() {
    let both = |websites: &str| config(&[("SHERD_DOMAIN", "s3.test,b.test"), ("SHERD_WEBSITE_DOMAIN", websites)]);
    assert_eq!(both("Website.test, test").unwrap().website_domains, ["website.test", "test"]);
    assert_eq!(
        both("a.test,B.test").unwrap_err().to_string(),
        "SHERD_WEBSITE_DOMAIN: \"b.test\" is not allowed; expected other domains than those of SHERD_DOMAIN"
    );
}

#[test]
fn an_empty_value_counts_as_not_set() {
    let all: Vec<_> = SETTINGS.iter().map(|setting| (setting.name, "")).collect();
    assert_eq!(config(&all).unwrap(), config(&[]).unwrap());
}

#[test]
fn an_unknown_sherd_variable_is_refused_with_the_nearest_name() {
    assert_eq!(refusal("SHERD_DATE", "/d"), "SHERD_DATE is not a setting; did you mean SHERD_DATA?");
    assert_eq!(refusal("SHERD_MEM_MAX", "1GiB"), "SHERD_MEM_MAX is not a setting; did you mean SHERD_MEMORY_MAX?");
    assert_eq!(
        refusal("SHERD_SECRETKEY_FILE", "x"),
        "SHERD_SECRETKEY_FILE is not a setting; did you mean SHERD_SECRET_KEY_FILE?"
    );
    assert_eq!(refusal("SHERD_XYZZY_PLUGH", "1"), "SHERD_XYZZY_PLUGH is not a setting");
    assert!(config(&[("PATH", "/bin"), ("SHERDX", "1")]).is_ok());
}

#[test]
fn unused_minio_variables_are_warned_about() {
    let config = config(&[("MINIO_VOLUMES", "/d")]).unwrap();
    assert_eq!(config.warnings, ["MINIO_VOLUMES is set, but Sherd does not use it"]);
}

#[test]
fn directories_are_separated_by_commas_or_spaces() {
    assert_eq!(dirs("/a,/b /c, /d"), ["/a", "/b", "/c", "/d"]);
}

#[test]
fn ellipses_expand_in_order_and_multiply() {
    assert_eq!(dirs("/d{1...4}"), ["/d1", "/d2", "/d3", "/d4"]);
    assert_eq!(dirs("/d{08...10}/x"), ["/d08/x", "/d09/x", "/d10/x"]);
    assert_eq!(dirs("/s{1...2}/d{0...1}"), ["/s1/d0", "/s1/d1", "/s2/d0", "/s2/d1"]);
    assert_eq!(dirs("/a{3...3},/b{9...10}"), ["/a3", "/b9", "/b10"]);
}

#[test]
fn malformed_ellipses_are_refused() {
    for text in
        ["/d{1..4}", "/d{4...1}", "/d{1...4", "/d1...4}", "/d{a...c}", "/d{...}", "/d{-1...2}", "/d}{1...2}", "/d{}"]
    {
        assert!(refusal("SHERD_DATA", text).contains("ellipses of the form {1...4}"), "{text}");
    }
}

#[test]
fn ellipses_that_make_too_many_directories_are_refused_before_expansion() {
    for text in ["/d{1...65}", "/d{0...999999}", "/a{1...64}/b{1...64}/c{1...64}", "/d{1...40},/e{1...40}"] {
        assert!(refusal("SHERD_DATA", text).contains("at most 64 directories"), "{text}");
    }
    assert_eq!(dirs("/d{1...64}").len(), 64);
}

#[test]
fn a_directory_that_is_repeated_or_within_another_is_refused() {
    assert!(refusal("SHERD_DATA", "/a,/b,/a/").contains("/a is there twice"));
    assert!(refusal("SHERD_DATA", "./a,a").contains("there twice"));
    assert!(refusal("SHERD_DATA", "/a/b,/a").contains("/a/b is within /a"));
    assert_eq!(dirs("/a,/ab"), ["/a", "/ab"]);
}

#[test]
fn an_added_directory_is_given_by_its_whole_path_and_lies_beside_the_others() {
    assert_eq!(data_dir("/mnt/d5"), Ok(PathBuf::from("/mnt/d5")));
    assert_eq!(data_dir("/mnt/./d5/"), Ok(PathBuf::from("/mnt/d5")));
    for wrong in ["", "d5", "./d5", "/mnt/d5,/mnt/d6", "/mnt/d 5", "/d{5...6}", "/d{5...5}", "/mnt/../d5", "/d}"] {
        assert!(data_dir(wrong).is_err(), "{wrong:?}");
    }
    let check = |dirs: &[&str]| check_data_dirs(&dirs.iter().map(PathBuf::from).collect::<Vec<_>>());
    assert_eq!(check(&["/d1", "/d2"]), Ok(()));
    assert!(check(&["/d1", "/d1/new"]).unwrap_err().contains("within"));
    let many: Vec<String> = (0..65).map(|number| format!("/d{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(check(&many[1..]).is_ok() && check(&many).unwrap_err().contains("at most 64"));
}

#[test]
fn a_process_that_starts_again_gets_the_added_directories() {
    let again = |arguments: &[&str]| {
        let arguments = with_data(arguments.iter().map(OsString::from), "/d1,/d2");
        arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(again(&["sherd", "--data", "/d1", "--region", "x"]), ["sherd", "--data", "/d1,/d2", "--region", "x"]);
    assert_eq!(again(&["sherd", "--data=/d1"]), ["sherd", "--data=/d1,/d2"]);
    assert_eq!(again(&["sherd", "--region", "x"]), ["sherd", "--region", "x"], "they come by the variable");
}

#[test]
fn listen_addresses_are_numeric_and_may_omit_the_host() {
    let listen = |text| config(&[("SHERD_S3_LISTEN", text)]).map(|config| config.s3_listen.to_string());
    assert_eq!(listen("0.0.0.0:9000").unwrap(), "0.0.0.0:9000");
    assert_eq!(listen(":9000").unwrap(), "0.0.0.0:9000");
    assert_eq!(listen("localhost:0").unwrap(), "127.0.0.1:0");
    assert_eq!(listen("[::1]:80").unwrap(), "[::1]:80");
    for text in ["9000", "127.0.0.1", "127.0.0.1:65536", "::1:80:x", "http://127.0.0.1:9000"] {
        assert!(listen(text).is_err(), "{text}");
    }
}

#[test]
fn the_s3_and_admin_listeners_need_different_addresses() {
    let both = |s3, admin| config(&[("SHERD_S3_LISTEN", s3), ("SHERD_ADMIN_LISTEN", admin)]);
    let message = both("127.0.0.1:9001", "127.0.0.1:9001").unwrap_err().to_string();
    assert!(message.contains("SHERD_ADMIN_LISTEN") && message.contains("another port than 9001"), "{message}");
    assert!(both("0.0.0.0:9001", "127.0.0.1:9001").is_err());
    assert!(both("127.0.0.1:0", "127.0.0.1:0").is_ok());
    assert!(both("127.0.0.1:9000", "127.0.0.2:9000").is_ok());
}

#[test]
fn geometries_out_of_bounds_are_refused() {
    let ec = |text| config(&[("SHERD_EC", text)]).map(|config| config.ec);
    assert_eq!(ec("auto").unwrap(), EcSetting::Auto);
    assert_eq!(ec("1+0").unwrap(), EcSetting::Fixed { data: 1, parity: 0 });
    assert_eq!(ec("28+4").unwrap(), EcSetting::Fixed { data: 28, parity: 4 });
    for text in ["0+2", "30+3", "4", "4+", "+2", "4+2+1", "255+255", "-1+2", "4 + 2", "300+1"] {
        assert!(ec(text).is_err(), "{text}");
    }
}

#[test]
fn more_shards_than_drives_give_a_warning() {
    let with = |data, ec| config(&[("SHERD_DATA", data), ("SHERD_EC", ec)]).unwrap().warnings;
    assert!(with("/d{1...4}", "2+2").is_empty());
    let words = |ec: &str, drives: u8, most: u8, spared: u8| {
        format!(
            "SHERD_EC={ec} on {drives} directories puts up to {most} shards of an object on one drive: at most {spared} of the {drives} drives may be lost"
        )
    };
    assert_eq!(with("/d{1...4}", "4+2"), [words("4+2", 4, 2, 1)]);
    assert_eq!(with("/d{1...3}", "4+4"), [words("4+4", 3, 3, 1)]);
    assert_eq!(with("/d{1...2}", "3+3"), [words("3+3", 2, 3, 1)]);
    assert_eq!(with("/d{1...4}", "4+4"), [words("4+4", 4, 2, 2)]);
    assert_eq!(with("/d1", "1+1"), [words("1+1", 1, 2, 0)]);
}

#[test]
fn durability_is_strict_or_relaxed_with_an_interval() {
    let durability = |text| config(&[("SHERD_DURABILITY", text)]).map(|config| config.durability);
    let relaxed = |ms| Durability::Relaxed { sync_interval: Duration::from_millis(ms) };
    assert_eq!(durability("strict").unwrap(), Durability::Strict);
    assert_eq!(durability("relaxed:200ms").unwrap(), relaxed(200));
    assert_eq!(durability("relaxed:2s").unwrap(), relaxed(2000));
    for text in [
        "relaxed",
        "relaxed:",
        "relaxed:200",
        "relaxed:0ms",
        "relaxed:11s",
        "Strict",
        "relaxed:1.5s",
        "relaxed:999999s",
    ] {
        assert!(durability(text).is_err(), "{text}");
    }
}

#[test]
fn a_host_that_is_alone_needs_every_role() {
    assert_eq!(config(&[("SHERD_ROLES", "storage meta gateway")]).unwrap().roles, Roles::ALL);
    let message = refusal("SHERD_ROLES", "gateway,meta");
    assert!(message.starts_with("SHERD_ROLES: \"gateway,meta\" is not allowed; expected gateway, meta and storage, "));
    assert!(message.contains("this host alone is the store"), "{message}");
    assert!(refusal("SHERD_ROLES", ",").contains("at least one of gateway, meta and storage"));
}

#[test]
fn founders_need_meta_and_storage_and_joining_hosts_may_have_any_roles() {
    let secret = ("SHERD_CLUSTER_SECRET", SECRET);
    let founding = |roles| cluster(&[("SHERD_HOSTS", "b=h:1"), secret, ("SHERD_ROLES", roles)]);
    assert!(founding("meta,storage").is_ok());
    for roles in ["gateway", "meta", "gateway,meta", "gateway,storage"] {
        let message = founding(roles).unwrap_err().to_string();
        assert!(message.starts_with(&format!("SHERD_ROLES: {roles:?} is not allowed")), "{message}");
        assert!(message.contains("at least meta and storage, since this host founds the cluster"), "{message}");
    }
    for roles in ["gateway", "meta", "storage", "gateway,storage"] {
        let joining = [("SHERD_JOIN", "a:1"), ("SHERD_HOSTS", "b=h:1"), secret, ("SHERD_ROLES", roles)];
        assert!(cluster(&joining).is_ok(), "{roles}");
    }
}

#[test]
fn a_host_without_the_gateway_role_may_use_the_s3_port_for_admin() {
    let with = |roles| {
        let keys = [("SHERD_ACCESS_KEY", "rootkey"), ("SHERD_SECRET_KEY", "of sufficient length")];
        let joining = [("SHERD_JOIN", "a:1"), ("SHERD_HOST", "b"), ("SHERD_CLUSTER_SECRET", SECRET)];
        let listening = [("SHERD_ADMIN_LISTEN", "127.0.0.1:9000"), ("SHERD_ROLES", roles)];
        config(&[&keys[..], &joining, &listening].concat())
    };
    assert!(with("gateway").unwrap_err().to_string().contains("another port than 9000"));
    assert_eq!(with("meta").unwrap().roles, Roles { meta: true, ..Roles::NONE });
}

#[test]
fn sizes_have_binary_units() {
    let memory = |text| config(&[("SHERD_MEMORY_MAX", text)]).map(|config| config.memory_max_bytes);
    assert_eq!(memory("268435456").unwrap(), 256 << 20);
    assert_eq!(memory("256MiB").unwrap(), 256 << 20);
    assert_eq!(memory("256M").unwrap(), 256 << 20);
    assert_eq!(memory("1 GiB").unwrap(), 1 << 30);
    for text in ["1MiB", "GiB", "1.5GiB", "1GB", "99999999999TiB", "99999999999999999999"] {
        assert!(memory(text).is_err(), "{text}");
    }
    assert!(refusal("SHERD_MEMORY_MAX", "1MiB").contains("at least 32MiB"));
}

#[test]
fn memory_max_defaults_to_a_quarter_of_the_available_memory() {
    let meminfo = ("/proc/meminfo", "MemFree: 1 kB\nMemTotal:       16777216 kB\n");
    let quarter = |files: &[(&str, &str)]| config_with(&[], &Files::of(files)).unwrap().memory_max_bytes;
    assert_eq!(quarter(&[meminfo]), 4 << 30);
    let v2 = [
        meminfo,
        ("/proc/self/cgroup", "0::/a/b\n"),
        ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
        ("/sys/fs/cgroup/a/memory.max", "1073741824\n"),
    ];
    assert_eq!(quarter(&v2), 256 << 20);
    let v1 = [
        meminfo,
        ("/proc/self/cgroup", "7:blkio:/x\n4:cpu,memory:/x\n0::/\n"),
        ("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2147483648\n"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ];
    assert_eq!(quarter(&v1), 512 << 20);
    // In a container the cgroup path may name a directory that only the host sees.
    let namespaced =
        [meminfo, ("/proc/self/cgroup", "0::/../../outside\n"), ("/sys/fs/cgroup/memory.max", "536870912\n")];
    assert_eq!(quarter(&namespaced), 128 << 20);
    assert_eq!(quarter(&[]), values::MEMORY_MAX_BYTES_MIN);
}

#[test]
fn credentials_are_read_from_variables_files_or_minios_variables() {
    let files = Files::of(&[("/s", "file-secret-1\n"), ("/a", "file-access")]);
    let keys = |pairs: &[(&str, &str)]| {
        let Credentials { access_key, secret_key } = config_with(pairs, &files).unwrap().credentials.unwrap();
        (access_key, secret_key)
    };
    let expected = |a: &str, s: &str| (a.to_owned(), s.to_owned());
    assert_eq!(
        keys(&[("SHERD_ACCESS_KEY", "ann"), ("SHERD_SECRET_KEY", "plain-secret")]),
        expected("ann", "plain-secret")
    );
    assert_eq!(
        keys(&[("SHERD_ACCESS_KEY_FILE", "/a"), ("SHERD_SECRET_KEY_FILE", "/s")]),
        expected("file-access", "file-secret-1")
    );
    assert_eq!(
        keys(&[("MINIO_ROOT_USER", "bob"), ("MINIO_ROOT_PASSWORD_FILE", "/s")]),
        expected("bob", "file-secret-1")
    );
    let same = [("MINIO_ROOT_USER", "bob"), ("SHERD_ACCESS_KEY", "bob"), ("SHERD_SECRET_KEY", "plain-secret")];
    assert_eq!(keys(&same), expected("bob", "plain-secret"));
}

#[test]
fn a_key_given_twice_is_refused() {
    let files = Files::of(&[("/s", "file-secret-1\n")]);
    let refused = |pairs: &[(&str, &str)]| config_with(pairs, &files).unwrap_err().to_string();
    assert_eq!(
        refused(&[("SHERD_ACCESS_KEY", "ann"), ("SHERD_SECRET_KEY", "plain-secret"), ("SHERD_SECRET_KEY_FILE", "/s")]),
        "SHERD_SECRET_KEY and SHERD_SECRET_KEY_FILE are both set; only one of them is allowed"
    );
    assert_eq!(
        refused(&[("SHERD_ACCESS_KEY", "ann"), ("MINIO_ROOT_USER", "bob"), ("SHERD_SECRET_KEY", "plain-secret")]),
        "SHERD_ACCESS_KEY and MINIO_ROOT_USER are both set; only one of them is allowed"
    );
}

#[test]
fn an_access_key_without_a_secret_key_is_refused() {
    assert!(refusal("SHERD_ACCESS_KEY", "ann").contains("SHERD_ACCESS_KEY is set without SHERD_SECRET_KEY"));
    assert!(refusal("MINIO_ROOT_PASSWORD", "plain-secret").contains("without SHERD_ACCESS_KEY"));
}

#[test]
fn a_secret_file_must_be_readable_text() {
    let files = Files::of(&[("/empty", "\n")]);
    for path in ["/missing", "/empty"] {
        let error = config_with(&[("SHERD_ACCESS_KEY", "ann"), ("SHERD_SECRET_KEY_FILE", path)], &files).unwrap_err();
        assert!(error.to_string().starts_with(&format!("SHERD_SECRET_KEY_FILE: {path:?} cannot be read: ")), "{error}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let short = [("SHERD_ACCESS_KEY", "ann"), ("SHERD_SECRET_KEY", "hush")];
    let message = config(&short).unwrap_err().to_string();
    assert!(message.contains("SHERD_SECRET_KEY") && message.contains("8 to 128"), "{message}");
    assert!(!message.contains("hush"), "{message}");
    let config = config(&[("SHERD_ACCESS_KEY", "ann"), ("SHERD_SECRET_KEY", "very-hush-hush")]).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn well_known_credentials_are_refused_off_loopback() {
    let with = |listen, access, secret| {
        config(&[("SHERD_S3_LISTEN", listen), ("SHERD_ACCESS_KEY", access), ("SHERD_SECRET_KEY", secret)])
    };
    assert!(with("127.0.0.1:9000", "minioadmin", "minioadmin").is_ok());
    assert!(with("[::1]:9000", "admin", "password").is_ok());
    for (access, secret) in
        [("minioadmin", "minioadmin"), ("admin", "password"), ("minio", "minio123"), ("x12345678", "X12345678")]
    {
        let error = with("0.0.0.0:9000", access, secret).unwrap_err();
        assert!(matches!(error, ConfigError::WellKnownCredentials { .. }), "{error}");
    }
    assert!(with("0.0.0.0:9000", "admin", "8c1f0e7d2b").is_ok());
    let admin = |more: &[(&str, &str)]| {
        let given = [("SHERD_ACCESS_KEY", "minioadmin"), ("SHERD_SECRET_KEY", "minioadmin")];
        config(&[&given, more].concat()).map(|_| ()).map_err(|error| error.to_string())
    };
    let refused = admin(&[("SHERD_ADMIN_LISTEN", ":9001")]).unwrap_err();
    assert!(refused.contains("SHERD_ADMIN_LISTEN on a loopback address"), "{refused}");
    let minio = config(&[
        ("SHERD_S3_LISTEN", ":9000"),
        ("MINIO_ROOT_USER", "minioadmin"),
        ("MINIO_ROOT_PASSWORD", "minioadmin"),
    ]);
    assert!(minio.is_err());
}

#[test]
fn tls_needs_both_certificate_and_key_or_neither() {
    let files = Files::of(&[("/c.pem", "cert"), ("/k.pem", "key")]);
    let tls = |pairs: &[(&str, &str)]| config_with(pairs, &files).map(|config| config.tls);
    assert!(tls(&[("SHERD_TLS_CERT", "/c.pem"), ("SHERD_TLS_KEY", "/k.pem")]).unwrap().is_some());
    let alone = tls(&[("SHERD_TLS_KEY", "/k.pem")]).unwrap_err().to_string();
    assert_eq!(alone, "SHERD_TLS_KEY is set without SHERD_TLS_CERT; expected both or neither");
    let missing = tls(&[("SHERD_TLS_CERT", "/c.pem"), ("SHERD_TLS_KEY", "/x.pem")]).unwrap_err().to_string();
    assert!(missing.starts_with("SHERD_TLS_KEY: \"/x.pem\" cannot be read"), "{missing}");
    let admin = [("SHERD_ADMIN_TLS_CERT", "/c.pem"), ("SHERD_ADMIN_TLS_KEY", "/k.pem")];
    let found = config_with(&admin, &files).unwrap();
    assert_eq!(found.tls, None, "each listener has its own");
    assert_eq!(found.admin_tls.unwrap().cert.setting, "SHERD_ADMIN_TLS_CERT");
    let alone = tls(&admin[..1]).unwrap_err().to_string();
    assert_eq!(alone, "SHERD_ADMIN_TLS_CERT is set without SHERD_ADMIN_TLS_KEY; expected both or neither");
}

#[test]
fn certificates_by_acme_need_names_and_a_contact_and_no_files() {
    let files = Files::of(&[("/c.pem", "cert"), ("/k.pem", "key"), ("/ca.pem", "authority")]);
    let acme = |pairs: &[(&str, &str)]| config_with(pairs, &files).map(|config| config.acme);
    assert_eq!(acme(&[]).unwrap(), None);
    let (domains, contact) =
        (("SHERD_ACME_DOMAINS", "S3.test, a.test,s3.test"), ("SHERD_ACME_CONTACT", "mailto:ops@test"));
    let found = acme(&[domains, contact, ("SHERD_ACME_CA_FILE", "/ca.pem")]).unwrap().unwrap();
    assert_eq!(found.domains, ["a.test", "s3.test"]);
    assert_eq!(found.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(found.ca_file, Some(PathBuf::from("/ca.pem")));
    let refused = |pairs: &[(&str, &str)]| acme(pairs).unwrap_err().to_string();
    assert_eq!(refused(&[domains]), "SHERD_ACME_DOMAINS is set without SHERD_ACME_CONTACT; expected both or neither");
    assert!(refused(&[contact]).starts_with("SHERD_ACME_CONTACT is set without SHERD_ACME_DOMAINS"));
    let directory = ("SHERD_ACME_DIRECTORY", "https://acme.test/directory");
    assert!(refused(&[directory]).starts_with("SHERD_ACME_DIRECTORY is set without SHERD_ACME_DOMAINS"));
    let by_files = [("SHERD_TLS_CERT", "/c.pem"), ("SHERD_TLS_KEY", "/k.pem")];
    assert_eq!(
        refused(&[&by_files[..], &[domains, contact]].concat()),
        "SHERD_ACME_DOMAINS and SHERD_TLS_CERT are both set; only one of them is allowed"
    );
    for (name, value) in [
        ("SHERD_ACME_DOMAINS", "*.s3.test"),
        ("SHERD_ACME_DOMAINS", "10.0.0.1"),
        ("SHERD_ACME_DOMAINS", "https://s3.test"),
        ("SHERD_ACME_DOMAINS", " , "),
        ("SHERD_ACME_CONTACT", "ops@test"),
        ("SHERD_ACME_CONTACT", "mailto:ops"),
        ("SHERD_ACME_CONTACT", "mailto:a@test,b@test"),
        ("SHERD_ACME_DIRECTORY", "http://acme.test/directory"),
        ("SHERD_ACME_DIRECTORY", "https://"),
        ("SHERD_ACME_CA_FILE", "/missing.pem"),
    ] {
        let message = refused(&[domains, contact, (name, value)]);
        assert!(message.starts_with(&format!("{name}: {value:?} ")), "{message}");
    }
}

fn invoke(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    from_process(arguments.iter().map(OsString::from), environment, &Files::default())
}

#[test]
fn flags_win_over_variables() {
    let environment = [("SHERD_REGION", "from-env"), ("SHERD_EC", "2+1")];
    let Ok(Invocation::Run(config)) = invoke(&["sherd", "--region", "from-flag", "--data=/x"], &environment) else {
        panic!("not run")
    };
    assert_eq!(config.region, "from-flag");
    assert_eq!(config.ec, EcSetting::Fixed { data: 2, parity: 1 });
    assert_eq!(config.data, [PathBuf::from("/x")]);
}

#[test]
fn salvage_takes_all_settings_and_changes_nothing_without_yes() {
    for (arguments, wanted) in [(&["--yes"][..], true), (&[][..], false)] {
        let arguments = [&["sherd", "salvage", "--data", "/x"][..], arguments].concat();
        let Ok(Invocation::Salvage { config, goes_on }) = invoke(&arguments, &[]) else { panic!("not salvage") };
        assert_eq!((config.data, goes_on), (vec![PathBuf::from("/x")], wanted));
    }
}

#[test]
fn recover_takes_yes_and_the_file_of_an_export() {
    for (arguments, expected) in
        [(&[][..], (None, false)), (&["--yes"][..], (None, true)), (&["--from", "/f", "--yes"][..], (Some("/f"), true))]
    {
        let arguments = [&["sherd", "recover", "--data", "/x"][..], arguments].concat();
        let Ok(Invocation::Recover { from, goes_on, .. }) = invoke(&arguments, &[]) else { panic!("not recover") };
        assert_eq!((from, goes_on), (expected.0.map(std::path::PathBuf::from), expected.1));
    }
}

#[test]
fn rejoin_explains_decides_or_cancels() {
    for (arguments, wanted) in
        [(&[][..], RejoinWish::Explain), (&["--yes"][..], RejoinWish::Decide), (&["--cancel"][..], RejoinWish::Cancel)]
    {
        let arguments = [&["sherd", "rejoin", "--data", "/x"][..], arguments].concat();
        let Ok(Invocation::Rejoin { config, wish }) = invoke(&arguments, &[]) else { panic!("not rejoin") };
        assert_eq!((config.data, wish), (vec![PathBuf::from("/x")], wanted));
    }
    let both = invoke(&["sherd", "rejoin", "--data", "/x", "--yes", "--cancel"], &[]);
    assert!(matches!(both, Ok(Invocation::Print { code: 2, .. })));
}

#[test]
fn health_takes_all_settings() {
    let Ok(Invocation::Health(config)) = invoke(&["sherd", "health", "--admin-listen", ":7001"], &[]) else {
        panic!("not health")
    };
    assert_eq!(config.admin_listen.port(), 7001);
}

#[test]
fn check_takes_all_settings() {
    let Ok(Invocation::Check(config)) = invoke(&["sherd", "check", "--data", "/x"], &[]) else { panic!("not check") };
    assert_eq!(config.data, [PathBuf::from("/x")]);
    let wrong = invoke(&["sherd", "check"], &[("SHERD_DATE", "/x")]).unwrap_err().to_string();
    assert!(wrong.contains("did you mean SHERD_DATA?"), "{wrong}");
}

#[test]
fn the_credentials_command_prefers_keys_from_variables_to_stored_ones() {
    let kept = |dirs: &[&str]| Ok(Invocation::Credentials(KeySource::Kept(dirs.iter().map(PathBuf::from).collect())));
    assert_eq!(invoke(&["sherd", "credentials"], &[]), kept(&["./sherd-data"]));
    assert_eq!(invoke(&["sherd", "credentials"], &[("SHERD_DATA", "/a{1...2}")]), kept(&["/a1", "/a2"]));
    assert_eq!(invoke(&["sherd", "credentials", "--data", "/b"], &[("SHERD_DATA", "/a")]), kept(&["/b"]));
    let set = [("SHERD_ACCESS_KEY", "someone"), ("SHERD_SECRET_KEY", "something-secret")];
    let Ok(Invocation::Credentials(KeySource::Given(keys))) = invoke(&["sherd", "credentials"], &set) else {
        panic!("not the given ones")
    };
    assert_eq!((keys.access_key.as_str(), keys.secret_key.as_str()), ("someone", "something-secret"));
}

#[test]
fn help_lists_every_setting_with_its_variable_and_default() {
    let Ok(Invocation::Print { text, code: 0 }) = invoke(&["sherd", "--help"], &[]) else { panic!("no help") };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        assert!(text.contains(&format!("--{} ", setting.flag)), "{}", setting.flag);
        assert!(text.contains(&format!("[env: {}]", setting.name)), "{}", setting.name);
        assert!(
            setting.default.is_empty() || text.contains(&format!("[default: {}]", setting.default)),
            "{}",
            setting.name
        );
        assert_eq!(setting.flag, setting.name["SHERD_".len()..].to_lowercase().replace('_', "-"));
    }
}

#[test]
fn an_unknown_flag_is_refused_with_code_2() {
    let Ok(Invocation::Print { text, code: 2 }) = invoke(&["sherd", "--dat", "/x"], &[]) else { panic!("taken") };
    assert!(text.contains("--dat"), "{text}");
}

#[test]
fn a_variable_that_is_not_utf8_is_refused_by_name() {
    use std::os::unix::ffi::OsStringExt;
    let environment = [(OsString::from("SHERD_DATA"), OsString::from_vec(vec![b'/', 0xff]))];
    let error = from_process([OsString::from("sherd")], environment, &Files::default()).unwrap_err();
    assert!(error.to_string().starts_with("SHERD_DATA: ") && error.to_string().contains("UTF-8"), "{error}");
}

const SECRET: &str = "0123456789abcdef";

fn cluster(pairs: &[(&str, &str)]) -> Result<Option<super::ClusterConfig>, ConfigError> {
    let keys = [("SHERD_ACCESS_KEY", "rootkey"), ("SHERD_SECRET_KEY", "of sufficient length")];
    let files = Files::of(&[("/proc/sys/kernel/hostname", "b\n"), ("/secret", "fedcba9876543210\n")]);
    config_with(&[&keys, pairs].concat(), &files).map(|config| config.cluster)
}

#[test]
fn a_founder_finds_its_own_address_by_its_name() {
    let hosts = ("SHERD_HOSTS", "a=10.0.0.1:9100, b=host-b:9100");
    let found = cluster(&[hosts, ("SHERD_CLUSTER_SECRET", SECRET)]).unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.address.as_str()), ("b", "host-b:9100"));
    assert_eq!(found.listen.to_string(), "0.0.0.0:9100");
    assert!(found.is_founder() && found.founders.len() == 2 && found.domain.is_none());
    assert!(!format!("{found:?}").contains(SECRET));
    let named = cluster(&[hosts, ("SHERD_CLUSTER_SECRET_FILE", "/secret"), ("SHERD_HOST", "a")]).unwrap().unwrap();
    assert_eq!((named.address.as_str(), named.secret.as_str()), ("10.0.0.1:9100", "fedcba9876543210"));
    let stranger = cluster(&[hosts, ("SHERD_CLUSTER_SECRET", SECRET), ("SHERD_HOST", "c")]).unwrap_err().to_string();
    assert!(stranger.contains("SHERD_HOST: \"c\"") && stranger.contains("a, b"), "{stranger}");
}

#[test]
fn a_joining_hosts_address_is_where_it_listens() {
    let joining = [("SHERD_JOIN", "a:9100"), ("SHERD_CLUSTER_SECRET", SECRET), ("SHERD_DOMAIN_LABEL", "rack-1")];
    let found = cluster(&joining).unwrap().unwrap();
    assert_eq!((found.address.as_str(), found.doors.as_slice()), ("b:9100", &["a:9100".to_owned()][..]));
    assert!(!found.is_founder() && found.domain.as_deref() == Some("rack-1"));
    let listening = [&joining[..], &[("SHERD_CLUSTER_LISTEN", "10.0.0.2:9200")]].concat();
    assert_eq!(cluster(&listening).unwrap().unwrap().address, "10.0.0.2:9200");
}

#[test]
fn incomplete_cluster_settings_are_refused_by_name() {
    let refused = |pairs: &[(&str, &str)]| cluster(pairs).unwrap_err().to_string();
    assert!(refused(&[("SHERD_HOSTS", "b=h:1")]).contains("SHERD_CLUSTER_SECRET"));
    assert!(refused(&[("SHERD_CLUSTER_SECRET", SECRET)]).contains("SHERD_HOSTS or SHERD_JOIN"));
    assert!(refused(&[("SHERD_CLUSTER_LISTEN", ":9100")]).contains("SHERD_HOSTS or SHERD_JOIN"));
    let short = refused(&[("SHERD_HOSTS", "b=h:1"), ("SHERD_CLUSTER_SECRET", "short")]);
    assert!(short.contains("5 characters, not shown") && !short.contains("short\""), "{short}");
    for hosts in ["b", "b=h", "b=h:0", "b=h:1,b=i:1", "b=h:1,a=h:1", "b/=h:1"] {
        assert!(
            refused(&[("SHERD_HOSTS", hosts), ("SHERD_CLUSTER_SECRET", SECRET)]).contains("SHERD_HOSTS"),
            "{hosts}"
        );
    }
    let keyless = config(&[("SHERD_HOSTS", "b=h:1"), ("SHERD_CLUSTER_SECRET", SECRET), ("SHERD_HOST", "b")]);
    assert!(keyless.unwrap_err().to_string().contains("SHERD_ACCESS_KEY and SHERD_SECRET_KEY"));
    assert_eq!(cluster(&[]), Ok(None));
}

fn invoked(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
    let arguments = std::iter::once("sherd").chain(arguments.iter().copied()).map(OsString::from);
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    from_process(arguments, environment, &Files::default())
}

fn admin(arguments: &[&str], environment: &[(&str, &str)]) -> AdminInvocation {
    let arguments: Vec<&str> = std::iter::once("admin").chain(arguments.iter().copied()).collect();
    match invoked(&arguments, environment) {
        Ok(Invocation::Admin(invocation)) => *invocation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn admin_defaults_to_the_local_host_and_the_keys_in_the_data_directory() {
    let found = admin(&["info"], &[]);
    let target = Target {
        authority: "127.0.0.1:9001".to_owned(),
        tls: None,
        keys: KeySource::Kept(vec![PathBuf::from("./sherd-data")]),
        region: "us-east-1".to_owned(),
    };
    assert_eq!(
        found,
        AdminInvocation { command: AdminCommand::Ask(Box::new(target), Question::Info), json: false, waiting: None }
    );
}

#[test]
fn admin_prefers_flags_to_variables_and_keys_from_variables_to_stored_ones() {
    let environment = [
        ("SHERD_ADMIN_URL", "http://b:1"),
        ("SHERD_ACCESS_KEY", "someone"),
        ("SHERD_SECRET_KEY", "something-secret"),
        ("SHERD_REGION", "eu-west-1"),
    ];
    let found = admin(&["leader", "move", "--url", "http://c.example:9001/", "--to", "x", "--json"], &environment);
    let AdminCommand::Ask(target, question) = found.command else { panic!("{found:?}") };
    assert_eq!((target.authority.as_str(), target.region.as_str(), found.json), ("c.example:9001", "eu-west-1", true));
    assert!(matches!(target.keys, KeySource::Given(keys) if keys.access_key == "someone"));
    assert_eq!(question, Question::LeaderMove { to: Some("x".to_owned()) });
    let before = admin(&["--json", "--data", "/d{1...2}", "inventory"], &environment);
    let dirs = vec![PathBuf::from("/d1"), PathBuf::from("/d2")];
    assert_eq!(before, AdminInvocation { command: AdminCommand::Inventory { dirs }, json: true, waiting: None });
}

#[test]
fn admin_parses_scrub_and_layout_commands() {
    let asked = |arguments: &[&str]| match admin(arguments, &[]).command {
        AdminCommand::Ask(_, question) => question,
        other => panic!("{other:?}"),
    };
    let of = || "a".to_owned();
    let job = |arguments: &[&str]| match asked(arguments) {
        Question::Jobs(job) => job,
        other => panic!("{other:?}"),
    };
    assert_eq!(job(&["heal", "status"]), JobQuestion::HealStatus { host: None });
    assert_eq!(job(&["heal", "start", "--host", "a"]), JobQuestion::HealStart { host: Some(of()) });
    assert_eq!(job(&["scrub", "status", "--host", "a"]), JobQuestion::ScrubStatus { host: Some(of()) });
    assert_eq!(job(&["scrub", "start"]), JobQuestion::ScrubStart { node: None, host: None });
    assert_eq!(job(&["scrub", "start", "3"]), JobQuestion::ScrubStart { node: Some(3), host: None });
    assert_eq!(job(&["scrub", "stop", "--host", "a"]), JobQuestion::ScrubStop { node: None, host: Some(of()) });
    assert_eq!(asked(&["layout", "drain", "a"]), Question::Layout(LayoutQuestion::Drain { of: of() }));
    assert_eq!(asked(&["layout", "restore", "a"]), Question::Layout(LayoutQuestion::Restore { of: of() }));
    let weight = LayoutQuestion::Weight { node: 3, weight: 70 };
    assert_eq!(asked(&["layout", "weight", "3", "70"]), Question::Layout(weight));
    let remove = |lost| Question::Layout(LayoutQuestion::Remove { of: of(), lost });
    assert_eq!(asked(&["layout", "remove", "a"]), remove(false));
    assert_eq!(asked(&["layout", "remove", "a", "--lost"]), remove(true));
    for wrong in [
        &["admin", "scrub", "start", "x"][..],
        &["admin", "scrub", "start", "3", "--host", "a"],
        &["admin", "scrub", "stop", "--wait"],
        &["admin", "heal", "start", "--timeout", "5"],
        &["admin", "heal", "start", "--wait", "--timeout", "x"],
        &["admin", "layout", "drain"],
        &["admin", "layout", "drain", "a", "b"],
        &["admin", "layout", "weight", "3"],
        &["admin", "layout", "weight", "3", "-1"],
        &["admin", "layout", "weight", "a", "1"],
    ] {
        assert!(matches!(invoked(wrong, &[]), Ok(Invocation::Print { code: 2, .. })), "{wrong:?}");
    }
}

#[test]
fn admin_parses_drive_commands() {
    let asked = |arguments: &[&str]| match admin(&[&["drive"], arguments].concat(), &[]).command {
        AdminCommand::Ask(_, question) => question,
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&["replace", "3"]), Question::DriveReplace { node: 3 });
    assert_eq!(asked(&["add", "/mnt/d5"]), Question::DriveAdd { directory: "/mnt/d5".to_owned() });
}

#[test]
fn admin_parses_the_top_command() {
    let asked = |arguments: &[&str]| match admin(&[&["top"], arguments].concat(), &[]).command {
        AdminCommand::Ask(_, Question::Top(asked)) => asked,
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&[]), TopQuestion { by: None, over: TopOver::Minute, host: None });
    let all = asked(&["--by", "bucket", "--minutes", "5", "--host", "a"]);
    assert_eq!(all, TopQuestion { by: Some(TopBy::Bucket), over: TopOver::FiveMinutes, host: Some("a".to_owned()) });
    for wrong in [&["admin", "top", "--by", "user"][..], &["admin", "top", "--minutes", "2"]] {
        assert!(matches!(invoked(wrong, &[]), Ok(Invocation::Print { code: 2, .. })), "{wrong:?}");
    }
}

#[test]
fn admin_waits_for_a_job_only_with_wait() {
    let waiting = |arguments: &[&str]| admin(arguments, &[]).waiting;
    let timeout = Some(Duration::from_secs(9));
    assert_eq!(waiting(&["heal", "start"]), None);
    assert_eq!(waiting(&["scrub", "start", "3", "--wait"]), Some(Waiting { timeout: None }));
    for job in [&["heal", "status"][..], &["layout", "drain", "a"], &["layout", "remove", "a"], &["layout", "show"]] {
        assert_eq!(waiting(&[job, &["--wait", "--timeout", "9"]].concat()), Some(Waiting { timeout }), "{job:?}");
    }
    assert_eq!(waiting(&["health", "--safe-to-stop", "a", "--wait", "--timeout", "9"]), Some(Waiting { timeout }));
    for wrong in [&["admin", "health", "--wait"][..], &["admin", "health", "--safe-to-stop", "a", "--timeout", "9"]] {
        assert!(matches!(invoked(wrong, &[]), Ok(Invocation::Print { code: 2, .. })), "{wrong:?}");
    }
}

#[test]
fn admin_parses_the_bucket_quota_command() {
    let asked = |arguments: &[&str]| match admin(&[&["bucket", "quota"], arguments].concat(), &[]).command {
        AdminCommand::Ask(_, Question::BucketQuota { bucket, bytes, objects }) => (bucket, bytes, objects),
        other => panic!("{other:?}"),
    };
    let name = || "my.bucket-1".to_owned();
    assert_eq!(asked(&["my.bucket-1"]), (name(), None, None));
    let set = asked(&["my.bucket-1", "--bytes", "10GiB", "--objects", "0"]);
    assert_eq!(set, (name(), Some(Limit::At(10 << 30)), Some(Limit::At(0))));
    assert_eq!(asked(&["my.bucket-1", "--bytes", "none"]), (name(), Some(Limit::None), None));
    let sizes = [&["b", "--bytes", "many"][..], &["b", "--objects", "1KiB"], &["b", "--objects", "-1"]];
    for wrong in [&["a/b"][..], &[]].into_iter().chain(sizes) {
        let arguments = [&["admin", "bucket", "quota"], wrong].concat();
        assert!(matches!(invoked(&arguments, &[]), Ok(Invocation::Print { code: 2, .. })), "{wrong:?}");
    }
}

#[test]
fn admin_parses_rate_limits_of_an_account_or_a_bucket() {
    let asked = |arguments: &[&str]| match admin(&[&["rate-limit"], arguments].concat(), &[]).command {
        AdminCommand::Ask(_, Question::RateLimits(asked)) => asked,
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&["list"]), RateLimitQuestion::List);
    let set = asked(&["set", "--account", "111122223333", "--requests", "100", "--sent", "10MiB", "--active", "none"]);
    let account = Some("111122223333".to_owned());
    let (requests, sent) = (Some(Limit::At(100)), Some(Limit::At(10 << 20)));
    let of_account =
        RateLimitQuestion::Set { account, bucket: None, requests, received: None, sent, active: Some(Limit::None) };
    assert_eq!(set, of_account);
    let bucket = Some("b".to_owned());
    let received = Some(Limit::At(1 << 20));
    let of_bucket =
        RateLimitQuestion::Set { account: None, bucket, requests: None, received, sent: None, active: None };
    assert_eq!(asked(&["set", "--bucket", "b", "--received", "1MiB"]), of_bucket);
    let both = ["set", "--bucket", "b", "--account", "111122223333", "--requests", "1"];
    for wrong in [&["set", "--bucket", "b"][..], &["set", "--requests", "1"], &["set", "--account", "1"], &both] {
        let arguments = [&["admin", "rate-limit"], wrong].concat();
        assert!(matches!(invoked(&arguments, &[]), Ok(Invocation::Print { code: 2, .. })), "{wrong:?}");
    }
}

#[test]
fn admin_parses_the_identity_commands() {
    let asked = |arguments: &[&str]| match admin(arguments, &[]).command {
        AdminCommand::Ask(_, Question::Identities { account, asked }) => (account, asked),
        other => panic!("{other:?}"),
    };
    let (name, policy) = ("a".to_owned(), "reader".to_owned());
    assert_eq!(asked(&["user", "list"]), (None, IdentityQuestion::Users));
    let account = Some("111122223333".to_owned());
    let delete = IdentityQuestion::DeleteUser { name: name.clone(), force: true };
    assert_eq!(asked(&["user", "delete", "a", "--force", "--account", "111122223333"]), (account, delete));
    let attach = IdentityQuestion::AttachPolicy { to: UserOrGroup::Group(name.clone()), policy };
    assert_eq!(asked(&["group", "attach", "a", "reader"]).1, attach);
    let lifetime = Some(Duration::from_secs(90 * 86_400));
    let service = Some(ServiceKeyAsked { name: "backup".to_owned(), policy: None, lifetime });
    let create = IdentityQuestion::CreateKey { user: Some(name.clone()), service };
    assert_eq!(asked(&["key", "create", "--user", "a", "--service", "backup", "--expires", "90d"]).1, create);
    let activate = IdentityQuestion::ActivateKey { key: "AKIA".to_owned() };
    assert_eq!(asked(&["key", "activate", "AKIA", "--json"]).1, activate);
    assert_eq!(asked(&["key", "list", "--root"]).1, IdentityQuestion::Keys { user: None });
    for wrong in [
        &["admin", "user", "create"][..],
        &["admin", "user", "list", "--account", "1"],
        &["admin", "key", "create"],
        &["admin", "key", "create", "--user", "a", "--root"],
        &["admin", "key", "create", "--user", "a", "--expires", "1d"],
        &["admin", "key", "create", "--user", "a", "--service", "b", "--expires", "3651d"],
        &["admin", "group", "add", "g"],
    ] {
        assert!(matches!(invoked(wrong, &[]), Ok(Invocation::Print { code: 2, .. })), "{wrong:?}");
    }
    let absent = invoked(&["admin", "policy", "create", "p", "/absent.json"], &[]);
    assert!(matches!(absent, Err(ConfigError::Unreadable { path, .. }) if path == "/absent.json"));
}

#[test]
fn admin_parses_the_policy_explain_command() {
    let asked = |arguments: &[&str]| match admin(&[&["policy", "explain"], arguments].concat(), &[]).command {
        AdminCommand::Ask(_, Question::Access { account: None, asked }) => *asked,
        other => panic!("{other:?}"),
    };
    let about = ["--action", "s3:GetObject", "--resource", "arn:aws:s3:::b/k"];
    let found = asked(&[&about[..], &["--anonymous", "--condition", "a:b=c=d", "--condition", "a:b="]].concat());
    let conditions = [("a:b", "c=d"), ("a:b", "")].map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let (action, resource) = ("s3:GetObject".to_owned(), "arn:aws:s3:::b/k".to_owned());
    assert_eq!(found, AccessQuestion { who: WhoAsked::Anonymous, action, resource, conditions });
    assert_eq!(asked(&[&about[..], &["--user", "a"]].concat()).who, WhoAsked::User("a".to_owned()));
    assert_eq!(asked(&[&about[..], &["--key", "AKIA"]].concat()).who, WhoAsked::Key("AKIA".to_owned()));
    for wrong in [&[][..], &["--user", "a", "--anonymous"], &["--anonymous", "--condition", "x"]] {
        let arguments = [&["admin", "policy", "explain"], &about[..], wrong].concat();
        assert!(matches!(invoked(&arguments, &[]), Ok(Invocation::Print { code: 2, .. })), "{wrong:?}");
    }
}

#[test]
fn admin_parses_the_encryption_key_commands() {
    let asked = |arguments: &[&str]| match admin(&[&["encryption-key"], arguments].concat(), &[]).command {
        AdminCommand::Ask(_, Question::EncryptionKeys(asked)) => asked,
        other => panic!("{other:?}"),
    };
    let id = || "payroll".to_owned();
    assert_eq!(asked(&["list"]), KeyQuestion::List);
    let create = KeyQuestion::Create { id: id(), description: None, alias: Some("team/pay".to_owned()) };
    assert_eq!(asked(&["create", "payroll", "--alias", "team/pay"]), create);
    assert_eq!(asked(&["rotate", "payroll"]), KeyQuestion::Rotate { id: id() });
    assert_eq!(asked(&["rewrap"]), KeyQuestion::Rewrap);
}

#[test]
fn a_scrub_interval_has_a_unit_and_bounds() {
    let interval = |text| config(&[("SHERD_SCRUB_INTERVAL", text)]).map(|config| config.scrub_interval.as_secs());
    let taken = ["60s", "1m", "12h", "7d", "36500d"].map(|text| interval(text).unwrap());
    assert_eq!(taken, [60, 60, 12 * 3600, 7 * 86_400, 36_500 * 86_400]);
    for text in ["59s", "0d", "36501d", "999999999d", "1000000000s", "30", "d", "-1d", "1w", "1 d", "1.5d", "7é"] {
        let message = refusal("SHERD_SCRUB_INTERVAL", text);
        assert!(message.contains("such as 30d, from 60s to 36500d"), "{message}");
    }
}

#[test]
fn the_access_log_interval_and_the_lifecycle_day_are_bounded() {
    let times = |log, day| {
        let config = config(&[("SHERD_ACCESS_LOG_INTERVAL", log), ("SHERD_LIFECYCLE_DAY", day)]).unwrap();
        (config.access_log_interval.as_secs(), config.lifecycle_day.as_secs())
    };
    assert_eq!((times("1s", "1"), times("1d", "86400")), ((1, 1), (86_400, 86_400)));
    for day in ["0", "86401", "2s", "-1", "1.5"] {
        assert!(refusal("SHERD_LIFECYCLE_DAY", day).contains("a number of seconds from 1 to 86400"), "{day}");
    }
}

#[test]
fn the_scale_is_production_unless_small_is_set() {
    assert_eq!(config(&[]).unwrap().scale, Scale::PRODUCTION);
    let small = config(&[("SHERD_SCALE", "small")]).unwrap();
    assert_eq!(small.scale, Scale::SMALL);
    assert!(small.warnings.iter().any(|warning| warning.contains("SHERD_SCALE=small")), "{:?}", small.warnings);
}

#[test]
fn webhooks_are_configured_by_variables_with_their_names() {
    let pairs = [
        ("SHERD_WEBHOOK_B_URL", "http://b:1/x"),
        ("SHERD_WEBHOOK_A_URL", "http://a:1/x"),
        ("SHERD_WEBHOOK_A_SECRET", ""),
    ];
    let names = |pairs: &[(&str, &str)]| {
        config(pairs).unwrap().webhooks.into_iter().map(|webhook| webhook.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&pairs), ["A", "B"]);
    assert!(names(&[("SHERD_WEBHOOK_A_URL", "")]).is_empty());
    assert!(refusal("SHERD_WEBHOOK_A_UR", "x").contains("is not a setting"));
    let incomplete = config(&[("SHERD_WEBHOOK_A_SECRET", "x")]).unwrap_err().to_string();
    assert!(incomplete.contains("SHERD_WEBHOOK_A_URL"), "{incomplete}");
}

#[test]
fn a_url_of_the_admin_listener_has_a_scheme_and_a_port() {
    for url in
        ["ftp://a:1", "https://a", "a:1", "http://a", "http://a:x", "http://:1", "http://a:1/path", "http://u@a:1"]
    {
        let refused = invoked(&["admin", "info"], &[("SHERD_ADMIN_URL", url)]).unwrap_err().to_string();
        assert!(refused.starts_with("SHERD_ADMIN_URL: "), "{url}: {refused}");
    }
    assert!(config(&[("SHERD_ADMIN_URL", "http://a:1")]).is_ok(), "the store does not mind it");
}

#[test]
fn admin_uses_tls_with_an_https_url_and_trusts_the_named_ca_file() {
    let trust = |arguments: &[&str], environment: &[(&str, &str)]| {
        let found = admin(arguments, environment);
        let AdminCommand::Ask(target, _) = found.command else { panic!("{found:?}") };
        (target.tls, target.authority)
    };
    let authority = "a:1".to_owned();
    assert_eq!(trust(&["info"], &[("SHERD_ADMIN_URL", "http://a:1")]), (None, authority.clone()));
    let system = Some(Trust { ca_file: None });
    assert_eq!(trust(&["info"], &[("SHERD_ADMIN_URL", "https://a:1/")]), (system, authority));
    let refused = invoked(&["admin", "info", "--url", "https://a:1", "--ca-file", "/nowhere"], &[]).unwrap_err();
    assert!(refused.to_string().starts_with("SHERD_ADMIN_CA_FILE: \"/nowhere\" cannot be read"), "{refused}");
}

#[test]
fn a_metrics_token_is_one_long_word_and_never_shown() {
    let token = "0123456789abcdef";
    let found = config(&[("SHERD_METRICS_TOKEN", token)]).unwrap();
    assert_eq!(found.metrics_token.as_ref().map(|token| token.0.as_str()), Some(token));
    assert!(!format!("{found:?}").contains(token));
    for bad in ["short", "0123456789 abcdef", "0123456789abcde\u{e9}"] {
        let refused = config(&[("SHERD_METRICS_TOKEN", bad)]).unwrap_err().to_string();
        assert!(refused.starts_with("SHERD_METRICS_TOKEN: ") && !refused.contains(bad), "{refused}");
    }
}

#[test]
fn unknown_commands_are_refused_with_help() {
    for arguments in [&["admin"][..], &["admin", "heal"], &["admin", "nothing"], &["admin", "info", "--loud"]] {
        assert!(matches!(invoked(arguments, &[]), Ok(Invocation::Print { code: 2, .. })), "{arguments:?}");
    }
}

#[test]
fn dev_takes_a_size_a_directory_and_some_settings() {
    let dev = |arguments: &[&str]| {
        let arguments: Vec<&str> = std::iter::once("dev").chain(arguments.iter().copied()).collect();
        invoked(&arguments, &[("SHERD_LOG", "debug"), ("SHERD_DATA", "/d"), ("HOME", "/root")])
    };
    let Ok(Invocation::Dev(options)) = dev(&["--hosts", "5", "--dir", "/x"]) else { panic!("not taken") };
    assert_eq!((options.hosts, options.drives, options.dir), (5, 2, PathBuf::from("/x")));
    assert_eq!(options.passed_on, [("SHERD_LOG".to_owned(), "debug".to_owned())]);
    for wrong in [["--hosts", "0"], ["--hosts", "10"], ["--drives", "many"], ["--dir", "a,b"]] {
        assert!(matches!(dev(&wrong), Err(ConfigError::Invalid { .. })), "{wrong:?}");
    }
}

#[test]
fn the_file_of_root_keys_is_read_at_start_and_never_shown() {
    let missing = refusal("SHERD_ROOT_KEY_FILE", "/there/is/none");
    assert!(missing.starts_with("SHERD_ROOT_KEY_FILE: \"/there/is/none\" cannot be read"), "{missing}");
    assert_eq!(config(&[]).unwrap().root_keys, None);
    let file = super::RootKeyFile { path: "/keys".into(), content: b"secret".to_vec() };
    assert_eq!(format!("{file:?}"), "RootKeyFile { path: \"/keys\", .. }");
}

#[test]
fn every_setting_has_a_heading_in_the_configuration_reference() {
    let document = include_str!("../../docs/reference/configuration.md");
    let headings: Vec<&str> = document.lines().filter(|line| line.starts_with("## ")).collect();
    let of_admin = [settings::ADMIN_URL, settings::ADMIN_CA_FILE];
    for name in SETTINGS.iter().map(|setting| setting.name).chain(of_admin) {
        let name = format!("`{name}`");
        assert!(
            headings.iter().any(|heading| heading.contains(&name)),
            "{name} has no heading in docs/reference/configuration.md"
        );
    }
}

#[test]
fn the_audit_webhook_is_not_available_to_bucket_notifications() {
    assert_eq!(config(&[]).unwrap().audit, AuditConfig::default());
    let log = |value: &str| config(&[("SHERD_AUDIT_LOG", value)]).unwrap().audit.log;
    assert_eq!(log("-"), Some(AuditLog::Stderr));
    assert_eq!(log("/var/log/sherd/audit.log"), Some(AuditLog::File("/var/log/sherd/audit.log".into())));
    let hooks = [("SHERD_WEBHOOK_MY_SIEM_URL", "http://x"), ("SHERD_WEBHOOK_B_URL", "http://y")];
    let with = |name: &str| config(&[&hooks[..], &[("SHERD_AUDIT_WEBHOOK", name)]].concat());
    let found = with("my-siem").unwrap();
    assert_eq!(found.audit.webhook.map(|webhook| webhook.name).as_deref(), Some("MY_SIEM"));
    let left: Vec<_> = found.webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
    assert_eq!(left, ["B"], "notifications cannot go where the audit log goes");
    let refused = with("other").unwrap_err().to_string();
    assert!(refused.starts_with("SHERD_AUDIT_WEBHOOK: ") && refused.contains("SHERD_WEBHOOK_OTHER_URL"), "{refused}");
}

#[test]
fn a_queue_limit_of_the_audit_webhook_is_refused() {
    let hooks = [
        ("SHERD_WEBHOOK_SIEM_URL", "http://x"),
        ("SHERD_WEBHOOK_SIEM_QUEUE_LIMIT", "5"),
        ("SHERD_WEBHOOK_B_URL", "http://y"),
    ];
    let with = |name: &str| config(&[&hooks[..], &[("SHERD_AUDIT_WEBHOOK", name)]].concat());
    let refused = with("siem").unwrap_err().to_string();
    assert!(refused.starts_with("SHERD_WEBHOOK_SIEM_QUEUE_LIMIT: \"5\" is not allowed"), "{refused}");
    assert!(refused.contains("SHERD_AUDIT_WEBHOOK"), "{refused}");
    with("b").unwrap();
}

#[test]
fn an_identity_provider_has_one_source_of_keys() {
    let files = Files::of(&[("/a", "{}"), ("/b", "{}")]);
    let keys = |value: &str| config_with(&[("SHERD_OIDC_KEYS", value)], &files).map(|config| config.identities);
    assert_eq!(keys("https://a.example=/a,https://b.example=/b").unwrap().key_sets.len(), 2);
    for twice in ["https://a.example=/a,https://a.example=/b", "https://a.example/=/a,http://a.example=http://keys"] {
        let refused = keys(twice).unwrap_err().to_string();
        assert!(refused.starts_with("SHERD_OIDC_KEYS: ") && refused.contains("and a.example has another"), "{refused}");
    }
}

#[test]
fn traces_go_below_the_url_of_a_collector_with_a_ratio_and_a_name() {
    const URL: (&str, &str) = ("SHERD_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let traces = |pairs: &[(&str, &str)]| config(pairs).map(|config| config.traces);
    assert_eq!(traces(&[]), Ok(None));
    let plain = traces(&[URL]).unwrap().expect("a collector");
    assert_eq!(plain.url, "http://127.0.0.1:4318/v1/traces");
    assert_eq!((plain.sampled_per_million, plain.service_name.as_str()), (1_000_000, "sherd"));
    let below = traces(&[("SHERD_OTLP_ENDPOINT", "https://a.example/otlp/")]).unwrap().expect("a collector");
    assert_eq!(below.url, "https://a.example/otlp/v1/traces");
    for (ratio, per_million) in [("0", 0), ("0.25", 250_000), ("0.000001", 1), ("1.0", 1_000_000)] {
        let found = traces(&[URL, ("SHERD_OTLP_SAMPLE_RATIO", ratio)]).unwrap().expect("a collector");
        assert_eq!(found.sampled_per_million, per_million, "{ratio}");
    }
    for bad in ["1.1", "-0.1", "half", "1e-3", "NaN", "."] {
        assert!(traces(&[URL, ("SHERD_OTLP_SAMPLE_RATIO", bad)]).is_err(), "{bad}");
    }
    for bad in ["collector:4318", "http://", "http:///x", "http://a?b", "http://a b", "http://user@a", "grpc://a"] {
        let refused = traces(&[("SHERD_OTLP_ENDPOINT", bad)]).unwrap_err().to_string();
        assert!(refused.starts_with("SHERD_OTLP_ENDPOINT: "), "{refused}");
    }
    for (name, value) in [("SAMPLE_RATIO", "1"), ("SERVICE_NAME", "x"), ("CA_FILE", "/x")] {
        let name = format!("SHERD_OTLP_{name}");
        let alone = traces(&[(&name, value)]);
        assert!(matches!(&alone, Err(ConfigError::Incomplete { given, .. }) if *given == name), "{alone:?}");
    }
}
