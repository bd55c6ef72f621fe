//! Streamed responses of the admin API: the metadata export and the list of shards. An error after the begin breaks the
//! response off, which a client sees as an incomplete body.

use super::source::{AdminError, AdminSource, ShardsPage};
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use futures::stream::{StreamExt, unfold};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The most exports of the metadata from one host at once.
pub const EXPORTS_MAX: usize = 4;
const TOO_MANY: &str = "other exports of the metadata from this host are under way; try again when one has ended";

/// Streams all metadata as one file. The file's format has an end marker, so a truncated one is detected too. Each export
/// holds a permit of `exports`, since it has pieces in memory for as long as its client does not read them.
pub(super) async fn metadata(source: &dyn AdminSource, exports: &Arc<Semaphore>) -> Result<HttpResponse, AdminError> {
    let permit = Arc::clone(exports).try_acquire_owned().map_err(|_| AdminError::Unavailable(TOO_MANY.to_owned()))?;
    let mut copy = source.export_metadata().await?;
    // The first piece is read before the status is sent, so that a copy that cannot be begun gets an error status.
    let first = copy.next().await.transpose()?;
    let pieces = unfold((first, Some((copy, permit))), |(first, copy)| async move {
        let (mut copy, permit) = copy?;
        let piece = match first {
            Some(first) => Ok(first),
            None => copy.next().await?,
        };
        let piece = piece.map_err(actix_web::error::ErrorServiceUnavailable);
        let goes_on = piece.is_ok();
        Some((piece, (None, goes_on.then_some((copy, permit)))))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .streaming::<_, actix_web::Error>(pieces.map(|piece: Result<Bytes, actix_web::Error>| piece)))
}

/// The next item of the stream.
enum Next {
    Page(ShardsPage),
    From(Vec<u8>),
}

/// Streams the shards that must exist, as JSON lines. Only one page of the metadata is in memory at a time.
pub(super) async fn shards(source: Arc<dyn AdminSource>) -> Result<HttpResponse, AdminError> {
    // The first page is read before the status is sent, so that a list that cannot be begun gets an error status.
    let first = source.shards(None).await?;
    let pages = unfold(Some(Next::Page(first)), move |next| {
        let source = Arc::clone(&source);
        async move {
            let page = match next? {
                Next::Page(page) => Ok(page),
                Next::From(cursor) => source.shards(Some(cursor)).await,
            };
            match page {
                Ok(page) => {
                    let lines = lines(&page);
                    Some((lines, page.next.map(Next::From)))
                }
                Err(error) => Some((Err(actix_web::error::ErrorServiceUnavailable(error)), None)),
            }
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .streaming(pages))
}

fn lines(page: &ShardsPage) -> Result<Bytes, actix_web::Error> {
    let mut lines = Vec::with_capacity(page.shards.len() * 80);
    for shard in &page.shards {
        serde_json::to_writer(&mut lines, shard)?;
        lines.push(b'\n');
    }
    Ok(lines.into())
}
