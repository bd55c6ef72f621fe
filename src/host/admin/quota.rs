//! Buckets for the admin API: their usage, growth and quotas.

use super::{HostAdmin, unavailable};
use crate::actors::growth::{BucketGrowth, BucketHistory};
use crate::api::admin::{AdminError, BucketUsageJson, QuotaJson, SetQuota};
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::record::{BucketRow, QuotaChange, Usage};

/// The number of buckets that are read at a time.
const BUCKETS_PAGE: usize = 1000;

impl HostAdmin {
    pub(super) async fn quota_of(&self, bucket: &str) -> Result<QuotaJson, AdminError> {
        let (row, usage) = self.bucket_and_usage(bucket).await?;
        Ok(shown(&row, usage))
    }

    pub(super) async fn set_quota_of(&self, bucket: &str, asked: SetQuota) -> Result<QuotaJson, AdminError> {
        let (row, _) = self.bucket_and_usage(bucket).await?;
        let quota = QuotaChange { bytes_max: asked.bytes_max, objects_max: asked.objects_max };
        let change = Change::SetBucket { bucket: row.bucket.id, versioning: None, lock: None, quota };
        match self.status.metadata.propose(change).await.map_err(unavailable)? {
            Reply::Refused(refusal) => Err(AdminError::Refused(refusal.to_string())),
            _ => {
                tracing::info!(bucket, ?quota, "an administrator set a quota");
                self.quota_of(bucket).await
            }
        }
    }

    /// Returns every bucket with its usage and its growth, sorted by name.
    pub(super) async fn all_buckets(&self) -> Result<Vec<BucketUsageJson>, AdminError> {
        let now = self.context.ambient.clock.unix_ms();
        let look_up = self.look_up(move |view| {
            let history = BucketHistory::read(view, now)?;
            let (mut shown, mut after) = (Vec::new(), None::<String>);
            loop {
                let (rows, more) = view.buckets("", after.as_deref(), BUCKETS_PAGE)?;
                after = rows.last().map(|row| row.bucket.name.clone());
                for row in rows {
                    let usage = view.usage(row.bucket.id)?;
                    let growth = history.growth(row.bucket.id, row.bucket.created, usage, now);
                    shown.push(bucket_shown(&row, usage, growth));
                }
                if !more {
                    return Ok(shown);
                }
            }
        });
        look_up.await
    }

    async fn bucket_and_usage(&self, bucket: &str) -> Result<(BucketRow, Usage), AdminError> {
        let name = bucket.to_owned();
        let look_up = self.look_up(move |view| {
            let Some(row) = view.bucket(&name)? else { return Ok(None) };
            let usage = view.usage(row.bucket.id)?;
            Ok(Some((row, usage)))
        });
        look_up.await?.ok_or_else(|| AdminError::Refused(format!("there is no bucket {bucket:?}")))
    }
}

fn bucket_shown(row: &BucketRow, usage: Usage, growth: Option<BucketGrowth>) -> BucketUsageJson {
    let quota = row.settings.quota;
    BucketUsageJson {
        bucket: row.bucket.name.clone(),
        account: row.bucket.owner.to_string(),
        objects: usage.objects,
        versions: usage.versions,
        bytes: usage.bytes,
        parts_bytes: usage.parts_bytes,
        bytes_max: quota.bytes_max,
        objects_max: quota.objects_max,
        bytes_per_day: growth.map(|growth| growth.bytes_per_day),
        objects_per_day: growth.map(|growth| growth.objects_per_day),
    }
}

fn shown(row: &BucketRow, usage: Usage) -> QuotaJson {
    let quota = row.settings.quota;
    QuotaJson {
        bucket: row.bucket.name.clone(),
        bytes_max: quota.bytes_max,
        objects_max: quota.objects_max,
        bytes: usage.bytes,
        parts_bytes: usage.parts_bytes,
        objects: usage.objects,
        versions: usage.versions,
    }
}

#[cfg(test)]
mod tests {
    use crate::api::admin::SetQuota;

    #[test]
    fn an_absent_limit_of_a_quota_is_told_from_null() {
        let asked = |text: &str| serde_json::from_str::<SetQuota>(text).expect("a change");
        assert_eq!(asked("{}"), SetQuota::default());
        assert_eq!(asked(r#"{"bytes_max":null}"#), SetQuota { bytes_max: Some(None), objects_max: None });
        let both = SetQuota { bytes_max: Some(Some(0)), objects_max: Some(Some(9)) };
        assert_eq!(asked(r#"{"bytes_max":0,"objects_max":9}"#), both);
        let text = serde_json::to_string(&SetQuota { bytes_max: Some(None), objects_max: None }).expect("JSON");
        assert_eq!(text, r#"{"bytes_max":null}"#);
        assert!(serde_json::from_str::<SetQuota>(r#"{"bytes":1}"#).is_err());
    }
}
