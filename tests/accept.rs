//! Accepting: the new socket is a full one, accepts are served in order, and no connection is lost.
#![allow(unsafe_code)] // The functions under test take pointers.

mod common;

use asock::*;
use common::calls::*;
use common::server::*;
use common::*;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

fn local_port(stream: &TcpStream) -> u16 {
    stream.local_addr().expect("it is connected").port()
}

/// The port of a socket's peer.
fn peer_port(socket: asock_socket) -> u16 {
    let address = remote(socket).expect("it answers");
    // SAFETY: the address is a live value.
    unsafe { asock_address_port(&raw const address) }
}

#[test]
fn an_accepted_socket_is_a_full_one() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        let mut client = client(listener);
        let socket = recorder.accepted(listener);
        assert_ne!(socket, listener);
        assert_eq!(runtime.stats().sockets_open, 2);
        // Each end's address is the other one's.
        let own = client.local_addr().expect("it is connected");
        assert_eq!(text(&remote(socket).expect("it answers")), own.to_string());
        let theirs = client.peer_addr().expect("it is connected");
        assert_eq!(local_text(socket), theirs.to_string());
        assert_eq!(get(socket, ASOCK_OPTION_NODELAY), Ok(1));

        client.write_all(b"question").expect("writes");
        assert_eq!(recorder.take_bytes(socket, 8), b"question");
        recorder.put(socket, b"answer");
        let mut answer = [0; 6];
        client.read_exact(&mut answer).expect("reads");
        assert_eq!(&answer, b"answer");
        // It is connected, and nothing else.
        let completion = recorder.connect_now(socket, port(listener));
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_ALREADY_CONNECTED);
        assert_eq!(bind(socket, "127.0.0.1", 0), ASOCK_INVALID_STATE);
        assert_eq!(listen(socket, 0), ASOCK_INVALID_STATE);

        assert_eq!(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND), ASOCK_OK);
        assert_eq!(client.read(&mut answer).expect("reads the end"), 0);
        drop(client);
        assert_eq!(recorder.take(socket, 4, 0).1, b"");
        assert_eq!(peer_port(socket), own.port(), "remembered");
        recorder.close_now(socket);
        assert_eq!(runtime.stats().sockets_open, 1);
    });
}

#[test]
fn descriptors_are_close_on_exec() {
    let runtime = Runtime::on_worker();
    let (listener, recorder) = (listener(&runtime), runtime.recorder());
    let _client = client(listener);
    let accepted = recorder.accepted(listener);
    for socket in [accepted, listener] {
        let mut number = -1;
        // SAFETY: `number` may be written.
        assert_eq!(unsafe { asock_release(socket, &raw mut number) }, ASOCK_OK);
        let number = i32::try_from(number).expect("a descriptor");
        // SAFETY: it is ours now.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        // SAFETY: the call takes no pointer.
        let flags = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC);
    }
}

#[test]
fn accepts_are_served_in_the_order_begun() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        for before in [true, false] {
            // Connections that wait for accepts, and accepts that wait for connections.
            let already = recorder.count();
            let mut clients = Vec::new();
            if before {
                clients.extend((0..5).map(|_| client(listener)));
            }
            let ops: Vec<_> = (0..5).map(|_| recorder.accept(listener)).collect();
            if !before {
                assert_pending(&runtime, ops[0]);
                clients.extend((0..5).map(|_| client(listener)));
            }
            let completions = recorder.wait_for(already + 5).split_off(already);
            let completed: Vec<_> = completions.iter().map(|one| one.op).collect();
            assert_eq!(completed, ops);
            let sockets: Vec<_> = completions.iter().map(new_socket).collect();
            let ports: Vec<_> = sockets.iter().map(|socket| peer_port(*socket)).collect();
            let expected: Vec<_> = clients.iter().map(local_port).collect();
            assert_eq!(ports, expected);
            let distinct: BTreeSet<_> = sockets.iter().collect();
            assert_eq!(distinct.len(), 5);
            for completion in &completions {
                assert_eq!(completion.socket, listener);
            }
            for socket in sockets {
                recorder.close_now(socket);
            }
        }
        assert_eq!(runtime.stats().sockets_open, 1);
    });
}

#[test]
fn a_pending_accept_is_no_socket_yet() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        let ops: Vec<_> = (0..7).map(|_| recorder.accept(listener)).collect();
        assert_pending(&runtime, ops[6]);
        assert_eq!(runtime.stats().sockets_open, 1);
        // Nobody can name the places that wait for connections.
        for guess in 0..64 {
            let handle = listener + (guess << 30);
            if handle != listener {
                assert_eq!(asock_close(handle), ASOCK_BAD_HANDLE);
            }
        }
        for op in &ops {
            assert_eq!(asock_cancel(*op), ASOCK_OK);
        }
        for op in &ops {
            let completion = recorder.completion_of(*op);
            completion.expect(ASOCK_KIND_ACCEPT, ASOCK_CANCELED);
            assert_eq!(completion.value, 0);
        }
        assert_eq!(runtime.stats().sockets_open, 1);
    });
}

#[test]
fn options_of_the_listener_hold_for_what_it_accepts() {
    let runtime = Runtime::on_worker();
    let (listener, recorder) = (listener(&runtime), runtime.recorder());
    for (option, value) in [
        (ASOCK_OPTION_NODELAY, 0),
        (ASOCK_OPTION_KEEPALIVE, 1),
        (ASOCK_OPTION_SEND_TIMEOUT_MS, 70_000),
        (ASOCK_OPTION_RECEIVE_TIMEOUT_MS, 80_000),
        (ASOCK_OPTION_SEND_QUEUE_LIMIT, 90_000),
        (ASOCK_OPTION_ACCEPT_TIMEOUT_MS, 60_000),
        (ASOCK_OPTION_LINGER_S, 0),
    ] {
        assert_eq!(set(listener, option, value), ASOCK_OK);
    }
    let mut client = client(listener);
    let socket = recorder.accepted(listener);
    assert_eq!(get(socket, ASOCK_OPTION_NODELAY), Ok(0));
    assert_eq!(get(socket, ASOCK_OPTION_KEEPALIVE), Ok(1));
    assert_eq!(get(socket, ASOCK_OPTION_SEND_TIMEOUT_MS), Ok(70_000));
    assert_eq!(get(socket, ASOCK_OPTION_RECEIVE_TIMEOUT_MS), Ok(80_000));
    assert_eq!(get(socket, ASOCK_OPTION_SEND_QUEUE_LIMIT), Ok(90_000));
    assert_eq!(get(socket, ASOCK_OPTION_ACCEPT_TIMEOUT_MS), Ok(0));
    assert_eq!(get(socket, ASOCK_OPTION_LINGER_S), Ok(0));
    // Linger 0 resets at the close.
    recorder.close_now(socket);
    let error = client.read(&mut [0]).expect_err("it is reset");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

#[test]
fn an_accept_times_out() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        assert_eq!(set(listener, ASOCK_OPTION_ACCEPT_TIMEOUT_MS, 30), ASOCK_OK);
        let start = Instant::now();
        let late = recorder.accept(listener);
        assert_eq!(set(listener, ASOCK_OPTION_ACCEPT_TIMEOUT_MS, 0), ASOCK_OK);
        let patient = recorder.accept(listener);
        let completion = recorder.completion_of(late);
        completion.expect(ASOCK_KIND_ACCEPT, ASOCK_TIMED_OUT);
        assert_eq!((completion.value, completion.os_error), (0, 0));
        assert_passed(start, 30);
        assert!(is_pending(patient));
        let hurried = recorder.accept(listener);
        assert_eq!(asock_set_deadline(hurried, 0), ASOCK_OK);
        let completion = recorder.completion_of(hurried);
        completion.expect(ASOCK_KIND_ACCEPT, ASOCK_TIMED_OUT);
        // The next connection is for the one that has waited.
        let client = client(listener);
        let socket = new_socket(&recorder.completion_of(patient));
        assert_eq!(peer_port(socket), local_port(&client));
    });
}

#[test]
fn a_connection_goes_to_one_that_still_wants_it() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        for _ in 0..20 {
            let ops = [recorder.accept(listener), recorder.accept(listener)];
            assert_eq!(asock_cancel(ops[0]), ASOCK_OK);
            let completion = recorder.completion_of(ops[0]);
            completion.expect(ASOCK_KIND_ACCEPT, ASOCK_CANCELED);
            let client = client(listener);
            let socket = new_socket(&recorder.completion_of(ops[1]));
            assert_eq!(peer_port(socket), local_port(&client));
            recorder.close_now(socket);
        }
        assert_eq!(runtime.stats().sockets_open, 1);
    });
}

/// A cancel races a connection: it is handed over, or the next accept gets it.
#[test]
fn a_cancel_loses_no_connection() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        let (mut came, mut canceled) = (0, 0);
        for round in 0..200 {
            let op = recorder.accept(listener);
            if round % 2 == 0 {
                assert_pending(&runtime, op);
            }
            let client = client(listener);
            let answer = asock_cancel(op); // The callback may have returned.
            assert!([ASOCK_OK, ASOCK_BAD_HANDLE].contains(&answer));
            let completion = recorder.completion_of(op);
            let socket = match completion.status {
                ASOCK_CANCELED => {
                    canceled += 1;
                    assert_eq!(completion.value, 0);
                    recorder.accepted(listener)
                }
                _ => {
                    came += 1;
                    new_socket(&completion)
                }
            };
            assert_eq!(peer_port(socket), local_port(&client));
            recorder.close_now(socket);
        }
        assert_eq!(came + canceled, 200);
        assert_eq!(runtime.stats().sockets_open, 1);
    });
}

#[test]
fn several_accepts_then_close() {
    on_both(|runtime| {
        let recorder = runtime.recorder();
        for round in 0..100 {
            let already = recorder.count();
            let socket = listener(&runtime);
            let ops: Vec<_> = (0..4).map(|_| recorder.accept(socket)).collect();
            if round % 3 == 0 {
                assert_pending(&runtime, ops[3]);
            }
            if round % 2 == 0 {
                assert_eq!(asock_close(socket), ASOCK_OK);
            } else {
                recorder.close_now(socket);
            }
            assert_eq!(asock_close(socket), ASOCK_BAD_HANDLE);
            let completions = recorder.wait_for(already + 4).split_off(already);
            let ended: Vec<_> = completions
                .iter()
                .filter(|one| one.kind == ASOCK_KIND_ACCEPT)
                .collect();
            let completed: Vec<_> = ended.iter().map(|one| one.op).collect();
            assert_eq!(completed, ops, "each once, in order");
            for completion in ended {
                completion.expect(ASOCK_KIND_ACCEPT, ASOCK_CLOSED);
            }
        }
        until("the last is closed", || runtime.stats().sockets_open == 0);
    });
}

#[test]
fn a_drain_ends_accepts() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        let ops = [recorder.accept(listener), recorder.accept(listener)];
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
        for op in ops {
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_ACCEPT, ASOCK_STOPPED);
        }
        let mut op = 0;
        // SAFETY: the recorder outlives the operation, which does not come to be.
        let status = unsafe {
            asock_begin_accept(listener, Some(record), recorder.user_data(), &raw mut op)
        };
        assert_eq!((status, op), (ASOCK_STOPPED, 0));
        assert_eq!(runtime.stats().sockets_open, 1);
    });
}

/// A stop in the middle of connections: what was handed over is closed with the runtime.
#[test]
fn a_stop_leaves_no_connection_open() {
    for _ in 0..20 {
        on_both(|runtime| {
            let (listener, recorder) = (listener(&runtime), runtime.recorder());
            let ops: Vec<_> = (0..8).map(|_| recorder.accept(listener)).collect();
            let mut clients: Vec<_> = (0..6).map(|_| client(listener)).collect();
            runtime.stop();
            let completions = recorder.wait_for(ops.len());
            assert_eq!(completions.len(), ops.len());
            for completion in completions {
                match completion.status {
                    ASOCK_OK => assert_eq!(asock_close(new_socket(&completion)), ASOCK_BAD_HANDLE),
                    status => assert_eq!(status, ASOCK_STOPPED),
                }
            }
            clients.iter_mut().for_each(assert_gone);
        });
    }
}

#[test]
fn a_result_that_nobody_could_see_is_refused() {
    let runtime = Runtime::on_worker();
    let socket = listener(&runtime);
    // SAFETY: nothing is referred to.
    let status = unsafe { asock_begin_accept(socket, None, NOTHING, null_op()) };
    assert_eq!(status, ASOCK_INVALID_ARGUMENT);
    assert_eq!(runtime.stats().sockets_open, 1);
    // On poll the record is seen.
    let runtime = Runtime::on_poll();
    let socket = listener(&runtime);
    // SAFETY: as above.
    let status = unsafe { asock_begin_accept(socket, None, NOTHING, null_op()) };
    assert_eq!(status, ASOCK_OK);
    let _client = client(socket);
    let (status, results) = poll(&runtime, -1, 4);
    assert_eq!((status, results.len()), (ASOCK_OK, 1));
    assert_eq!(results[0].kind, ASOCK_KIND_ACCEPT);
    assert_eq!(asock_close(results[0].value), ASOCK_OK);
}

fn null_op() -> *mut asock_op {
    std::ptr::null_mut()
}

#[test]
fn an_accept_without_a_callback_is_ended() {
    let runtime = Runtime::on_worker();
    let socket = listener(&runtime);
    let op = plain_accept(socket);
    let client = client(socket);
    let result = end(op);
    assert_eq!((result.kind, result.status), (ASOCK_KIND_ACCEPT, ASOCK_OK));
    assert_eq!(peer_port(result.value), local_port(&client));
    assert_eq!(asock_close(result.value), ASOCK_OK);
    assert_eq!(asock_cancel(op), ASOCK_BAD_HANDLE);
}

/// Nobody can close a socket that nobody has heard of, so the library does.
#[test]
fn a_connection_that_nobody_learns_of_is_closed() {
    let runtime = Runtime::on_worker();
    let socket = listener(&runtime);
    // Forgotten before and after it has completed.
    let op = plain_accept(socket);
    assert_eq!(asock_forget(op), ASOCK_OK);
    assert_gone(&mut client(socket));
    let op = plain_accept(socket);
    let mut late = client(socket);
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
    assert_eq!(runtime.stats().sockets_open, 2);
    assert_eq!(asock_forget(op), ASOCK_OK);
    assert_gone(&mut late);
    until("they are closed", || runtime.stats().sockets_open == 1);
    // Dropped by a dispatch.
    let runtime = Runtime::on_poll();
    let socket = listener(&runtime);
    let op = plain_accept(socket);
    let mut dropped = client(socket);
    assert_eq!(asock_wait(op, -1), ASOCK_OK);
    assert_eq!(dispatch(&runtime, 0, 0, 0), (ASOCK_OK, 0));
    assert_gone(&mut dropped);
}

/// From inside a callback: the chain of accepts that servers are made of, and a close of the listener.
#[test]
fn accepts_are_begun_in_callbacks() {
    on_both(|runtime| {
        let chain = runtime.recorder_with(|result| {
            if result.status == ASOCK_OK && result.kind == ASOCK_KIND_ACCEPT {
                assert_eq!(asock_close(result.value), ASOCK_OK);
            }
        });
        let socket = listener(&runtime);
        for round in 1..=20 {
            chain.accept(socket);
            let mut client = client(socket);
            chain.wait_for(round);
            assert_gone(&mut client);
        }
        until("all are closed", || runtime.stats().sockets_open == 1);
    });
}

#[test]
fn past_the_limit_a_connection_is_refused() {
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        let mut config = config(delivery);
        config.max_sockets = 3;
        let runtime = Runtime::start(&config);
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        // Those that are pending do not count.
        let ops: Vec<_> = (0..6).map(|_| recorder.accept(listener)).collect();
        let other = runtime.open();
        assert_eq!(asock_close(other), ASOCK_OK);
        until("it is closed", || runtime.stats().sockets_open == 1);
        let mut clients: Vec<_> = (0..3).map(|_| client(listener)).collect();
        let sockets = [ops[0], ops[1]].map(|op| new_socket(&recorder.completion_of(op)));
        let completion = recorder.completion_of(ops[2]);
        completion.expect(ASOCK_KIND_ACCEPT, ASOCK_TOO_MANY_SOCKETS);
        assert_eq!((completion.value, completion.os_error), (0, 0));
        assert_gone(&mut clients[2]);
        assert_eq!(runtime.stats().sockets_open, 3);
        recorder.close_now(sockets[0]);
        let _client = client(listener);
        new_socket(&recorder.completion_of(ops[3]));
    }
}

#[test]
fn a_peer_that_is_gone_again_is_no_harm() {
    on_both(|runtime| {
        let (listener, recorder) = (listener(&runtime), runtime.recorder());
        for _ in 0..20 {
            reset(client(listener));
            let kept = client(listener);
            // Linux hands a reset connection over; what matters is that the next one comes.
            let mut socket = recorder.accepted(listener);
            if peer_port(socket) != local_port(&kept) {
                let (completion, _) = recorder.take(socket, 4, 0);
                completion.expect(ASOCK_KIND_RECEIVE, ASOCK_CONNECTION_RESET);
                recorder.close_now(socket);
                socket = recorder.accepted(listener);
            }
            assert_eq!(peer_port(socket), local_port(&kept));
            recorder.close_now(socket);
        }
    });
}
