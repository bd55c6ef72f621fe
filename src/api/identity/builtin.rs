//! The built-in managed policies, which every account has and nobody can change: those of AWS that make sense for an
//! object store (AWS Managed Policy Reference).

use super::names::{self, EVERYBODYS_ACCOUNT};

/// A managed policy under `arn:aws:iam::aws:policy/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltInPolicy {
    pub name: &'static str,
    pub id: &'static str,
    pub description: &'static str,
    pub document: &'static str,
}

impl BuiltInPolicy {
    pub fn arn(&self) -> String {
        names::arn(EVERYBODYS_ACCOUNT, "policy", "/", self.name)
    }
}

/// The built-in policies, sorted by name without regard to case, in the order of listings.
pub const BUILT_IN: &[BuiltInPolicy] = &[
    BuiltInPolicy {
        name: "AdministratorAccess",
        id: "ANPAAAAAAAAAAAAAAAAA2",
        description: "Everything within the account.",
        document: concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","#,
            r#""Resource":"*"}]}"#,
        ),
    },
    BuiltInPolicy {
        name: "AmazonS3FullAccess",
        id: "ANPAAAAAAAAAAAAAAAAA3",
        description: "All buckets and objects of the account.",
        document: concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","#,
            r#""s3-object-lambda:*"],"Resource":"*"}]}"#,
        ),
    },
    BuiltInPolicy {
        name: "AmazonS3ReadOnlyAccess",
        id: "ANPAAAAAAAAAAAAAAAAA4",
        description: "Reading and listing all buckets and objects of the account.",
        document: concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","#,
            r#""s3:List*","s3:Describe*","s3-object-lambda:Get*","s3-object-lambda:List*"],"#,
            r#""Resource":"*"}]}"#,
        ),
    },
    BuiltInPolicy {
        name: "IAMFullAccess",
        id: "ANPAAAAAAAAAAAAAAAAA5",
        description: "All identities of the account.",
        document: concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","#,
            r#""Resource":"*"}]}"#,
        ),
    },
    BuiltInPolicy {
        name: "IAMReadOnlyAccess",
        id: "ANPAAAAAAAAAAAAAAAAA6",
        description: "Reading the account's identities.",
        document: concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:Get*","#,
            r#""iam:List*"],"Resource":"*"}]}"#,
        ),
    },
    BuiltInPolicy {
        name: "PowerUserAccess",
        id: "ANPAAAAAAAAAAAAAAAAA7",
        description: "Everything within the account but its identities and the cluster.",
        document: concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","#,
            r#""admin:*"],"Resource":"*"},{"Effect":"Allow","Action":["iam:ListRoles"],"Resource":"*"}]}"#,
        ),
    },
];

/// Returns `AdministratorAccess`, the policy of the root of an account.
pub fn administrator() -> &'static BuiltInPolicy {
    &BUILT_IN[0]
}

pub fn built_in(arn: &str) -> Option<&'static BuiltInPolicy> {
    let name = arn.rsplit('/').next()?;
    BUILT_IN.iter().find(|policy| policy.name == name && policy.arn() == arn)
}

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, administrator, built_in};

    #[test]
    fn built_in_policies_are_found_by_arn_and_sorted_by_name() {
        for policy in BUILT_IN {
            assert_eq!(built_in(&policy.arn()), Some(policy));
            assert!(serde_json::from_str::<serde_json::Value>(policy.document).is_ok(), "{}", policy.name);
        }
        assert_eq!(administrator().name, "AdministratorAccess");
        for strange in
            ["arn:aws:iam::111122223333:policy/", "arn:aws-cn:iam::aws:policy/", "arn:aws:iam::aws:policy/p/"]
        {
            assert_eq!(built_in(&format!("{strange}AdministratorAccess")), None, "{strange}");
        }
        assert!(BUILT_IN.is_sorted_by(|a, b| a.name.to_lowercase() < b.name.to_lowercase()));
    }
}
