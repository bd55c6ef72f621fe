//! A minimal reader for the XML of S3's responses: the texts of all elements of a name, in order.

/// The text inside each `<tag>`, entities resolved; elements within it are left as they are.
pub fn texts(xml: &str, tag: &str) -> Vec<String> {
    let (open, close, empty) = (format!("<{tag}>"), format!("</{tag}>"), format!("<{tag}/>"));
    let mut found = Vec::new();
    let mut rest = xml;
    loop {
        let (opened, emptied) = (rest.find(&open), rest.find(&empty));
        match (opened, emptied) {
            (Some(at), emptied) if emptied.is_none_or(|empty| at < empty) => {
                let inner = &rest[at + open.len()..];
                let Some(end) = inner.find(&close) else { return found };
                found.push(unescape(&inner[..end]));
                rest = &inner[end + close.len()..];
            }
            (_, Some(at)) => {
                found.push(String::new());
                rest = &rest[at + empty.len()..];
            }
            _ => return found,
        }
    }
}

/// Returns the text of the first `<tag>`, or an empty text.
pub fn text(xml: &str, tag: &str) -> String {
    texts(xml, tag).into_iter().next().unwrap_or_default()
}

fn unescape(text: &str) -> String {
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    pairs.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}
