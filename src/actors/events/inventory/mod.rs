//! Inventories: the inventory configuration of a bucket, and the reports in S3's format (user guide, "Amazon S3
//! Inventory"): data files of CSV, a manifest that lists them, and the manifest's checksum. All modules are pure,
//! except `reporter`, which lists buckets and writes the reports.

mod begun;
mod describe;
mod gzip;
mod reporter;
mod rows;
mod writer;

pub use reporter::{Inventories, InventoryContext, InventoryOptions, Reporting};
pub use rows::InventoryField;

use crate::types::UnixMs;
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 86_400_000;

/// An inventory configuration of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRules {
    pub id: String,
    pub enabled: bool,
    /// True for all versions, false for the current ones only.
    pub all_versions: bool,
    pub frequency: InventoryFrequency,
    /// The prefix of the listed keys.
    #[serde(default)]
    pub prefix: Option<String>,
    pub destination: InventoryDestination,
    /// The fields in the order given.
    #[serde(default)]
    pub fields: Vec<InventoryField>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryFrequency {
    Daily,
    Weekly,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryDestination {
    /// The bucket, without `arn:aws:s3:::`.
    pub bucket: String,
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub prefix: Option<String>,
    /// Always false: encrypted inventories are refused. Part of the stored form.
    #[serde(default)]
    pub sealed: bool,
}

impl InventoryRules {
    /// Returns whether a report is due, given the start of the last one. Daily reports are due after midnight (UTC),
    /// weekly ones after midnight on Sunday. A start in the future, by a clock that was ahead, holds up no report.
    pub fn is_due(&self, last: Option<UnixMs>, now: UnixMs) -> bool {
        let day = |at: UnixMs| at.0 / DAY_MS;
        // The epoch was a Thursday.
        let week = |at: UnixMs| (day(at) + 4) / 7;
        self.enabled
            && last.is_none_or(|last| match self.frequency {
                InventoryFrequency::Daily => day(now) != day(last),
                InventoryFrequency::Weekly => week(now) != week(last),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{InventoryDestination, InventoryField, InventoryFrequency, InventoryRules};
    use crate::types::UnixMs;

    fn rules(frequency: InventoryFrequency) -> InventoryRules {
        InventoryRules {
            id: "report".to_owned(),
            enabled: true,
            all_versions: true,
            frequency,
            prefix: None,
            destination: InventoryDestination {
                bucket: "destination".to_owned(),
                account: None,
                prefix: Some("p".to_owned()),
                sealed: false,
            },
            fields: vec![InventoryField::Size, InventoryField::ETag],
        }
    }

    #[test]
    fn inventories_are_due_daily_or_weekly_at_midnight_utc() {
        // Noon of Saturday, 2019-02-09.
        let saturday = UnixMs(1_549_713_600_000);
        let hours = |hours: u64| UnixMs(saturday.0 + hours * 3_600_000);
        let (daily, weekly) = (rules(InventoryFrequency::Daily), rules(InventoryFrequency::Weekly));
        assert!(daily.is_due(None, saturday) && weekly.is_due(None, saturday));
        assert!(!daily.is_due(Some(saturday), hours(11)) && daily.is_due(Some(saturday), hours(12)));
        assert!(weekly.is_due(Some(saturday), hours(12)), "it is Sunday");
        assert!(!weekly.is_due(Some(hours(12)), hours(12 + 24 * 6)));
        assert!(weekly.is_due(Some(hours(12)), hours(12 + 24 * 7)));
        assert!(daily.is_due(Some(hours(24 * 365)), saturday) && weekly.is_due(Some(hours(24 * 365)), saturday));
        assert!(!InventoryRules { enabled: false, ..daily }.is_due(None, saturday));
    }

    #[test]
    fn the_encoding_of_inventory_rules_is_stable() {
        let stored = concat!(
            r#"{"id":"report","enabled":true,"all_versions":true,"frequency":"Weekly","prefix":null,"destination":"#,
            r#"{"bucket":"destination","account":null,"prefix":"p","sealed":false},"fields":["Size","ETag"]}"#
        );
        let rules = rules(InventoryFrequency::Weekly);
        assert_eq!(serde_json::to_string(&rules).expect("JSON"), stored);
        assert_eq!(serde_json::from_str::<InventoryRules>(stored).expect("rules"), rules);
    }
}
