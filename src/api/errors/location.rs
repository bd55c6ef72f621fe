//! Faults of the location constraint of a new bucket.

use super::details::Detail;

/// The reason why a bucket cannot be created in the requested location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocationFault {
    /// The name is not valid for any region.
    Unknown(String),
    /// The location is another region than that of the endpoint. Holds the message, which `elsewhere` builds.
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
    fn an_invalid_location_constraint_has_the_codes_of_s3() {
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
