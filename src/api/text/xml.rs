//! Escapes of texts in XML.

/// Escapes a text for the content of an element. A character that XML cannot hold becomes U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    escaped
}

/// Appends a text as `escape` does.
pub fn escape_into(into: &mut String, text: &str) {
    for c in text.chars() {
        match (entity(c), c) {
            (Some(entity), _) => into.push_str(entity),
            (None, '\r') => into.push_str("&#xD;"),
            (None, '\n' | '\t') => into.push(c),
            (None, c) if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => into.push('\u{fffd}'),
            (None, c) => into.push(c),
        }
    }
}

/// Escapes markup only. For the text of a key: the response has its control characters as references, as S3 does,
/// although XML 1.0 forbids some of them.
pub fn escape_markup(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match entity(c) {
            Some(entity) => escaped.push_str(entity),
            None => escaped.push(c),
        }
    }
    escaped
}

fn entity(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{escape, escape_markup};

    #[test]
    fn markup_is_escaped_and_characters_that_xml_cannot_hold_are_replaced() {
        assert_eq!(escape("<a> & \"b\" 'c'"), "&lt;a&gt; &amp; &quot;b&quot; 'c'");
        assert_eq!(
            escape("a\r\n\tb\u{0}\u{1f}\u{7f}\u{ffff}\u{e9}"),
            "a&#xD;\n\tb\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{e9}"
        );
    }

    #[test]
    fn control_characters_of_keys_are_left_to_the_response() {
        assert_eq!(escape_markup("<\r\u{1}>&\""), "&lt;\r\u{1}&gt;&amp;&quot;");
    }
}
