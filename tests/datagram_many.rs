//! A hundred thousand datagrams each way between our socket and a plain one: numbered and with a checksum, none doubled,
//! none altered, none out of order. No more are under way at a time than the receiver's system has room for, so none may be
//! lost either.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::datagram::*;
use common::*;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

const COUNT: u64 = 100_000;
/// Datagrams under way: far less than the 200 kB that the receiving end has room for, with all that the system adds.
const UNDER_WAY: u64 = 64;
const LONGEST: usize = 1000;
/// Receives of ours that are pending.
const PENDING: usize = 16;
/// Number and checksum.
const HEAD: usize = 16;

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Writes the datagram with that number, and says how long it is.
fn write(number: u64, room: &mut [u8]) -> usize {
    let seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let length = HEAD + (seed >> 33) as usize % (LONGEST - HEAD);
    for (at, byte) in room[HEAD..length].iter_mut().enumerate() {
        *byte = (seed >> (at % 57)) as u8;
    }
    room[..8].copy_from_slice(&number.to_le_bytes());
    let sum = checksum(&room[HEAD..length]) ^ seed;
    room[8..HEAD].copy_from_slice(&sum.to_le_bytes());
    length
}

/// The number of a datagram that is as it was written.
fn read(datagram: &[u8]) -> u64 {
    assert!(datagram.len() >= HEAD, "it was cut");
    let word = |at: usize| u64::from_le_bytes(datagram[at..at + 8].try_into().expect("8 bytes"));
    let number = word(0);
    let seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    assert_eq!(
        word(8),
        checksum(&datagram[HEAD..]) ^ seed,
        "it was altered"
    );
    let length = HEAD + (seed >> 33) as usize % (LONGEST - HEAD);
    assert_eq!(datagram.len(), length, "it is of another length");
    number
}

/// Lets completions come while `wait` holds; the runtime may want them pulled.
fn go_on_while(runtime: &Runtime, what: &str, wait: impl Fn() -> bool) {
    let start = Instant::now();
    while wait() {
        if runtime.delivers_on_poll() {
            runtime.dispatch();
        } else {
            std::thread::yield_now();
        }
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
    }
}

struct Outgoing {
    done: AtomicU64,
    failed: AtomicU64,
}

unsafe extern "C" fn sent(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: it is leaked; the record is valid during the call.
    let (outgoing, result) = unsafe { (&*user_data.cast::<Outgoing>(), &*result) };
    if result.status != ASOCK_OK || result.bytes < HEAD {
        outgoing.failed.fetch_add(1, Ordering::Relaxed);
    }
    outgoing.done.fetch_add(1, Ordering::Release);
}

#[test]
fn from_us_to_a_plain_socket() {
    on_both(|runtime| {
        let (peer, to) = plain("127.0.0.1");
        let socket = open(&runtime);
        let received: &'static AtomicU64 = Box::leak(Box::default());
        let receiver = std::thread::spawn(move || {
            let mut room = [0; 2 * LONGEST];
            for expected in 0..COUNT {
                let count = peer.recv(&mut room).expect("none is lost");
                assert_eq!(read(&room[..count]), expected, "doubled or out of order");
                received.fetch_add(1, Ordering::Release);
            }
            peer.set_nonblocking(true).expect("it is a socket");
            assert!(peer.recv(&mut room).is_err(), "one too many");
        });
        let outgoing: &'static Outgoing = Box::leak(Box::new(Outgoing {
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }));
        let user_data = std::ptr::from_ref(outgoing).cast_mut().cast();
        let rooms: Vec<_> = (0..UNDER_WAY).map(|_| Memory::new(LONGEST)).collect();
        let mut bytes = [0; LONGEST];
        for number in 0..COUNT {
            go_on_while(&runtime, "datagrams are received", || {
                let done = outgoing.done.load(Ordering::Acquire);
                number >= UNDER_WAY + done.min(received.load(Ordering::Acquire))
            });
            let length = write(number, &mut bytes);
            let room = rooms[(number % UNDER_WAY) as usize].pointer();
            // SAFETY: the room is ours again, since the send before has completed; it is longer than that.
            let status = unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.cast(), length);
                let op = null_mut();
                asock_begin_send_to(
                    socket,
                    room,
                    length,
                    0,
                    &raw const to,
                    Some(sent),
                    user_data,
                    op,
                )
            };
            assert_eq!(status, ASOCK_OK);
        }
        go_on_while(&runtime, "the last ones", || {
            outgoing.done.load(Ordering::Acquire) < COUNT
        });
        assert_eq!(outgoing.failed.load(Ordering::Relaxed), 0);
        receiver.join().expect("all is well");
        runtime.stop();
        assert_eq!(outgoing.done.load(Ordering::Acquire), COUNT);
    });
}

/// A receive that begins itself again.
struct Incoming {
    socket: asock_socket,
    room: Memory,
    from: Sender,
    peer: asock_address,
    next: &'static AtomicU64,
    ended: &'static AtomicUsize,
}

impl Incoming {
    fn begin(&'static self) {
        let user_data = std::ptr::from_ref(self).cast_mut().cast();
        let (room, length, from) = (self.room.pointer(), self.room.len(), self.from.pointer());
        // SAFETY: all of it is there for ever.
        let status = unsafe {
            let op = null_mut();
            asock_begin_receive_from(
                self.socket,
                room,
                length,
                0,
                from,
                Some(received),
                user_data,
                op,
            )
        };
        assert_eq!(status, ASOCK_OK);
    }
}

unsafe extern "C" fn received(result: *const asock_result, user_data: *mut c_void) {
    // SAFETY: it is leaked; the record is valid during the call.
    let (incoming, result) = unsafe { (&*user_data.cast::<Incoming>(), &*result) };
    if result.status == ASOCK_CLOSED {
        incoming.ended.fetch_add(1, Ordering::Release);
        return;
    }
    assert_eq!((result.status, result.flags), (ASOCK_OK, 0));
    let number = read(&incoming.room.bytes()[..result.bytes]);
    let expected = incoming.next.fetch_add(1, Ordering::AcqRel);
    assert_eq!(number, expected, "doubled, lost or out of order");
    assert_eq!(incoming.from.address(), incoming.peer);
    incoming.room.fill(0);
    incoming.begin();
}

#[test]
fn from_a_plain_socket_to_us() {
    on_both(|runtime| {
        let (peer, peer_address) = plain("127.0.0.1");
        let (socket, own) = bound(&runtime, "127.0.0.1");
        peer.connect(("127.0.0.1", asock_address_port_of(&own)))
            .expect("connects");
        let next: &'static AtomicU64 = Box::leak(Box::default());
        let ended: &'static AtomicUsize = Box::leak(Box::default());
        for _ in 0..PENDING {
            let incoming: &'static Incoming = Box::leak(Box::new(Incoming {
                socket,
                room: Memory::new(LONGEST),
                from: Sender::default(),
                peer: peer_address,
                next,
                ended,
            }));
            incoming.begin();
        }
        let mut bytes = [0; LONGEST];
        for number in 0..COUNT {
            go_on_while(&runtime, "datagrams are received", || {
                number >= UNDER_WAY + next.load(Ordering::Acquire)
            });
            let length = write(number, &mut bytes);
            assert_eq!(peer.send(&bytes[..length]).expect("it goes"), length);
        }
        go_on_while(&runtime, "the last ones", || {
            next.load(Ordering::Acquire) < COUNT
        });
        assert_eq!(asock_close(socket), ASOCK_OK);
        go_on_while(&runtime, "the ends", || {
            ended.load(Ordering::Acquire) < PENDING
        });
        runtime.stop();
        assert_eq!(next.load(Ordering::Acquire), COUNT);
    });
}

/// Back and forth between two sockets of ours, one at a time: each learns of the other's address and answers to it.
#[test]
fn two_hundred_and_fifty_six_there_and_back() {
    for host in ["127.0.0.1", "::1"] {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let ends = [bound(&runtime, host), bound(&runtime, host)];
            let mut bytes = [0; LONGEST];
            let mut to = ends[1].1;
            for number in 0..256 {
                let side = number as usize % 2;
                let ((sender, own), (receiver, _)) = (ends[side], ends[1 - side]);
                let length = write(number, &mut bytes);
                recorder.put_to(sender, &bytes[..length], &to);
                let (completion, got, from) = recorder.take_from(receiver, LONGEST, 0);
                completion.expect(ASOCK_KIND_RECEIVE_FROM, ASOCK_OK);
                assert_eq!((read(&got), completion.flags), (number, 0));
                to = from.address();
                assert_eq!(to, own);
            }
        });
    }
}
