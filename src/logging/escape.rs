//! The escaping of log lines, so that text from clients can neither break a line nor control a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns the line with JSON escapes instead of invisible characters: control characters, line separators, and those
/// that change the direction of text. The line feed at its end is kept.
pub fn escaped(line: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, &b"\n"[..]));
    if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(line);
    }
    let text = String::from_utf8_lossy(text);
    if !text.contains(is_hidden) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hidden(character) {
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    let mut shown = shown.into_bytes();
    shown.extend_from_slice(end);
    Cow::Owned(shown)
}

fn is_hidden(character: char) -> bool {
    let turns =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn invisible_characters_in_a_line_are_escaped() {
        let shown = |line: &str| String::from_utf8(escaped(line.as_bytes()).into_owned()).expect("text");
        for plain in ["plain \"text\" \\n\n", "é 日本\n", "no end", "\n", ""] {
            assert_eq!(shown(plain), plain);
        }
        assert_eq!(shown("a\nINFO forged\r\n"), "a\\u000aINFO forged\\u000d\n");
        assert_eq!(shown("\u{1b}[2J\t\u{7f}\u{9b}\n"), "\\u001b[2J\\u0009\\u007f\\u009b\n");
        assert_eq!(shown("\u{202e}\u{2028}\u{2066}"), "\\u202e\\u2028\\u2066");
    }
}
