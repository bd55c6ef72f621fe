//! Standard output. `println!` panics if its line cannot be written, and a panic ends the process; but the reader may
//! have ended (`sherd | head -1`), the terminal may be closed, and a disk may be full.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Tells in a line how the process goes on. A line that cannot be written is lost: it is not worth the work that it
/// tells of.
pub fn say(line: impl Display) {
    let _ = print(&format!("{line}\n"));
}

/// Writes the result of a command.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Returns true if the reader of an output has ended, as `head` does when it has enough. It is owed no message.
pub fn is_unread(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}
