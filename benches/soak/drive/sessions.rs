//! What is done on a runtime: sessions, each with sockets of its own.

use super::driver::{Driver, FILE, FILE_SEED};
use super::peer::Part;
use super::stretch;
use asock::*;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl Driver<'_> {
    /// Any of them, to its end.
    pub fn session(&mut self) {
        match self.random.below(13) {
            0 | 1 => self.echo(),
            2 => self.source(),
            3 => self.sink(),
            4 => self.reset(),
            5 | 6 => self.silent(),
            7 => self.crowd(),
            8 => self.refused(),
            9 => self.timers(),
            10 => self.datagrams(),
            11 => self.served(),
            _ => self.names(),
        }
        self.pool.settle(self.totals);
    }

    /// Bytes go there and back. Receives that are taken back on the way take none with them.
    fn echo(&mut self) {
        let seed = self.random.next() as u8;
        let (socket, connect) = self.connect(Part::Echo, seed, 0);
        let (mut sent, mut received) = (0, 0);
        for _ in 0..1 + self.random.below(13) {
            let length = 1 + self.random.below(9000);
            let flags = [0, 0, ASOCK_SEND_MORE, ASOCK_SEND_COPY][self.random.below(4)];
            self.send(socket, stretch(seed, sent, length), flags);
            sent += length;
        }
        self.expect(connect, ASOCK_OK);
        while received < sent {
            let length = 1 + self.random.below(12_000);
            let flags = match self.random.below(4) {
                0 if length <= sent - received => ASOCK_RECEIVE_ALL,
                1 => {
                    let peek = self.receive(socket, length, ASOCK_RECEIVE_PEEK);
                    let end = self.pool.end(peek);
                    assert_eq!(end.status, ASOCK_OK);
                    self.compare(peek, end, seed, received);
                    0
                }
                _ => 0,
            };
            let receive = self.receive(socket, length, flags);
            if self.random.below(3) == 0 {
                self.take_back(receive);
            }
            let end = self.pool.end(receive);
            assert!(
                matches!(end.status, ASOCK_OK | ASOCK_CANCELED | ASOCK_TIMED_OUT),
                "{end:?}"
            );
            received = self.compare(receive, end, seed, received);
        }
        if self.random.below(2) == 0 {
            assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
            let receive = self.receive(socket, 1, 0);
            assert_eq!(self.expect(receive, ASOCK_OK), 0, "the end");
        }
        self.close(socket);
    }

    /// A stream comes, into several receives at a time.
    fn source(&mut self) {
        let (seed, count) = (self.random.next() as u8, self.random.below(400_000));
        let (socket, _) = self.connect(Part::Source, seed, count);
        let mut place = 0;
        loop {
            let pending: Vec<_> = (0..1 + self.random.below(4))
                .map(|_| {
                    let length = 1 + self.random.below(40_000);
                    self.receive(socket, length, 0)
                })
                .collect();
            let before = place;
            for receive in pending {
                let end = self.pool.end(receive);
                assert_eq!(end.status, ASOCK_OK);
                place = self.compare(receive, end, seed, place);
            }
            if place == before {
                break;
            }
        }
        assert_eq!(place, count);
        self.close(socket);
    }

    /// A stream goes, and the peer tells what came.
    fn sink(&mut self) {
        let seed = self.random.next() as u8;
        let (socket, _) = self.connect(Part::Sink, seed, 0);
        let mut place = 0;
        for _ in 0..self.random.below(20) {
            let length = self.random.below(60_000);
            self.send(socket, stretch(seed, place, length), 0);
            place += length;
        }
        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        let answer = self.receive(socket, 8, ASOCK_RECEIVE_ALL);
        assert_eq!(self.expect(answer, ASOCK_OK), 8);
        assert_eq!(self.pool.bytes(answer), (place as u64).to_le_bytes());
        self.totals.bytes.fetch_add(place as u64, Ordering::Relaxed);
        self.close(socket);
    }

    /// The peer resets the connection while there is much to do on it.
    fn reset(&mut self) {
        let (socket, _) = self.connect(Part::Reset, 0, 0);
        for _ in 0..1 + self.random.below(10) {
            match self.random.below(2) {
                0 => self.send(socket, vec![1; 5000], 0),
                _ => self.receive(socket, 500, 0),
            };
        }
        let last = self.receive(socket, 1, 0);
        let end = self.pool.end(last);
        assert!(
            matches!(end.status, ASOCK_CONNECTION_RESET | ASOCK_OK),
            "{end:?}"
        );
        assert_eq!(end.bytes, 0);
        self.close(socket);
    }

    /// Nothing comes, and nothing goes for long: cancels, deadlines, time-outs, and closes with all pending.
    fn silent(&mut self) {
        let time = 1 + self.random.below(20);
        let (socket, _) = self.connect(Part::Silent, 0, time);
        let timeout = self.random.below(8) as i64;
        let option = [
            ASOCK_OPTION_SEND_TIMEOUT_MS,
            ASOCK_OPTION_RECEIVE_TIMEOUT_MS,
        ][self.random.below(2)];
        assert_eq!(asock_set_option(socket, option, timeout), ASOCK_OK);
        let mut pending = Vec::new();
        for _ in 0..1 + self.random.below(8) {
            let (much, little) = (1 + self.random.below(1 << 20), self.random.below(3) * 100);
            let number = match self.random.below(3) {
                0 => self.send(socket, vec![1; much], 0),
                1 => self.receive(socket, little, 0),
                _ => self.receive(socket, 100, ASOCK_RECEIVE_ALL),
            };
            pending.push(number);
        }
        for &number in &pending {
            if self.random.below(2) == 0 {
                self.take_back(number);
            }
        }
        if self.random.below(2) == 0 {
            let delay = self.random.below(10) as u64;
            let timer = self.timer(delay);
            self.expect(timer, ASOCK_OK);
        }
        match self.random.below(3) {
            0 => assert_eq!(asock_close(socket), ASOCK_OK),
            1 => {
                self.begin_close(socket, ASOCK_CLOSE_RESET);
            }
            _ => {
                let close = self.begin_close(socket, ASOCK_CLOSE_DRAIN);
                self.take_back(close);
            }
        }
        for number in pending {
            self.pool.end(number);
            self.pool.give_back(number);
        }
    }

    /// Many connections at once, all that they are to do begun beforehand.
    fn crowd(&mut self) {
        let mut crowd = Vec::new();
        for _ in 0..64 {
            let seed = self.random.next() as u8;
            let (socket, _) = self.connect(Part::Echo, seed, 0);
            let length = 1 + self.random.below(2000);
            self.send(socket, stretch(seed, 0, length), 0);
            let receive = self.receive(socket, length, ASOCK_RECEIVE_ALL);
            crowd.push((socket, receive, seed));
        }
        for &(_, receive, seed) in &crowd {
            let end = self.pool.end(receive);
            assert_eq!(end.status, ASOCK_OK);
            self.compare(receive, end, seed, 0);
        }
        for (socket, ..) in crowd {
            // An orderly end would keep so many ports from others for a minute.
            self.begin_close(socket, ASOCK_CLOSE_RESET);
        }
    }

    /// Connects that come to nothing, and one that is taken back.
    fn refused(&mut self) {
        let (deaf, address) = self.bound(ASOCK_STREAM); // It never listens, and keeps the port from others.
        let socket = self.open(ASOCK_STREAM);
        for _ in 0..1 + self.random.below(3) {
            let connect = self.connect_address(socket, &address);
            self.expect(connect, ASOCK_CONNECTION_REFUSED);
        }
        self.close(socket);
        self.close(deaf);
        let socket = self.open(ASOCK_STREAM);
        let address = self.peers.address(self.random.below(8));
        let connect = self.connect_to(socket, address);
        self.take_back(connect);
        let end = self.pool.end(connect);
        assert!(
            matches!(end.status, ASOCK_OK | ASOCK_CANCELED | ASOCK_TIMED_OUT),
            "{end:?}"
        );
        self.close(socket);
    }

    fn timers(&mut self) {
        let start = Instant::now();
        let timers: Vec<_> = (0..20)
            .map(|_| {
                let delay = self.random.below(15) as u64;
                (self.timer(delay), delay)
            })
            .collect();
        for &(timer, _) in &timers[..5] {
            let status = asock_cancel(self.pool.op(timer));
            assert!(matches!(status, ASOCK_OK | ASOCK_BAD_HANDLE));
        }
        for (place, &(timer, delay)) in timers.iter().enumerate() {
            let end = self.pool.end(timer);
            match end.status {
                ASOCK_OK => assert!(start.elapsed() >= Duration::from_millis(delay)),
                ASOCK_CANCELED => assert!(place < 5),
                status => panic!("a timer ends with {status}"),
            }
        }
    }

    /// Datagrams between two sockets of ours; loopback loses none of so few.
    fn datagrams(&mut self) {
        let [(here, from), (there, to)] = [0, 1].map(|_| self.bound(ASOCK_DATAGRAM));
        let seed = self.random.next() as u8;
        for _ in 0..1 + self.random.below(20) {
            let length = self.random.below(1400);
            let receive = self.pool.begin(
                vec![0; 1500],
                |(buffer, length, address), (callback, user_data, op)| {
                    // SAFETY: the entry, its buffer and its address outlive the operation.
                    unsafe {
                        asock_begin_receive_from(
                            there, buffer, length, 0, address, callback, user_data, op,
                        )
                    }
                },
            );
            let send = self.pool.begin(
                stretch(seed, 0, length),
                |(buffer, length, _), (callback, user_data, op)| {
                    // SAFETY: the entry and its buffer outlive the operation; the address is copied.
                    unsafe {
                        asock_begin_send_to(
                            here,
                            buffer,
                            length,
                            0,
                            &raw const to,
                            callback,
                            user_data,
                            op,
                        )
                    }
                },
            );
            assert_eq!(self.expect(send, ASOCK_OK), length);
            let end = self.pool.end(receive);
            assert_eq!((end.status, end.bytes), (ASOCK_OK, length));
            assert_eq!(self.pool.address(receive).storage, from.storage);
            self.compare(receive, end, seed, 0);
        }
        let waiting = self.receive(there, 100, 0);
        self.take_back(waiting);
        self.close(here);
        self.close(there);
    }

    /// Both ends are ours: accepted connections, vectored calls one way and a file the other.
    fn served(&mut self) {
        let (listener, address) = self.bound(ASOCK_STREAM);
        assert_eq!(asock_listen(listener, 16), ASOCK_OK);
        let (count, length) = (1 + self.random.below(4), 3 + self.random.below(30_000));
        let seed = self.random.next() as u8;
        let accepts: Vec<_> = (0..=count).map(|_| self.accept(listener)).collect();
        let mut clients = Vec::new();
        for _ in 0..count {
            let client = self.open(ASOCK_STREAM);
            self.connect_address(client, &address);
            self.vectored(client, stretch(seed, 0, length), true);
            clients.push((client, self.receive(client, FILE, ASOCK_RECEIVE_ALL)));
        }
        for &accept in &accepts[..count] {
            let end = self.pool.end(accept);
            assert_eq!(end.status, ASOCK_OK);
            let receive = self.vectored(end.value, vec![0; length], false);
            let received = self.pool.end(receive);
            assert_eq!((received.status, received.bytes), (ASOCK_OK, length));
            self.compare(receive, received, seed, 0);
            let file = i64::from(self.file.as_raw_fd());
            let send = self.pool.begin(Vec::new(), |_, (callback, user_data, op)| {
                let length = FILE as u64;
                // SAFETY: the file stays open, and the entry outlives the operation.
                unsafe {
                    asock_begin_send_file(end.value, file, 0, length, callback, user_data, op)
                }
            });
            assert_eq!(self.expect(send, ASOCK_OK), FILE);
            self.close(end.value);
        }
        for (client, receive) in clients {
            let end = self.pool.end(receive);
            assert_eq!((end.status, end.bytes), (ASOCK_OK, FILE));
            self.compare(receive, end, FILE_SEED, 0);
            self.close(client);
        }
        self.take_back(accepts[count]);
        self.close(listener);
    }

    fn names(&mut self) {
        let (runtime, mut found) = (self.runtime, Vec::new());
        found.resize_with(4, || {
            // SAFETY: a struct of integers may be all zero.
            unsafe { std::mem::zeroed::<asock_address>() }
        });
        let room = found.as_mut_ptr();
        let resolve = self.pool.begin(Vec::new(), |_, (callback, user_data, op)| {
            // SAFETY: the host ends with a zero; the room and the entry outlive the operation.
            unsafe {
                asock_begin_resolve(
                    runtime,
                    c"localhost".as_ptr(),
                    80,
                    room,
                    4,
                    callback,
                    user_data,
                    op,
                )
            }
        });
        self.expect(resolve, ASOCK_OK);
        assert_eq!(asock_address_port_of(&found[0]), 80);
    }
}

fn asock_address_port_of(address: &asock_address) -> u16 {
    // SAFETY: an address that is there.
    unsafe { asock_address_port(address) }
}
