//! The validity of a certificate, parsed from its DER (RFC 5280, section 4.1). All fields before it are skipped;
//! nothing is verified.

use time::{Date, Month, Time};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The tag of the version field, which version 1 certificates do not have.
const EXPLICIT_VERSION: u8 = 0xa0;

/// The first and the last second at which a certificate is valid, in Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub begins_at: i64,
    pub ends_at: i64,
}

impl Validity {
    /// Returns the time at which a certificate by ACME is renewed, in Unix seconds: when a third of its life is left.
    pub fn renewal_at(self) -> i64 {
        let life = self.ends_at.saturating_sub(self.begins_at).max(0);
        self.ends_at.saturating_sub(life / 3)
    }
}

/// Returns `None` if this is not a certificate.
pub fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (fields, _) = element(certificate, SEQUENCE)?;
    let fields = element(fields, EXPLICIT_VERSION).map_or(fields, |(_, rest)| rest);
    let (_serial, fields) = element(fields, INTEGER)?;
    let (_algorithm, fields) = element(fields, SEQUENCE)?;
    let (_issuer, fields) = element(fields, SEQUENCE)?;
    let (validity, _) = element(fields, SEQUENCE)?;
    let not_before = element(validity, UTC_TIME).or_else(|| element(validity, GENERALIZED_TIME))?;
    let begins = validity.get(..validity.len() - not_before.1.len())?;
    Some(Validity { begins_at: unix_seconds(begins)?, ends_at: unix_seconds(not_before.1)? })
}

fn unix_seconds(time: &[u8]) -> Option<i64> {
    let (year, rest) = match element(time, UTC_TIME) {
        Some((short, _)) => {
            let (year, rest) = number(short, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        None => number(element(time, GENERALIZED_TIME)?.0, 4)?,
    };
    let mut fields = [0; 5];
    let mut left = rest;
    for field in &mut fields {
        let (value, rest) = number(left, 2)?;
        (*field, left) = (u8::try_from(value).ok()?, rest);
    }
    let [month, day, hour, minute, second] = fields;
    let date = Date::from_calendar_date(i32::from(year), Month::try_from(month).ok()?, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    (left == b"Z").then(|| date.with_time(time).assume_utc().unix_timestamp())
}

/// Parses a number of this many decimal digits, and returns it with the rest of the text.
fn number(text: &[u8], digits: usize) -> Option<(u16, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let is_number = number.iter().all(u8::is_ascii_digit);
    is_number.then(|| (number.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')), rest))
}

/// Returns the content of the first element, which must have this tag, and the rest after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The length has up to four bytes, enough for any file.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::{Validity, validity};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(year - 1, 5, 6);
        params.not_after = date_time_ymd(year, 3, 4);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
        let day = 86_400;
        let renewal = |begins_at, ends_at| Validity { begins_at, ends_at }.renewal_at();
        assert_eq!(renewal(100 * day, 190 * day), 160 * day);
        assert_eq!(renewal(0, 6 * day), 4 * day);
        // One that makes no sense is renewed at its end at the latest.
        assert_eq!(renewal(9, 3), 3);
        assert_eq!(renewal(i64::MIN, i64::MIN), i64::MIN);
    }

    #[test]
    fn the_validity_is_parsed_from_both_time_formats() {
        for year in [2031, 2049, 2050, 2051, 2123] {
            let (begins_at, ends_at) = (date_time_ymd(year - 1, 5, 6), date_time_ymd(year, 3, 4));
            let expected = Validity { begins_at: begins_at.unix_timestamp(), ends_at: ends_at.unix_timestamp() };
            assert_eq!(validity(&certificate(year)), Some(expected), "{year}");
        }
    }

    #[test]
    fn a_cut_or_changed_certificate_never_panics() {
        let whole = certificate(2031);
        for length in 0..whole.len() {
            let _ = validity(&whole[..length]);
        }
        for at in 0..whole.len().min(200) {
            for byte in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = validity(&changed);
            }
        }
        assert_eq!(validity(&[]), None);
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
