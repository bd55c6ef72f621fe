//! Parsers of single values of settings: addresses, lists, ellipses, sizes, geometries. Pure. An error says what is
//! allowed; the caller adds the name of the setting.

use super::{Durability, EcSetting, LogFormat, ObjectOwnership};
use crate::limits::{DATA_DIRS_MAX, SHARDS_MAX, Scale};
use crate::types::{LegacySignatures, Roles};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The allowed values, in words that follow "expected".
pub(super) type Allowed = String;

pub const RELAXED_INTERVAL_MS_MIN: u64 = 1;
pub const RELAXED_INTERVAL_MS_MAX: u64 = 10_000;
pub const MEMORY_MAX_BYTES_MIN: u64 = 32 << 20;
const DAY_S: u64 = 24 * 3600;
pub const SCRUB_INTERVAL_S_MIN: u64 = 60;
pub const SCRUB_INTERVAL_D_MAX: u64 = 36_500;
/// The longest lifetime of a service key that the store accepts.
const KEY_LIFETIME_D_MAX: u64 = 3650;
const ACCESS_LOG_INTERVAL_S_MAX: u64 = DAY_S;
/// The names that one certificate of Let's Encrypt may have.
const ACME_DOMAINS_MAX: usize = 100;
const SERVICE_NAME_BYTES_MAX: usize = 255;
const METRICS_TOKEN_BYTES_MIN: usize = 16;
const METRICS_TOKEN_BYTES_MAX: usize = 1024;

/// Returns the items of a list separated by commas or white space, without empty items.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty())
}

/// Parses the data directories; expands ellipses and keeps the order.
pub fn data_dirs(text: &str) -> Result<Vec<PathBuf>, Allowed> {
    let mut dirs = Vec::new();
    for item in list(text) {
        for path in expand_ellipses(item)? {
            dirs.push(PathBuf::from(path));
            if dirs.len() > DATA_DIRS_MAX {
                return Err(format!("at most {DATA_DIRS_MAX} directories"));
            }
        }
    }
    if dirs.is_empty() {
        return Err("at least one directory".to_owned());
    }
    check_disjoint(&dirs)?;
    Ok(dirs)
}

/// Parses the absolute path of one data directory. A relative path would depend on the host's working directory.
pub fn data_dir(text: &str) -> Result<PathBuf, Allowed> {
    let is_plain = |path: &Path| path.components().all(|part| part != Component::ParentDir);
    match data_dirs(text)?.as_slice() {
        [dir] if dir.is_absolute() && is_plain(dir) && dir.to_str() == Some(text) => Ok(without_dots(dir)),
        _ => Err("one directory by its whole path, without ellipses, commas or white space".to_owned()),
    }
}

/// Checks that these can be the data directories of a host.
pub fn check_data_dirs(dirs: &[PathBuf]) -> Result<(), Allowed> {
    if dirs.len() > DATA_DIRS_MAX {
        return Err(format!("at most {DATA_DIRS_MAX} directories"));
    }
    check_disjoint(dirs)
}

/// Refuses a directory that is repeated or within another: each must be a drive of its own.
fn check_disjoint(dirs: &[PathBuf]) -> Result<(), Allowed> {
    let plain: Vec<PathBuf> = dirs.iter().map(|dir| without_dots(dir)).collect();
    for (i, first) in plain.iter().enumerate() {
        for second in plain.iter().skip(i + 1) {
            if first == second {
                return Err(format!("each directory once, but {} is there twice", first.display()));
            }
            let (outer, inner) = if first.starts_with(second) { (second, first) } else { (first, second) };
            if inner.starts_with(outer) {
                return Err(format!(
                    "directories that do not contain each other, but {} is within {}",
                    inner.display(),
                    outer.display()
                ));
            }
        }
    }
    Ok(())
}

fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// `/mnt/d{1...4}` is `/mnt/d1` to `/mnt/d4`; several in one path multiply, the first outermost; `{01...16}` keeps its
/// zeros.
pub fn expand_ellipses(text: &str) -> Result<Vec<String>, Allowed> {
    const FORM: &str = "ellipses of the form {1...4}, the first number not above the second";
    let Some((before, rest)) = text.split_once('{') else {
        return if text.contains('}') { Err(FORM.to_owned()) } else { Ok(vec![text.to_owned()]) };
    };
    let (inside, after) = rest.split_once('}').ok_or(FORM)?;
    let (from, to) = inside.split_once("...").ok_or(FORM)?;
    if before.contains('}') || !is_short_number(from) || !is_short_number(to) {
        return Err(FORM.to_owned());
    }
    let padded = from.len() == to.len() && (from.starts_with('0') || to.starts_with('0'));
    let width = if padded { from.len() } else { 0 };
    let (first, last): (u32, u32) = (from.parse().map_err(|_| FORM)?, to.parse().map_err(|_| FORM)?);
    if first > last {
        return Err(FORM.to_owned());
    }
    if (last - first) as usize >= DATA_DIRS_MAX {
        return Err(format!("at most {DATA_DIRS_MAX} directories"));
    }
    let tails = expand_ellipses(after)?;
    let mut expanded = Vec::new();
    for number in first..=last {
        for tail in &tails {
            expanded.push(format!("{before}{number:0width$}{tail}"));
        }
        if expanded.len() > DATA_DIRS_MAX {
            return Err(format!("at most {DATA_DIRS_MAX} directories"));
        }
    }
    Ok(expanded)
}

fn is_short_number(text: &str) -> bool {
    (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `ADDR:PORT`, `[ADDR]:PORT`, `localhost:PORT`, or `:PORT` for all IPv4 addresses.
pub fn listen_addr(text: &str) -> Result<SocketAddr, Allowed> {
    let allowed = || "ADDR:PORT with a numeric address, such as 127.0.0.1:9000 or [::1]:9000, or :9000".to_owned();
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(allowed)?;
    let port: u16 = port.parse().map_err(|_| allowed())?;
    match host {
        "" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)),
        "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        _ => Err(allowed()),
    }
}

/// Parses the address of another host, `ADDR:PORT` or `NAME:PORT`. A name is resolved at each connection.
pub fn host_and_port(text: &str) -> Result<String, Allowed> {
    let allowed = || "ADDR:PORT or NAME:PORT".to_owned();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(allowed()) } else { Ok(address.to_string()) };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(allowed)?;
    let port: u16 = port.parse().map_err(|_| allowed())?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if port == 0 || host.is_empty() || host.len() > 253 || !host.bytes().all(is_part) {
        return Err(allowed());
    }
    Ok(format!("{host}:{port}"))
}

pub fn access_key(text: &str) -> Result<(), Allowed> {
    let sized = (3..=128).contains(&text.len());
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b',' | b'='));
    // Keys of sessions begin so.
    if sized && is_plain && !text.starts_with("ASIA") {
        return Ok(());
    }
    Err("3 to 128 visible ASCII characters without / , and =, and not ASIA at the beginning".to_owned())
}

pub fn secret_key(text: &str) -> Result<(), Allowed> {
    if (8..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Ok(());
    }
    Err("8 to 128 ASCII characters".to_owned())
}

pub fn region(text: &str) -> Result<String, Allowed> {
    let sized = (1..=64).contains(&text.len());
    if sized && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Ok(text.to_owned());
    }
    Err("up to 64 letters, digits, - and _".to_owned())
}

pub fn sigv2(text: &str) -> Result<LegacySignatures, Allowed> {
    match text {
        "on" => Ok(LegacySignatures::On),
        "urls" => Ok(LegacySignatures::Urls),
        "off" => Ok(LegacySignatures::Off),
        _ => Err("on, urls or off".to_owned()),
    }
}

pub fn object_ownership(text: &str) -> Result<ObjectOwnership, Allowed> {
    match text {
        "BucketOwnerEnforced" => Ok(ObjectOwnership::BucketOwnerEnforced),
        "BucketOwnerPreferred" => Ok(ObjectOwnership::BucketOwnerPreferred),
        "ObjectWriter" => Ok(ObjectOwnership::ObjectWriter),
        _ => Err("BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter".to_owned()),
    }
}

pub fn domains(text: &str) -> Result<Vec<String>, Allowed> {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let mut found = Vec::new();
    for domain in list(text) {
        let is_address = domain.parse::<IpAddr>().is_ok();
        if is_address || domain.len() > 253 || !domain.split('.').all(label) {
            return Err("DNS names without scheme or port, such as s3.example.org".to_owned());
        }
        found.push(domain.to_ascii_lowercase());
    }
    Ok(found)
}

/// The names of a certificate that is proven name by name: no address, and no wildcard.
pub fn acme_domains(text: &str) -> Result<Vec<String>, Allowed> {
    let allowed = || {
        format!("1 to {ACME_DOMAINS_MAX} DNS names, such as s3.example.org; no wildcards (their proof is a DNS record)")
    };
    let mut found = domains(text).map_err(|_| allowed())?;
    found.sort();
    found.dedup();
    if (1..=ACME_DOMAINS_MAX).contains(&found.len()) { Ok(found) } else { Err(allowed()) }
}

pub fn acme_contact(text: &str) -> Result<String, Allowed> {
    let address = text.strip_prefix("mailto:").and_then(|address| address.split_once('@'));
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"@,?\"".contains(&b));
    let good = address.is_some_and(|(user, domain)| is_plain(user) && is_plain(domain));
    if good { Ok(text.to_owned()) } else { Err("a URL such as mailto:ops@example.org".to_owned()) }
}

pub fn acme_directory(text: &str) -> Result<String, Allowed> {
    let host = text.strip_prefix("https://").filter(|host| !host.is_empty() && !host.starts_with('/'));
    let good = host.is_some_and(|host| host.bytes().all(|b| b.is_ascii_graphic()));
    if good { Ok(text.to_owned()) } else { Err("a URL that begins with https://".to_owned()) }
}

/// The collector's base URL becomes the URL of its traces, as OpenTelemetry's own variable does.
pub fn otlp_endpoint(text: &str) -> Result<String, Allowed> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let good = host.is_some_and(|host| {
        !host.is_empty() && !host.starts_with('/') && host.bytes().all(|b| b.is_ascii_graphic() && !b"?#@".contains(&b))
    });
    let allowed = "a URL without a query that begins with http:// or https://, such as http://127.0.0.1:4318";
    if good { Ok(format!("{}/v1/traces", text.trim_end_matches('/'))) } else { Err(allowed.to_owned()) }
}

/// Returns the ratio in millionths.
pub fn sample_ratio(text: &str) -> Result<u32, Allowed> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let ratio = text.parse::<f64>().ok().filter(|ratio| is_plain && (0.0..=1.0).contains(ratio));
    ratio.map(|ratio| (ratio * 1e6).round() as u32).ok_or_else(|| "a number from 0 to 1, such as 0.01".to_owned())
}

pub fn service_name(text: &str) -> Result<String, Allowed> {
    let good = (1..=SERVICE_NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    if good { Ok(text.to_owned()) } else { Err(format!("a name of 1 to {SERVICE_NAME_BYTES_MAX} bytes")) }
}

pub fn ec(text: &str) -> Result<EcSetting, Allowed> {
    if text == "auto" {
        return Ok(EcSetting::Auto);
    }
    let allowed = || format!("auto, or k+m such as 4+2 with k at least 1 and k+m at most {SHARDS_MAX}");
    let (data, parity) = text.split_once('+').ok_or_else(allowed)?;
    if !is_short_number(data) || !is_short_number(parity) {
        return Err(allowed());
    }
    let (data, parity): (u8, u8) = (data.parse().map_err(|_| allowed())?, parity.parse().map_err(|_| allowed())?);
    if data == 0 || usize::from(data) + usize::from(parity) > SHARDS_MAX {
        return Err(allowed());
    }
    Ok(EcSetting::Fixed { data, parity })
}

pub fn durability(text: &str) -> Result<Durability, Allowed> {
    let allowed =
        || format!("strict, or relaxed:200ms (from {RELAXED_INTERVAL_MS_MIN}ms to {RELAXED_INTERVAL_MS_MAX}ms)");
    if text == "strict" {
        return Ok(Durability::Strict);
    }
    let interval = text.strip_prefix("relaxed:").ok_or_else(allowed)?;
    let (number, unit_ms) = match interval.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (interval.strip_suffix('s').ok_or_else(allowed)?, 1000),
    };
    if !is_short_number(number) {
        return Err(allowed());
    }
    let interval_ms = number.parse::<u64>().map_err(|_| allowed())? * unit_ms;
    if !(RELAXED_INTERVAL_MS_MIN..=RELAXED_INTERVAL_MS_MAX).contains(&interval_ms) {
        return Err(allowed());
    }
    Ok(Durability::Relaxed { sync_interval: Duration::from_millis(interval_ms) })
}

/// Parses the URL of an admin listener; returns whether it uses TLS, and its `HOST:PORT`.
pub fn admin_url(text: &str) -> Result<(bool, String), Allowed> {
    let allowed = || "http://HOST:PORT, or https://HOST:PORT of a listener with TLS".to_owned();
    let (tls, authority) = match text.strip_prefix("http://") {
        Some(authority) => (false, authority),
        None => (true, text.strip_prefix("https://").ok_or_else(allowed)?),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let well_formed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    let good = authority.bytes().all(well_formed) && port.is_some_and(|port| port.parse::<u16>().is_ok());
    if good { Ok((tls, authority.to_owned())) } else { Err(allowed()) }
}

/// Checks a bearer token: only characters that are one word in a header.
pub fn metrics_token(text: &str) -> Result<String, Allowed> {
    let good = text.bytes().all(|byte| byte.is_ascii_graphic());
    if good && (METRICS_TOKEN_BYTES_MIN..=METRICS_TOKEN_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{METRICS_TOKEN_BYTES_MIN} to {METRICS_TOKEN_BYTES_MAX} printable ASCII characters without spaces, such as `openssl rand -hex 32` gives"
    ))
}

/// Parses roles. The roles that a host needs follow from its place in the cluster (`cluster::check_roles`).
pub fn roles(text: &str) -> Result<Roles, Allowed> {
    let mut found = Roles::NONE;
    for item in list(text) {
        match item {
            "gateway" => found.gateway = true,
            "meta" => found.meta = true,
            "storage" => found.storage = true,
            _ => return Err("a list of gateway, meta and storage".to_owned()),
        }
    }
    if found == Roles::NONE {
        return Err("at least one of gateway, meta and storage".to_owned());
    }
    Ok(found)
}

/// A number of bytes, with KiB, MiB, GiB or TiB (or K, M, G, T: the same) behind it or not.
pub fn bytes(text: &str) -> Result<u64, Allowed> {
    let allowed = || "a number of bytes such as 268435456, 256MiB or 1GiB".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(allowed()),
    };
    let number: u64 = number.parse().map_err(|_| allowed())?;
    number.checked_mul(1 << shift).ok_or_else(allowed)
}

pub fn memory_max(text: &str) -> Result<u64, Allowed> {
    let value = bytes(text)?;
    if value < MEMORY_MAX_BYTES_MIN {
        return Err(format!("at least {}MiB", MEMORY_MAX_BYTES_MIN >> 20));
    }
    Ok(value)
}

pub fn scrub_interval(text: &str) -> Result<Duration, Allowed> {
    let words = format!("such as 30d, from {SCRUB_INTERVAL_S_MIN}s to {SCRUB_INTERVAL_D_MAX}d");
    interval(text, SCRUB_INTERVAL_S_MIN..=SCRUB_INTERVAL_D_MAX * DAY_S, &words)
}

pub fn access_log_interval(text: &str) -> Result<Duration, Allowed> {
    interval(text, 1..=ACCESS_LOG_INTERVAL_S_MAX, "such as 5m, from 1s to 1d")
}

/// Parses the lifetime of a service key.
pub fn key_lifetime(text: &str) -> Result<Duration, Allowed> {
    interval(text, 1..=KEY_LIFETIME_D_MAX * DAY_S, &format!("such as 90d, from 1s to {KEY_LIFETIME_D_MAX}d"))
}

/// Parses the length of a lifecycle day, in seconds.
pub fn lifecycle_day(text: &str) -> Result<Duration, Allowed> {
    let seconds = if is_short_number(text) { text.parse().ok() } else { None };
    let seconds = seconds.filter(|seconds| (1..=DAY_S).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("a number of seconds from 1 to {DAY_S}"))
}

pub fn scale(text: &str) -> Result<Scale, Allowed> {
    match text {
        "production" => Ok(Scale::PRODUCTION),
        "small" => Ok(Scale::SMALL),
        _ => Err("production or small".to_owned()),
    }
}

/// Parses a number with a unit, within `bounds` (in seconds). `words` describes the bounds for the error.
fn interval(text: &str, bounds: RangeInclusive<u64>, words: &str) -> Result<Duration, Allowed> {
    let allowed = || format!("a number with s, m, h or d behind it, {words}");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(allowed)?;
    let unit_s: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY_S,
        _ => return Err(allowed()),
    };
    let number =
        Some(number).filter(|number| (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()));
    let seconds = number.ok_or_else(allowed)?.parse::<u64>().map_err(|_| allowed())? * unit_s;
    if !bounds.contains(&seconds) {
        return Err(allowed());
    }
    Ok(Duration::from_secs(seconds))
}

/// Checks a log filter: every item must end in a level. The filter's own parser would take a misspelt level for a
/// target, and silence all other targets.
pub fn log_filter(text: &str) -> Result<String, Allowed> {
    const FORM: &str = "a level (off, error, warn, info, debug, trace) or a list of levels and TARGET=LEVEL such as info,sherd::actors=debug";
    for directive in text.split(',').filter(|item| !item.is_empty()) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(format!("{FORM} ({level:?} is no level)"));
        }
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{FORM} ({error})")),
    }
}

pub fn log_format(text: &str) -> Result<LogFormat, Allowed> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json".to_owned()),
    }
}
