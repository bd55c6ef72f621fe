//! Faults of a new bucket's location.

use super::details::Detail;

/// The reason for which a bucket is not made there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocationFault {
    /// The name is one that no region can have.
    Unknown(String),
    /// The request was signed for another region; `elsewhere` makes the message.
    Elsewhere(String),
}

impl LocationFault {
    pub fn elsewhere(region: &str) -> Self {
        Self::Elsewhere(format!(
            "The {region} location constraint is incompatible for the region specific endpoint this request was sent to."
        ))
    }

    pub(super) fn details(&self) -> Vec<Detail> {
        match self {
            Self::Unknown(region) => vec![("LocationConstraint", region.clone().into())],
            Self::Elsewhere(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LocationFault;
    use crate::api::errors::{Fault, Text, details_of};
    use s3s::S3Error;

    #[test]
    fn a_bucket_that_cannot_be_there_is_refused_with_s3s_codes() {
        let unknown = S3Error::from(Fault::from(LocationFault::Unknown("here".to_owned())));
        assert_eq!(unknown.code().as_str(), "InvalidLocationConstraint");
        assert_eq!(details_of(&unknown), [("LocationConstraint", Text::Own("here".to_owned()))]);
        let elsewhere = S3Error::from(Fault::from(LocationFault::elsewhere("eu-west-1")));
        assert_eq!(elsewhere.code().as_str(), "IllegalLocationConstraintException");
        assert!(elsewhere.message().is_some_and(|words| words.starts_with("The eu-west-1 location constraint is ")));
        for error in [unknown, elsewhere] {
            assert_eq!(error.status_code().map(|status| status.as_u16()), Some(400));
        }
    }
}
