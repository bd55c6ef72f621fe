//! The changes of identities, each as a decision: from the stored records and a request to writes and an answer. IAM's
//! actions, the admin API and the accounts file all come here.

pub mod accounts;
pub mod accounts_file;
pub mod editor;
pub mod groups;
pub mod holders;
pub mod keys;
pub mod policies;
pub mod providers;
pub mod roles;
mod tagging;
pub mod users;
