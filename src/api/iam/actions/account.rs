//! The actions on the account itself. Also features that this store does not have: their lists are empty, as tools ask
//! for them before they delete a user or a role.

use super::Action;
use crate::actors::meta::IdentityKind;
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::identity::changes::accounts;
use crate::api::identity::changes::groups::GROUPS_OF_USER_MAX;
use crate::api::identity::changes::holders::{ATTACHED_MAX, PolicyHolder};
use crate::api::identity::changes::keys::KEYS_MAX;
use crate::api::identity::changes::policies::VERSIONS_MAX;
use crate::api::identity::records::{GroupRecord, UserRecord};
use crate::api::identity::{IdentityError, TextOf};

/// The value for a quota that this store does not have.
const UNLIMITED: u64 = i32::MAX as u64;

pub const ACTIONS: &[(&str, Action)] = &[
    ("GetAccountSummary", summary),
    ("ListAccountAliases", list_aliases),
    ("CreateAccountAlias", create_alias),
    ("DeleteAccountAlias", delete_alias),
    ("ListInstanceProfilesForRole", no_instance_profiles),
    ("ListMFADevices", no_mfa_devices),
    ("ListSigningCertificates", no_certificates),
    ("ListSSHPublicKeys", no_public_keys),
    ("ListServiceSpecificCredentials", no_specific_credentials),
    ("GetLoginProfile", get_login_profile),
    ("DeleteLoginProfile", delete_login_profile),
];

fn summary(call: &Call<'_>) -> Answered {
    call.allow("iam:GetAccountSummary", "*", &[])?;
    let below = format!("{}/", call.account());
    let directory = call.directory();
    let entries = [
        ("Users", directory.count(IdentityKind::User, &below)?),
        ("Groups", directory.count(IdentityKind::Group, &below)?),
        ("Roles", directory.count(IdentityKind::Role, &below)?),
        ("Policies", directory.count(IdentityKind::Policy, &below)?),
        ("Providers", directory.count(IdentityKind::Provider, &below)?),
        ("UsersQuota", UNLIMITED),
        ("GroupsQuota", UNLIMITED),
        ("RolesQuota", UNLIMITED),
        ("PoliciesQuota", UNLIMITED),
        ("AccessKeysPerUserQuota", KEYS_MAX as u64),
        ("GroupsPerUserQuota", GROUPS_OF_USER_MAX as u64),
        ("AttachedPoliciesPerUserQuota", ATTACHED_MAX as u64),
        ("AttachedPoliciesPerGroupQuota", ATTACHED_MAX as u64),
        ("AttachedPoliciesPerRoleQuota", ATTACHED_MAX as u64),
        ("VersionsPerPolicyQuota", VERSIONS_MAX as u64),
        ("PolicySizeQuota", TextOf::Managed.chars_max() as u64),
        ("UserPolicySizeQuota", UserRecord::INLINE_CHARS_MAX as u64),
        ("GroupPolicySizeQuota", GroupRecord::INLINE_CHARS_MAX as u64),
        ("AssumeRolePolicySizeQuota", TextOf::Trust.chars_max() as u64),
        ("MFADevices", 0),
        ("AccountMFAEnabled", 0),
    ];
    Outcome::lookup(|xml| {
        xml.within("SummaryMap", |xml| {
            for (key, value) in entries {
                xml.within("entry", |xml| {
                    xml.text("key", key);
                    xml.number("value", value);
                });
            }
        });
    })
}

fn list_aliases(call: &Call<'_>) -> Answered {
    call.allow("iam:ListAccountAliases", "*", &[])?;
    let account = call.directory().account(call.account())?;
    let alias = account.and_then(|stored| stored.record.alias);
    Outcome::lookup(|xml| {
        xml.flag("IsTruncated", false);
        xml.texts("AccountAliases", alias.as_deref());
    })
}

fn create_alias(call: &Call<'_>) -> Answered {
    call.allow("iam:CreateAccountAlias", "*", &[])?;
    let alias = call.required("AccountAlias")?;
    Outcome::done(accounts::set_alias(call.editor, call.account(), Some(alias))?)
}

fn delete_alias(call: &Call<'_>) -> Answered {
    call.allow("iam:DeleteAccountAlias", "*", &[])?;
    let alias = call.required("AccountAlias")?;
    let account = call.directory().account(call.account())?;
    if account.and_then(|stored| stored.record.alias).as_deref() != Some(alias) {
        return Err(IdentityError::NoSuchEntity(format!("The account alias {alias} does not exist.")));
    }
    Outcome::done(accounts::set_alias(call.editor, call.account(), None)?)
}

fn nothing(call: &Call<'_>, action: &str, list: &str) -> Answered {
    call.allow(action, "*", &[])?;
    Outcome::lookup(|xml| {
        xml.flag("IsTruncated", false);
        xml.texts(list, []);
    })
}

fn no_instance_profiles(call: &Call<'_>) -> Answered {
    nothing(call, "iam:ListInstanceProfilesForRole", "InstanceProfiles")
}

fn no_mfa_devices(call: &Call<'_>) -> Answered {
    nothing(call, "iam:ListMFADevices", "MFADevices")
}

fn no_certificates(call: &Call<'_>) -> Answered {
    nothing(call, "iam:ListSigningCertificates", "Certificates")
}

fn no_public_keys(call: &Call<'_>) -> Answered {
    nothing(call, "iam:ListSSHPublicKeys", "SSHPublicKeys")
}

fn no_specific_credentials(call: &Call<'_>) -> Answered {
    nothing(call, "iam:ListServiceSpecificCredentials", "ServiceSpecificCredentials")
}

fn get_login_profile(call: &Call<'_>) -> Answered {
    no_login_profile(call, "iam:GetLoginProfile")
}

fn delete_login_profile(call: &Call<'_>) -> Answered {
    no_login_profile(call, "iam:DeleteLoginProfile")
}

fn no_login_profile(call: &Call<'_>, action: &str) -> Answered {
    call.allow(action, "*", &[])?;
    let name = call.parameters.text("UserName").unwrap_or_default();
    Err(IdentityError::NoSuchEntity(format!("Login Profile for User {name} cannot be found.")))
}
