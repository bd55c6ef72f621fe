//! The operations on analytics configurations. They are stored for the tools that set them, and have no effect.

use super::named;
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::Store;
use s3s::dto::{
    AnalyticsConfiguration, AnalyticsS3ExportFileFormat, DeleteBucketAnalyticsConfigurationInput,
    DeleteBucketAnalyticsConfigurationOutput, GetBucketAnalyticsConfigurationInput,
    GetBucketAnalyticsConfigurationOutput, ListBucketAnalyticsConfigurationsInput,
    ListBucketAnalyticsConfigurationsOutput, PutBucketAnalyticsConfigurationInput,
    PutBucketAnalyticsConfigurationOutput, StorageClassAnalysisSchemaVersion,
};
use s3s::{S3Request, S3Response, S3Result};

const KIND: BucketDocument = BucketDocument::Analytics;

pub async fn get(
    store: &Store,
    request: S3Request<GetBucketAnalyticsConfigurationInput>,
) -> S3Result<S3Response<GetBucketAnalyticsConfigurationOutput>> {
    let input = request.input;
    let found = named::find(store, &input.bucket, KIND, &input.id).await?;
    Ok(S3Response::new(GetBucketAnalyticsConfigurationOutput { analytics_configuration: Some(found) }))
}

pub async fn put(
    store: &Store,
    request: S3Request<PutBucketAnalyticsConfigurationInput>,
) -> S3Result<S3Response<PutBucketAnalyticsConfigurationOutput>> {
    let input = request.input;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    check(&input.id, &input.analytics_configuration)?;
    named::put(store, (&bucket, &view), KIND, &input.id, &input.analytics_configuration).await?;
    Ok(S3Response::new(PutBucketAnalyticsConfigurationOutput::default()))
}

pub async fn delete(
    store: &Store,
    request: S3Request<DeleteBucketAnalyticsConfigurationInput>,
) -> S3Result<S3Response<DeleteBucketAnalyticsConfigurationOutput>> {
    named::remove(store, &request.input.bucket, KIND, &request.input.id).await?;
    Ok(S3Response::new(DeleteBucketAnalyticsConfigurationOutput::default()))
}

pub async fn list(
    store: &Store,
    request: S3Request<ListBucketAnalyticsConfigurationsInput>,
) -> S3Result<S3Response<ListBucketAnalyticsConfigurationsOutput>> {
    let input = request.input;
    let page = named::list(store, &input.bucket, KIND, input.continuation_token.as_deref()).await?;
    Ok(S3Response::new(ListBucketAnalyticsConfigurationsOutput {
        is_truncated: Some(page.next_token.is_some()),
        analytics_configuration_list: Some(page.values).filter(|list: &Vec<_>| !list.is_empty()),
        continuation_token: input.continuation_token,
        next_continuation_token: page.next_token,
    }))
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
