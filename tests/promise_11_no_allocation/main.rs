//! Promise 11: the steady state allocates nothing. With no more operations pending and no more sockets open than before,
//! sends (of memory, in pieces, of files, to an address), receives, timers, accepts and closes allocate nothing, on any
//! thread, with both deliveries, with and without limits of time, and also where some are canceled; told by callbacks,
//! collected with `asock_end`, polled and dispatched.
//!
//! The allocator counts for the whole program, the test harness included, so there is one test, which goes through all the
//! ways one after the other, and its own parts (the peers, the callbacks) allocate nothing either.
#![allow(unsafe_code)] // The functions under test take pointers.

#[path = "../common/mod.rs"]
mod common;
mod datagrams;
mod servers;
mod streams;
mod told;

use common::allocations::{allocations, Counting};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_steady_state_allocates_nothing() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    // The thread that runs the tests has just started this one, and may not be done with that.
    assert!(allocations() > before, "the allocator counts");
    for told in told::EACH {
        for time_limits in [false, true] {
            let what = format!("told by {told:?}, with time limits: {time_limits}");
            assert_eq!(streams::measure(told, time_limits), 0, "streams {what}");
            assert_eq!(datagrams::measure(told, time_limits), 0, "datagrams {what}");
            for host in servers::HOSTS {
                let allocated = servers::measure(told, time_limits, host);
                assert_eq!(allocated, 0, "servers on {host:?} {what}");
            }
        }
    }
}
