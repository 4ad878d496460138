//! Streams: messages there and back, in pieces and from files, beside timers.

use crate::common::calls::{narrow_pair, BIG};
use crate::common::files::{file_of, number_of};
use crate::common::*;
use crate::told::{allocated_by, completions, Told, Work};
use asock::*;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::ptr::null_mut;

/// Bytes of one message. Several are under way at a time.
const MESSAGE: usize = 1000;
const AT_ONCE: usize = 8;
const OPERATIONS: usize = 3 * AT_ONCE;

/// Sends back what it gets, from memory that it has from the start.
fn echo(listener: Listener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = listener.accept();
        stream.set_nodelay(true).expect("it is a socket");
        let mut room = [0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut room) {
            stream.write_all(&room[..count]).expect("it is open");
        }
    })
}

/// One way of working, with all that it needs.
struct Way<'a> {
    runtime: &'a Runtime,
    socket: asock_socket,
    told: Told,
    data: Memory,
    room: Memory,
    /// The descriptor of a file that holds what `data` does.
    file: i64,
}

/// A message in three pieces.
fn pieces_of(message: *mut c_void, number: usize) -> [asock_buffer; 3] {
    let cuts = [0, 100 + number, 400 + number, MESSAGE];
    std::array::from_fn(|at| asock_buffer {
        data: message.cast::<u8>().wrapping_add(cuts[at]).cast(),
        length: cuts[at + 1] - cuts[at],
    })
}

impl Work for Way<'_> {
    /// A success, or a timer that was canceled on purpose (it has `user_data`).
    fn is_well(result: &asock_result) -> bool {
        let bytes = match result.kind {
            ASOCK_KIND_TIMER => 0,
            _ => MESSAGE,
        };
        let canceled = !result.user_data.is_null() && result.status == ASOCK_CANCELED;
        result.bytes == bytes && (result.status == ASOCK_OK || canceled)
    }
}

impl Way<'_> {
    /// One round: several messages there and back, timers, one of them canceled, deadlines set and taken away.
    fn round(&self, ops: &mut [asock_op; OPERATIONS]) {
        let (socket, callback) = (self.socket, self.told.callback::<Self>());
        let before = completions();
        for (number, ops) in ops.chunks_exact_mut(3).enumerate() {
            let part = number * MESSAGE;
            let canceled = number == 0;
            let mark: *mut c_void = match canceled {
                true => std::ptr::NonNull::<c_void>::dangling().as_ptr(),
                false => null_mut(),
            };
            let delay_ms = [1_000_000, 0, 1][number.min(2)];
            // SAFETY: the memory outlives the round, at whose end everything has completed.
            unsafe {
                let room = self.room.pointer().cast::<u8>().add(part).cast();
                let data = self.data.pointer().cast::<u8>().add(part).cast();
                let all = ASOCK_RECEIVE_ALL;
                // Every third of them vectored, in pieces that begin elsewhere in each round, and every third a file.
                let pieces = [pieces_of(room, number), pieces_of(data, number + 1)];
                ops[0] = begun(|op| match number % 3 {
                    1 => {
                        let first = pieces[0].as_ptr();
                        asock_begin_receive_vectored(
                            socket,
                            first,
                            3,
                            all,
                            callback,
                            null_mut(),
                            op,
                        )
                    }
                    _ => asock_begin_receive(socket, room, MESSAGE, all, callback, null_mut(), op),
                });
                ops[1] = begun(|op| match number % 3 {
                    1 => {
                        let first = pieces[1].as_ptr();
                        asock_begin_send_vectored(socket, first, 3, 0, callback, null_mut(), op)
                    }
                    2 => {
                        let (file, from, length) = (self.file, part as u64, MESSAGE as u64);
                        asock_begin_send_file(socket, file, from, length, callback, null_mut(), op)
                    }
                    _ => asock_begin_send(socket, data, MESSAGE, 0, callback, null_mut(), op),
                });
                ops[2] = begun(|op| {
                    asock_begin_timer(self.runtime.handle(), delay_ms, callback, mark, op)
                });
            }
            if number % 2 == 1 {
                // They may have ended already, and then it is too late.
                asock_set_deadline(ops[0], 1_000_000);
                asock_set_deadline(ops[2], 1_000_000);
                asock_set_deadline(ops[2], -1);
            }
            if canceled {
                assert_eq!(asock_cancel(ops[2]), ASOCK_OK);
            }
        }
        self.told.finish::<Self>(self.runtime, ops, before);
    }
}

/// Has as many operations of each sort pending at once as a round may have, which the warm-up leaves to chance.
fn grow(runtime: &Runtime) {
    let recorder = runtime.recorder();
    let (socket, _peer) = narrow_pair(runtime);
    let file = file_of(b"whatever");
    recorder.send(socket, &Memory::new(BIG), 0);
    for _ in 0..AT_ONCE {
        recorder.send_file(socket, &file, 0, 8);
        recorder.send_pieces(socket, &pieces::rooms(&[1, 1]), 0);
        recorder.receive_pieces(socket, &pieces::rooms(&[1, 1, 1]), 0);
    }
    recorder.close(socket, 0);
    recorder.wait_for(2 + 3 * AT_ONCE);
}

/// The allocations of the counted rounds of one way.
pub fn measure(told: Told, time_limits: bool) -> usize {
    let runtime = told.runtime();
    let listener = Listener::new();
    let port = listener.port();
    let peer = echo(listener);
    let file = file_of(&[7; MESSAGE * AT_ONCE]);
    let way = Way {
        socket: runtime.connected(port),
        runtime: &runtime,
        told,
        data: Memory::filled(MESSAGE * AT_ONCE, 7),
        file: number_of(&file),
        room: Memory::new(MESSAGE * AT_ONCE),
    };
    if time_limits {
        for option in [
            ASOCK_OPTION_SEND_TIMEOUT_MS,
            ASOCK_OPTION_RECEIVE_TIMEOUT_MS,
        ] {
            assert_eq!(asock_set_option(way.socket, option, 60_000), ASOCK_OK);
        }
    }
    grow(&runtime);
    let mut ops = [0; OPERATIONS];
    let allocated = allocated_by(OPERATIONS, || way.round(&mut ops));
    assert!(way.room.bytes().iter().all(|byte| *byte == 7));
    drop(runtime);
    peer.join().expect("no panic");
    allocated
}
