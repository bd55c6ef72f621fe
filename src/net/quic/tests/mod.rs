//! Hosts on loopback: what they do for each other, whom they refuse, and what they survive.

mod hostile;
mod hosts;
mod refusals;
mod restarts;
mod round_trips;
