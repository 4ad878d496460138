//! Unix stream sockets, by path and by abstract name: the server's half; the client's is in `connect`.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::{UnixListener, UnixStream};

/// Hosts of both sorts that nothing has.
fn hosts() -> (Place, Vec<String>) {
    let place = Place::new();
    let name = place.path().file_name().expect("it has a name");
    let name = format!("unix:@{}", name.to_str().expect("a text"));
    let hosts = vec![place.host(), name];
    (place, hosts)
}

#[test]
fn both_ends_are_ours() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (_place, hosts) = hosts();
        for host in &hosts {
            let listener = runtime.open();
            assert_eq!(bind(listener, host, 0), ASOCK_OK);
            assert_eq!(listen(listener, 0), ASOCK_OK);
            let ops: Vec<_> = (0..3).map(|_| recorder.accept(listener)).collect();
            let clients: Vec<_> = (0..3).map(|_| runtime.open()).collect();
            for client in &clients {
                let op = recorder.connect_to(*client, host, 0);
                recorder
                    .completion_of(op)
                    .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
                assert_eq!(text(&remote(*client).expect("it answers")), *host);
            }
            for (number, (op, client)) in ops.iter().zip(&clients).enumerate() {
                let server = new_socket(&recorder.completion_of(*op));
                assert_eq!(local_text(server), *host);
                assert_eq!(text(&remote(server).expect("it answers")), "unix:");
                let text = format!("message {number}");
                recorder.put(*client, text.as_bytes());
                assert_eq!(recorder.take_bytes(server, text.len()), text.as_bytes());
                recorder.put(server, text.as_bytes());
                assert_eq!(recorder.take_bytes(*client, text.len()), text.as_bytes());
                recorder.close_now(server);
                assert_eq!(recorder.take(*client, 1, 0).1, b"");
                recorder.close_now(*client);
            }
            recorder.close_now(listener);
            // Nobody is there any more.
            let late = runtime.open();
            let op = recorder.connect_to(late, host, 0);
            let status = match host.contains('@') {
                true => ASOCK_CONNECTION_REFUSED,
                false => ASOCK_ADDRESS_NOT_AVAILABLE,
            };
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_CONNECT, status);
            recorder.close_now(late);
        }
        assert_eq!(runtime.stats().sockets_open, 0);
    });
}

#[test]
fn a_client_with_a_name_is_seen_by_it() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let ((_one, servers), (_other, clients)) = (hosts(), hosts());
        for (server, client) in servers.iter().zip(&clients) {
            let listener = runtime.open();
            assert_eq!(bind(listener, server, 0), ASOCK_OK);
            assert_eq!(listen(listener, 0), ASOCK_OK);
            let socket = runtime.open();
            assert_eq!(bind(socket, client, 0), ASOCK_OK);
            // Nobody listens there: the name is kept.
            let op = recorder.connect_to(socket, "unix:/nonexistent", 0);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_ADDRESS_NOT_AVAILABLE);
            let op = recorder.connect_to(socket, server, 0);
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_eq!(local_text(socket), *client);
            let accepted = recorder.accepted(listener);
            assert_eq!(text(&remote(accepted).expect("it answers")), *client);
        }
    });
}

#[test]
fn a_path_that_is_too_long_is_an_argument() {
    let runtime = Runtime::on_worker();
    let socket = runtime.open();
    // One byte is left for the zero at the end.
    for (length, bound) in [(107, true), (108, false), (200, false)] {
        for start in ["", "@"] {
            let name = format!("asock-{}-{}", std::process::id(), "n".repeat(length));
            let host = format!("unix:{start}{}", &name[..length]);
            let socket = runtime.open();
            let answer = bind(socket, &host, 0);
            let expected = if bound {
                ASOCK_OK
            } else {
                ASOCK_INVALID_ARGUMENT
            };
            assert_eq!(answer, expected, "{length} {start}");
            if bound {
                assert_eq!(local_text(socket), host);
            }
            let recorder = runtime.recorder();
            recorder.close_now(socket);
        }
    }
    assert_eq!(bind(socket, "unix:", 0), ASOCK_INVALID_ARGUMENT);
    assert_eq!(bind(socket, "unix:@", 0), ASOCK_INVALID_ARGUMENT);
}

#[test]
fn a_name_is_taken_by_one() {
    on_both(|runtime| {
        let (place, hosts) = hosts();
        for host in &hosts {
            let (first, second) = (runtime.open(), runtime.open());
            assert_eq!(bind(first, host, 0), ASOCK_OK);
            assert_eq!(bind(second, host, 0), ASOCK_ADDRESS_IN_USE);
            assert_eq!(listen(second, 0), ASOCK_INVALID_STATE);
            let recorder = runtime.recorder();
            recorder.close_now(first);
            assert_eq!(bind(second, host, 0), ASOCK_OK);
            recorder.close_now(second);
        }
        // A file that a crash has left is nobody's, and stays.
        drop(UnixListener::bind(place.path()).expect("it can be made"));
        let socket = runtime.open();
        assert_eq!(bind(socket, &place.host(), 0), ASOCK_ADDRESS_IN_USE);
        assert!(place.path().exists());
    });
}

/// Sends bytes together with a descriptor.
fn send_with_descriptor(stream: &UnixStream, bytes: &[u8]) {
    let number = stream.as_raw_fd();
    let mut control = [0_u64; 8];
    // SAFETY: the message and all that it points to are locals, or borrowed for the call; the control data has room for
    // one number.
    let sent = unsafe {
        let mut piece = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<libc::c_int>().write(number);
        libc::sendmsg(number, &raw const message, libc::MSG_NOSIGNAL)
    };
    assert_eq!(usize::try_from(sent), Ok(bytes.len()));
}

/// The system ends a receive behind bytes with which descriptors came; that is not the end of what is there.
#[test]
fn bytes_behind_a_descriptor_are_received() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let (ours, theirs) = (Place::new(), Place::new());
        let server = UnixListener::bind(theirs.path()).expect("it can be made");
        let connected = runtime.open();
        let op = recorder.connect_to(connected, &theirs.host(), 0);
        recorder
            .completion_of(op)
            .expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        let (caller, _) = server.accept().expect("it has come");
        let listener = runtime.open();
        assert_eq!(bind(listener, &ours.host(), 0), ASOCK_OK);
        assert_eq!(listen(listener, 0), ASOCK_OK);
        let client = UnixStream::connect(ours.path()).expect("it listens");
        let accepted = recorder.accepted(listener);
        let (one, other) = UnixStream::pair().expect("unix sockets");
        let (number, mut adopted) = (i64::from(one.into_raw_fd()), 0);
        // SAFETY: `adopted` may be written.
        let status = unsafe { asock_adopt(runtime.handle(), number, &raw mut adopted) };
        assert_eq!(status, ASOCK_OK);
        for (socket, mut peer) in [(connected, caller), (accepted, client), (adopted, other)] {
            peer.write_all(b"first").expect("connected");
            // With more room than that, so that the next receive may wait for an event.
            assert_eq!(recorder.take(socket, 8, 0).1, b"first");
            send_with_descriptor(&peer, b"one");
            peer.write_all(b"two").expect("connected");
            for part in [b"one", b"two"] {
                assert_eq!(recorder.take(socket, 8, 0).1, part);
            }
        }
    });
}

/// Whether the driver asks again or the system has a thread of its own wait.
#[test]
fn a_connect_that_waits_for_room_is_cut() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        let place = Place::new();
        let listener = UnixListener::bind(place.path()).expect("it can be made");
        // SAFETY: no pointers.
        let made_short = unsafe { libc::listen(listener.as_raw_fd(), 0) };
        assert_eq!(made_short, 0);
        let _first = UnixStream::connect(place.path()).expect("one may wait");
        for _ in 0..5 {
            for (status, cut) in CUTS {
                let socket = runtime.open();
                let op = recorder.connect_to(socket, &place.host(), 0);
                // The system tries for a while before it leaves it to a thread.
                (0..20).for_each(|_| have_a_turn(&runtime));
                cut(op);
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_CONNECT, status);
                assert_eq!(completion.os_error, 0);
                recorder.close_now(socket);
            }
        }
    });
}

/// As over TCP: the connect is pending, with all that stands behind it, and ends in any of the ways.
#[test]
fn a_connect_waits_while_the_queue_of_the_listener_is_full() {
    on_both(|runtime| {
        let (_place, hosts) = hosts();
        for host in &hosts {
            let recorder = runtime.recorder();
            let listener = runtime.open();
            assert_eq!(bind(listener, host, 0), ASOCK_OK);
            assert_eq!(listen(listener, 1), ASOCK_OK);
            // As many as the system keeps for that number, and a little more.
            let (mut waiting, mut admitted) = (Vec::new(), 0);
            while waiting.len() < 4 {
                let (client, behind) = (runtime.open(), Memory::of(b"behind"));
                let connect = recorder.connect_to(client, host, 0);
                let send = recorder.send(client, &behind, 0);
                for _ in 0..3 {
                    have_a_turn(&runtime);
                }
                match is_pending(connect) {
                    true => waiting.push((client, connect, send)),
                    false => {
                        recorder
                            .completion_of(send)
                            .expect(ASOCK_KIND_SEND, ASOCK_OK);
                        admitted += 1;
                    }
                }
            }
            let cuts = [(ASOCK_CANCELED, CUTS[0].1), (ASOCK_TIMED_OUT, CUTS[1].1)];
            for ((status, cut), (client, connect, send)) in cuts.into_iter().zip(&waiting) {
                cut(*connect);
                for op in [*connect, *send] {
                    let completion = recorder.completion_of(op);
                    assert_eq!(completion.status, status, "{completion:?}");
                }
                assert_eq!(remote(*client), Ok(NO_ADDRESS));
            }
            let (closed, connect, _) = waiting[2];
            assert_eq!(asock_close(closed), ASOCK_OK);
            assert_eq!(recorder.completion_of(connect).status, ASOCK_CLOSED);
            // With room again it goes on, and is the last that comes.
            let (last, connect, send) = waiting[3];
            for _ in 0..=admitted {
                let op = recorder.accept(listener);
                new_socket(&recorder.completion_of(op));
            }
            let connected = recorder.completion_of(connect);
            connected.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_eq!(recorder.completion_of(send).status, ASOCK_OK);
            assert_eq!(text(&remote(last).expect("connected")), *host);
            recorder.close_now(last);
            recorder.close_now(listener);
        }
    });
}
