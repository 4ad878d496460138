//! Promise 1 for servers, datagrams, pieces and files: no call of theirs waits for the network or for a callback.
//!
//! As in promise_01_never_blocks.rs no clock is used: a call that waited would never return.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::{address, narrow_pair, BIG};
use common::datagram::{bound, full, open, Sender};
use common::files::{file_of, number_of};
use common::pieces::{cut, rooms};
use common::server::{bind, listen, listener, plain_accept};
use common::*;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixDatagram;

/// More than the system's buffers of both ends hold together.
const LARGE: usize = 8 * BIG;

/// What is there before the calls are made.
struct World {
    /// To somebody who does not read.
    connected: asock_socket,
    _peer: TcpStream,
    listener: asock_socket,
    receiver: asock_socket,
    sender: asock_socket,
    full: asock_address,
    _deaf: UnixDatagram,
    file: File,
    fresh: asock_socket,
}

impl World {
    fn new(runtime: &Runtime, name: &str) -> World {
        let (connected, peer) = narrow_pair(runtime);
        let name = format!("{name}-{}", runtime.delivers_on_poll());
        let (deaf, full) = full(&name);
        World {
            connected,
            _peer: peer,
            listener: listener(runtime),
            receiver: bound(runtime, "127.0.0.1").0,
            sender: open(runtime),
            full,
            _deaf: deaf,
            file: file_of(&[7; LARGE]),
            fresh: runtime.open(),
        }
    }

    /// Makes every call, of which nothing but the network can end the operations.
    fn make_every_call(&self, runtime: &Runtime, recorder: &Recorder) -> Vec<asock_op> {
        let large = cut(&[7; LARGE], &[LARGE / 3, 0, 1]);
        let room = Memory::new(9);
        let ops = vec![
            recorder.accept(self.listener),
            recorder.accept(self.listener),
            recorder.receive_from(self.receiver, &room, 0, &Sender::default()),
            recorder.receive_from(self.receiver, &room, 0, &Sender::default()),
            recorder.send_to(self.sender, &room, 0, &self.full),
            recorder.send_to(self.sender, &room, ASOCK_SEND_COPY, &self.full),
            recorder.send_pieces(self.connected, &large, 0),
            recorder.send_file(self.connected, &self.file, 0, LARGE),
            recorder.send_pieces(self.connected, &large, ASOCK_SEND_COPY),
            recorder.receive_pieces(self.connected, &rooms(&[3, 0, 3]), 0),
            recorder.receive_pieces(self.connected, &rooms(&[3, 3]), ASOCK_RECEIVE_ALL),
        ];
        assert_eq!(bind(self.fresh, "127.0.0.1", 0), ASOCK_OK);
        assert_eq!(listen(self.fresh, 0), ASOCK_OK);
        // In and out.
        let plain = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let (mut number, mut adopted) = (i64::from(plain.into_raw_fd()), 0);
        // SAFETY: the places may be written, and the descriptor is given away.
        unsafe {
            let status = asock_adopt(runtime.handle(), number, &raw mut adopted);
            assert_eq!(status, ASOCK_OK);
            assert_eq!(asock_release(adopted, &raw mut number), ASOCK_OK);
            assert_eq!(libc::close(number as i32), 0);
        }
        let group = address("239.7.7.7", 9);
        // SAFETY: the address is a live value.
        unsafe {
            let interface = libc::if_nametoindex(c"lo".as_ptr());
            asock_join_group(self.receiver, &raw const group, interface);
            asock_leave_group(self.receiver, &raw const group, interface);
        }
        assert!(number_of(&self.file) >= 0);
        ops
    }
}

#[test]
fn no_call_waits_for_the_network() {
    on_both(|runtime| {
        let (world, recorder) = (World::new(&runtime, "network"), runtime.recorder());
        let watchdog = Watchdog::new("a call waits for the network");
        let ops = world.make_every_call(&runtime, &recorder);
        // Their calls have returned, and yet they have not ended: nobody waited for that.
        assert!(ops.iter().all(|op| is_pending(*op)));
        for socket in [world.listener, world.receiver, world.sender] {
            assert_eq!(asock_close(socket), ASOCK_OK);
        }
        assert_eq!(asock_close(world.connected), ASOCK_OK);
        drop(watchdog);
        let all = recorder.wait_for(ops.len());
        assert_eq!(all.len(), ops.len());
        assert!(all.iter().all(|one| one.status == ASOCK_CLOSED));
    });
}

#[test]
fn no_call_waits_for_a_callback() {
    on_both(|runtime| {
        let (world, recorder) = (World::new(&runtime, "callback"), runtime.recorder());
        let held = Held::new(&runtime);
        let watchdog = Watchdog::new("a call waits for a callback");
        let ops = world.make_every_call(&runtime, &recorder);
        for op in &ops {
            assert_eq!(asock_set_deadline(*op, 3_600_000), ASOCK_OK);
            assert_eq!(asock_cancel(*op), ASOCK_OK);
        }
        let unseen = plain_accept(world.fresh);
        assert_eq!(asock_cancel(unseen), ASOCK_OK);
        let calm = "one callback at a time, and one is running";
        assert_eq!(recorder.count(), 0, "{calm}");
        drop(watchdog);
        held.release();
        for completion in recorder.wait_for(ops.len()) {
            assert_eq!(completion.status, ASOCK_CANCELED, "{completion:?}");
        }
        if !runtime.delivers_on_poll() {
            assert_eq!(end(unseen).status, ASOCK_CANCELED);
        }
    });
}
