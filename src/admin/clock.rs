//! The command `sherd admin clock`: shows a host's clock and the confirmed time, and confirms the clock.

use super::client::Client;
use super::show::table;
use super::{AdminFailure, tell};
use crate::api::admin::{AcceptClock, ClockJson};
use std::fmt::Write as _;
use std::io::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub fn show(client: &Client, json: bool, out: &mut impl Write) -> Result<u8, AdminFailure> {
    let clock: ClockJson = client.get("/clock")?;
    tell(&clock, json, words, out)?;
    Ok(u8::from(!clock.troubles.is_empty()))
}

/// Confirms the host's clock; without `sure`, only shows what that would change. Returns the exit code.
pub fn accept(client: &Client, sure: bool, json: bool, out: &mut impl Write) -> Result<u8, AdminFailure> {
    let clock: ClockJson = client.get("/clock")?;
    if !sure {
        tell(&clock, json, |clock| words(clock) + UNSURE, out)?;
        return Ok(1);
    }
    let accepted: ClockJson = client.post("/clock/accept", &AcceptClock { time_ms: clock.clock_ms })?;
    tell(&accepted, json, words, out)?;
    Ok(0)
}

const UNSURE: &str = "\nNothing was changed. If the host's clock is right, run this again with --yes: it becomes the confirmed time, and\n\
locks that end before it are over. What is deleted because of that cannot be restored.\n";

fn words(clock: &ClockJson) -> String {
    let confirmed = clock.confirmed_ms.map_or_else(|| "none yet".to_owned(), moment);
    let mut text = format!(
        "host's clock    {}\nconfirmed time  {confirmed}\ndate of new     {}\n",
        moment(clock.clock_ms),
        moment(clock.date_ms)
    );
    if let Some(set) = &clock.set {
        let _ = writeln!(text, "last set        from {} to {} by {}", moment(set.from_ms), moment(set.to_ms), set.by);
    }
    let rows = clock.hosts.iter().map(|host| [host.name.clone(), format!("{:+.3} s", host.ahead_ms as f64 / 1000.0)]);
    text.push('\n');
    text.push_str(&table(["HOST", "AHEAD OF THE MEDIAN"], rows));
    for trouble in &clock.troubles {
        let _ = writeln!(text, "- {trouble}");
    }
    text
}

fn moment(ms: u64) -> String {
    let at = i64::try_from(ms / 1000).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{ms} ms since 1970"))
}

#[cfg(test)]
mod tests {
    use super::words;
    use crate::api::admin::{ClockJson, ClockSettingJson, HostClockJson};

    #[test]
    fn both_clocks_and_their_problems_are_shown() {
        let clock = ClockJson {
            clock_ms: 1_705_184_000_000,
            date_ms: 1_700_000_000_000,
            confirmed_ms: Some(1_700_000_000_000),
            ahead_ms: 5_184_000_000,
            set: Some(ClockSettingJson { from_ms: 0, to_ms: 1_600_000_000_000, by: "hosts".to_owned() }),
            hosts: vec![HostClockJson { host: "1".to_owned(), name: "local".to_owned(), ahead_ms: -1500 }],
            troubles: vec!["this host's clock is 60 days ahead".to_owned()],
        };
        let shown = words(&clock);
        for part in [
            "host's clock    2024-01-13T22:13:20Z",
            "confirmed time  2023-11-14T22:13:20Z",
            "to 2020-09-13T12:26:40Z by hosts",
            "-1.500 s",
            "- this host's clock is 60 days ahead",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        assert!(words(&ClockJson { confirmed_ms: None, ..clock }).contains("confirmed time  none yet"));
    }
}
