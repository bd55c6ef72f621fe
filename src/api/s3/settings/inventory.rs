//! The operations on inventory configurations. Reports can only be in CSV.

use super::named::{self, named_operations};
use crate::actors::events::inventory::{InventoryDestination, InventoryField, InventoryFrequency, InventoryRules};
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::Store;
use crate::limits::KEY_BYTES_MAX;
use s3s::S3Result;
use s3s::dto::{
    InventoryConfiguration, InventoryEncryption, InventoryFilter, InventoryFormat, InventoryFrequency as Frequency,
    InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination, InventorySchedule,
    PutBucketInventoryConfigurationInput, PutBucketInventoryConfigurationOutput, SSES3,
};

const KIND: BucketDocument = BucketDocument::Inventory;
const BUCKET_ARN: &str = "arn:aws:s3:::";
/// The longest rest of a report's key after the prefix of its destination: `/BUCKET/ID/data/UNIQUE.csv.gz`.
const NAME_BYTES_MAX: usize = 1 + 63 + 1 + 64 + "/data/".len() + 32 + ".csv.gz".len();

named_operations! {
    KIND, InventoryRules, to_dto;
    GetBucketInventoryConfigurationInput -> GetBucketInventoryConfigurationOutput { inventory_configuration };
    DeleteBucketInventoryConfigurationInput -> DeleteBucketInventoryConfigurationOutput;
    ListBucketInventoryConfigurationsInput -> ListBucketInventoryConfigurationsOutput { inventory_configuration_list };
}

pub async fn put(
    store: &Store,
    input: PutBucketInventoryConfigurationInput,
) -> S3Result<PutBucketInventoryConfigurationOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let rules = from_dto(&input.id, input.inventory_configuration)?;
    let destination = view.bucket(&rules.destination.bucket)?;
    let destination =
        destination.ok_or(Fault::InvalidDestinationBucket("The S3 destination bucket does not exist."))?;
    // Reports are written without a decision on the destination's policy, so the owner must be the same.
    if destination.bucket.owner != bucket.bucket.owner {
        let why = "The S3 destination bucket must belong to the owner of the source bucket.";
        return Err(Fault::InvalidDestinationBucket(why).into());
    }
    named::put(store, (&bucket, &view), KIND, &input.id, &rules).await?;
    Ok(PutBucketInventoryConfigurationOutput::default())
}

/// Converts a configuration and checks it in S3's order: the document itself, then that its id is that of the request,
/// then its destination.
pub(in crate::api::s3) fn from_dto(id: &str, given: InventoryConfiguration) -> Result<InventoryRules, Fault> {
    let all_versions = match given.included_object_versions.as_str() {
        InventoryIncludedObjectVersions::ALL => true,
        InventoryIncludedObjectVersions::CURRENT => false,
        _ => return Err(Fault::MalformedXml),
    };
    let frequency = match given.schedule.frequency.as_str() {
        Frequency::DAILY => InventoryFrequency::Daily,
        Frequency::WEEKLY => InventoryFrequency::Weekly,
        _ => return Err(Fault::MalformedXml),
    };
    let fields = given.optional_fields.unwrap_or_default();
    let fields = fields.iter().map(|field| InventoryField::parse(field.as_str())).collect::<Option<_>>();
    let fields = fields.ok_or(Fault::MalformedXml)?;
    let destination = given.destination.s3_bucket_destination;
    let is_csv = match destination.format.as_str() {
        InventoryFormat::CSV => true,
        InventoryFormat::ORC | InventoryFormat::PARQUET => false,
        _ => return Err(Fault::MalformedXml),
    };
    if given.id != id {
        return Err(Fault::IdMismatch);
    }
    let bucket = destination.bucket.strip_prefix(BUCKET_ARN).filter(|bucket| !bucket.is_empty());
    let bucket = bucket.ok_or(Fault::InvalidDestinationBucket("Invalid bucket ARN."))?;
    if !is_csv {
        return Err(Fault::NotImplemented("Inventories in another format than CSV are not implemented.".to_owned()));
    }
    let encryption = destination.encryption.unwrap_or_default();
    if encryption.ssekms.is_some() || encryption.sses3.is_some() {
        return Err(Fault::NotImplemented("Encrypted inventories are not implemented.".to_owned()));
    }
    let prefix = given.filter.map(|filter| filter.prefix);
    check_prefix("filter", prefix.as_deref(), KEY_BYTES_MAX)?;
    check_prefix("destination", destination.prefix.as_deref(), KEY_BYTES_MAX - NAME_BYTES_MAX)?;
    Ok(InventoryRules {
        id: given.id,
        enabled: given.is_enabled,
        all_versions,
        frequency,
        prefix,
        destination: InventoryDestination {
            bucket: bucket.to_owned(),
            account: destination.account_id,
            prefix: destination.prefix,
            sealed: encryption.sses3.is_some(),
        },
        fields,
    })
}

fn check_prefix(of: &str, prefix: Option<&str>, bytes_max: usize) -> Result<(), Fault> {
    if prefix.is_some_and(|prefix| prefix.len() > bytes_max) {
        return Err(Fault::InvalidArgument(format!("The prefix of the {of} is longer than {bytes_max} bytes.")));
    }
    Ok(())
}

pub(in crate::api::s3) fn to_dto(rules: InventoryRules) -> InventoryConfiguration {
    let versions = if rules.all_versions {
        InventoryIncludedObjectVersions::ALL
    } else {
        InventoryIncludedObjectVersions::CURRENT
    };
    let frequency = match rules.frequency {
        InventoryFrequency::Daily => Frequency::DAILY,
        InventoryFrequency::Weekly => Frequency::WEEKLY,
    };
    let fields: Vec<InventoryOptionalField> =
        rules.fields.iter().map(|field| InventoryOptionalField::from_static(field.as_str())).collect();
    let destination = rules.destination;
    let encryption = destination.sealed.then(|| InventoryEncryption { ssekms: None, sses3: Some(SSES3::default()) });
    InventoryConfiguration {
        destination: s3s::dto::InventoryDestination {
            s3_bucket_destination: InventoryS3BucketDestination {
                account_id: destination.account,
                bucket: format!("{BUCKET_ARN}{}", destination.bucket),
                encryption,
                format: InventoryFormat::from_static(InventoryFormat::CSV),
                prefix: destination.prefix,
            },
        },
        filter: rules.prefix.map(|prefix| InventoryFilter { prefix }),
        id: rules.id,
        included_object_versions: InventoryIncludedObjectVersions::from_static(versions),
        is_enabled: rules.enabled,
        optional_fields: Some(fields).filter(|fields| !fields.is_empty()),
        schedule: InventorySchedule { frequency: Frequency::from_static(frequency) },
    }
}

#[cfg(test)]
mod tests {
    use super::{from_dto, to_dto};
    use crate::api::errors::Fault;
    use s3s::dto::{
        InventoryConfiguration, InventoryEncryption, InventoryFilter, InventoryFormat, InventoryFrequency,
        InventoryIncludedObjectVersions, InventoryOptionalField, InventoryS3BucketDestination, InventorySchedule,
        SSEKMS, SSES3,
    };

    /// The example in the API Reference of PutBucketInventoryConfiguration, without its encryption.
    fn example() -> InventoryConfiguration {
        InventoryConfiguration {
            destination: s3s::dto::InventoryDestination {
                s3_bucket_destination: InventoryS3BucketDestination {
                    account_id: Some("123456789012".to_owned()),
                    bucket: "arn:aws:s3:::destination-bucket".to_owned(),
                    encryption: None,
                    format: InventoryFormat::from_static(InventoryFormat::CSV),
                    prefix: Some("prefix1".to_owned()),
                },
            },
            filter: Some(InventoryFilter { prefix: "filterPrefix".to_owned() }),
            id: "report1".to_owned(),
            included_object_versions: InventoryIncludedObjectVersions::from_static("All"),
            is_enabled: true,
            optional_fields: Some(vec![
                InventoryOptionalField::from_static("Size"),
                InventoryOptionalField::from_static("ETag"),
                InventoryOptionalField::from_static("LastModifiedDate"),
            ]),
            schedule: InventorySchedule { frequency: InventoryFrequency::from_static("Daily") },
        }
    }

    fn judge(change: impl FnOnce(&mut InventoryConfiguration)) -> Result<(), Fault> {
        let mut given = example();
        change(&mut given);
        from_dto("report1", given).map(|_| ())
    }

    #[test]
    fn an_inventory_configuration_reads_back_as_it_was_set() {
        assert_eq!(to_dto(from_dto("report1", example()).expect("rules")), example());
        let mut bare = example();
        (bare.filter, bare.optional_fields) = (None, None);
        assert_eq!(to_dto(from_dto("report1", bare.clone()).expect("rules")), bare);
    }

    #[test]
    fn faults_of_an_inventory_configuration_are_reported_in_s3s_order() {
        let malformed: [fn(&mut InventoryConfiguration); 4] = [
            |wrong| wrong.schedule.frequency = "Hourly".to_owned().into(),
            |wrong| wrong.included_object_versions = "Some".to_owned().into(),
            |wrong| wrong.destination.s3_bucket_destination.format = "TSV".to_owned().into(),
            |wrong| wrong.optional_fields = Some(vec!["Colour".to_owned().into()]),
        ];
        for change in malformed {
            let with_other_id = |wrong: &mut InventoryConfiguration| {
                change(wrong);
                wrong.id = "other".to_owned();
            };
            assert_eq!(judge(with_other_id), Err(Fault::MalformedXml));
        }
        let other = |wrong: &mut InventoryConfiguration| {
            wrong.id = "other".to_owned();
            wrong.destination.s3_bucket_destination.bucket = "no-arn".to_owned();
        };
        assert_eq!(judge(other), Err(Fault::IdMismatch));
        let no_arn =
            |wrong: &mut InventoryConfiguration| wrong.destination.s3_bucket_destination.bucket = "no-arn".to_owned();
        assert_eq!(judge(no_arn), Err(Fault::InvalidDestinationBucket("Invalid bucket ARN.")));
    }

    #[test]
    fn prefixes_of_an_inventory_that_no_key_can_have_are_refused() {
        let filter =
            |bytes: usize| judge(|given| given.filter = Some(InventoryFilter { prefix: "é".repeat(bytes / 2) }));
        assert_eq!(filter(1024), Ok(()));
        assert!(matches!(filter(1026), Err(Fault::InvalidArgument(_))));
        let destination =
            |bytes: usize| judge(|given| given.destination.s3_bucket_destination.prefix = Some("p".repeat(bytes)));
        assert_eq!(destination(850), Ok(()));
        assert!(matches!(destination(851), Err(Fault::InvalidArgument(_))));
    }

    #[test]
    fn unsupported_inventory_formats_are_refused_and_not_ignored() {
        let orc = |wrong: &mut InventoryConfiguration| {
            wrong.destination.s3_bucket_destination.format = InventoryFormat::from_static(InventoryFormat::ORC);
        };
        assert!(matches!(judge(orc), Err(Fault::NotImplemented(_))));
        let by_key = Some(SSEKMS { key_id: "k".to_owned() });
        let kms = InventoryEncryption { ssekms: by_key, sses3: None };
        for encryption in [kms, InventoryEncryption { ssekms: None, sses3: Some(SSES3::default()) }] {
            let sealed = |wrong: &mut InventoryConfiguration| {
                wrong.destination.s3_bucket_destination.encryption = Some(encryption.clone());
            };
            assert!(matches!(judge(sealed), Err(Fault::NotImplemented(_))));
        }
    }
}
