//! Fuzz targets for the responses of a webhook's server.

use super::{Endpoint, Stream, read_answer};
use futures::executor::block_on;
use std::io::Cursor;

/// An answer that comes all at once, and then the connection's end.
pub fn webhook_answers(data: &[u8]) {
    let mut stream: Box<dyn Stream> = Box::new(Cursor::new(data.to_vec()));
    let _ = block_on(read_answer(&mut stream));
    if let Ok(url) = std::str::from_utf8(data) {
        let _ = Endpoint::parse(url);
    }
}
