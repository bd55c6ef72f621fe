//! What can be done with identities, each as a decision: who there is before, and what is asked, to what is to be
//! written and answered. IAM's actions, the admin API and the accounts file all come here.

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
