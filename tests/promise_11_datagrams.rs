//! Promise 11 for datagrams: with no more operations pending than before, sending to an address and receiving from one
//! allocates nothing, on any thread, with both deliveries, told in every way, and also where operations are canceled.
//!
//! As in promise_11_no_allocation.rs there is one test, since the allocator counts for the whole program. The socket sends
//! to itself.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::allocations::{allocations, Counting};
use common::datagram::{bound, Sender};
use common::*;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static COUNTING: Counting = Counting;

const LENGTH: usize = 500;
const AT_ONCE: usize = 8;
const OPERATIONS: usize = 2 * AT_ONCE + 1;

const WARM_UP: usize = 40;
const COUNTED: usize = 40;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Callback,
    End,
    Poll,
    ByDispatch,
}

static CALLS: AtomicUsize = AtomicUsize::new(0);
static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// A success, or the receive that was canceled on purpose (it has `user_data`).
fn note(result: &asock_result) {
    let well = match result.user_data.is_null() {
        true => (result.status, result.bytes) == (ASOCK_OK, LENGTH),
        false => (result.status, result.bytes) == (ASOCK_CANCELED, 0),
    };
    FAILURES.fetch_add(usize::from(!well), Ordering::SeqCst);
    CALLS.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn count(result: *const asock_result, _: *mut c_void) {
    // SAFETY: the library gives a record that is valid during the call.
    note(unsafe { &*result });
}

struct Way<'a> {
    runtime: &'a Runtime,
    socket: asock_socket,
    own: asock_address,
    told: Told,
    data: Memory,
    room: Memory,
    from: [Sender; AT_ONCE + 1],
}

impl Way<'_> {
    /// Several datagrams there and back, and a receive too many, which is canceled.
    fn round(&self, ops: &mut [asock_op; OPERATIONS]) {
        let callback: asock_callback = match self.told {
            Told::Callback | Told::ByDispatch => Some(count),
            Told::End | Told::Poll => None,
        };
        let before = CALLS.load(Ordering::SeqCst);
        let mark = std::ptr::NonNull::<c_void>::dangling().as_ptr();
        let (socket, to) = (self.socket, &raw const self.own);
        for (number, begun_op) in ops.iter_mut().enumerate() {
            let place = number % (AT_ONCE + 1) * LENGTH;
            let mark = if number == AT_ONCE { mark } else { null_mut() };
            // SAFETY: the places outlive the round, at whose end everything has completed.
            *begun_op = begun(|op| unsafe {
                if number <= AT_ONCE {
                    let room = self.room.pointer().cast::<u8>().add(place).cast();
                    let from = self.from[number].pointer();
                    asock_begin_receive_from(socket, room, LENGTH, 0, from, callback, mark, op)
                } else {
                    let data = self.data.pointer().cast::<u8>().add(place).cast();
                    asock_begin_send_to(socket, data, LENGTH, 0, to, callback, mark, op)
                }
            });
        }
        assert_eq!(asock_cancel(ops[AT_ONCE]), ASOCK_OK);
        match self.told {
            Told::Callback => {
                while CALLS.load(Ordering::SeqCst) - before < OPERATIONS {
                    std::thread::yield_now();
                }
            }
            Told::End => ops.iter().for_each(|op| note(&end(*op))),
            Told::Poll | Told::ByDispatch => {
                while CALLS.load(Ordering::SeqCst) - before < OPERATIONS {
                    self.pull();
                }
            }
        }
        assert_eq!(FAILURES.load(Ordering::SeqCst), 0);
    }

    fn pull(&self) {
        let mut results = [const { MaybeUninit::<asock_result>::uninit() }; 5];
        let (runtime, mut count) = (self.runtime.handle(), 0);
        let room = results.as_mut_ptr().cast();
        // SAFETY: there is room for five records, and the count may be written.
        let status = unsafe {
            match self.told {
                Told::Poll => asock_poll(runtime, 1000, room, 5, &raw mut count),
                _ => asock_dispatch(runtime, 1000, 0, 0, &raw mut count),
            }
        };
        assert_eq!(status, ASOCK_OK);
        if self.told == Told::Poll {
            for result in &results[..count] {
                // SAFETY: so many were written.
                note(unsafe { result.assume_init_ref() });
            }
        }
    }
}

fn measure(told: Told, time_limits: bool) -> usize {
    let runtime = match told {
        Told::Callback | Told::End => Runtime::on_worker(),
        Told::Poll | Told::ByDispatch => Runtime::on_poll(),
    };
    let (socket, own) = bound(&runtime, "127.0.0.1");
    let way = Way {
        socket,
        own,
        runtime: &runtime,
        told,
        data: Memory::filled(LENGTH * (AT_ONCE + 1), 7),
        room: Memory::new(LENGTH * (AT_ONCE + 1)),
        from: std::array::from_fn(|_| Sender::default()),
    };
    if time_limits {
        for option in [
            ASOCK_OPTION_SEND_TIMEOUT_MS,
            ASOCK_OPTION_RECEIVE_TIMEOUT_MS,
        ] {
            assert_eq!(asock_set_option(socket, option, 60_000), ASOCK_OK);
        }
    }
    let mut ops = [0; OPERATIONS];
    for _ in 0..WARM_UP {
        way.round(&mut ops);
    }
    // How many are pending at once depends on the machine. A round with more of them than any before may need memory,
    // which happens a few times at most.
    let mut allocated = 0;
    for _ in 0..=OPERATIONS {
        let before = allocations();
        for _ in 0..COUNTED {
            way.round(&mut ops);
        }
        allocated = allocations() - before;
        if allocated == 0 {
            break;
        }
    }
    let received = &way.room.bytes()[..LENGTH * AT_ONCE];
    assert!(received.iter().all(|byte| *byte == 7));
    let (last, others) = way.from.split_last().expect("there are some");
    assert!(others.iter().all(|from| from.address() == own));
    assert!(last.is_untouched());
    runtime.stop();
    allocated
}

#[test]
fn the_steady_state_of_datagrams_allocates_nothing() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1, "the allocator counts");
    for told in [Told::Callback, Told::End, Told::Poll, Told::ByDispatch] {
        for time_limits in [false, true] {
            let allocated = measure(told, time_limits);
            assert_eq!(allocated, 0, "{told:?}, with time limits: {time_limits}");
        }
    }
}
