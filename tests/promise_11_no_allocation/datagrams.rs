//! Datagrams: there and back, on a socket that sends to itself, and a receive too many, which is canceled.

use crate::common::datagram::{bound, Sender};
use crate::common::*;
use crate::told::{allocated_by, completions, Told, Work};
use asock::*;
use std::ffi::c_void;
use std::ptr::null_mut;

const LENGTH: usize = 500;
const AT_ONCE: usize = 8;
const OPERATIONS: usize = 2 * AT_ONCE + 1;

struct Way<'a> {
    runtime: &'a Runtime,
    socket: asock_socket,
    own: asock_address,
    told: Told,
    data: Memory,
    room: Memory,
    from: [Sender; AT_ONCE + 1],
}

impl Work for Way<'_> {
    /// A success, or the receive that was canceled on purpose (it has `user_data`).
    fn is_well(result: &asock_result) -> bool {
        match result.user_data.is_null() {
            true => (result.status, result.bytes) == (ASOCK_OK, LENGTH),
            false => (result.status, result.bytes) == (ASOCK_CANCELED, 0),
        }
    }
}

impl Way<'_> {
    /// Several datagrams there and back, and a receive too many, which is canceled.
    fn round(&self, ops: &mut [asock_op; OPERATIONS]) {
        let callback = self.told.callback::<Self>();
        let before = completions();
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
        self.told.finish::<Self>(self.runtime, ops, before);
    }
}

/// The allocations of the counted rounds of one way.
pub fn measure(told: Told, time_limits: bool) -> usize {
    let runtime = told.runtime();
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
    let allocated = allocated_by(OPERATIONS, || way.round(&mut ops));
    let received = &way.room.bytes()[..LENGTH * AT_ONCE];
    assert!(received.iter().all(|byte| *byte == 7));
    let (last, others) = way.from.split_last().expect("there are some");
    assert!(others.iter().all(|from| from.address() == own));
    assert!(last.is_untouched());
    runtime.stop();
    allocated
}
