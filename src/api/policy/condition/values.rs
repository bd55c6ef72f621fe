//! Parsing of the values that conditions compare: numbers, dates, booleans and bytes (IAM User Guide, "IAM JSON policy
//! elements: Condition operators").

use std::str::FromStr;
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
/// The digits of a year. A text of exactly four digits is a year; a longer number is a time in seconds.
const YEAR_DIGITS: usize = 4;

/// Parses an integer or a decimal number.
pub fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|value: &f64| plain && value.is_finite())
}

pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Parses a date into nanoseconds since 1970: a W3C profile of ISO 8601, or a number of seconds since 1970.
pub fn date(text: &str) -> Option<i128> {
    let digits = text.len() == YEAR_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits || text.get(YEAR_DIGITS..).is_some_and(|rest| rest.starts_with('-')) {
        return calendar_date(text);
    }
    seconds(text)
}

/// Parses a number of seconds, which may be negative and have decimals, into nanoseconds.
fn seconds(text: &str) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let value = i128::from(unsigned::<u64>(whole)?) * NANOS_PER_SECOND + decimal_nanos(decimals)?;
    Some(if negative { -value } else { value })
}

/// Parses an unsigned number that consists of digits only.
fn unsigned<N: FromStr>(text: &str) -> Option<N> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Converts the digits after a decimal point to nanoseconds; digits after the ninth are ignored.
fn decimal_nanos(digits: &str) -> Option<i128> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine = format!("{digits:0<9}");
    nine.get(..9)?.parse().ok()
}

/// Parses a date such as `2026-09-30T12:30:00.5+02:00`, of which all parts after the year may be missing. Without an
/// offset it is in UTC.
fn calendar_date(text: &str) -> Option<i128> {
    let (day, clock) = text.split_once(['T', 't']).map_or((text, None), |(day, clock)| (day, Some(clock)));
    let mut parts = day.split('-');
    let year = unsigned(parts.next()?)?;
    let month: u8 = parts.next().map_or(Some(1), two_digits)?;
    let day = parts.next().map_or(Some(1), two_digits)?;
    if parts.next().is_some() {
        return None;
    }
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    let (time, decimals, offset) = clock.map_or(Some((Time::MIDNIGHT, 0, UtcOffset::UTC)), clock_time)?;
    let moment = PrimitiveDateTime::new(date, time).assume_offset(offset);
    Some(i128::from(moment.unix_timestamp()) * NANOS_PER_SECOND + decimals)
}

fn two_digits(text: &str) -> Option<u8> {
    unsigned(text).filter(|_| text.len() == 2)
}

/// Parses `12:30`, `12:30:00` or `12:30:00.5`, followed by `Z`, `+02:00` or nothing. Returns the time in whole seconds,
/// the decimals in nanoseconds, and the offset.
fn clock_time(text: &str) -> Option<(Time, i128, UtcOffset)> {
    let end = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(end);
    let offset = match zone {
        "" | "Z" | "z" => UtcOffset::UTC,
        zone => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let signed = |text| two_digits(text).and_then(|value| i8::try_from(value).ok()).map(|value| value * sign);
            UtcOffset::from_hms(signed(hours)?, signed(minutes)?, 0).ok()?
        }
    };
    let (clock, decimals) = clock.split_once('.').map_or((clock, "0"), |(clock, decimals)| (clock, decimals));
    let mut parts = clock.split(':');
    let (hour, minute) = (two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    let second = parts.next().map_or(Some(0), two_digits)?;
    if parts.next().is_some() {
        return None;
    }
    Some((Time::from_hms(hour, minute, second).ok()?, decimal_nanos(decimals)?, offset))
}

/// Decodes base64, with or without padding.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if digits.len() % 4 == 1 || text.len() - digits.len() > 2 {
        return None;
    }
    let mut decoded = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let value = group.iter().try_fold(0u32, |value, digit| Some(value << 6 | six_bits(*digit)?))?;
        let filled = value << (6 * (4 - group.len()));
        decoded.extend_from_slice(&filled.to_be_bytes()[1..group.len()]);
    }
    Some(decoded)
}

fn six_bits(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::{NANOS_PER_SECOND, boolean, bytes, date, number};

    #[test]
    fn dates_are_parsed_at_every_precision() {
        let day = date("2026-09-30").expect("a day");
        assert_eq!(day, 1_790_726_400 * NANOS_PER_SECOND);
        assert_eq!(date("2026"), date("2026-01-01T00:00Z"));
        assert_eq!(date("2026-09"), date("2026-09-01"));
        assert_eq!(date("2026-09-30T02:00:00+02:00"), Some(day));
        assert_eq!(date("2026-09-29T22:30:00.5-01:30"), Some(day + NANOS_PER_SECOND / 2));
        assert_eq!(date("1790726400"), Some(day));
        assert_eq!(date("1790726400.25"), Some(day + NANOS_PER_SECOND / 4));
        assert_eq!(date("-1"), Some(-NANOS_PER_SECOND));
        assert_eq!(date("9999999999"), Some(9_999_999_999 * NANOS_PER_SECOND), "in the year 2286");
    }

    #[test]
    fn a_malformed_condition_date_is_refused() {
        for text in ["", "today", "2026-13-01", "2026-02-30", "2026-1-1", "2026-09-30T", "2026-09-30T25:00Z", "1e9"] {
            assert_eq!(date(text), None, "{text}");
        }
        for text in ["2026-09-30T10:00+2", "2026-09-30T10:00:00:00Z", "2026-09-30T10:00é", "-", "1.", "é-é-é"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_decimal_and_finite() {
        assert_eq!((number("10"), number("-1.50"), number("1e3")), (Some(10.0), Some(-1.5), Some(1000.0)));
        for text in ["", "inf", "NaN", "1e999", "0x10", "1 000", "ten"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn booleans_are_parsed_in_any_case() {
        assert_eq!((boolean("TRUE"), boolean("false"), boolean("1")), (Some(true), Some(false), None));
    }

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        assert_eq!(bytes("QmluYXJ5").as_deref(), Some(b"Binary".as_slice()));
        assert_eq!(
            (bytes("Zg=="), bytes("Zg"), bytes("Zm8=")),
            (Some(vec![b'f']), Some(vec![b'f']), Some(b"fo".to_vec()))
        );
        assert_eq!((bytes("Z"), bytes("Zg==="), bytes("Z*==")), (None, None, None));
    }
}
