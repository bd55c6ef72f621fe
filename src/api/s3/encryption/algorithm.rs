//! The names of the methods of encryption in headers and documents.

pub(super) const SSE_S3: &str = "AES256";
pub(super) const SSE_KMS: &str = "aws:kms";
pub(super) const SSE_KMS_DUAL: &str = "aws:kms:dsse";
