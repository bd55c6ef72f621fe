//! The clock for the admin API: this host's clock, those of the others, and the confirmed time; and confirming a clock.

use super::{HostAdmin, known, shown, unavailable};
use crate::api::admin::{AdminError, ClockJson, ClockSettingJson, HostClockJson};
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
        if now_ms.abs_diff(time_ms) > CLOCKS_AGREE_WITHIN.as_millis() as u64 {
            let why = format!(
                "this host's clock is at {now_ms} ms, not near {time_ms} ms; show the clock again, then accept it"
            );
            return Err(AdminError::Refused(why));
        }
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

fn setting(ClockSetting { from, to, by }: ClockSetting) -> ClockSettingJson {
    let by = match by {
        ClockSource::Counted => "counted",
        ClockSource::Hosts => "hosts",
        ClockSource::Operator => "operator",
    };
    ClockSettingJson { from_ms: from.0, to_ms: to.0, by: by.to_owned() }
}
