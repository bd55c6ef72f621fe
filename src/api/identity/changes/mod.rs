//! Changes of identities. Each is decided from the stored records and a request, and results in writes and an answer.
//! IAM's actions, the admin API and the accounts file all use them.

pub mod accounts;
pub mod accounts_file;
pub mod editor;
pub mod groups;
pub mod holders;
pub mod keys;
pub mod policies;
pub mod providers;
pub mod roles;
pub mod tagging;
pub mod users;
