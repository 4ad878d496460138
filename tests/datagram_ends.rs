//! How datagram operations end when they do not simply succeed: refusals of the peer's system, cancels, limits of time,
//! shutdowns and closes; and what waits because the receiver has no room.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{address, assert_passed, assert_pending, get, local, remote, set};
use common::datagram::*;
use common::*;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const RECEIVE: u32 = ASOCK_KIND_RECEIVE;
const RECEIVE_FROM: u32 = ASOCK_KIND_RECEIVE_FROM;

/// A port that is taken and hears nobody that there is: its system refuses what comes.
struct Deaf(UdpSocket);

impl Deaf {
    fn new() -> (Deaf, asock_address) {
        let (socket, address) = plain("127.0.0.1");
        // It hears one only, who will never speak: itself, under another address of the loopback.
        let port = asock_address_port_of(&address);
        socket.connect(("127.0.0.9", port)).expect("connects");
        (Deaf(socket), address)
    }

    /// Hears that socket from now on.
    fn hear(self, socket: asock_socket) -> UdpSocket {
        let own = local(socket).expect("it has one");
        let to = ("127.0.0.1", asock_address_port_of(&own));
        self.0.connect(to).expect("connects");
        self.0
    }
}

fn connected_to(runtime: &Runtime, peer: &asock_address) -> asock_socket {
    let recorder = runtime.recorder();
    let socket = open(runtime);
    let op = recorder.connect_address(socket, peer);
    recorder
        .completion_of(op)
        .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    socket
}

#[test]
fn a_refusal_is_told_once_to_the_receive_that_waits() {
    on_both(|runtime| {
        for _ in 0..20 {
            let recorder = runtime.recorder();
            let (deaf, peer_address) = Deaf::new();
            let socket = connected_to(&runtime, &peer_address);
            let (from, other) = (Sender::default(), Memory::new(9));
            let first = recorder.receive_from(socket, &Memory::new(9), 0, &from);
            let second = recorder.receive(socket, &other, 0);
            let third = recorder.receive(socket, &Memory::new(9), 0);
            recorder.put(socket, b"anybody?");
            let refused = recorder.completion_of(first);
            refused.expect(RECEIVE_FROM, ASOCK_CONNECTION_REFUSED);
            assert_eq!((refused.bytes, refused.os_error), (0, libc::ECONNREFUSED));
            assert!(from.is_untouched());
            assert_pending(&runtime, second);
            // Nothing has stopped, and nothing sticks.
            let peer = deaf.hear(socket);
            recorder.put(socket, b"and now?");
            let mut room = [0; 20];
            let count = peer.recv(&mut room).expect("it has come");
            assert_eq!(&room[..count], b"and now?");
            peer.send(b"me").expect("it goes");
            let heard = recorder.completion_of(second);
            heard.expect(RECEIVE, ASOCK_OK);
            assert_eq!(&other.bytes()[..2], b"me");
            assert_pending(&runtime, third);
            assert_eq!(asock_close(socket), ASOCK_OK);
        }
    });
}

#[test]
fn a_send_does_not_suffer_for_an_earlier_one_while_a_receive_waits() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (_deaf, peer_address) = Deaf::new();
        let socket = connected_to(&runtime, &peer_address);
        let first = recorder.receive(socket, &Memory::new(9), 0);
        let second = recorder.receive(socket, &Memory::new(9), 0);
        assert_pending(&runtime, second);
        let held = (!runtime.delivers_on_poll()).then(|| Held::new(&runtime));
        let sends: Vec<_> = (0..2)
            .map(|_| recorder.send(socket, &Memory::of(b"anybody?"), 0))
            .collect();
        drop(held);
        for op in sends {
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_SEND, ASOCK_OK);
        }
        for op in [first, second] {
            let completion = recorder.completion_of(op);
            completion.expect(RECEIVE, ASOCK_CONNECTION_REFUSED);
            assert_eq!(completion.os_error, libc::ECONNREFUSED);
        }
    });
}

#[test]
fn where_nobody_receives_a_later_send_tells() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (deaf, peer_address) = Deaf::new();
        let socket = connected_to(&runtime, &peer_address);
        let mut refusals = 0;
        let mut after_refusal = false;
        until("a few refusals", || {
            let op = recorder.send(socket, &Memory::of(b"anybody?"), 0);
            let completion = recorder.completion_of(op);
            match completion.status {
                ASOCK_OK => after_refusal = false,
                ASOCK_CONNECTION_REFUSED => {
                    assert!(!after_refusal, "told twice");
                    assert_eq!(
                        (completion.bytes, completion.os_error),
                        (0, libc::ECONNREFUSED)
                    );
                    after_refusal = true;
                    refusals += 1;
                }
                other => panic!("status {other}"),
            }
            refusals == 5
        });
        let peer = deaf.hear(socket);
        recorder.put(socket, b"and now?");
        assert_eq!(peer.recv(&mut [0; 20]).expect("it has come"), 8);
    });
}

#[test]
fn a_refusal_of_one_receiver_is_nothing_to_the_others() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (_deaf, nobody) = Deaf::new();
        let (peer, somebody) = plain("127.0.0.1");
        let (socket, own) = bound(&runtime, "127.0.0.1");
        let (room, from) = (Memory::new(9), Sender::default());
        let waiting = recorder.receive_from(socket, &room, 0, &from);
        for _ in 0..10 {
            recorder.put_to(socket, b"lost", &nobody);
            recorder.put_to(socket, b"found", &somebody);
        }
        for _ in 0..10 {
            assert_eq!(peer.recv(&mut [0; 20]).expect("it has come"), 5);
        }
        assert_pending(&runtime, waiting);
        let to = ("127.0.0.1", asock_address_port_of(&own));
        peer.send_to(b"back", to).expect("it goes");
        let completion = recorder.completion_of(waiting);
        completion.expect(RECEIVE_FROM, ASOCK_OK);
        assert_eq!(from.address(), somebody);
    });
}

#[test]
fn one_of_several_receives_is_canceled() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let rooms: Vec<_> = (0..5).map(|_| Memory::new(4)).collect();
        let senders: Vec<_> = (0..5).map(|_| Sender::default()).collect();
        let ops: Vec<_> = rooms
            .iter()
            .zip(&senders)
            .map(|(room, from)| recorder.receive_from(socket, room, 0, from))
            .collect();
        for (at, status) in [
            (2, ASOCK_CANCELED),
            (0, ASOCK_CANCELED),
            (3, ASOCK_TIMED_OUT),
        ] {
            match status {
                ASOCK_CANCELED => assert_eq!(asock_cancel(ops[at]), ASOCK_OK),
                _ => assert_eq!(asock_set_deadline(ops[at], 1), ASOCK_OK),
            }
            let completion = recorder.completion_of(ops[at]);
            completion.expect(RECEIVE_FROM, status);
            assert_eq!((completion.bytes, completion.flags), (0, 0));
        }
        peer.send(b"one").expect("it goes");
        peer.send(b"two").expect("it goes");
        for (at, expected) in [(1, b"one\0"), (4, b"two\0")] {
            let completion = recorder.completion_of(ops[at]);
            completion.expect(RECEIVE_FROM, ASOCK_OK);
            assert_eq!(&rooms[at].bytes(), expected);
        }
        for at in [0, 2, 3] {
            assert!(senders[at].is_untouched() && rooms[at].bytes() == [0; 4]);
        }
    });
}

#[test]
fn receives_have_limits_of_time() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, own) = bound(&runtime, "127.0.0.1");
        assert_eq!(set(socket, ASOCK_OPTION_RECEIVE_TIMEOUT_MS, 30), ASOCK_OK);
        let start = Instant::now();
        let (completion, _, from) = recorder.take_from(socket, 9, 0);
        completion.expect(RECEIVE_FROM, ASOCK_TIMED_OUT);
        assert_eq!(completion.os_error, 0);
        assert_passed(start, 30);
        assert!(from.is_untouched());
        let (completion, _) = recorder.take(socket, 9, 0);
        completion.expect(RECEIVE, ASOCK_TIMED_OUT);
        let (peer, peer_address) = plain("127.0.0.1");
        let to = ("127.0.0.1", asock_address_port_of(&own));
        peer.send_to(b"late", to).expect("it goes");
        recorder.expect_from(socket, b"late", &peer_address);
    });
}

#[test]
fn a_shutdown_of_the_receiving_side() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let from = Sender::default();
        let pending = [
            recorder.receive(socket, &Memory::new(4), 0),
            recorder.receive_from(socket, &Memory::new(4), 0, &from),
        ];
        assert_pending(&runtime, pending[0]);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_RECEIVE), ASOCK_OK);
        let ends_with_nothing = |op| {
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 0));
        };
        pending.into_iter().for_each(ends_with_nothing);
        peer.send(b"too late").expect("it goes");
        let later = [
            recorder.receive(socket, &Memory::new(4), 0),
            recorder.receive_from(socket, &Memory::new(4), 0, &from),
        ];
        later.into_iter().for_each(ends_with_nothing);
        assert!(from.is_untouched());
        recorder.put(socket, b"still heard");
        assert_eq!(peer.recv(&mut [0; 20]).expect("it has come"), 11);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_BOTH), ASOCK_OK);
    });
}

#[test]
fn a_shutdown_of_the_sending_side() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (socket, peer) = pair(&runtime);
        let peer_address = remote(socket).expect("connected");
        let before = recorder.send(socket, &Memory::of(b"before"), 0);
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        let send = recorder.send(socket, &Memory::of(b"after"), 0);
        let send_to = recorder.send_to(socket, &Memory::of(b"after"), 0, &peer_address);
        for (op, status) in [
            (before, ASOCK_OK),
            (send, ASOCK_SHUT_DOWN),
            (send_to, ASOCK_SHUT_DOWN),
        ] {
            assert_eq!(recorder.completion_of(op).status, status);
        }
        peer.send(b"heard").expect("it goes");
        assert_eq!(recorder.take(socket, 9, 0).1, b"heard");
        assert_eq!(peer.recv(&mut [0; 20]).expect("it has come"), 6);
    });
}

#[test]
fn a_close_ends_what_is_pending_and_frees_the_port() {
    for flags in [
        None,
        Some(0),
        Some(ASOCK_CLOSE_DRAIN),
        Some(ASOCK_CLOSE_RESET),
    ] {
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, own) = bound(&runtime, "127.0.0.1");
            let from = Sender::default();
            for _ in 0..3 {
                recorder.receive_from(socket, &Memory::new(9), 0, &from);
                recorder.receive(socket, &Memory::new(9), 0);
            }
            // The call does not wait for any of that, nor for a callback that runs.
            let held = Held::new(&runtime);
            let watchdog = Watchdog::new("a close waits for a callback");
            let count = match flags {
                None => {
                    assert_eq!(asock_close(socket), ASOCK_OK);
                    6
                }
                Some(flags) => {
                    recorder.close(socket, flags);
                    7
                }
            };
            drop(watchdog);
            held.release();
            let all = recorder.wait_for(count);
            assert!(all[..6].iter().all(|one| one.status == ASOCK_CLOSED));
            if let Some(closed) = all.get(6) {
                closed.expect(ASOCK_KIND_CLOSE, ASOCK_OK);
            }
            assert!(from.is_untouched());
            until("the port is free", || {
                UdpSocket::bind(("127.0.0.1", asock_address_port_of(&own))).is_ok()
            });
        });
    }
}

/// A unix socket that does not receive, with its queue filled up: what is sent to it has to wait.
struct Full {
    socket: UnixDatagram,
    filled: usize,
    address: asock_address,
}

impl Full {
    fn new(name: &str) -> Full {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("asock-test-{}-{name}", std::process::id());
        let own = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&own).expect("binds");
        socket
            .set_read_timeout(Some(LIMIT))
            .expect("it is a socket");
        let filler = UnixDatagram::unbound().expect("opens");
        filler.set_nonblocking(true).expect("it is a socket");
        let mut filled = 0;
        while filler.send_to_addr(b"filler", &own).is_ok() {
            filled += 1;
        }
        let address = address(&format!("unix:@{name}"), 0);
        Full {
            socket,
            filled,
            address,
        }
    }

    /// Receives what has filled it up.
    fn drain(&self) {
        for _ in 0..self.filled {
            assert_eq!(self.take(), b"filler");
        }
    }

    fn take(&self) -> Vec<u8> {
        let mut room = [0; 100];
        let count = self.socket.recv(&mut room).expect("it comes");
        room[..count].to_vec()
    }
}

/// Sends that wait for room: with an address, and without one on a connected socket.
fn on_each(name: &str, body: impl Fn(&Runtime, &Recorder, &Full, &dyn Fn(&[u8], u32) -> asock_op)) {
    for connects in [false, true] {
        let delivery = std::cell::Cell::new(0);
        on_both(|runtime| {
            let number = delivery.replace(delivery.get() + 1);
            let full = Full::new(&format!("{name}-{connects}-{number}"));
            let recorder = runtime.recorder();
            if connects {
                let socket = connected_to(&runtime, &full.address);
                set(socket, ASOCK_OPTION_SEND_QUEUE_LIMIT, 30);
                let send = |bytes: &[u8], flags: u32| {
                    let (status, op) = recorder.try_send(socket, &Memory::of(bytes), flags);
                    if status == ASOCK_OK {
                        op
                    } else {
                        0
                    }
                };
                body(&runtime, &recorder, &full, &send);
            } else {
                let socket = open(&runtime);
                set(socket, ASOCK_OPTION_SEND_QUEUE_LIMIT, 30);
                let send = |bytes: &[u8], flags: u32| {
                    let memory = Memory::of(bytes);
                    let (status, op) = recorder.try_send_to(socket, &memory, flags, &full.address);
                    if status == ASOCK_OK {
                        op
                    } else {
                        0
                    }
                };
                body(&runtime, &recorder, &full, &send);
            }
        });
    }
}

#[test]
fn a_send_waits_for_room_and_goes_on() {
    on_each("waits", |runtime, recorder, full, send| {
        let ops = [b"one", b"two", b"six"].map(|bytes| send(bytes, 0));
        assert_pending(runtime, ops[0]);
        assert!(full.filled > 0);
        full.drain();
        for expected in [b"one", b"two", b"six"] {
            assert_eq!(full.take(), expected);
        }
        for op in ops {
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 3));
        }
    });
}

/// Time that this thread has spent on a processor.
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` may be written.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_send_that_waits_costs_next_to_nothing() {
    for connects in [false, true] {
        let runtime = Runtime::on_worker();
        let full = Full::new(&format!("idle-{connects}"));
        let times = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&times);
        // The callbacks run on the worker, so it is its time.
        let recorder = runtime.recorder_with(move |_| {
            let mut noted = noted.lock().expect("nobody panics with it");
            noted.push(thread_time());
        });
        let socket = match connects {
            true => connected_to(&runtime, &full.address),
            false => open(&runtime),
        };
        recorder.timer(0);
        recorder.wait_for(1);
        let limit_ms = 300;
        set(socket, ASOCK_OPTION_SEND_TIMEOUT_MS, limit_ms);
        match connects {
            true => recorder.send(socket, &Memory::new(9), 0),
            false => recorder.send_to(socket, &Memory::new(9), 0, &full.address),
        };
        assert_eq!(recorder.wait_for(2)[1].status, ASOCK_TIMED_OUT);
        let times = times.lock().expect("nobody panics with it");
        let spent = times[1] - times[0];
        // Where the machine is busy, a worker that spins does not get all of that either.
        let little = Duration::from_millis(limit_ms as u64 / 10);
        assert!(spent < little, "{spent:?} of {limit_ms} ms");
    }
}

#[test]
fn a_send_that_waits_can_be_canceled_and_times_out() {
    on_each("cut", |runtime, recorder, full, send| {
        let ops = [b"one", b"two", b"six", b"ten"].map(|bytes| send(bytes, 0));
        assert_pending(runtime, ops[0]);
        assert_eq!(asock_cancel(ops[2]), ASOCK_OK);
        assert_eq!(asock_cancel(ops[0]), ASOCK_OK);
        assert_eq!(asock_set_deadline(ops[1], 5), ASOCK_OK);
        for (op, status) in [
            (ops[2], ASOCK_CANCELED),
            (ops[0], ASOCK_CANCELED),
            (ops[1], ASOCK_TIMED_OUT),
        ] {
            let completion = recorder.completion_of(op);
            assert_eq!((completion.status, completion.bytes), (status, 0));
        }
        full.drain();
        assert_eq!(full.take(), b"ten", "it has not stopped");
        assert_eq!(recorder.completion_of(ops[3]).status, ASOCK_OK);
    });
}

#[test]
fn the_queue_has_its_limit() {
    on_each("limit", |_, recorder, full, send| {
        let ops = [send(&[1; 20], 0), send(&[2; 10], ASOCK_SEND_COPY)];
        assert!(ops.iter().all(|op| *op != 0));
        assert_eq!(send(b"?", 0), 0, "over the limit");
        full.drain();
        for (number, op) in (1..).zip(ops) {
            assert_eq!(full.take()[0], number);
            assert_eq!(recorder.completion_of(op).status, ASOCK_OK);
        }
        let op = send(&[3; 40], 0);
        assert_eq!(recorder.completion_of(op).status, ASOCK_OK, "it was empty");
    });
}

#[test]
fn a_draining_close_sends_what_waits() {
    for connects in [false, true] {
        on_both(|runtime| {
            let full = Full::new(&format!("drain-{connects}-{}", runtime.handle()));
            let recorder = runtime.recorder();
            let socket = match connects {
                true => connected_to(&runtime, &full.address),
                false => open(&runtime),
            };
            let mut ops = Vec::new();
            for number in 0..3 {
                let memory = Memory::of(&[number; 5]);
                ops.push(match connects {
                    true => recorder.send(socket, &memory, 0),
                    false => recorder.send_to(socket, &memory, 0, &full.address),
                });
            }
            let queued = get(socket, ASOCK_OPTION_SEND_QUEUED);
            assert_eq!(queued, Ok(15));
            let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
            assert_eq!(local(socket).err(), Some(ASOCK_BAD_HANDLE));
            assert_pending(&runtime, close);
            full.drain();
            for number in 0..3 {
                assert_eq!(full.take(), [number; 5]);
            }
            let all = recorder.wait_for(4);
            assert!(all.iter().all(|one| one.status == ASOCK_OK), "{all:?}");
            assert_eq!(all[3].op, close);
        });
    }
}

#[test]
fn a_stop_ends_everything() {
    on_both(|runtime| {
        let full = Full::new(&format!("stop-{}", runtime.handle()));
        let recorder = runtime.recorder();
        let sender = open(&runtime);
        let (receiver, _) = bound(&runtime, "127.0.0.1");
        let from = Sender::default();
        for number in 0..3 {
            recorder.send_to(sender, &Memory::of(&[number; 5]), 0, &full.address);
            recorder.receive_from(receiver, &Memory::new(5), 0, &from);
            recorder.receive(receiver, &Memory::new(5), 0);
        }
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
        let (status, _) = recorder.try_send_to(sender, &Memory::new(5), 0, &full.address);
        assert_eq!(status, ASOCK_STOPPED);
        let (status, _) = recorder.try_receive_from(receiver, &Memory::new(5), 0, &from);
        assert_eq!(status, ASOCK_STOPPED);
        let all = recorder.wait_for(9);
        assert!(all.iter().all(|one| one.status == ASOCK_STOPPED), "{all:?}");
        runtime.stop();
        assert_eq!(recorder.count(), 9);
        assert!(from.is_untouched());
        full.drain();
    });
}
