//! IAM and STS on the S3 port: calls of AWS's query protocol, with forms as requests and XML as answers, signed for
//! `iam` or `sts`. This module tells them from S3 requests (`takes`), verifies, authorises and answers them. The
//! changes themselves are decided in `identity`.
//!
//! ```text
//!  a request ──takes──► answer ──► the form ──► the action: IAM's (actions) or STS's (sts)
//!                         │  verifies the signature and resolves the caller
//!                         ▼
//!                   decided on a view ──► writes, proposed; decided again after a conflict ──► XML
//! ```

mod actions;
mod answer;
mod authorize;
mod call;
mod facts;
mod fault;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;
mod key_sets;
mod last_used;
mod parameters;
mod service;
mod store;
mod sts;
mod takes;
mod xml;

pub use actions::names as iam_names;
pub use answer::{Impersonation, administer};
pub use authorize::{Caller, request_keys};
pub use facts::RequestFacts;
pub use fault::IamFault;
pub use http::{is_call, serve};
pub use key_sets::{KeySetFiles, KeySets};
pub use last_used::LastUsed;
pub use service::IamService;
pub use sts::check_key_set;
pub use sts::names as sts_names;

#[cfg(test)]
mod tests;
