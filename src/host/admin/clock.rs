//! The clock for the admin API: this host's clock, those of the others, and the confirmed time; and confirming a clock.

use super::{HostAdmin, known, shown, unavailable};
use crate::api::admin::{AdminError, ClockJson, ClockSettingJson, HostClockJson};
use crate::api::rfc3339;
use crate::limits::CLOCKS_AGREE_WITHIN;
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::record::{AdvanceClock, ClockSetting, ClockSource};
use crate::types::UnixMs;

impl HostAdmin {
    pub(super) async fn clock_shown(&self) -> Result<ClockJson, AdminError> {
        let (record, known) = self.look_up(|view| Ok((view.clock()?, known(view)?))).await?;
        let clock = self.status.metadata.clock();
        if let Some(record) = &record {
            clock.learn(record);
        }
        let (status, names) = (clock.status(), self.names(&known));
        let host = |(host, ahead_ms): &(Option<_>, i64)| {
            let host = host.unwrap_or(self.host);
            let name = names.get(&host).cloned().unwrap_or_else(|| shown(host));
            HostClockJson { host: shown(host), name, ahead_ms: *ahead_ms }
        };
        Ok(ClockJson {
            clock_ms: status.wall.0,
            date_ms: status.time.now.0,
            confirmed_ms: status.is_confirmed.then_some(status.time.confirmed.0),
            ahead_ms: status.ahead_ms(),
            set: record.map(|record| setting(record.set)),
            hosts: status.ahead_of_median_ms.iter().map(host).collect(),
            troubles: status.troubles(),
        })
    }

    pub(super) async fn accept(&self, time_ms: u64) -> Result<ClockJson, AdminError> {
        let UnixMs(now_ms) = self.context.ambient.clock.unix_ms();
        check_near(UnixMs(now_ms), UnixMs(time_ms)).map_err(AdminError::Refused)?;
        let advance = AdvanceClock { to: UnixMs(now_ms), era: 0, by: ClockSource::Operator };
        match self.status.metadata.propose(Change::AdvanceClock(advance)).await.map_err(unavailable)? {
            Reply::Done => {
                tracing::warn!(
                    now_ms,
                    "an operator has confirmed this host's clock: locks and lifecycle rules go by it"
                );
                self.clock_shown().await
            }
            other => Err(AdminError::Unavailable(format!("the time was not set: {other:?}"))),
        }
    }
}

/// Returns the refusal if this host's clock is no longer near the time that an operator saw and confirms.
fn check_near(now: UnixMs, seen: UnixMs) -> Result<(), String> {
    if now.0.abs_diff(seen.0) <= CLOCKS_AGREE_WITHIN.as_millis() as u64 {
        return Ok(());
    }
    Err(format!(
        "this host's clock is at {}, more than a minute from the {} that you confirmed; run sherd admin clock show, then accept again",
        rfc3339(now),
        rfc3339(seen)
    ))
}

fn setting(ClockSetting { from, to, by }: ClockSetting) -> ClockSettingJson {
    let by = match by {
        ClockSource::Counted => "counted",
        ClockSource::Hosts => "hosts",
        ClockSource::Operator => "operator",
    };
    ClockSettingJson { from_ms: from.0, to_ms: to.0, by: by.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::check_near;
    use crate::types::UnixMs;

    #[test]
    fn a_clock_that_moved_since_it_was_shown_is_not_confirmed() {
        let seen = UnixMs(1_700_000_000_000);
        assert_eq!(check_near(UnixMs(seen.0 + 60_000), seen), Ok(()));
        let refused = check_near(UnixMs(seen.0 + 3_600_000), seen).unwrap_err();
        let words = "this host's clock is at 2023-11-14T23:13:20Z, more than a minute from the 2023-11-14T22:13:20Z";
        assert!(refused.starts_with(words) && refused.contains("sherd admin clock show"), "{refused}");
    }
}
