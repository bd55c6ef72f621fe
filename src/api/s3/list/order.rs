//! The order of versions and delete markers in ListObjectVersions: by key, the newest first. s3s writes all delete
//! markers and then all versions, so the XML of an answer that has both is reordered afterwards.

use s3s::{Body, HttpResponse};

const VERSION: [&str; 2] = ["<Version>", "</Version>"];
const DELETE_MARKER: [&str; 2] = ["<DeleteMarker>", "</DeleteMarker>"];

/// The order of a response's entries: true for a version, false for a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(pub Vec<bool>);

/// Reorders the entries of an answer that has an `Order` in its extensions; returns any other answer unchanged.
pub fn in_order(mut response: HttpResponse) -> HttpResponse {
    let Some(Order(order)) = response.extensions_mut().remove::<Order>() else { return response };
    let written = response.body().bytes();
    let ordered = written.and_then(|bytes| mixed(std::str::from_utf8(&bytes).ok()?, &order));
    if let Some(ordered) = ordered {
        *response.body_mut() = Body::from(ordered);
    }
    response
}

/// Returns the XML with its entries in this order; `None` if it has other entries than the order.
fn mixed(text: &str, order: &[bool]) -> Option<String> {
    let (head, markers, rest) = entries(text, DELETE_MARKER)?;
    let (middle, versions, end) = entries(rest, VERSION)?;
    let (mut markers, mut versions) = (markers.into_iter(), versions.into_iter());
    let mut mixed = String::with_capacity(text.len());
    mixed.push_str(head);
    mixed.push_str(middle);
    for is_version in order {
        mixed.push_str(if *is_version { versions.next()? } else { markers.next()? });
    }
    mixed.push_str(end);
    (markers.next().is_none() && versions.next().is_none()).then_some(mixed)
}

/// Splits XML into the text before the first of these elements, the consecutive elements, and the text after them. The
/// tags cannot be part of a text, which is escaped.
fn entries<'a>(text: &'a str, [open, close]: [&str; 2]) -> Option<(&'a str, Vec<&'a str>, &'a str)> {
    let (head, mut rest) = text.split_at(text.find(open)?);
    let mut found = Vec::new();
    while rest.starts_with(open) {
        let (entry, after) = rest.split_at(rest.find(close)? + close.len());
        found.push(entry);
        rest = after;
    }
    Some((head, found, rest))
}

#[cfg(test)]
mod tests {
    use super::{Order, in_order};
    use s3s::{Body, HttpResponse};

    const WRITTEN: &str = "<R><Prefix/><DeleteMarker>1</DeleteMarker><DeleteMarker>2</DeleteMarker><Name>b</Name>\
                           <VersionIdMarker/><Version>a</Version><Version>b</Version></R>";

    fn answered(order: Option<&[bool]>) -> String {
        let mut response = HttpResponse::new(Body::from(WRITTEN.to_owned()));
        if let Some(order) = order {
            response.extensions_mut().insert(Order(order.to_vec()));
        }
        let bytes = in_order(response).body().bytes().expect("a body");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn versions_and_delete_markers_are_written_in_their_common_order() {
        let mixed = "<R><Prefix/><Name>b</Name><VersionIdMarker/><Version>a</Version><DeleteMarker>1</DeleteMarker>\
                     <DeleteMarker>2</DeleteMarker><Version>b</Version></R>";
        assert_eq!(answered(Some(&[true, false, false, true])), mixed);
    }

    #[test]
    fn a_listing_without_an_order_or_with_other_entries_is_unchanged() {
        assert_eq!(answered(None), WRITTEN);
        for order in [&[][..], &[true, false, true], &[true; 4], &[false, true, true, true]] {
            assert_eq!(answered(Some(order)), WRITTEN, "{order:?}");
        }
    }
}
