//! What a host makes once and keeps on every drive besides its identity: root credentials, root keys, the account with an
//! ACME server and its certificate. Each is one checksummed document, so that it survives the loss of any drive.

mod acme;
mod credentials;
mod root_key;

pub use acme::{AcmeCertificate, KeptAcme, keep_acme, read_acme};
pub use credentials::{KeptCredentials, keep_credentials, read_credentials};
pub use root_key::{keep_root_keys, spread_root_keys};
