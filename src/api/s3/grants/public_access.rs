//! GetPublicAccessBlock, PutPublicAccessBlock, DeletePublicAccessBlock.

use super::super::Store;
use super::record::{BucketAccess, access_of, change};
use crate::api::errors::Fault;
use crate::api::policy::PublicAccessBlock;
use s3s::S3Result;
use s3s::dto::{
    DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput,
    PublicAccessBlockConfiguration, PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
};

/// Refuses an empty configuration.
fn check(configuration: &PublicAccessBlockConfiguration) -> Result<(), Fault> {
    let PublicAccessBlockConfiguration {
        block_public_acls,
        block_public_policy,
        ignore_public_acls,
        restrict_public_buckets,
    } = configuration;
    let settings = [block_public_acls, block_public_policy, ignore_public_acls, restrict_public_buckets];
    if settings.iter().all(|setting| setting.is_none()) {
        return Err(Fault::InvalidRequest("Must specify at least one configuration.".to_owned()));
    }
    Ok(())
}

/// Parses the configuration. A setting without a value is off.
fn parse(configuration: &PublicAccessBlockConfiguration) -> PublicAccessBlock {
    PublicAccessBlock {
        block_public_acls: configuration.block_public_acls.unwrap_or(false),
        ignore_public_acls: configuration.ignore_public_acls.unwrap_or(false),
        block_public_policy: configuration.block_public_policy.unwrap_or(false),
        restrict_public_buckets: configuration.restrict_public_buckets.unwrap_or(false),
    }
}

fn shown(block: PublicAccessBlock) -> PublicAccessBlockConfiguration {
    PublicAccessBlockConfiguration {
        block_public_acls: Some(block.block_public_acls),
        block_public_policy: Some(block.block_public_policy),
        ignore_public_acls: Some(block.ignore_public_acls),
        restrict_public_buckets: Some(block.restrict_public_buckets),
    }
}

pub async fn get(store: &Store, input: GetPublicAccessBlockInput) -> S3Result<GetPublicAccessBlockOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let code = "NoSuchPublicAccessBlockConfiguration";
    let absent = Fault::NoConfiguration(code, "The public access block configuration was not found");
    let block = access_of(&view, &bucket)?.block.ok_or(absent)?;
    let public_access_block_configuration = Some(shown(block));
    Ok(GetPublicAccessBlockOutput { public_access_block_configuration })
}

pub async fn put(store: &Store, input: PutPublicAccessBlockInput) -> S3Result<PutPublicAccessBlockOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    check(&input.public_access_block_configuration)?;
    let block = parse(&input.public_access_block_configuration);
    change(store, &bucket, |access| Ok(BucketAccess { block: Some(block), ..access })).await?;
    Ok(PutPublicAccessBlockOutput::default())
}

pub async fn delete(store: &Store, input: DeletePublicAccessBlockInput) -> S3Result<DeletePublicAccessBlockOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    change(store, &bucket, |access| Ok(BucketAccess { block: None, ..access })).await?;
    Ok(DeletePublicAccessBlockOutput::default())
}

#[cfg(test)]
mod tests {
    use super::{check, parse, shown};
    use crate::api::errors::Fault;
    use crate::api::policy::PublicAccessBlock;
    use s3s::dto::PublicAccessBlockConfiguration;

    #[test]
    fn a_public_access_block_without_any_setting_is_refused() {
        let nothing = PublicAccessBlockConfiguration::default();
        let words = "Must specify at least one configuration.".to_owned();
        assert_eq!(check(&nothing), Err(Fault::InvalidRequest(words)));
        let off = PublicAccessBlockConfiguration { ignore_public_acls: Some(false), ..nothing };
        assert_eq!(check(&off), Ok(()));
    }

    #[test]
    fn public_access_block_settings_read_back_and_are_off_by_default() {
        for bits in 0..16u8 {
            let block = PublicAccessBlock {
                block_public_acls: bits & 1 != 0,
                ignore_public_acls: bits & 2 != 0,
                block_public_policy: bits & 4 != 0,
                restrict_public_buckets: bits & 8 != 0,
            };
            assert_eq!(parse(&shown(block)), block);
        }
        assert_eq!(parse(&PublicAccessBlockConfiguration::default()), PublicAccessBlock::default());
    }
}
