//! The operations on intelligent-tiering configurations. They are stored for the tools that set them, and have no
//! effect: the store has only one tier.

use super::named;
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::Store;
use s3s::dto::{
    DeleteBucketIntelligentTieringConfigurationInput, DeleteBucketIntelligentTieringConfigurationOutput,
    GetBucketIntelligentTieringConfigurationInput, GetBucketIntelligentTieringConfigurationOutput,
    IntelligentTieringAccessTier, IntelligentTieringConfiguration, IntelligentTieringStatus,
    ListBucketIntelligentTieringConfigurationsInput, ListBucketIntelligentTieringConfigurationsOutput,
    PutBucketIntelligentTieringConfigurationInput, PutBucketIntelligentTieringConfigurationOutput,
};
use s3s::{S3Request, S3Response, S3Result};
use std::collections::BTreeSet;

const KIND: BucketDocument = BucketDocument::IntelligentTiering;
/// S3's limits on the days without access after which an object may move to a tier.
const DAYS_MAX: i32 = 730;
const ARCHIVE_DAYS_MIN: i32 = 90;
const DEEP_ARCHIVE_DAYS_MIN: i32 = 180;

pub async fn get(
    store: &Store,
    request: S3Request<GetBucketIntelligentTieringConfigurationInput>,
) -> S3Result<S3Response<GetBucketIntelligentTieringConfigurationOutput>> {
    let input = request.input;
    let found = named::find(store, &input.bucket, KIND, &input.id).await?;
    Ok(S3Response::new(GetBucketIntelligentTieringConfigurationOutput {
        intelligent_tiering_configuration: Some(found),
    }))
}

pub async fn put(
    store: &Store,
    request: S3Request<PutBucketIntelligentTieringConfigurationInput>,
) -> S3Result<S3Response<PutBucketIntelligentTieringConfigurationOutput>> {
    let input = request.input;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    check(&input.id, &input.intelligent_tiering_configuration)?;
    named::put(store, (&bucket, &view), KIND, &input.id, &input.intelligent_tiering_configuration).await?;
    Ok(S3Response::new(PutBucketIntelligentTieringConfigurationOutput::default()))
}

pub async fn delete(
    store: &Store,
    request: S3Request<DeleteBucketIntelligentTieringConfigurationInput>,
) -> S3Result<S3Response<DeleteBucketIntelligentTieringConfigurationOutput>> {
    named::remove(store, &request.input.bucket, KIND, &request.input.id).await?;
    Ok(S3Response::new(DeleteBucketIntelligentTieringConfigurationOutput::default()))
}

pub async fn list(
    store: &Store,
    request: S3Request<ListBucketIntelligentTieringConfigurationsInput>,
) -> S3Result<S3Response<ListBucketIntelligentTieringConfigurationsOutput>> {
    let input = request.input;
    let page = named::list(store, &input.bucket, KIND, input.continuation_token.as_deref()).await?;
    Ok(S3Response::new(ListBucketIntelligentTieringConfigurationsOutput {
        is_truncated: Some(page.next_token.is_some()),
        intelligent_tiering_configuration_list: Some(page.values).filter(|list: &Vec<_>| !list.is_empty()),
        continuation_token: input.continuation_token,
        next_continuation_token: page.next_token,
    }))
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
