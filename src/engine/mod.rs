//! The machinery of a worker. Pure: `socket` with `pump`, `request`, `arrival`, `accept`, `connect`,
//! `transfer`, `abort`, `datagram` and `file`, which are the rules, on `operation`, `queue`, `race`,
//! `timer`, `arena` and `slots`; shared with the application's threads: `seat` and, behind its lock,
//! `shared`, with `record`, `handover`, `pins`, `inbox`, `messages` and `calls`, and `population`
//! and `delivery`; off the workers: `resolver` and `files`; and `worker`, which joins them, with
//! `ports` for the steps that the rules take in the world, `prepared` for the descriptors that are
//! made there, and `look` for how it waits.

mod abort;
mod accept;
pub mod arena;
pub mod arrival;
mod calls;
mod connect;
mod datagram;
pub mod delivery;
pub mod file;
pub mod files;
pub mod handover;
pub mod inbox;
mod look;
mod messages;
pub mod operation;
pub mod pins;
pub mod population;
mod ports;
mod prepared;
mod pump;
mod queue;
pub mod race;
pub mod record;
mod request;
pub mod resolver;
pub mod seat;
pub mod shared;
#[cfg(test)]
mod simulation;
pub mod slots;
pub mod socket;
pub mod timer;
mod transfer;
pub mod worker;
