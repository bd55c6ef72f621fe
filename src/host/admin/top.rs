//! The accounts and buckets with the most traffic of all hosts, merged.

use super::jobs::SelectedHosts;
use super::{HostAdmin, Registered, known, shown};
use crate::actors::jobs::{Ask, JobAnswer, JobReply};
use crate::actors::traffic::{Heavy, Top, TopOfKind};
use crate::api::admin::{AdminError, HeavyJson, RankedJson, TopJson, TopOfKindJson};
use crate::limits::{HEAVY_SHOWN, TOP_NAMES_SHOWN};
use crate::types::HostId;
use std::collections::{BTreeMap, BTreeSet};

impl HostAdmin {
    pub(super) async fn all_traffic(&self, host: Option<&str>) -> Result<TopJson, AdminError> {
        let known = self.look_up(known).await?;
        let names = self.names(&known);
        let meant = SelectedHosts { hosts: meant_hosts(&known, &names, host)?, names };
        let answers = self.jobs.ask(meant.hosts.iter().copied(), Ask::Traffic).await;
        let (mut tops, mut hosts) = (Vec::new(), Vec::new());
        for JobReply { host, answer } in answers {
            let why = match answer {
                Ok(JobAnswer::Traffic(top)) => {
                    tops.push(*top);
                    None
                }
                Ok(other) => Some(format!("its answer does not fit the question: {other:?}")),
                Err(why) => Some(why),
            };
            hosts.push(meant.row(host, why));
        }
        let Top { accounts, buckets } = Top::merged(&tops, TOP_NAMES_SHOWN);
        Ok(TopJson { accounts: ranked(accounts), buckets: ranked(buckets), hosts })
    }
}

/// Returns the host of this name or id, or all registered hosts, also those without drives.
fn meant_hosts(
    known: &Registered,
    names: &BTreeMap<HostId, String>,
    host: Option<&str>,
) -> Result<BTreeSet<HostId>, AdminError> {
    let Some(host) = host else { return Ok(known.hosts.iter().map(|known| known.id).collect()) };
    let named = names.iter().find(|(id, name)| *name == host || shown(**id) == host).map(|(id, _)| *id);
    let id = named.ok_or_else(|| AdminError::Refused(format!("there is no host {host:?}")))?;
    Ok(BTreeSet::from([id]))
}

fn ranked(kind: TopOfKind) -> TopOfKindJson {
    TopOfKindJson { minute: in_both_orders(kind.minute), five_minutes: in_both_orders(kind.five_minutes) }
}

fn in_both_orders(mut heavy: Vec<Heavy>) -> RankedJson {
    let first = |heavy: &[Heavy]| heavy.iter().take(HEAVY_SHOWN).map(heavy_shown).collect();
    let by_requests = first(&heavy);
    heavy.sort_by_key(|heavy| std::cmp::Reverse(heavy.load.bytes));
    RankedJson { by_requests, by_bytes: first(&heavy) }
}

fn heavy_shown(Heavy { name, load }: &Heavy) -> HeavyJson {
    HeavyJson { name: name.clone(), requests: load.requests, bytes: load.bytes }
}

#[cfg(test)]
mod tests {
    use super::in_both_orders;
    use crate::actors::traffic::{Heavy, Load};
    use crate::limits::HEAVY_SHOWN;

    #[test]
    fn accounts_and_buckets_are_ranked_by_requests_and_by_bytes() {
        let heavy = |name: u64| Heavy { name: name.to_string(), load: Load { requests: 100 - name, bytes: name } };
        let ranked = in_both_orders((0..30).map(heavy).collect());
        assert_eq!((ranked.by_requests.len(), ranked.by_bytes.len()), (HEAVY_SHOWN, HEAVY_SHOWN));
        assert_eq!((ranked.by_requests[0].name.as_str(), ranked.by_bytes[0].name.as_str()), ("0", "29"));
    }
}
