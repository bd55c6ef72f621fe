//! The operations on metrics configurations. They are stored for the tools that set them, and have no effect: the
//! store's metrics are those for Prometheus.

use super::named;
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::Store;
use s3s::dto::{
    DeleteBucketMetricsConfigurationInput, DeleteBucketMetricsConfigurationOutput, GetBucketMetricsConfigurationInput,
    GetBucketMetricsConfigurationOutput, ListBucketMetricsConfigurationsInput, ListBucketMetricsConfigurationsOutput,
    PutBucketMetricsConfigurationInput, PutBucketMetricsConfigurationOutput,
};
use s3s::{S3Request, S3Response, S3Result};

const KIND: BucketDocument = BucketDocument::Metrics;

pub async fn get(
    store: &Store,
    request: S3Request<GetBucketMetricsConfigurationInput>,
) -> S3Result<S3Response<GetBucketMetricsConfigurationOutput>> {
    let input = request.input;
    let found = named::find(store, &input.bucket, KIND, &input.id).await?;
    Ok(S3Response::new(GetBucketMetricsConfigurationOutput { metrics_configuration: Some(found) }))
}

pub async fn put(
    store: &Store,
    request: S3Request<PutBucketMetricsConfigurationInput>,
) -> S3Result<S3Response<PutBucketMetricsConfigurationOutput>> {
    let input = request.input;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    if input.metrics_configuration.id != input.id {
        return Err(Fault::MalformedXml.into());
    }
    named::put(store, (&bucket, &view), KIND, &input.id, &input.metrics_configuration).await?;
    Ok(S3Response::new(PutBucketMetricsConfigurationOutput::default()))
}

pub async fn delete(
    store: &Store,
    request: S3Request<DeleteBucketMetricsConfigurationInput>,
) -> S3Result<S3Response<DeleteBucketMetricsConfigurationOutput>> {
    named::remove(store, &request.input.bucket, KIND, &request.input.id).await?;
    Ok(S3Response::new(DeleteBucketMetricsConfigurationOutput::default()))
}

pub async fn list(
    store: &Store,
    request: S3Request<ListBucketMetricsConfigurationsInput>,
) -> S3Result<S3Response<ListBucketMetricsConfigurationsOutput>> {
    let input = request.input;
    let page = named::list(store, &input.bucket, KIND, input.continuation_token.as_deref()).await?;
    Ok(S3Response::new(ListBucketMetricsConfigurationsOutput {
        is_truncated: Some(page.next_token.is_some()),
        metrics_configuration_list: Some(page.values).filter(|list: &Vec<_>| !list.is_empty()),
        continuation_token: input.continuation_token,
        next_continuation_token: page.next_token,
    }))
}

#[cfg(test)]
mod tests {
    use s3s::dto::{MetricsAndOperator, MetricsConfiguration, MetricsFilter, Tag};

    /// Tests that the stored form does not change: every later version must read it.
    #[test]
    fn the_stored_form_of_a_metrics_configuration_does_not_change() {
        let tag = Tag { key: Some("priority".to_owned()), value: Some("high".to_owned()) };
        let and =
            MetricsAndOperator { prefix: Some("documents/".to_owned()), tags: Some(vec![tag]), ..Default::default() };
        let given = MetricsConfiguration { filter: Some(MetricsFilter::And(and)), id: "EntireBucket".to_owned() };
        let stored = concat!(
            r#"{"filter":{"And":{"access_point_arn":null,"prefix":"documents/","#,
            r#""tags":[{"key":"priority","value":"high"}]}},"id":"EntireBucket"}"#
        );
        assert_eq!(serde_json::to_string(&given).expect("JSON"), stored);
        assert_eq!(serde_json::from_str::<MetricsConfiguration>(stored).expect("a configuration"), given);
    }
}
