//! The operations on intelligent-tiering configurations. They are stored for the tools that set them, and have no
//! effect: the store has only one tier.

use super::named::{self, named_operations};
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::Store;
use s3s::S3Result;
use s3s::dto::{
    IntelligentTieringAccessTier, IntelligentTieringConfiguration, IntelligentTieringStatus,
    PutBucketIntelligentTieringConfigurationInput, PutBucketIntelligentTieringConfigurationOutput,
};
use std::collections::BTreeSet;
use std::convert::identity;

const KIND: BucketDocument = BucketDocument::IntelligentTiering;
/// S3's limits on the days without access after which an object may move to a tier.
const DAYS_MAX: i32 = 730;
const ARCHIVE_DAYS_MIN: i32 = 90;
const DEEP_ARCHIVE_DAYS_MIN: i32 = 180;

named_operations! {
    KIND, IntelligentTieringConfiguration, identity;
    GetBucketIntelligentTieringConfigurationInput ->
        GetBucketIntelligentTieringConfigurationOutput { intelligent_tiering_configuration };
    DeleteBucketIntelligentTieringConfigurationInput -> DeleteBucketIntelligentTieringConfigurationOutput;
    ListBucketIntelligentTieringConfigurationsInput ->
        ListBucketIntelligentTieringConfigurationsOutput { intelligent_tiering_configuration_list };
}

pub async fn put(
    store: &Store,
    input: PutBucketIntelligentTieringConfigurationInput,
) -> S3Result<PutBucketIntelligentTieringConfigurationOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    check(&input.id, &input.intelligent_tiering_configuration)?;
    named::put(store, (&bucket, &view), KIND, &input.id, &input.intelligent_tiering_configuration).await?;
    Ok(PutBucketIntelligentTieringConfigurationOutput::default())
}

fn check(id: &str, given: &IntelligentTieringConfiguration) -> Result<(), Fault> {
    let status =
        matches!(given.status.as_str(), IntelligentTieringStatus::ENABLED | IntelligentTieringStatus::DISABLED);
    if given.id != id || !status || given.tierings.is_empty() {
        return Err(Fault::MalformedXml);
    }
    let mut tiers = BTreeSet::new();
    for tiering in &given.tierings {
        let days_min = match tiering.access_tier.as_str() {
            IntelligentTieringAccessTier::ARCHIVE_ACCESS => ARCHIVE_DAYS_MIN,
            IntelligentTieringAccessTier::DEEP_ARCHIVE_ACCESS => DEEP_ARCHIVE_DAYS_MIN,
            _ => return Err(Fault::MalformedXml),
        };
        if !tiers.insert(tiering.access_tier.as_str()) {
            return Err(Fault::MalformedXml);
        }
        if !(days_min..=DAYS_MAX).contains(&tiering.days) {
            let tier = tiering.access_tier.as_str();
            return Err(Fault::InvalidArgument(format!("Days for {tier} must be from {days_min} to {DAYS_MAX}.")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::errors::Fault;
    use s3s::dto::{IntelligentTieringConfiguration, IntelligentTieringStatus, Tiering};

    fn given(tiers: &[(&str, i32)]) -> IntelligentTieringConfiguration {
        let tiering = |(tier, days): &(&str, i32)| Tiering { access_tier: (*tier).to_owned().into(), days: *days };
        IntelligentTieringConfiguration {
            filter: None,
            id: "t".to_owned(),
            status: IntelligentTieringStatus::from_static(IntelligentTieringStatus::ENABLED),
            tierings: tiers.iter().map(tiering).collect(),
        }
    }

    #[test]
    fn tiers_must_be_known_and_unique_and_have_valid_days() {
        assert_eq!(check("t", &given(&[("ARCHIVE_ACCESS", 90), ("DEEP_ARCHIVE_ACCESS", 730)])), Ok(()));
        assert!(matches!(check("t", &given(&[("DEEP_ARCHIVE_ACCESS", 179)])), Err(Fault::InvalidArgument(_))));
        assert!(matches!(check("t", &given(&[("ARCHIVE_ACCESS", 731)])), Err(Fault::InvalidArgument(_))));
        for wrong in [&[][..], &[("ATTIC", 90)], &[("ARCHIVE_ACCESS", 90), ("ARCHIVE_ACCESS", 91)]] {
            assert_eq!(check("t", &given(wrong)), Err(Fault::MalformedXml), "{wrong:?}");
        }
        assert_eq!(check("other", &given(&[("ARCHIVE_ACCESS", 90)])), Err(Fault::MalformedXml));
        let asleep =
            IntelligentTieringConfiguration { status: "Asleep".to_owned().into(), ..given(&[("ARCHIVE_ACCESS", 90)]) };
        assert_eq!(check("t", &asleep), Err(Fault::MalformedXml));
    }

    /// Tests that the stored form does not change: every later version must read it.
    #[test]
    fn the_stored_form_of_a_tiering_configuration_does_not_change() {
        let given = given(&[("ARCHIVE_ACCESS", 90)]);
        let stored = concat!(
            r#"{"filter":null,"id":"t","status":"Enabled","#,
            r#""tierings":[{"access_tier":"ARCHIVE_ACCESS","days":90}]}"#
        );
        assert_eq!(serde_json::to_string(&given).expect("JSON"), stored);
        assert_eq!(serde_json::from_str::<IntelligentTieringConfiguration>(stored).expect("a configuration"), given);
    }
}
