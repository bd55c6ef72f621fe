//! The MD5 of bodies against another implementation.

use super::{LANES, Md5, update_lanes};
use fearless_simd::Level;
use md5::Digest;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::{prop_assert_eq, proptest};

fn expected(bytes: &[u8]) -> [u8; 16] {
    md5::Md5::digest(bytes).into()
}

/// The test suite of RFC 1321.
#[test]
fn md5_digests_match_the_test_suite_of_the_rfc() {
    let cases = [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
    ];
    for (text, digest) in cases {
        let mut md5 = Md5::default();
        md5.update(text.as_bytes());
        assert_eq!(hex_simd::encode_to_string(md5.finish(), hex_simd::AsciiCase::Lower), digest, "{text}");
    }
}

#[test]
fn md5_pads_every_length_around_a_block_correctly() {
    for length in 0..300 {
        let bytes: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
        let mut md5 = Md5::default();
        md5.update(&bytes);
        assert_eq!(md5.finish(), expected(&bytes), "{length}");
    }
}

/// Up to `LANES` bodies, each as `UPDATES` pieces of random length.
fn bodies() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    vec(vec(vec(any::<u8>(), 0..600), UPDATES), 0..=LANES)
}

const UPDATES: usize = 4;

/// Returns the digests of `bodies`, computed side by side.
fn side_by_side(level: Level, bodies: &[Vec<Vec<u8>>]) -> Vec<[u8; 16]> {
    let mut digests = vec![Md5::default(); bodies.len()];
    for at in 0..UPDATES {
        let pieces = bodies.iter().map(|updates| &updates[at][..]);
        update_lanes(level, &mut digests.iter_mut().zip(pieces).collect::<Vec<_>>());
    }
    digests.into_iter().map(Md5::finish).collect()
}

proptest! {
    /// Runs with the widest registers of this processor, and with the baseline of its architecture.
    #[test]
    fn bodies_hashed_side_by_side_each_get_their_own_md5(bodies in bodies()) {
        let expected: Vec<_> = bodies.iter().map(|updates| expected(&updates.concat())).collect();
        prop_assert_eq!(side_by_side(Level::new(), &bodies), &expected[..]);
        prop_assert_eq!(side_by_side(Level::baseline(), &bodies), &expected[..]);
    }

    #[test]
    fn any_number_of_md5_digests_is_updated_at_once(bodies in vec(vec(any::<u8>(), 0..200), 0..3 * LANES)) {
        let mut digests = vec![Md5::default(); bodies.len()];
        let pieces = bodies.iter().map(Vec::as_slice);
        Md5::update_each(&mut digests.iter_mut().zip(pieces).collect::<Vec<_>>());
        for (md5, body) in digests.into_iter().zip(&bodies) {
            prop_assert_eq!(md5.finish(), expected(body));
        }
    }
}
