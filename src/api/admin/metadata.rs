//! All metadata as one file, a piece at a time as the client takes them. An error in the middle cuts the answer off, which a
//! client sees as an unfinished body, and in the file itself, which has an end.

use super::source::{AdminError, MetadataCopy};
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use futures::stream::{StreamExt, unfold};

pub(super) async fn stream(mut copy: Box<dyn MetadataCopy>) -> Result<HttpResponse, AdminError> {
    // The first piece before the status, so that what cannot be answered now is not answered 200.
    let first = copy.next().await.transpose()?;
    let pieces = unfold((first, Some(copy)), |(first, copy)| async move {
        let mut copy = copy?;
        let piece = match first {
            Some(first) => Ok(first),
            None => copy.next().await?,
        };
        let piece = piece.map_err(actix_web::error::ErrorServiceUnavailable);
        let goes_on = piece.is_ok();
        Some((piece, (None, goes_on.then_some(copy))))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .streaming::<_, actix_web::Error>(pieces.map(|piece: Result<Bytes, actix_web::Error>| piece)))
}
