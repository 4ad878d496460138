//! Promise 4: no callback runs inside the begin that caused it, or inside another callback; one that runs before the begin
//! has returned runs on another thread, and finds `op` already written. From inside a callback every function may be
//! called; those that would have to wait for their own thread say so.
#![allow(unsafe_code)] // The functions under test take pointers.

mod chain;
#[path = "../common/mod.rs"]
mod common;
mod functions;

use asock::*;
use common::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

/// The calling thread never runs a callback, however ready the operation is.
#[test]
fn callbacks_run_on_the_worker_or_in_dispatch() {
    on_both(|runtime| {
        let socket = runtime.open();
        let recorder = runtime.recorder();
        let byte = Memory::new(1);
        for _ in 0..1000 {
            recorder.send(socket, &byte, 0); // It was never connected: done at once.
        }
        if runtime.delivers_on_poll() {
            let last = recorder.timer(0);
            assert_eq!(asock_wait(last, -1), ASOCK_OK);
            assert_eq!(recorder.count(), 0, "nobody has dispatched");
        }
        let here = std::thread::current().id();
        for completion in recorder.wait_for(1000) {
            assert_eq!(completion.thread == here, runtime.delivers_on_poll());
        }
    });
}

/// An operation whose callback looks at the place where the caller's `op` goes.
#[derive(Default)]
struct Place {
    op: AtomicPtr<asock_op>,
    right: AtomicUsize,
    wrong: AtomicUsize,
}

unsafe extern "C" fn look(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: the place outlives its runtime, and the record is valid during the call. The library has written the handle
    // before this call, and nobody writes to it later; that is what is tested.
    let (place, seen, op) = unsafe {
        let place = &*user_data.cast::<Place>();
        let at = place.op.load(Ordering::Relaxed);
        (place, at.read_volatile(), (*result).op)
    };
    let count = if seen == op && asock_cancel(seen) == ASOCK_OK {
        &place.right
    } else {
        &place.wrong
    };
    count.fetch_add(1, Ordering::SeqCst);
}

/// Where there is one processor only, a worker that is woken runs before the thread that woke it goes on: all that this
/// thread does after it has handed the operation over comes too late.
#[test]
fn op_is_written_before_the_callback_runs() {
    const ROUNDS: usize = 2000;
    processor::stay_on_one();
    let runtime = Runtime::on_worker();
    let ops: Vec<AtomicU64> = (0..ROUNDS).map(|_| AtomicU64::new(u64::MAX)).collect();
    let places: Vec<Place> = ops
        .iter()
        .map(|op| Place {
            op: AtomicPtr::new(op.as_ptr()),
            ..Place::default()
        })
        .collect();
    let socket = runtime.open();
    for place in &places {
        let user_data = std::ptr::from_ref(place).cast_mut().cast();
        let op = place.op.load(Ordering::Relaxed);
        // SAFETY: the place and what it points to outlive the runtime's use of them, which is waited for. The socket was
        // never connected, so this is done at once.
        let status =
            unsafe { asock_begin_send(socket, null_mut(), 0, 0, Some(look), user_data, op) };
        assert_eq!(status, ASOCK_OK);
        until("the callback", || {
            place.right.load(Ordering::SeqCst) + place.wrong.load(Ordering::SeqCst) > 0
        });
    }
    runtime.stop();
    let sum = |of: fn(&Place) -> &AtomicUsize| -> usize {
        let counts = places.iter().map(|place| of(place).load(Ordering::SeqCst));
        counts.sum()
    };
    assert_eq!(sum(|place| &place.wrong), 0);
    assert_eq!(sum(|place| &place.right), ROUNDS);
}

/// A callback may close its own socket, and end everything that is pending on it.
#[test]
fn a_callback_may_close_its_own_socket() {
    let peer = Peer::echo();
    for flags in [
        None,
        Some(0),
        Some(ASOCK_CLOSE_DRAIN),
        Some(ASOCK_CLOSE_RESET),
    ] {
        on_both(|runtime| {
            let socket = runtime.connected(peer.port());
            let others = runtime.recorder();
            let inner = Arc::clone(&others);
            let closer = runtime.recorder_with(move |result| match flags {
                None => assert_eq!(asock_close(result.socket), ASOCK_OK),
                Some(flags) => {
                    inner.close(result.socket, flags);
                }
            });
            let receives: Vec<_> = (0..5)
                .map(|_| others.receive(socket, &Memory::new(1), 0))
                .collect();
            // Of no length, so that the peer has nothing to send back; its callback closes.
            closer.send(socket, &Memory::new(0), 0);
            let closes = usize::from(flags.is_some());
            let completions = others.wait_for(receives.len() + closes);
            assert_eq!(completions.len(), receives.len() + closes);
            for (completion, op) in completions.iter().zip(&receives) {
                assert_eq!(completion.op, *op);
                completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CLOSED);
            }
            if closes == 1 {
                completions[receives.len()].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
            }
        });
    }
}
