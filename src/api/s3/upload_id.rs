//! Upload ids in requests.

use crate::api::errors::Fault;
use crate::types::UploadId;

/// Parses an upload's id: 32 hexadecimal digits; anything else names no upload.
pub fn parse_upload_id(text: &str) -> Result<UploadId, Fault> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| digits).map(UploadId).ok_or(Fault::NoSuchUpload)
}

#[cfg(test)]
mod tests {
    use super::parse_upload_id;
    use crate::api::errors::Fault;
    use crate::types::UploadId;

    #[test]
    fn an_upload_id_reads_back_and_a_malformed_one_names_no_upload() {
        let id = UploadId(0x0123_4567_89ab_cdef);
        assert_eq!(parse_upload_id(&id.to_string()), Ok(id));
        for text in ["", "0", "+0000000000000000123456789abcdef", "zz000000000000000123456789abcdef"] {
            assert_eq!(parse_upload_id(text), Err(Fault::NoSuchUpload), "{text}");
        }
    }
}
