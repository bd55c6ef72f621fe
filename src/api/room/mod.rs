//! What requests may hold before it is known whether they are allowed, shared fairly: memory of bodies, and connections.

mod bodies;
mod connections;
mod shares;

pub use bodies::{BodyRoom, Seat, Ungathered, gather};
pub use connections::{Connections, limited};
