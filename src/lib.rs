//! asock: asynchronous sockets behind a C interface. The map of the house; no logic.
//!
//! ```text
//!   the application's threads                 a worker's thread
//!
//!   ffi        the C functions                engine::worker    one turn after the other
//!    |                                           |        |
//!   runtime    handles, begin, end, poll      engine    driver   the rules | the system's way
//!    |                                           |        |
//!   engine::seat   records and inbox  <------>   +---+----+
//!                  (one lock, held shortly)          |
//!                                              sys: every call of the system
//! ```
//!
//! One send: `ffi` checks the arguments, `runtime::submit` fills in a record, writes the caller's
//! `op`, links the record into the seat's inbox and wakes the worker if it sleeps. The worker's
//! turn takes the inbox, `engine::socket` says whether the send may be, `engine::pump` gives it to
//! the `driver` when its turn has come; when it is done, the engine fixes the result, the worker
//! publishes it under the seat's lock and calls the application's function last, holding nothing.
//!
//! Imports run one way, and a test sees to it:
//! `ffi -> runtime -> engine -> driver -> log -> sys -> {abi, status, handle, address, foreign}`.

#[allow(missing_docs, reason = "documented for the reader of the C header")]
pub mod abi;
mod address;
mod driver;
mod engine;
pub mod ffi;
mod foreign;
mod handle;
mod log;
mod runtime;
mod status;
mod sys;

pub use abi::*;
pub use ffi::*;
