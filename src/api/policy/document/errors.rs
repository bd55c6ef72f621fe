//! The errors of a policy text, in the words of AWS. S3 answers them as `MalformedPolicy`, IAM and STS as
//! `MalformedPolicyDocument`; only for a text that is too large does IAM have a different error code.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    TooLarge {
        bytes_max: usize,
    },
    NotAnObject,
    /// The syntax error and its position.
    InvalidJson(String),
    InvalidSyntax,
    InvalidVersion,
    OutdatedVersion,
    NoStatements,
    MissingField(&'static str),
    EmptyPrincipal,
    UnknownField(String),
    ProhibitedField(String),
    InvalidEffect(String),
    InvalidPrincipal,
    AllowWithNotPrincipal,
    PrincipalNotAllowed,
    InvalidAction,
    NoActions,
    ActionWithoutVendor,
    ActionWithColons,
    InvalidVendor(String),
    NotAnAssumeRoleAction,
    InvalidResource,
    NoResources,
    ResourceNotAnArn(String),
    InvalidPartition {
        partition: String,
        resource: String,
    },
    ResourceWithRegion(String),
    ActionWithoutResource,
    InvalidOperator(String),
    InvalidConditionKey,
    /// A value that is not of its operator's type, such as a date of `DateLessThan`.
    InvalidConditionValue(String),
    ConditionWithoutAction,
    InvalidAddress,
    InvalidVariable,
    InvalidSid,
    RepeatedSid,
    SyntaxErrors,
    /// `SyntaxErrors` of a text that is not JSON, with the error and its position.
    SyntaxErrorsAt(String),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::TooLarge { bytes_max } => {
                return write!(f, "Normalized policy document exceeds the maximum allowed size of {bytes_max} bytes");
            }
            Self::InvalidJson(why) => return write!(f, "This policy contains invalid Json: {why}"),
            Self::SyntaxErrorsAt(why) => return write!(f, "Syntax errors in policy: {why}"),
            Self::MissingField(field) => return write!(f, "Missing required field {field}"),
            Self::UnknownField(field) => return write!(f, "Unknown field {field}"),
            Self::ProhibitedField(field) => return write!(f, "Has prohibited field {field}"),
            Self::InvalidEffect(effect) => return write!(f, "Invalid effect: {effect}"),
            Self::InvalidVendor(vendor) => return write!(f, "Vendor {vendor} is not valid"),
            Self::InvalidOperator(name) => return write!(f, "Invalid Condition type : {name}"),
            Self::InvalidConditionValue(value) => return write!(f, "Invalid value in Conditions: {value}"),
            Self::ResourceNotAnArn(resource) => {
                return write!(f, "Resource {resource} must be in ARN format or \"*\".");
            }
            Self::InvalidPartition { partition, resource } => {
                return write!(f, "Partition \"{partition}\" is not valid for resource \"{resource}\".");
            }
            Self::ResourceWithRegion(resource) => {
                return write!(f, "Resource {resource} can not contain region information.");
            }
            other => other.fixed_text(),
        };
        f.write_str(text)
    }
}

impl PolicyError {
    /// Returns the text of an error that quotes no value.
    fn fixed_text(&self) -> &'static str {
        match self {
            Self::NotAnObject => "Policies must be valid JSON and the first byte must be '{'",
            Self::InvalidVersion => "The policy must contain a valid version string",
            Self::OutdatedVersion => "Policy document must be version 2012-10-17 or greater.",
            Self::NoStatements => "Could not parse the policy: Statement is empty!",
            Self::EmptyPrincipal => "Missing required field Principal cannot be empty!",
            Self::InvalidPrincipal => "Invalid principal in policy",
            Self::AllowWithNotPrincipal => "Allow with NotPrincipal is not allowed.",
            Self::PrincipalNotAllowed => "Policy document should not specify a principal.",
            Self::InvalidAction => "Policy has invalid action",
            Self::NoActions => "Policy statement must contain actions.",
            Self::ActionWithoutVendor => "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
            Self::ActionWithColons => "Actions/Condition can contain only one colon.",
            Self::NotAnAssumeRoleAction => "AssumeRole policy may only specify STS AssumeRole actions.",
            Self::InvalidResource => "Policy has invalid resource",
            Self::NoResources => "Policy statement must contain resources.",
            Self::ActionWithoutResource => "Action does not apply to any resource(s) in statement",
            Self::InvalidConditionKey => "Policy has an invalid condition key",
            Self::ConditionWithoutAction => {
                "Conditions do not apply to combination of actions and resources in statement"
            }
            Self::InvalidAddress => "Invalid IP address in Conditions",
            Self::InvalidVariable => "Policy has an invalid variable",
            Self::InvalidSid => {
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression \
                 [0-9A-Za-z]*"
            }
            Self::RepeatedSid => "Statement IDs (SID) in a single policy must be unique.",
            Self::SyntaxErrors => "Syntax errors in policy.",
            _ => "Invalid policy syntax.",
        }
    }
}

impl std::error::Error for PolicyError {}
