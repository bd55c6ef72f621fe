//! The shards that must exist, as JSON lines, a page of the metadata at a time: nothing is held but the page. An error in the
//! middle cuts the answer off, which a client sees as an unfinished body.

use super::source::{AdminError, AdminSource, ShardsPage};
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use futures::stream::unfold;
use std::sync::Arc;

/// The next item of the stream.
enum Next {
    Page(ShardsPage),
    From(Vec<u8>),
}

pub(super) async fn stream(source: Arc<dyn AdminSource>) -> Result<HttpResponse, AdminError> {
    // The first page before the status, so that what cannot be answered now is not answered 200.
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
