//! The fuzz target for the responses of webhook servers.

use super::{Endpoint, Stream, read_answer};
use futures::executor::block_on;
use std::io::Cursor;

/// Parses `data` as a response after which the connection ends, and as a URL.
pub fn webhook_answers(data: &[u8]) {
    let mut stream: Box<dyn Stream> = Box::new(Cursor::new(data.to_vec()));
    let _ = block_on(read_answer(&mut stream));
    if let Ok(url) = std::str::from_utf8(data) {
        let _ = Endpoint::parse(url);
    }
}
