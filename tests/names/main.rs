//! Connecting by name and `asock_begin_resolve`, with the system's own resolver, hosts files and name servers that are
//! slow, dead or wrong.
//!
//! A name is what an application passes most often and what answers worst: the resolver may hang for half a minute, one
//! of two addresses may lead nowhere, a server may listen on one family only. None of that may ever hold up anything
//! else, nor be lost. `world` tells how a test comes to decide what names mean.
#![allow(unsafe_code)] // The functions under test take pointers.

#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod datagram;
mod lookup;
mod race;
mod resolve;
mod server;
mod world;

use asock::*;
use common::*;
use server::Answer;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use world::{within, Setup};

/// What must come at once may take this long on a machine that is busy. Look-ups that hang do so for a minute.
const AT_ONCE: Duration = Duration::from_secs(40);

/// Makes a call, or waits for what must come at once.
#[track_caller]
fn at_once<T>(what: &str, action: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let answer = action();
    let took = start.elapsed();
    assert!(took < AT_ONCE, "{what} took {took:?}");
    answer
}

fn listen(address: &str, port: u16) -> std::io::Result<TcpListener> {
    let address: IpAddr = address.parse().expect("an address");
    let listener = TcpListener::bind((address, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("it is bound").port()
}

/// Listeners on one port of several addresses.
fn listen_on(addresses: &[&str]) -> (Vec<TcpListener>, u16) {
    for _ in 0..100 {
        let first = listen(addresses[0], 0).expect("loopback is there");
        let port = port_of(&first);
        let rest = addresses[1..].iter().map(|address| listen(address, port));
        let all: std::io::Result<Vec<_>> = std::iter::once(Ok(first)).chain(rest).collect();
        if let Ok(all) = all {
            return (all, port);
        }
    }
    panic!("no port is free on all of {addresses:?}");
}

fn accept(listener: &TcpListener) -> TcpStream {
    let mut stream = None;
    until("a connection", || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.expect("it was just there");
    stream.set_nonblocking(false).expect("it is a socket");
    let limited = stream.set_read_timeout(Some(LIMIT));
    limited.expect("it is a socket");
    stream
}

/// Descriptors that this process has open.
fn descriptors() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").expect("this is Linux");
    all.count()
}

fn text(address: &asock_address) -> String {
    let mut room = [0; ASOCK_ADDRESS_TEXT_MAX];
    // SAFETY: the address is a copy, and the room as long as it says.
    let status = unsafe { asock_address_format(address, room.as_mut_ptr().cast(), room.len()) };
    assert_eq!(status, ASOCK_OK);
    let end = room.iter().position(|byte| *byte == 0);
    let text = &room[..end.expect("it ends with a zero")];
    String::from_utf8(text.to_vec()).expect("it is text")
}

/// Whom a socket is connected to.
fn remote(socket: asock_socket) -> String {
    // SAFETY: a struct of integers may be all zero, and may be written.
    let mut address: asock_address = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let status = unsafe { asock_remote_address(socket, &raw mut address) };
    assert_eq!(status, ASOCK_OK);
    text(&address)
}

fn address_text(address: &str, port: u16) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

/// The connection carries bytes, both ways.
#[track_caller]
fn assert_carries(runtime: &Runtime, socket: asock_socket, stream: &mut TcpStream) {
    let recorder = runtime.recorder();
    recorder.send(socket, &Memory::of(b"there"), 0);
    let mut there = [0; 5];
    stream.read_exact(&mut there).expect("it was sent");
    assert_eq!(&there, b"there");
    let room = Memory::new(4);
    let receive = recorder.receive(socket, &room, ASOCK_RECEIVE_ALL);
    stream.write_all(b"back").expect("the connection is there");
    let completion = recorder.completion_of(receive);
    completion.expect(ASOCK_KIND_RECEIVE, ASOCK_OK);
    assert_eq!(room.bytes(), b"back");
}

/// All that was begun has completed, each once. The runtime is stopped for this: nothing comes after it.
#[track_caller]
fn assert_exactly_once(runtime: &Runtime, recorder: &Recorder, begun: usize) {
    let stats = runtime.stats();
    runtime.stop();
    let completions = recorder.completions();
    let mut ops: Vec<asock_op> = completions.iter().map(|one| one.op).collect();
    ops.sort_unstable();
    ops.dedup();
    assert_eq!((ops.len(), completions.len()), (begun, begun));
    assert_eq!(stats.operations_begun, begun as u64);
}

const BOTH: [(&str, &str); 2] = [("::1", "both.test"), ("127.0.0.1", "both.test")];

/// A host with two addresses, a server on one of them or on both, and a client that knows only its name.
fn connects_to_the_one_that_is_there(prefer_ipv4: bool) {
    let (first, second) = match prefer_ipv4 {
        true => ("127.0.0.1", "::1"),
        false => ("::1", "127.0.0.1"),
    };
    for servers in [&[first][..], &[second], &[second, first]] {
        let (listeners, port) = listen_on(servers);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (op, found) = resolve::begin(&runtime, &recorder, "both.test", port, 2);
            recorder
                .completion_of(op)
                .expect(ASOCK_KIND_RESOLVE, ASOCK_OK);
            let order = [first, second].map(|address| address_text(address, port));
            assert_eq!(resolve::texts(&found), order);

            let socket = runtime.open();
            let op = recorder.connect_to(socket, "both.test", port);
            let completion = at_once("a refused attempt", || recorder.completion_of(op));
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_eq!((completion.socket, completion.os_error), (socket, 0));
            let (at, _) = listeners.iter().zip(servers).next_back().expect("one");
            assert_eq!(
                remote(socket),
                address_text(servers[servers.len() - 1], port)
            );
            assert_carries(&runtime, socket, &mut accept(at));
        });
    }
}

#[test]
fn a_server_on_one_family_only_is_found_when_ipv6_comes_first() {
    let setup = Setup {
        hosts: &BOTH,
        ..Setup::default()
    };
    within(setup, |_| connects_to_the_one_that_is_there(false));
}

#[test]
fn a_server_on_one_family_only_is_found_when_ipv4_comes_first() {
    let setup = Setup {
        hosts: &BOTH,
        prefer_ipv4: true,
        ..Setup::default()
    };
    within(setup, |_| connects_to_the_one_that_is_there(true));
}

#[test]
fn localhost_is_what_the_hosts_file_says() {
    within(Setup::default(), |_| {
        for server in ["127.0.0.1", "::1"] {
            let (listeners, port) = listen_on(&[server]);
            on_both(|runtime| {
                let recorder = runtime.recorder();
                let socket = runtime.open();
                // Whatever is begun behind it waits for it.
                recorder.connect_to(socket, "LocalHost", port);
                recorder.send(socket, &Memory::of(b"first, "), 0);
                recorder.send(socket, &Memory::of(b"second"), 0);
                recorder.connect_to(socket, "localhost", port);
                recorder.close(socket, ASOCK_CLOSE_DRAIN);
                let mut all = Vec::new();
                let read = accept(&listeners[0]).read_to_end(&mut all);
                assert_eq!((read.ok(), &all[..]), (Some(13), &b"first, second"[..]));
                let completions = recorder.wait_for(5);
                let of_connects = completions.iter().filter(|one| one.kind == 1);
                let statuses: Vec<_> = of_connects.map(|one| one.status).collect();
                assert_eq!(statuses, [ASOCK_OK, ASOCK_ALREADY_CONNECTED]);
                completions[4].expect(ASOCK_KIND_CLOSE, ASOCK_OK);
                assert_exactly_once(&runtime, &recorder, 5);
            });
        }
    });
}

#[test]
fn a_name_server_knows_names_too() {
    within(Setup::default(), |world| {
        let (listeners, port) = listen_on(&["127.0.0.1"]);
        let address = Answer::addresses(&["127.0.0.1"]);
        world.answers_after(Duration::from_millis(50), "known.test", address);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let socket = runtime.open();
            let op = recorder.connect_to(socket, "known.test", port);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_carries(&runtime, socket, &mut accept(&listeners[0]));
        });
    });
}
