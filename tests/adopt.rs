//! Descriptors that come from the application, and go back to it.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

fn adopt(runtime: &Runtime, number: i64) -> Result<asock_socket, asock_status> {
    let mut socket = 0;
    // SAFETY: `socket` may be written.
    let status = unsafe { asock_adopt(runtime.handle(), number, &raw mut socket) };
    written(status, socket, socket == 0)
}

#[track_caller]
fn adopted(runtime: &Runtime, descriptor: impl IntoRawFd) -> asock_socket {
    adopt(runtime, i64::from(descriptor.into_raw_fd())).expect("it is adopted")
}

fn release(socket: asock_socket) -> Result<RawFd, asock_status> {
    let mut number = -1;
    // SAFETY: `number` may be written.
    let status = unsafe { asock_release(socket, &raw mut number) };
    let number = written(status, number, number == -1)?;
    Ok(RawFd::try_from(number).expect("a descriptor"))
}

fn flag(number: RawFd, command: libc::c_int, bit: libc::c_int) -> bool {
    // SAFETY: the call takes no pointer.
    let flags = unsafe { libc::fcntl(number, command) };
    assert!(flags >= 0, "{number} is open");
    flags & bit != 0
}

fn is_close_on_exec(number: RawFd) -> bool {
    flag(number, libc::F_GETFD, libc::FD_CLOEXEC)
}

fn is_non_blocking(number: RawFd) -> bool {
    flag(number, libc::F_GETFL, libc::O_NONBLOCK)
}

/// Makes a descriptor pass through exec, so that a change is seen.
fn bare(number: RawFd) {
    // SAFETY: the call takes no pointer.
    assert_eq!(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, 0);
}

fn raw_socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Option<OwnedFd> {
    // SAFETY: makes a new descriptor, which is owned here.
    unsafe {
        let number = libc::socket(domain, kind, protocol);
        (number >= 0).then(|| OwnedFd::from_raw_fd(number))
    }
}

/// A connected pair of plain sockets on loopback.
fn plain_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).expect("it listens");
    let server = listener.accept().expect("it connects").0;
    server.set_read_timeout(Some(LIMIT)).expect("a socket");
    (client, server)
}

#[test]
fn a_connection_goes_on_where_it_was() {
    on_both(|runtime| {
        let (client, mut server) = plain_pair();
        let (own, theirs) = (client.local_addr(), client.peer_addr());
        let number = client.as_raw_fd();
        bare(number);
        server.write_all(b"early").expect("writes");
        let socket = adopted(&runtime, client);
        assert!(is_close_on_exec(number));
        assert_eq!(runtime.stats().sockets_open, 1);
        assert_eq!(local_text(socket), own.expect("bound").to_string());
        let peer = text(&remote(socket).expect("it answers"));
        assert_eq!(peer, theirs.expect("connected").to_string());
        let recorder = runtime.recorder();
        assert_eq!(recorder.take_bytes(socket, 5), b"early");
        recorder.put(socket, b"answer");
        let mut answer = [0; 6];
        server.read_exact(&mut answer).expect("reads");
        assert_eq!(&answer, b"answer");
        let completion = recorder.connect_now(socket, 9);
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_ALREADY_CONNECTED);
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_INVALID_STATE);
        recorder.close_now(socket);
        assert_eq!(server.read(&mut answer).expect("the end"), 0);
        assert_eq!(runtime.stats().sockets_open, 0);
    });
}

#[test]
fn a_close_without_any_operation_ends_the_connection() {
    on_both(|runtime| {
        let (client, mut server) = plain_pair();
        let socket = adopted(&runtime, client);
        assert_eq!(asock_close(socket), ASOCK_OK);
        assert_eq!(server.read(&mut [0]).expect("the end"), 0);
        let (client, mut server) = plain_pair();
        adopted(&runtime, client);
        runtime.stop();
        assert_eq!(server.read(&mut [0]).expect("the end"), 0);
    });
}

#[test]
fn a_listener_goes_on_listening() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let plain = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let copy = plain.try_clone().expect("a copy");
        let socket = adopted(&runtime, plain);
        let early = client(socket);
        let accepted = recorder.accepted(socket);
        assert_eq!(get(accepted, ASOCK_OPTION_NODELAY), Ok(1));
        let address = text(&remote(accepted).expect("it answers"));
        assert_eq!(address, early.local_addr().expect("bound").to_string());
        // Whoever shares it goes on listening when it is closed here.
        recorder.close_now(socket);
        let address = copy.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it listens");
        assert!(copy.accept().is_ok());
        drop(client);
    });
}

#[test]
fn fresh_and_bound_descriptors_connect_and_listen() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let listener = Listener::new();
        let fresh = || {
            let fresh = raw_socket(libc::AF_INET, libc::SOCK_STREAM, 0);
            adopted(&runtime, fresh.expect("there are sockets"))
        };
        let socket = fresh();
        assert_eq!(local_text(socket), "");
        assert_eq!(listen(socket, 0), ASOCK_INVALID_STATE, "it is not bound");
        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        recorder.put(socket, b"hello");
        listener.accept();

        let socket = fresh();
        assert_eq!(
            bind(socket, "::1", 0),
            ASOCK_NOT_SUPPORTED,
            "another family"
        );
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_OK);
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_INVALID_STATE);
        let own = port(socket);
        assert_eq!(listen(socket, 0), ASOCK_OK);
        let client = TcpStream::connect(("127.0.0.1", own)).expect("it listens");
        recorder.accepted(socket);
        drop(client);
        // A refused connect leaves it as it was.
        let (socket, refused) = (fresh(), Refused::new());
        for _ in 0..2 {
            let completion = recorder.connect_now(socket, refused.port());
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_CONNECTION_REFUSED);
        }
        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        // One that does not wait connects on either driver, too.
        let nonblocking = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        let socket = raw_socket(libc::AF_INET, nonblocking, 0).expect("there are sockets");
        let socket = adopted(&runtime, socket);
        let completion = recorder.connect_now(socket, listener.port());
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        recorder.put(socket, b"hello");
    });
}

#[test]
fn unix_and_datagram_descriptors_are_taken() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (one, mut other) = UnixStream::pair().expect("unix sockets");
        let socket = adopted(&runtime, one);
        other.write_all(b"unix").expect("writes");
        assert_eq!(recorder.take_bytes(socket, 4), b"unix");
        let place = Place::new();
        let listener = UnixListener::bind(place.path()).expect("binds");
        let socket = adopted(&runtime, listener);
        let _client = UnixStream::connect(place.path()).expect("it listens");
        let accepted = recorder.accepted(socket);
        assert_eq!(text(&remote(accepted).expect("it answers")), "unix:");
        recorder.close_now(socket);
        assert!(place.path().exists(), "the file was not made here");

        let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
        let expected = udp.local_addr().expect("it is bound").to_string();
        let socket = adopted(&runtime, udp);
        assert_eq!(local_text(socket), expected);
        let (one, _other) = UnixDatagram::pair().expect("unix sockets");
        adopted(&runtime, one);
    });
}

#[test]
fn what_is_no_such_socket_stays_the_callers() {
    let runtime = Runtime::on_worker();
    let file = File::open("/dev/null").expect("it is there");
    let mut pipe = [-1; 2];
    // SAFETY: two places that may be written.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: new descriptors, which are owned here.
    let [reader, writer] = pipe.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
    let mut others = vec![
        OwnedFd::from(file),
        reader,
        writer,
        raw_socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0).expect("unix sockets"),
        raw_socket(libc::AF_NETLINK, libc::SOCK_RAW, 0).expect("netlink"),
    ];
    // What not every user may have.
    others.extend(raw_socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP));
    others.extend(raw_socket(
        libc::AF_INET,
        libc::SOCK_DGRAM,
        libc::IPPROTO_ICMP,
    ));
    others.extend(raw_socket(
        libc::AF_INET,
        libc::SOCK_STREAM,
        libc::IPPROTO_SCTP,
    ));
    for other in &others {
        let number = other.as_raw_fd();
        bare(number);
        assert_eq!(
            adopt(&runtime, i64::from(number)),
            Err(ASOCK_INVALID_ARGUMENT)
        );
        assert!(!is_close_on_exec(number) && !is_non_blocking(number));
    }
    // No descriptor at all.
    let closed = File::open("/dev/null").expect("it is there").as_raw_fd();
    for number in [i64::from(closed), i64::from(i32::MAX), 1 << 40] {
        assert_eq!(adopt(&runtime, number), Err(ASOCK_INVALID_ARGUMENT));
    }
    assert_eq!(runtime.stats().sockets_open, 0);
}

#[test]
fn a_runtime_that_takes_no_more_leaves_the_descriptor() {
    let mut config = config(ASOCK_DELIVER_ON_WORKER);
    config.max_sockets = 1;
    let runtime = Runtime::start(&config);
    let (client, mut server) = plain_pair();
    let (other, _) = plain_pair();
    let number = i64::from(client.as_raw_fd());
    let kept = adopted(&runtime, other);
    assert_eq!(adopt(&runtime, number), Err(ASOCK_TOO_MANY_SOCKETS));
    assert_eq!(asock_close(kept), ASOCK_OK);
    until("it is closed", || runtime.stats().sockets_open == 0);
    assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    assert_eq!(adopt(&runtime, number), Err(ASOCK_STOPPED));
    runtime.stop();
    assert_eq!(adopt(&runtime, number), Err(ASOCK_BAD_HANDLE));
    client.set_nonblocking(false).expect("it is still ours");
    (&client).write_all(b"x").expect("it is still ours");
    server.read_exact(&mut [0]).expect("it comes");
}

#[test]
fn a_lingering_descriptor_does_not_stop_the_worker() {
    let runtime = Runtime::on_worker();
    let (client, server) = plain_pair();
    const LINGER: Duration = Duration::from_secs(60);
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: LINGER.as_secs() as libc::c_int,
    };
    // SAFETY: an open descriptor, and a struct of the option's type and size.
    let answer = unsafe {
        let size = size_of::<libc::linger>() as libc::socklen_t;
        let value = (&raw const linger).cast();
        libc::setsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            value,
            size,
        )
    };
    assert_eq!(answer, 0);
    // More than the system sends while nobody reads.
    client.set_nonblocking(true).expect("it is a socket");
    while (&client).write(&[0; 65_536]).is_ok() {}
    let socket = adopted(&runtime, client);
    let recorder = runtime.recorder();
    let start = std::time::Instant::now();
    recorder.close_now(socket);
    assert!(start.elapsed() < LINGER);
    drop(server);
}

#[test]
fn a_released_descriptor_is_as_it_was() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        // One that was adopted, unused and used, and one that was made here.
        for made in ["unused", "used", "own"] {
            let (client, mut server) = plain_pair();
            let number = client.as_raw_fd();
            let socket = match made {
                "own" => {
                    let listener = Listener::new();
                    let socket = runtime.connected(listener.port());
                    server = listener.accept();
                    socket
                }
                _ => adopted(&runtime, client),
            };
            if made == "used" {
                recorder.put(socket, b"hello");
                server.read_exact(&mut [0; 5]).expect("reads");
            }
            let released = release(socket).expect("nothing is pending");
            assert_eq!(release(socket), Err(ASOCK_BAD_HANDLE));
            assert_eq!(asock_close(socket), ASOCK_BAD_HANDLE);
            if made != "own" {
                assert_eq!(released, number);
            }
            assert!(is_close_on_exec(released) && is_non_blocking(released));
            // SAFETY: it is ours now.
            let mut stream = unsafe { TcpStream::from_raw_fd(released) };
            stream.set_nonblocking(false).expect("a socket");
            stream.write_all(b"again").expect("it stands");
            let mut again = [0; 5];
            server.read_exact(&mut again).expect("reads");
            assert_eq!(&again, b"again");
            drop(stream);
            assert_eq!(server.read(&mut [0]).expect("the end"), 0);
        }
        until("they are gone", || runtime.stats().sockets_open == 0);
    });
}

#[test]
fn what_is_pending_keeps_the_descriptor() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        assert_eq!(
            release(runtime.open()),
            Err(ASOCK_INVALID_STATE),
            "it has none"
        );
        let (client, mut server) = plain_pair();
        let socket = adopted(&runtime, client);
        let room = Memory::new(4);
        let op = recorder.receive(socket, &room, 0);
        assert_eq!(release(socket), Err(ASOCK_INVALID_STATE));
        server.write_all(b"x").expect("writes");
        recorder
            .completion_of(op)
            .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        let op = recorder.receive(socket, &room, 0);
        assert_eq!(release(socket), Err(ASOCK_INVALID_STATE));
        assert_eq!(asock_cancel(op), ASOCK_OK);
        recorder
            .completion_of(op)
            .expect(ASOCK_KIND_RECEIVE, ASOCK_CANCELED);
        // What was canceled has let go of it.
        let number = release(socket).expect("nothing is pending");
        // SAFETY: it is ours now.
        let stream = unsafe { TcpStream::from_raw_fd(number) };
        server.write_all(b"for us").expect("writes");
        stream.set_nonblocking(false).expect("a socket");
        let mut ours = [0; 6];
        (&stream)
            .read_exact(&mut ours)
            .expect("nobody else takes it");
        assert_eq!(&ours, b"for us");

        let socket = listener(&runtime);
        let op = recorder.accept(socket);
        assert_eq!(release(socket), Err(ASOCK_INVALID_STATE));
        assert_eq!(asock_cancel(op), ASOCK_OK);
        recorder
            .completion_of(op)
            .expect(ASOCK_KIND_ACCEPT, ASOCK_CANCELED);
        let number = release(socket).expect("nothing is pending");
        // SAFETY: it is ours now.
        let listener = unsafe { TcpListener::from_raw_fd(number) };
        listener.set_nonblocking(false).expect("a socket");
        let _client = TcpStream::connect(listener.local_addr().expect("bound"));
        assert!(listener.accept().is_ok());
    });
}

#[test]
fn a_callback_may_release_its_socket() {
    on_both(|runtime| {
        let released = runtime.recorder_with(|result| {
            let number = release(result.socket).expect("its operation is over");
            // SAFETY: it is ours now.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        });
        for _ in 0..20 {
            let (client, mut server) = plain_pair();
            let socket = adopted(&runtime, client);
            let op = released.receive(socket, &Memory::new(1), 0);
            server.write_all(b"x").expect("writes");
            released
                .completion_of(op)
                .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
            assert_eq!(server.read(&mut [0]).expect("the end"), 0);
        }
    });
}

/// The number of a released descriptor is another's at once; nothing that the worker does later may reach that one.
#[test]
fn a_number_that_is_used_anew_is_not_touched() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let mut kept: Vec<(asock_socket, TcpStream)> = Vec::new();
        for round in 0..100 {
            let (client, mut server) = plain_pair();
            let socket = adopted(&runtime, client);
            recorder.put(socket, b"a");
            server.read_exact(&mut [0]).expect("reads");
            let number = release(socket).expect("nothing is pending");
            // The next connection gets the same number, here or in the library.
            let (next, next_server) = plain_pair();
            // SAFETY: both are ours.
            assert_eq!(unsafe { libc::dup2(next.as_raw_fd(), number) }, number);
            drop(next);
            // SAFETY: as above.
            let socket = adopted(&runtime, unsafe { OwnedFd::from_raw_fd(number) });
            assert_eq!(server.read(&mut [0]).expect("the end"), 0);
            kept.push((socket, next_server));
            if round % 10 == 0 {
                for (socket, server) in &mut kept {
                    let op = recorder.receive(*socket, &Memory::new(1), 0);
                    server.write_all(b"x").expect("it stands");
                    recorder
                        .completion_of(op)
                        .expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
                }
            }
        }
        // The worker may still have to hear of the last release.
        until("the count", || runtime.stats().sockets_open == 100);
    });
}

/// The worker itself may get the number of a released descriptor before it has heard of the release.
#[test]
fn a_number_that_the_worker_gets_anew_is_not_touched() {
    let runtime = Runtime::on_worker();
    let (peer, gate) = (Peer::echo(), Gate::new());
    let of_callback = gate.clone();
    let stuck = runtime.recorder_with(move |_| of_callback.enter());
    let recorder = runtime.recorder();
    let (client, _server) = plain_pair();
    let socket = adopted(&runtime, client);
    recorder.put(socket, b"x");
    let others: Vec<_> = (0..50).map(|_| runtime.open()).collect();
    stuck.timer(0);
    gate.wait_entered();
    // Their descriptors are made when the worker goes on, and one of them has the number that is given up now.
    let ops: Vec<_> = others
        .iter()
        .map(|other| recorder.connect(*other, peer.port()))
        .collect();
    let number = release(socket).expect("nothing is pending");
    // SAFETY: it is ours now.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    gate.open();
    for (op, other) in ops.into_iter().zip(others) {
        recorder
            .completion_of(op)
            .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        recorder.put(other, b"echo");
        assert_eq!(recorder.take_bytes(other, 4), b"echo");
    }
}

/// Whoever asks something of the socket meanwhile gets an answer, and the descriptor comes back all the same.
#[test]
fn a_release_races_calls_on_the_socket() {
    let runtime = Runtime::on_worker();
    for _ in 0..100 {
        let (client, server) = plain_pair();
        let socket = adopted(&runtime, client);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| while get(socket, ASOCK_OPTION_TTL) != Err(ASOCK_BAD_HANDLE) {});
            }
            let number = release(socket).expect("nothing is pending");
            // SAFETY: it is ours now.
            let stream = unsafe { TcpStream::from_raw_fd(number) };
            (&stream).write_all(b"x").expect("it is open");
        });
        (&server).read_exact(&mut [0]).expect("it came");
    }
    until("they are gone", || runtime.stats().sockets_open == 0);
}

#[test]
fn the_file_of_a_released_listener_stays() {
    let runtime = Runtime::on_worker();
    let place = Place::new();
    let socket = runtime.open();
    assert_eq!(bind(socket, &place.host(), 0), ASOCK_OK);
    assert_eq!(listen(socket, 0), ASOCK_OK);
    let number = release(socket).expect("nothing is pending");
    runtime.stop();
    // SAFETY: it is ours now.
    let listener = unsafe { UnixListener::from_raw_fd(number) };
    let _client = UnixStream::connect(place.path()).expect("it listens");
    listener.set_nonblocking(false).expect("a socket");
    assert!(listener.accept().is_ok());
}
