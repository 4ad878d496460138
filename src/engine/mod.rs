//! The machinery of a worker. Pure: `operation`, `socket`, `timer`, `arena`, `slots`; shared with
//! the application's threads: `record`, `seat`, `delivery`; and `worker`, which joins them.

pub mod arena;
pub mod delivery;
pub mod operation;
pub mod record;
pub mod seat;
pub mod slots;
pub mod socket;
pub mod timer;
pub mod worker;
