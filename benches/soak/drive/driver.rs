//! What sessions are made of: operations that are begun with the books' callbacks, and what is expected of their ends.

use super::peer::{header, Part, Peers};
use super::pool::{End, Pool, Totals};
use super::{byte_at, stretch, Random};
use asock::*;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::FromRawFd;
use std::sync::atomic::Ordering;

/// One thread of the application.
pub struct Driver<'a> {
    pub runtime: asock_runtime,
    pub peers: &'a Peers,
    pub totals: &'a Totals,
    pub random: Random,
    pub pool: Pool,
    /// A stream with the seed of its place, `FILE` bytes long.
    pub file: File,
}

/// The length of the file, and the seed of what is in it.
pub const FILE: usize = 100_000;
pub const FILE_SEED: u8 = 77;

impl<'a> Driver<'a> {
    pub fn new(
        runtime: asock_runtime,
        peers: &'a Peers,
        totals: &'a Totals,
        random: Random,
    ) -> Driver<'a> {
        Driver {
            runtime,
            peers,
            totals,
            random,
            pool: Pool::new(),
            file: a_file(),
        }
    }

    pub fn open(&mut self, kind: u32) -> asock_socket {
        let mut socket = 0;
        // SAFETY: it may be written.
        let status = unsafe { asock_open(self.runtime, kind, &raw mut socket) };
        assert_eq!(status, ASOCK_OK);
        socket
    }

    /// A socket that has a port of loopback to itself, and its address.
    pub fn bound(&mut self, kind: u32) -> (asock_socket, asock_address) {
        let socket = self.open(kind);
        // SAFETY: a struct of integers may be all zero.
        let mut address: asock_address = unsafe { std::mem::zeroed() };
        // SAFETY: the host ends with a zero, and the address may be written.
        let told = unsafe {
            let bound = asock_bind(socket, c"127.0.0.1".as_ptr(), 0);
            (bound, asock_local_address(socket, &raw mut address))
        };
        assert_eq!(told, (ASOCK_OK, ASOCK_OK));
        (socket, address)
    }

    pub fn connect_address(&mut self, socket: asock_socket, address: &asock_address) -> usize {
        self.pool.begin(Vec::new(), |_, (callback, user_data, op)| {
            // SAFETY: the address is copied, and the entry outlives the operation.
            unsafe { asock_begin_connect_address(socket, address, callback, user_data, op) }
        })
    }

    pub fn connect_to(&mut self, socket: asock_socket, address: SocketAddr) -> usize {
        let host = CString::new(address.ip().to_string()).expect("no zero inside");
        self.pool.begin(Vec::new(), |_, (callback, user_data, op)| {
            // SAFETY: the host ends with a zero, and the entry outlives the operation.
            unsafe {
                asock_begin_connect(
                    socket,
                    host.as_ptr(),
                    address.port(),
                    callback,
                    user_data,
                    op,
                )
            }
        })
    }

    /// A socket on its way to a peer that will play that part, with the header as its first send.
    pub fn connect(&mut self, part: Part, seed: u8, count: usize) -> (asock_socket, usize) {
        let socket = self.open(ASOCK_STREAM);
        let address = self.peers.address(self.random.below(8));
        let connect = self.connect_to(socket, address);
        self.send(socket, header(part, seed, count as u32), 0);
        (socket, connect)
    }

    pub fn send(&mut self, socket: asock_socket, bytes: Vec<u8>, flags: u32) -> usize {
        self.pool
            .begin(bytes, |(buffer, length, _), (callback, user_data, op)| {
                // SAFETY: the entry and its buffer outlive the operation.
                unsafe { asock_begin_send(socket, buffer, length, flags, callback, user_data, op) }
            })
    }

    pub fn receive(&mut self, socket: asock_socket, length: usize, flags: u32) -> usize {
        self.pool.begin(
            vec![0; length],
            |(buffer, length, _), (callback, user_data, op)| {
                // SAFETY: the entry and its buffer outlive the operation.
                unsafe {
                    asock_begin_receive(socket, buffer, length, flags, callback, user_data, op)
                }
            },
        )
    }

    pub fn begin_close(&mut self, socket: asock_socket, flags: u32) -> usize {
        self.pool.begin(Vec::new(), |_, (callback, user_data, op)| {
            // SAFETY: the entry outlives the operation.
            unsafe { asock_begin_close(socket, flags, callback, user_data, op) }
        })
    }

    pub fn timer(&mut self, delay_ms: u64) -> usize {
        let runtime = self.runtime;
        self.pool.begin(Vec::new(), |_, (callback, user_data, op)| {
            // SAFETY: the entry outlives the operation.
            unsafe { asock_begin_timer(runtime, delay_ms, callback, user_data, op) }
        })
    }

    /// Any way of closing. That it is over is seen at the session's end.
    pub fn close(&mut self, socket: asock_socket) {
        match self.random.below(4) {
            0 => assert_eq!(asock_close(socket), ASOCK_OK),
            way => {
                let flags = [0, ASOCK_CLOSE_DRAIN, ASOCK_CLOSE_RESET][way - 1];
                let close = self.begin_close(socket, flags);
                let end = self.pool.end(close);
                assert_eq!(end.status, ASOCK_OK, "a close");
            }
        }
    }

    pub fn expect(&self, number: usize, status: asock_status) -> usize {
        let end = self.pool.end(number);
        assert_eq!(end.status, status, "{end:?}");
        end.bytes
    }

    /// Compares what a receive has brought with the stream, and gives the place behind it.
    pub fn compare(&mut self, number: usize, end: End, seed: u8, place: usize) -> usize {
        let bytes = &self.pool.bytes(number)[..end.bytes];
        let wrong = (0..end.bytes).find(|&at| bytes[at] != byte_at(seed, place + at));
        assert_eq!(
            wrong, None,
            "a byte is not what it should be, {place} before it"
        );
        self.totals
            .bytes
            .fetch_add(end.bytes as u64, Ordering::Relaxed);
        self.pool.give_back(number);
        place + end.bytes
    }

    /// An operation is taken back, now or by a deadline; it may be over already.
    pub fn take_back(&mut self, number: usize) {
        let op = self.pool.op(number);
        let status = match self.random.below(2) {
            0 => asock_cancel(op),
            _ => asock_set_deadline(op, self.random.below(3) as i64),
        };
        assert!(matches!(status, ASOCK_OK | ASOCK_BAD_HANDLE), "{status}");
    }

    pub fn accept(&mut self, listener: asock_socket) -> usize {
        self.pool.begin(Vec::new(), |_, (callback, user_data, op)| {
            // SAFETY: the entry outlives the operation.
            unsafe { asock_begin_accept(listener, callback, user_data, op) }
        })
    }

    /// Sends the bytes in three pieces, or fills them.
    pub fn vectored(&mut self, socket: asock_socket, bytes: Vec<u8>, sends: bool) -> usize {
        let cut = self.random.below(bytes.len());
        self.pool
            .begin(bytes, |(buffer, length, _), (callback, user_data, op)| {
                let piece = |from: usize, to: usize| asock_buffer {
                    data: buffer.cast::<u8>().wrapping_add(from).cast(),
                    length: to - from,
                };
                let pieces = [piece(0, cut / 2), piece(cut / 2, cut), piece(cut, length)];
                let pieces = pieces.as_ptr();
                // SAFETY: the array is copied; the entry and its buffer outlive the operation.
                unsafe {
                    match sends {
                        true => {
                            asock_begin_send_vectored(socket, pieces, 3, 0, callback, user_data, op)
                        }
                        false => {
                            let flags = ASOCK_RECEIVE_ALL;
                            asock_begin_receive_vectored(
                                socket, pieces, 3, flags, callback, user_data, op,
                            )
                        }
                    }
                }
            })
    }
}

/// A file without a name.
fn a_file() -> File {
    // SAFETY: the name ends with a zero; the descriptor is new, and owned from here on.
    let mut file = unsafe {
        let number = libc::memfd_create(c"soak".as_ptr(), libc::MFD_CLOEXEC);
        assert!(number >= 0);
        File::from_raw_fd(number)
    };
    file.write_all(&stretch(FILE_SEED, 0, FILE))
        .expect("memory is there");
    file
}
