//! The operations on metrics configurations. They are stored for the tools that set them, and have no effect: the
//! store's metrics are those for Prometheus.

use super::named::{self, named_operations};
use crate::actors::meta::BucketDocument;
use crate::api::errors::Fault;
use crate::api::s3::Store;
use s3s::S3Result;
use s3s::dto::{MetricsConfiguration, PutBucketMetricsConfigurationInput, PutBucketMetricsConfigurationOutput};
use std::convert::identity;

const KIND: BucketDocument = BucketDocument::Metrics;

named_operations! {
    KIND, MetricsConfiguration, identity;
    GetBucketMetricsConfigurationInput -> GetBucketMetricsConfigurationOutput { metrics_configuration };
    DeleteBucketMetricsConfigurationInput -> DeleteBucketMetricsConfigurationOutput;
    ListBucketMetricsConfigurationsInput -> ListBucketMetricsConfigurationsOutput { metrics_configuration_list };
}

pub async fn put(
    store: &Store,
    input: PutBucketMetricsConfigurationInput,
) -> S3Result<PutBucketMetricsConfigurationOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    if input.metrics_configuration.id != input.id {
        return Err(Fault::MalformedXml.into());
    }
    named::put(store, (&bucket, &view), KIND, &input.id, &input.metrics_configuration).await?;
    Ok(PutBucketMetricsConfigurationOutput::default())
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
