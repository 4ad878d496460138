//! Accepted sockets go to the worker that has the fewest, whichever worker their listener is on.

use super::common::calls::*;
use super::common::server::*;
use super::common::*;
use super::{count_by_thread, on_workers, start, Watchdog, WORKERS};
use asock::*;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

/// Accepts as many connections, and gives each with its client and the thread that it lives on.
fn accept_many(
    runtime: &Runtime,
    listener: asock_socket,
    count: usize,
) -> Vec<(asock_socket, TcpStream, ThreadId)> {
    let recorder = runtime.recorder();
    let ops: Vec<_> = (0..count).map(|_| recorder.accept(listener)).collect();
    let clients: Vec<_> = (0..count).map(|_| client(listener)).collect();
    let accepted = ops.iter().map(|op| recorder.completion_of(*op));
    let accepted: Vec<_> = accepted.map(|one| (new_socket(&one), one.thread)).collect();
    // The callbacks of accepts are the listener's, on its worker.
    assert!(accepted.iter().all(|one| one.1 == accepted[0].1));
    let mut housed = Vec::new();
    for ((socket, _), mut client) in accepted.into_iter().zip(clients) {
        let op = recorder.receive(socket, &Memory::new(1), 0);
        client.write_all(b"x").expect("it is connected");
        let completion = recorder.completion_of(op);
        completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
        housed.push((socket, client, completion.thread));
    }
    housed
}

#[test]
fn accepted_sockets_are_spread_by_load_and_stay_where_they_are() {
    let runtime = on_workers();
    let listener = listener(&runtime);
    let accepted = accept_many(&runtime, listener, 39);
    let homes: Vec<_> = accepted.iter().map(|one| (one.0, one.2)).collect();
    let counts = count_by_thread(&homes);
    assert_eq!(counts.len(), WORKERS as usize);
    // The listener is one of 40.
    let mut sizes: Vec<usize> = counts.values().copied().collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [9, 10, 10, 10]);
    assert_eq!(runtime.stats().sockets_open, 40);

    let recorder = runtime.recorder();
    for (socket, client, home) in &accepted {
        let mut client = client;
        recorder.put(*socket, b"there");
        let mut there = [0; 5];
        client.read_exact(&mut there).expect("it comes");
        let op = recorder.receive(*socket, &Memory::new(4), ASOCK_RECEIVE_ALL);
        client.write_all(b"back").expect("it is connected");
        assert_eq!(recorder.completion_of(op).thread, *home);
    }
    for (socket, mut client, _) in accepted {
        recorder.close_now(socket);
        assert_eq!(client.read(&mut [0]).expect("the end"), 0);
    }
    assert_eq!(runtime.stats().sockets_open, 1);
    // The places are used again: load and limit know of no socket that is gone.
    let counts: HashMap<_, _> =
        accept_many(&runtime, listener, 39)
            .into_iter()
            .fold(HashMap::new(), |mut counts, one| {
                *counts.entry(one.2).or_insert(0) += 1;
                counts
            });
    assert!(
        counts.values().all(|count| (9..=10).contains(count)),
        "{counts:?}"
    );
}

/// Places that no connection fills weigh nothing once their accepts are over.
#[test]
fn canceled_accepts_leave_no_load() {
    let runtime = on_workers();
    let recorder = runtime.recorder();
    let listener = listener(&runtime);
    for _ in 0..5 {
        let ops: Vec<_> = (0..40).map(|_| recorder.accept(listener)).collect();
        for op in &ops {
            assert_eq!(asock_cancel(*op), ASOCK_OK);
        }
        for op in ops {
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_ACCEPT, ASOCK_CANCELED);
        }
    }
    let accepted = accept_many(&runtime, listener, 7);
    let homes: Vec<_> = accepted.iter().map(|one| (one.0, one.2)).collect();
    let mut sizes: Vec<usize> = count_by_thread(&homes).into_values().collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2, 2]);
}

/// Connections come while the runtime stops: each is handed over or not, and none that was stays open. (One that comes in
/// the very moment in which its listener goes may never hear of that: Linux forgets it.)
#[test]
fn a_stop_meets_accepts_on_every_worker() {
    for delivery in [ASOCK_DELIVER_ON_WORKER, ASOCK_DELIVER_ON_POLL] {
        for _ in 0..20 {
            let _watchdog = Watchdog::start("a stop that meets accepts");
            let runtime = start(delivery);
            let callers = Arc::new(Mutex::new(HashSet::new()));
            let of_callback = Arc::clone(&callers);
            let recorder = runtime.recorder_with(move |result| {
                if result.status == ASOCK_OK {
                    let peer = text(&remote(result.value).expect("it is a socket"));
                    let mut callers = of_callback.lock().expect("nobody panics with it");
                    callers.insert((peer, local_text(result.value)));
                }
            });
            let listeners: Vec<_> = (0..WORKERS).map(|_| listener(&runtime)).collect();
            let ports: Vec<_> = listeners.iter().map(|one| port(*one)).collect();
            let ops: Vec<_> = (0..32)
                .map(|number| recorder.accept(listeners[number % listeners.len()]))
                .collect();
            let connector = std::thread::spawn(move || connect_until_refused(&ports));
            if delivery == ASOCK_DELIVER_ON_WORKER {
                recorder.wait_for(4);
            }
            runtime.stop();
            let mut clients = connector.join().expect("it ends");
            let completions = recorder.wait_for(ops.len());
            assert_eq!(completions.len(), ops.len());
            for completion in completions {
                assert!([ASOCK_OK, ASOCK_STOPPED].contains(&completion.status));
            }
            let callers = callers.lock().expect("nobody panics with it");
            clients.retain(|(names, _)| callers.contains(names));
            assert_eq!(clients.len(), callers.len());
            for (_, client) in &mut clients {
                assert_gone(client);
            }
        }
    }
}

/// A client, and the names of both its ends.
type Named = ((String, String), TcpStream);

/// Connects to one port after the other, as long as somebody listens.
fn connect_until_refused(ports: &[u16]) -> Vec<Named> {
    let mut clients = Vec::new();
    for port in ports.iter().cycle().take(200) {
        let Ok(client) = TcpStream::connect(("127.0.0.1", *port)) else {
            break;
        };
        client.set_read_timeout(Some(LIMIT)).expect("a socket");
        // Asked for now: a client that was reset no longer knows.
        let own = client.local_addr().expect("it is connected").to_string();
        clients.push(((own, format!("127.0.0.1:{port}")), client));
    }
    clients
}

/// What is said on the new sockets while the next ones come in.
#[test]
fn a_crowd_is_served_from_all_workers() {
    let _watchdog = Watchdog::start("a crowd");
    let runtime = on_workers();
    let listener = listener(&runtime);
    let echo = runtime.recorder_with(|result| {
        // SAFETY: the recorder, which is the user data, outlives the operations.
        unsafe {
            match (result.kind, result.status) {
                (ASOCK_KIND_ACCEPT, ASOCK_OK) => {
                    let room = Box::leak(Box::new([0_u8; 16])).as_mut_ptr().cast();
                    let (socket, me) = (result.value, result.user_data);
                    let begun = asock_begin_receive(socket, room, 16, 0, Some(record), me, NULL_OP);
                    assert_eq!(begun, ASOCK_OK);
                    let begun = asock_begin_accept(result.socket, Some(record), me, NULL_OP);
                    // The last connection may have been served by now on another worker, and that is the end.
                    assert!(matches!(begun, ASOCK_OK | ASOCK_STOPPED), "{begun}");
                }
                (ASOCK_KIND_RECEIVE, ASOCK_OK) if result.bytes > 0 => {
                    let (socket, me) = (result.socket, result.user_data);
                    let (data, length) = (result.buffer.cast_const(), result.bytes);
                    let copy = ASOCK_SEND_COPY;
                    asock_begin_send(socket, data, length, copy, None, NOTHING, NULL_OP);
                    asock_begin_receive(socket, result.buffer, 16, 0, Some(record), me, NULL_OP);
                }
                (ASOCK_KIND_RECEIVE, _) => assert_eq!(asock_close(result.socket), ASOCK_OK),
                _ => {}
            }
        }
    });
    for _ in 0..4 {
        echo.accept(listener);
    }
    let port = port(listener);
    let clients: Vec<_> = (0..8)
        .map(|thread| {
            std::thread::spawn(move || {
                for round in 0..25_u32 {
                    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
                    client.set_read_timeout(Some(LIMIT)).expect("a socket");
                    let text = format!("{thread} {round}");
                    client.write_all(text.as_bytes()).expect("it is connected");
                    let mut answer = vec![0; text.len()];
                    client.read_exact(&mut answer).expect("it is answered");
                    assert_eq!(answer, text.as_bytes());
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("each is served");
    }
    until("they are closed", || runtime.stats().sockets_open == 1);
}

const NULL_OP: *mut asock_op = std::ptr::null_mut();
