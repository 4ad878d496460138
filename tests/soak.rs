//! The soak of `cargo bench --bench soak` for a moment, on each driver that this machine has: see there.
#![allow(unsafe_code)] // The C functions take pointers.

#[path = "../benches/soak/drive/mod.rs"]
mod drive;

use asock::*;
use std::time::Duration;

/// One after the other: each looks at what the whole process has.
#[test]
fn nothing_is_lost_on_either_driver() {
    for backend in [ASOCK_BACKEND_EPOLL, ASOCK_BACKEND_IO_URING] {
        drive::run(backend, Duration::from_secs(2), 1);
    }
}
