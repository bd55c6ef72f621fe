//! Tests of hosts that communicate over loopback: requests, refusals, restarts, and misbehaving peers.

mod hostile;
mod hosts;
mod refusals;
mod restarts;
mod round_trips;
