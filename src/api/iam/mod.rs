//! IAM and STS on the S3 port: calls of AWS's query protocol, forms in and XML out, signed for `iam` or `sts`. What
//! they mean is `identity`'s; here is how they are told apart from S3 (`takes`), verified, allowed and answered.
//!
//! ```text
//!  a request ──takes──► answer ──► the form ──► the action: IAM's (actions) or STS's (sts)
//!                         │  the signature, with the secret of its key; who that is
//!                         ▼
//!                   decided on a view ──► writes, proposed; once more where a document was changed ──► XML
//! ```

mod actions;
mod answer;
mod authorize;
mod call;
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod last_used;
mod parameters;
mod service;
mod store;
mod sts;
mod takes;
mod xml;

#[cfg(test)]
pub use actions::names as iam_names;
pub use answer::{InNameOf, administer};
pub use authorize::{Caller, request_keys};
pub use call::RequestFacts;
pub use fault::IamFault;
pub use http::{is_call, serve};
pub use last_used::LastUsed;
pub use service::IamService;
#[cfg(test)]
pub use sts::names as sts_names;
pub use sts::{KeySetFiles, KeySets};

#[cfg(test)]
mod tests;
