//! The operations on analytics configurations. They are stored for the tools that set them, and have no effect.

use super::named::{self, named_operations};
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::Store;
use s3s::S3Result;
use s3s::dto::{
    AnalyticsConfiguration, AnalyticsS3ExportFileFormat, PutBucketAnalyticsConfigurationInput,
    PutBucketAnalyticsConfigurationOutput, StorageClassAnalysisSchemaVersion,
};
use std::convert::identity;

const KIND: BucketDocument = BucketDocument::Analytics;

named_operations! {
    KIND, AnalyticsConfiguration, identity;
    GetBucketAnalyticsConfigurationInput -> GetBucketAnalyticsConfigurationOutput { analytics_configuration };
    DeleteBucketAnalyticsConfigurationInput -> DeleteBucketAnalyticsConfigurationOutput;
    ListBucketAnalyticsConfigurationsInput -> ListBucketAnalyticsConfigurationsOutput { analytics_configuration_list };
}

pub async fn put(
    store: &Store,
    input: PutBucketAnalyticsConfigurationInput,
) -> S3Result<PutBucketAnalyticsConfigurationOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    check(&input.id, &input.analytics_configuration)?;
    named::put(store, (&bucket, &view), KIND, &input.id, &input.analytics_configuration).await?;
    Ok(PutBucketAnalyticsConfigurationOutput::default())
}

fn check(id: &str, given: &AnalyticsConfiguration) -> Result<(), Fault> {
    let export = given.storage_class_analysis.data_export.as_ref();
    let fits = export.is_none_or(|export| {
        export.output_schema_version.as_str() == StorageClassAnalysisSchemaVersion::V_1
            && export.destination.s3_bucket_destination.format.as_str() == AnalyticsS3ExportFileFormat::CSV
    });
    if given.id == id && fits { Ok(()) } else { Err(Fault::MalformedXml) }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::errors::Fault;
    use s3s::dto::{AnalyticsConfiguration, AnalyticsFilter};

    fn given() -> AnalyticsConfiguration {
        let filter = Some(AnalyticsFilter::Prefix("documents/".to_owned()));
        AnalyticsConfiguration { filter, id: "report1".to_owned(), ..AnalyticsConfiguration::default() }
    }

    #[test]
    fn an_analytics_configuration_needs_the_id_of_the_request() {
        assert_eq!(check("report1", &given()), Ok(()));
        assert_eq!(check("report2", &given()), Err(Fault::MalformedXml));
    }

    /// Tests that the stored form does not change: every later version must read it.
    #[test]
    fn the_stored_form_of_an_analytics_configuration_does_not_change() {
        let stored = concat!(
            r#"{"filter":{"Prefix":"documents/"},"id":"report1","#,
            r#""storage_class_analysis":{"data_export":null}}"#
        );
        assert_eq!(serde_json::to_string(&given()).expect("JSON"), stored);
        assert_eq!(serde_json::from_str::<AnalyticsConfiguration>(stored).expect("a configuration"), given());
    }
}
