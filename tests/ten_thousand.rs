//! Ten thousand connections on one runtime: each is opened, carries a round trip of its own, and is closed. None is lost,
//! and none gets what belongs to another. The other ends are in a process of their own (this very program, started
//! again), since a process may only have so many descriptors.
#![allow(unsafe_code)] // The functions under test take pointers.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A process tells its port, and a test what it leaves out.

mod common;

use asock::*;
use common::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

const CONNECTIONS: usize = 10_000;
/// What each end needs besides.
const SPARE: usize = 200;
/// Connects begun at a time: fewer than the queue of the listener holds.
const AT_ONCE: usize = 100;
/// Set in the environment of the process with the other ends, to the number of connections.
const PEER: &str = "ASOCK_TEN_THOUSAND_PEER";

/// As many descriptors as the system lets us have, and as we need.
fn allowed_connections() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a struct of that type, which may be written.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(answer, 0);
    let wanted = (CONNECTIONS + SPARE) as libc::rlim_t;
    limit.rlim_cur = limit.rlim_cur.max(wanted.min(limit.rlim_max));
    // SAFETY: a struct of that type.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(answer, 0);
    let allowed = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    allowed.saturating_sub(SPARE).min(CONNECTIONS)
}

/// The process with the other ends: accepts all of them, answers each, and sees each end. A test only by its form, so
/// that it can be started by its name; in the ordinary run it has nothing to do.
#[test]
fn the_other_ends() {
    let Ok(count) = std::env::var(PEER) else {
        return;
    };
    let count: usize = count.parse().expect("a number");
    assert!(allowed_connections() >= count);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback is there");
    // A longer queue than the standard library's: a connect that finds it full is tried again a second later.
    // SAFETY: an open descriptor.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 4096) }, 0);
    println!("\nport {}", listener.local_addr().expect("bound").port());
    let mut ends: Vec<TcpStream> = (0..count)
        .map(|_| listener.accept().expect("a connection").0)
        .collect();
    let mut message = [0; 8];
    for end in &mut ends {
        end.set_read_timeout(Some(LIMIT)).expect("a socket");
        end.read_exact(&mut message).expect("a message");
        message.reverse();
        end.write_all(&message).expect("still there");
    }
    for end in &mut ends {
        assert_eq!(end.read(&mut message).expect("an end, not a reset"), 0);
    }
    println!("\nall {count} have ended");
}

/// The process, which goes with the test.
struct Ends {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Ends {
    fn start(count: usize) -> Ends {
        let mut child = Command::new(std::env::current_exe().expect("a test knows its executable"))
            .args(["--exact", "the_other_ends", "--nocapture"])
            .env(PEER, count.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Ends { child, lines }
    }

    /// The rest of the next line that begins like this.
    fn line(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let count = self.lines.read_line(&mut line).expect("text");
            assert_ne!(count, 0, "the other process ended before it said: {start}");
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It has ended already, unless the test has failed.
        let _ = self.child.wait();
    }
}

#[test]
fn ten_thousand_connections() {
    let count = allowed_connections();
    if count < CONNECTIONS {
        eprintln!(
            "this process may have too few descriptors: {count} connections, not {CONNECTIONS}"
        );
    }
    let mut ends = Ends::start(count);
    let port = ends.line("port ").parse().expect("a port");
    let runtime = Runtime::on_worker();

    let connects = runtime.recorder();
    let mut sockets = Vec::with_capacity(count);
    while sockets.len() < count {
        for _ in sockets.len()..count.min(sockets.len() + AT_ONCE) {
            let socket = runtime.open();
            connects.connect(socket, port);
            sockets.push(socket);
        }
        // Counted, and looked at afterwards: ten thousand completions are much to copy each time.
        until("these connects", || connects.count() == sockets.len());
    }
    for completion in connects.wait_for(count) {
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    }
    assert_eq!(runtime.stats().sockets_open, count as u64);

    let (sends, receives) = (runtime.recorder(), runtime.recorder());
    let rooms: Vec<_> = sockets.iter().map(|_| Memory::new(8)).collect();
    for (socket, room) in sockets.iter().zip(&rooms) {
        receives.receive(*socket, room, ASOCK_RECEIVE_ALL);
    }
    for socket in &sockets {
        sends.send(*socket, &Memory::of(&socket.to_be_bytes()), 0);
    }
    until("all answers", || receives.count() == count);
    for completion in receives.wait_for(count) {
        assert_eq!((completion.status, completion.bytes), (ASOCK_OK, 8));
    }
    for (socket, room) in sockets.iter().zip(&rooms) {
        assert_eq!(room.bytes(), socket.to_le_bytes(), "each its own answer");
    }
    assert!(sends
        .wait_for(count)
        .iter()
        .all(|one| one.status == ASOCK_OK));

    // A close finds its socket without looking for it among the others; half of them tell when it is done.
    let closes = runtime.recorder();
    for (at, socket) in sockets.iter().enumerate() {
        if at % 2 == 0 {
            closes.close(*socket, 0);
        } else {
            assert_eq!(asock_close(*socket), ASOCK_OK);
        }
    }
    until("all closes", || closes.count() == count.div_ceil(2));
    until("no socket is left", || runtime.stats().sockets_open == 0);
    assert_eq!(ends.line("all "), format!("{count} have ended"));
    assert_eq!(ends.child.wait().expect("our child").code(), Some(0));
    let stats = runtime.stats();
    assert_eq!(stats.operations_completed, stats.operations_begun);
    assert_eq!(
        (stats.bytes_sent, stats.bytes_received),
        (8 * count as u64, 8 * count as u64)
    );
}

#[test]
fn max_sockets_is_kept() {
    const MOST: usize = 3;
    let mut limited = config(ASOCK_DELIVER_ON_WORKER);
    limited.max_sockets = MOST as u32;
    let runtime = Runtime::start(&limited);
    let peer = Peer::silent();
    let sockets: Vec<_> = (0..MOST).map(|_| runtime.connected(peer.port())).collect();
    let mut socket = 7;
    // SAFETY: `socket` may be written.
    let mut open = || unsafe { asock_open(runtime.handle(), ASOCK_STREAM, &raw mut socket) };
    assert_eq!(open(), ASOCK_TOO_MANY_SOCKETS);
    assert_eq!(asock_close(sockets[0]), ASOCK_OK);
    until("there is room again", || open() == ASOCK_OK);
    assert_ne!(socket, 7);
}
