//! The targets of each workload, compared with the measured figures and the limits of the machine; and the history of
//! runs.

use super::limits::Limits;
use super::{Figure, Workload};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// The reference machine of the targets: its CPU seconds for the MD5 of 1 GiB, and the CPU time of its bare actix-web
/// for a HEAD. For another machine the targets are scaled by these two.
const MD5_SECONDS_PER_GIBIBYTE: f64 = 1.43;
const BARE_HEAD: Duration = Duration::from_micros(7);

/// The stores that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// 1+0.
    OneDrive,
    /// 2+2.
    FourDrives,
    /// Three hosts of a drive each, 1+2.
    ThreeHosts,
}

/// A target of a workload in one of the stores.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// The most CPU microseconds per operation.
    CpuMicros(f64),
    /// The most CPU seconds per GiB of content: for uploads, which are hashed, and for downloads, which are only sent.
    HashedSeconds(f64),
    SentSeconds(f64),
    /// The fewest operations per second. This depends on the load generator, too, which runs on the same machine.
    Rate(f64),
    /// The largest median latency, as a multiple of the disk's latency of a write and sync.
    Syncs(f64),
}

/// A workload's target on this machine, and the measured value.
#[derive(Clone, Debug)]
pub struct Judged {
    pub workload: String,
    pub unit: &'static str,
    pub target: f64,
    pub found: f64,
    /// The machine's own limit for it, if that was measured.
    pub limit: Option<f64>,
    pub is_met: bool,
}

impl Store {
    pub const ALL: [Self; 3] = [Self::OneDrive, Self::FourDrives, Self::ThreeHosts];

    pub fn name(self) -> &'static str {
        match self {
            Self::OneDrive => "one drive (1+0)",
            Self::FourDrives => "four drives (2+2)",
            Self::ThreeHosts => "three hosts (1+2)",
        }
    }

    fn targets(self, workload: Workload) -> Vec<Target> {
        use Target::{CpuMicros, HashedSeconds, Rate, SentSeconds, Syncs};
        let of = |all: [f64; 3]| all[self as usize];
        match workload {
            Workload::PutLarge => vec![HashedSeconds(of([2.1, 2.4, 5.0]))],
            Workload::GetLarge => vec![SentSeconds(of([0.45, 0.5, 1.5]))],
            Workload::PutMedium => vec![HashedSeconds(of([2.3, 2.6, 5.5]))],
            Workload::GetMedium => vec![SentSeconds(of([0.5, 0.55, 1.6]))],
            Workload::PutAlone => vec![Syncs(of([2.5, 4.0, 6.0]))],
            Workload::PutSmall => vec![CpuMicros(of([110.0, 150.0, 400.0])), Rate(of([9000.0, 6000.0, 3500.0]))],
            Workload::GetSmall if self == Self::OneDrive => vec![CpuMicros(45.0), Rate(22_000.0)],
            Workload::GetSmall => vec![Rate(of([22_000.0, 20_000.0, 10_000.0]))],
            Workload::Head if self == Self::ThreeHosts => vec![Rate(15_000.0)],
            Workload::Head => vec![CpuMicros(30.0), Rate(35_000.0)],
            Workload::Delete => vec![Rate(of([10_000.0, 8000.0, 4000.0]))],
            // A page of 1,000 keys, at 600,000 keys a second of a core.
            Workload::List => vec![CpuMicros(1667.0)],
            Workload::PutOver => vec![],
        }
    }
}

/// Judges each figure that has a target.
pub fn judge(store: Store, figures: &[Figure], limits: &Limits) -> Vec<Judged> {
    let judged = |figure: &Figure| {
        store.targets(figure.workload).into_iter().map(|target| target.judge(figure, limits)).collect::<Vec<_>>()
    };
    figures.iter().flat_map(judged).collect()
}

impl Target {
    fn judge(self, figure: &Figure, limits: &Limits) -> Judged {
        let slower = limits.bare_head.as_secs_f64() / BARE_HEAD.as_secs_f64();
        let slower_hash = limits.md5_seconds_per_gibibyte / MD5_SECONDS_PER_GIBIBYTE;
        let bare = match figure.workload {
            Workload::Head => Some(limits.bare_head),
            Workload::GetSmall => Some(limits.bare_get),
            _ => None,
        };
        let per_gibibyte = figure.cpu_seconds_per_gibibyte();
        let (unit, target, found, limit) = match self {
            Self::CpuMicros(most) => {
                let limit = bare.map(|bare| bare.as_secs_f64() * 1e6);
                ("µs CPU", most * slower, figure.cpu_micros_per_operation(), limit)
            }
            Self::HashedSeconds(most) => {
                ("s/GiB CPU", most * slower_hash, per_gibibyte, Some(limits.md5_seconds_per_gibibyte))
            }
            Self::SentSeconds(most) => {
                ("s/GiB CPU", most * slower, per_gibibyte, Some(limits.bare_seconds_per_gibibyte))
            }
            Self::Rate(least) => ("a second", least / slower, figure.per_second(), None),
            Self::Syncs(most) => {
                let sync = limits.plain.sync_p50.as_secs_f64() * 1e3;
                ("ms, median", most * sync, figure.p50.as_secs_f64() * 1e3, Some(sync))
            }
        };
        let is_met = if matches!(self, Self::Rate(_)) { found >= target } else { found <= target };
        Judged { workload: figure.name.clone(), unit, target, found, limit, is_met }
    }
}

pub fn table(judged: &[Judged]) -> String {
    let mut text = String::from(
        "| workload | unit | target here | found | to the target | limit here | to the limit |\n|---|---|---|---|---|---|---|\n",
    );
    for Judged { workload, unit, target, found, limit, is_met } in judged {
        let met = if *is_met { "met" } else { "**not met**" };
        let (limit, ratio) = match limit {
            Some(limit) => (number(*limit), format!("{:.1} ×", found / limit)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let (target, to_target, found) = (number(*target), found / target, number(*found));
        text.push_str(&format!(
            "| {workload} | {unit} | {target} | {found} | {to_target:.2} ×, {met} | {limit} | {ratio} |\n"
        ));
    }
    text
}

/// Formats a number with three significant digits, or all digits before the point.
fn number(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// Returns a run as a line of the history.
pub fn line(hardware: &str, each: Duration, limits: &Limits, stores: &[(Store, Vec<Figure>)]) -> Value {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let figure = |figure: &Figure| {
        json!({
            "workload": figure.name,
            "at_once": figure.at_once,
            "operations": figure.operations,
            "bytes_or_keys": figure.amount,
            "wall_s": figure.wall.as_secs_f64(),
            "cpu_s": figure.cpu.as_secs_f64(),
            "p50_ms": millis(figure.p50),
            "p99_ms": millis(figure.p99),
            "syncs_per_operation": figure.syncs_per_operation,
            "written_per_byte": figure.written_per_byte,
            "resident_bytes_peak": figure.resident_bytes_peak,
        })
    };
    let stores: serde_json::Map<String, Value> =
        stores.iter().map(|(store, figures)| (store.name().to_owned(), figures.iter().map(figure).collect())).collect();
    let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    json!({
        "at_unix_s": at.as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
        "hardware": hardware,
        "seconds_each": each.as_secs_f64(),
        "limits": {
            "md5_s_per_gib": limits.md5_seconds_per_gibibyte,
            "bare_head_us": limits.bare_head.as_secs_f64() * 1e6,
            "bare_get_us": limits.bare_get.as_secs_f64() * 1e6,
            "bare_sent_s_per_gib": limits.bare_seconds_per_gibibyte,
            "disk_copy_mib_per_s": limits.plain.copy_mebibytes_per_second,
            "disk_sync_p50_ms": millis(limits.plain.sync_p50),
            "tcp_mib_per_s": limits.tcp.mebibytes_per_second,
            "quic_mib_per_s": limits.quic.mebibytes_per_second,
            "quic_s_per_gib": limits.quic.cpu_seconds_per_gibibyte,
        },
        "stores": stores,
    })
}

/// Appends a run to the history.
pub fn append(history: &Path, line: &Value) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(history)?;
    writeln!(file, "{line}")
}
