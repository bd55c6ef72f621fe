//! How many shards, and how many of them make a write.

use crate::types::Geometry;

/// Data and parity shards for a number of drives, where nobody chose: never more shards than drives.
pub fn auto_geometry(drives: usize) -> (u8, u8) {
    match drives {
        0 | 1 => (1, 0),
        2 => (1, 1),
        3 => (2, 1),
        4 => (2, 2),
        5 => (3, 2),
        6 | 7 => (4, 2),
        _ => (6, 2),
    }
}

/// Durable shards without which no write is acknowledged: one more than it takes to read, where there is one more.
pub fn write_quorum(geometry: Geometry) -> usize {
    let data = usize::from(geometry.data);
    if geometry.parity == 0 { data } else { data + 1 }
}
