//! Identities: accounts, users, groups, access keys, policies, roles, identity providers and sessions. Decides on
//! changes of identities and returns their writes, and resolves an access key to the caller. All functions are pure
//! over stored documents (`directory`): nothing here waits or writes.
//!
//! ```text
//!  IAM's actions, the admin API, the accounts file
//!       │ the wanted change
//!       ▼
//!  changes ──reads──► directory ──► documents (the metadata, or a draft over it)
//!       │ Decided { writes, answer }
//!       ▼
//!  proposed by the caller; decided again if a document changed meanwhile
//!
//!  a signed request ──access key, token──► resolve ──► principal and its policies
//! ```

mod asking;
mod builtin;
pub mod changes;
mod directory;
mod error;
pub mod names;
mod policy_text;
pub mod records;
mod resolve;
mod seal;
mod secrets;
mod session;

pub use asking::{Asking, ParsedIdentity, rfc3339};
pub use builtin::{BUILT_IN, BuiltInPolicy};
pub use changes::editor::{Decided, Decision, Editor};
#[cfg(test)]
pub use directory::DocumentsPage;
pub use directory::{Directory, Documents, Managed, ROOT_ACCOUNT, RootIdentity, Stored};
pub use error::IdentityError;
pub use policy_text::{PrincipalFault, TextOf, check as check_policy, principal_ids};
pub use resolve::{
    CredentialKeys, KeySecret, PrincipalKind, ResolveError, Resolved, ResolvedPrincipal, assumed_role_arn,
    federated_arn, key_secret, resolve, resolve_key, resolve_named, secret_key,
};
pub use seal::{RootSeal, session_material};
pub use secrets::{IdOf, SecretSeal, fresh_id, sealed_under};
pub use session::{Session, SessionKeys, SessionLimits, SessionOf, TOKEN_BYTES_MAX, TokenFault, is_session_key};

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
use resolve::{NamedPolicy, find_principal};
