//! The machinery of a worker. Pure: `socket` with `arrival`, `connect`, `transfer` and `abort`, which are
//! the rules, on `operation`, `race`, `timer`, `arena` and `slots`; shared with the application's
//! threads: `record`, `handover`, `pins`, `inbox`, `seat`, `delivery`; off the workers: `resolver`; and `worker`, which joins
//! them.

mod abort;
pub mod arena;
mod arrival;
mod connect;
mod datagram;
pub mod delivery;
pub mod handover;
pub mod inbox;
mod messages;
pub mod operation;
pub mod pins;
pub mod race;
pub mod record;
pub mod resolver;
pub mod seat;
#[cfg(test)]
mod simulation;
pub mod slots;
pub mod socket;
pub mod timer;
mod transfer;
pub mod worker;
