//! Writes the gzip format (RFC 1952) without compression, in "stored" blocks (RFC 1951, section 3.2.4), because readers
//! of inventories expect `.csv.gz`.

use crc_fast::CrcAlgorithm;

/// The gzip header: method deflate, no file name, no time, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The greatest length of a stored block's content.
const BLOCK_BYTES_MAX: usize = 0xffff;

pub fn stored(content: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(content.len() + content.len() / 1000 + 64);
    packed.extend_from_slice(&HEADER);
    let mut blocks = content.chunks(BLOCK_BYTES_MAX).peekable();
    if blocks.peek().is_none() {
        block(&mut packed, &[], true);
    }
    while let Some(content) = blocks.next() {
        block(&mut packed, content, blocks.peek().is_none());
    }
    let checksum = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, content);
    packed.extend_from_slice(&(checksum as u32).to_le_bytes());
    // The format has the length modulo 2^32.
    packed.extend_from_slice(&(content.len() as u32).to_le_bytes());
    packed
}

fn block(packed: &mut Vec<u8>, content: &[u8], is_last: bool) {
    let length = u16::try_from(content.len()).expect("a block is as long as it may be");
    packed.push(u8::from(is_last));
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&(!length).to_le_bytes());
    packed.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::stored;

    /// Unpacks stored blocks as `gzip -d` would.
    fn unpack(packed: &[u8]) -> Vec<u8> {
        let mut rest = &packed[10..];
        let mut content = Vec::new();
        loop {
            let (last, length) = (rest[0], u16::from_le_bytes([rest[1], rest[2]]));
            assert_eq!(!length, u16::from_le_bytes([rest[3], rest[4]]));
            let end = 5 + usize::from(length);
            content.extend_from_slice(&rest[5..end]);
            rest = &rest[end..];
            if last == 1 {
                break;
            }
        }
        assert_eq!(rest.len(), 8);
        assert_eq!(rest[4..], u32::try_from(content.len()).expect("short").to_le_bytes());
        content
    }

    #[test]
    fn gzipped_bytes_unpack_to_the_same_bytes() {
        for length in [0usize, 1, 65_535, 65_536, 200_000] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(unpack(&stored(&content)), content);
        }
    }

    /// The expected bytes are the end of `printf 123456789 | gzip`: the check value of CRC-32, and the length.
    #[test]
    fn the_gzip_trailer_equals_that_of_the_gzip_tool() {
        let packed = stored(b"123456789");
        assert_eq!(packed[packed.len() - 8..], [0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0]);
    }
}
