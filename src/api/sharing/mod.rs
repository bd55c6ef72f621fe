//! Fair sharing of the resources of requests between addresses and accounts: memory of bodies, connections, and the
//! processor time of the workers.

mod bodies;
mod connections;
mod shares;
mod slow_lanes;
mod turns;

pub use bodies::{BodyRoom, Seat, Ungathered, gather};
pub use connections::{Connections, limited};
pub use shares::locked;
pub use slow_lanes::SlowLanes;
pub use turns::{Connection, Turns, wake_after_others};
