//! Promise 11 for servers: with no more operations pending and no more sockets open than before, accepting a connection,
//! answering on it and closing it allocates nothing, on any thread, with both deliveries, told in every way.
//!
//! As in promise_11_no_allocation.rs there is one test, since the allocator counts for the whole program. The clients are
//! plain ones, which allocate nothing either.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::allocations::{allocations, Counting};
use common::server::{listener, port};
use common::*;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpStream};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[global_allocator]
static COUNTING: Counting = Counting;

const AT_ONCE: usize = 8;
const LENGTH: usize = 100;

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

/// What accepts have brought, in any order.
static ACCEPTED: [AtomicU64; AT_ONCE] = [const { AtomicU64::new(0) }; AT_ONCE];

/// A success, or an accept that was canceled on purpose (it has `user_data`).
fn note(result: &asock_result) {
    let well = match result.kind {
        ASOCK_KIND_ACCEPT if !result.user_data.is_null() => result.status == ASOCK_CANCELED,
        ASOCK_KIND_ACCEPT => {
            let is_free = |place: &&AtomicU64| {
                let (order, value) = (Ordering::SeqCst, result.value);
                place.compare_exchange(0, value, order, order).is_ok()
            };
            result.status == ASOCK_OK && ACCEPTED.iter().find(is_free).is_some()
        }
        ASOCK_KIND_CLOSE => result.status == ASOCK_OK,
        _ => (result.status, result.bytes) == (ASOCK_OK, LENGTH),
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
    listener: asock_socket,
    port: u16,
    told: Told,
    data: Memory,
    room: Memory,
}

impl Way<'_> {
    fn callback(&self) -> asock_callback {
        match self.told {
            Told::Callback | Told::ByDispatch => Some(count),
            Told::End | Told::Poll => None,
        }
    }

    /// Waits until all that was begun has been told.
    fn finish(&self, ops: &[asock_op], before: usize) {
        match self.told {
            Told::Callback => {
                while CALLS.load(Ordering::SeqCst) - before < ops.len() {
                    std::thread::yield_now();
                }
            }
            Told::End => ops.iter().for_each(|op| note(&end(*op))),
            Told::Poll | Told::ByDispatch => {
                while CALLS.load(Ordering::SeqCst) - before < ops.len() {
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

    /// Some clients come, and an accept too many is canceled; each is heard, answered and closed.
    fn round(&self) {
        let callback = self.callback();
        let mark = std::ptr::NonNull::<c_void>::dangling().as_ptr();
        let before = CALLS.load(Ordering::SeqCst);
        let accepts: [_; AT_ONCE + 1] = std::array::from_fn(|number| {
            let mark = if number < AT_ONCE { null_mut() } else { mark };
            // SAFETY: there is nothing that would have to outlive it.
            begun(|op| unsafe { asock_begin_accept(self.listener, callback, mark, op) })
        });
        assert_eq!(asock_cancel(accepts[AT_ONCE]), ASOCK_OK);
        let mut clients: [_; AT_ONCE] = std::array::from_fn(|_| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens")
        });
        self.finish(&accepts, before);

        let before = CALLS.load(Ordering::SeqCst);
        let sockets: [_; AT_ONCE] =
            std::array::from_fn(|at| ACCEPTED[at].swap(0, Ordering::SeqCst));
        let mut ops = [0; 2 * AT_ONCE];
        for (number, ops) in ops.chunks_exact_mut(2).enumerate() {
            let (socket, part) = (sockets[number], number * LENGTH);
            // SAFETY: the memory outlives the round, at whose end everything has completed.
            unsafe {
                let room = self.room.pointer().cast::<u8>().add(part).cast();
                let data = self.data.pointer().cast::<u8>().add(part).cast();
                let all = ASOCK_RECEIVE_ALL;
                ops[0] = begun(|op| {
                    asock_begin_receive(socket, room, LENGTH, all, callback, null_mut(), op)
                });
                ops[1] =
                    begun(|op| asock_begin_send(socket, data, LENGTH, 0, callback, null_mut(), op));
            }
        }
        for client in &mut clients {
            client.write_all(&[7; LENGTH]).expect("it is open");
            client.read_exact(&mut [0; LENGTH]).expect("an answer");
        }
        self.finish(&ops, before);

        let before = CALLS.load(Ordering::SeqCst);
        let closes = sockets.map(|socket| {
            // SAFETY: there is nothing that would have to outlive it.
            begun(|op| unsafe { asock_begin_close(socket, 0, callback, null_mut(), op) })
        });
        self.finish(&closes, before);
    }
}

fn measure(told: Told, time_limits: bool) -> usize {
    let runtime = match told {
        Told::Callback | Told::End => Runtime::on_worker(),
        Told::Poll | Told::ByDispatch => Runtime::on_poll(),
    };
    let listener = listener(&runtime);
    if time_limits {
        let option = ASOCK_OPTION_ACCEPT_TIMEOUT_MS;
        assert_eq!(asock_set_option(listener, option, 60_000), ASOCK_OK);
    }
    let way = Way {
        port: port(listener),
        listener,
        runtime: &runtime,
        told,
        data: Memory::filled(LENGTH * AT_ONCE, 7),
        room: Memory::new(LENGTH * AT_ONCE),
    };
    for _ in 0..WARM_UP {
        way.round();
    }
    let before = allocations();
    for _ in 0..COUNTED {
        way.round();
    }
    let allocated = allocations() - before;
    assert!(way.room.bytes().iter().all(|byte| *byte == 7));
    runtime.stop();
    allocated
}

/// How many descriptors this process has open.
fn descriptors() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").expect("this is Linux");
    all.count()
}

#[test]
fn the_steady_state_of_a_server_allocates_nothing() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1, "the allocator counts");
    let open_before = descriptors();
    for told in [Told::Callback, Told::End, Told::Poll, Told::ByDispatch] {
        for time_limits in [false, true] {
            let allocated = measure(told, time_limits);
            assert_eq!(allocated, 0, "{told:?}, with time limits: {time_limits}");
            // Hundreds of connections have come and gone.
            assert_eq!(descriptors(), open_before, "{told:?}");
        }
    }
}
