//! Happy Eyeballs over real sockets: a host with addresses that lead nowhere, refuse, or work.
//!
//! An address that leads nowhere is a listener whose queue is full: the system drops what knocks there, for longer than
//! any test waits.

use super::common::peer::fill;
use super::common::*;
use super::server::Answer;
use super::world::{within, Setup, World};
use super::{accept, address_text, assert_carries, assert_exactly_once, at_once, descriptors};
use super::{listen_on, port_of, remote, resolve};
use asock::*;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The delay between attempts that RFC 8305 recommends; a clock that counts whole ticks may cut one off.
const ATTEMPT_DELAY: Duration = Duration::from_millis(249);

/// Listeners on one port of the host's addresses, of which some lead nowhere.
struct Host {
    listeners: Vec<TcpListener>,
    port: u16,
    _fill: Vec<Vec<TcpStream>>,
}

const NAME: &str = "host.test";

impl Host {
    /// A host that has all of these addresses, and no way to the first `lost` of them.
    fn new(world: &World, addresses: &[&str], lost: usize) -> Host {
        world.answers(NAME, Answer::addresses(addresses));
        let (listeners, port) = listen_on(addresses);
        let fill = listeners[..lost].iter().map(fill).collect();
        Host {
            listeners,
            port,
            _fill: fill,
        }
    }
}

fn get(socket: asock_socket, option: u32) -> i64 {
    let mut value = 0;
    // SAFETY: `value` may be written.
    let status = unsafe { asock_get_option(socket, option, &raw mut value) };
    assert_eq!(status, ASOCK_OK);
    value
}

fn set(socket: asock_socket, option: u32, value: i64) {
    assert_eq!(asock_set_option(socket, option, value), ASOCK_OK);
}

/// Waits until so many descriptors are open: the runtime's attempts are among them.
fn until_descriptors(count: usize) {
    until("descriptors", || descriptors() == count);
}

#[test]
fn the_second_address_joins_when_the_first_leads_nowhere() {
    within(Setup::default(), |world| {
        let host = Host::new(world, &["::1", "127.0.0.1"], 1);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            // The first socket of a runtime may bring descriptors of the runtime's own.
            let (op, _) = resolve::begin(&runtime, &recorder, NAME, host.port, 0);
            recorder.completion_of(op);
            let before = descriptors();
            let socket = runtime.open();
            let start = Instant::now();
            let op = recorder.connect_to(socket, NAME, host.port);
            let completion = at_once("the race", || recorder.completion_of(op));
            let took = start.elapsed();
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert!(took >= ATTEMPT_DELAY, "{took:?}");
            assert_eq!(remote(socket), address_text("127.0.0.1", host.port));
            let mut stream = accept(&host.listeners[1]);
            // The winner and its peer are here, and the loser is gone.
            until_descriptors(before + 2);
            assert_carries(&runtime, socket, &mut stream);
            assert_eq!(asock_close(socket), ASOCK_OK);
            until_descriptors(before + 1);
        });
    });
}

#[test]
fn options_hold_for_the_winner_whenever_they_were_set() {
    within(Setup::default(), |world| {
        let host = Host::new(world, &["::1", "127.0.0.1"], 1);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (op, _) = resolve::begin(&runtime, &recorder, NAME, host.port, 0);
            recorder.completion_of(op);
            let before = descriptors();
            let socket = runtime.open();
            set(socket, ASOCK_OPTION_NODELAY, 0);
            set(socket, ASOCK_OPTION_KEEPALIVE, 1);
            set(socket, ASOCK_OPTION_KEEPALIVE_IDLE_S, 77);
            let op = recorder.connect_to(socket, NAME, host.port);
            until("the first attempt", || descriptors() > before);
            // Now there is a descriptor, but it is not the socket's.
            set(socket, ASOCK_OPTION_TTL, 33);
            set(socket, ASOCK_OPTION_KEEPALIVE_COUNT, 5);
            set(socket, ASOCK_OPTION_KEEPALIVE_IDLE_S, 78);
            assert_eq!(get(socket, ASOCK_OPTION_TTL), 33);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            // Asked of the system, for the descriptor that has won.
            let expected = [
                (ASOCK_OPTION_NODELAY, 0),
                (ASOCK_OPTION_KEEPALIVE, 1),
                (ASOCK_OPTION_KEEPALIVE_IDLE_S, 78),
                (ASOCK_OPTION_KEEPALIVE_COUNT, 5),
                (ASOCK_OPTION_TTL, 33),
            ];
            for (option, value) in expected {
                assert_eq!((option, get(socket, option)), (option, value));
            }
            assert_carries(&runtime, socket, &mut accept(&host.listeners[1]));
        });
    });
}

#[test]
fn an_attempt_that_fails_lets_the_next_begin_at_once() {
    within(Setup::default(), |world| {
        let many: Vec<String> = (1..=12).map(|last| format!("127.0.0.{last}")).collect();
        let mut addresses: Vec<&str> = many.iter().map(String::as_str).collect();
        world.answers(NAME, Answer::addresses(&addresses));
        // The same behind an attempt that never ends.
        addresses.push("::1");
        world.answers("stuck.test", Answer::addresses(&addresses));
        on_both(|runtime| {
            for name in [NAME, "stuck.test"] {
                let recorder = runtime.recorder();
                // The system has its own order; the server is at the address that comes last in it.
                let (op, room) = resolve::begin(&runtime, &recorder, name, 1, 13);
                recorder
                    .completion_of(op)
                    .expect(ASOCK_KIND_RESOLVE, ASOCK_OK);
                let order = resolve::texts(&room);
                let last = order.last().expect("there are many");
                let last = last.trim_end_matches(":1");
                let (listeners, port) = listen_on(&[last, "::1"]);
                let _fill = fill(&listeners[1]);
                let prompt = || {
                    let socket = runtime.open();
                    let start = Instant::now();
                    let op = recorder.connect_to(socket, name, port);
                    let completion = recorder.completion_of(op);
                    let took = start.elapsed();
                    completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
                    assert_eq!(remote(socket), address_text(last, port));
                    assert_carries(&runtime, socket, &mut accept(&listeners[0]));
                    took < ATTEMPT_DELAY * 10
                };
                // A machine that is busy may be slow a few times, but a wait for something shows every time.
                assert!((0..3).any(|_| prompt()), "each attempt had its delay");
            }
        });
    });
}

#[test]
fn when_all_fail_the_last_failure_counts() {
    within(Setup::default(), |world| {
        // No stream ever leads to a multicast address, and Linux says so at once.
        let cases: [(&[&str], asock_status, i32); 3] = [
            (
                &["127.0.0.1", "::1"],
                ASOCK_CONNECTION_REFUSED,
                libc::ECONNREFUSED,
            ),
            (
                &["127.0.0.1", "224.0.0.1"],
                ASOCK_NETWORK_UNREACHABLE,
                libc::ENETUNREACH,
            ),
            // The families take turns: 127.0.0.1, ff0e::1, 127.0.0.2.
            (
                &["127.0.0.1", "127.0.0.2", "ff0e::1"],
                ASOCK_CONNECTION_REFUSED,
                libc::ECONNREFUSED,
            ),
        ];
        let (listeners, port) = listen_on(&["127.0.0.1", "127.0.0.2", "::1"]);
        drop(listeners);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let socket = runtime.open();
            for (number, (addresses, status, os_error)) in cases.into_iter().enumerate() {
                let name = format!("fails{number}.test");
                world.answers(&name, Answer::addresses(addresses));
                let before = descriptors();
                let op = recorder.connect_to(socket, &name, port);
                let completion = at_once("the race", || recorder.completion_of(op));
                completion.expect(ASOCK_KIND_CONNECT, status);
                assert_eq!(completion.os_error, os_error);
                if number > 0 {
                    until_descriptors(before);
                }
            }
            assert_exactly_once(&runtime, &recorder, 3);
        });
    });
}

#[test]
fn after_a_lost_race_the_socket_may_connect_again() {
    within(Setup::default(), |world| {
        let addresses = ["::1", "127.0.0.1"];
        world.answers(NAME, Answer::addresses(&addresses));
        on_both(|runtime| {
            let (listeners, port) = listen_on(&addresses);
            drop(listeners);
            let recorder = runtime.recorder();
            let socket = runtime.open();
            set(socket, ASOCK_OPTION_NODELAY, 0);
            let op = recorder.connect_to(socket, NAME, port);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_CONNECTION_REFUSED);
            let listener = super::listen("127.0.0.1", 0).expect("loopback is there");
            let op = recorder.connect_to(socket, NAME, port_of(&listener));
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_eq!(get(socket, ASOCK_OPTION_NODELAY), 0);
            assert_carries(&runtime, socket, &mut accept(&listener));
        });
    });
}

type End = fn(&Recorder, asock_socket, asock_op);

#[test]
fn a_race_may_be_ended() {
    within(Setup::default(), |world| {
        let host = Host::new(world, &["::1", "127.0.0.1"], 2);
        let cancel: End = |_, _, op| assert_eq!(asock_cancel(op), ASOCK_OK);
        let deadline: End = |_, _, op| assert_eq!(asock_set_deadline(op, 10), ASOCK_OK);
        let close: End = |_, socket, _| assert_eq!(asock_close(socket), ASOCK_OK);
        let begin_close: End = |recorder, socket, _| {
            let op = recorder.close(socket, 0);
            let completion = recorder.completion_of(op);
            completion.expect(ASOCK_KIND_CLOSE, ASOCK_OK);
        };
        let cases = [
            (cancel, ASOCK_CANCELED),
            (deadline, ASOCK_TIMED_OUT),
            (close, ASOCK_CLOSED),
            (begin_close, ASOCK_CLOSED),
        ];
        for (end, status) in cases {
            // With one attempt under way, and with both.
            for attempts in [1, 2] {
                on_both(|runtime| {
                    let recorder = runtime.recorder();
                    let (op, _) = resolve::begin(&runtime, &recorder, NAME, host.port, 0);
                    recorder.completion_of(op);
                    let before = descriptors();
                    let socket = runtime.open();
                    let connect = recorder.connect_to(socket, NAME, host.port);
                    let receive = recorder.receive(socket, &Memory::new(10), 0);
                    until("the attempts", || descriptors() >= before + attempts);
                    at_once("what ends it", || {
                        end(&recorder, socket, connect);
                        for op in [connect, receive] {
                            assert_eq!(recorder.completion_of(op).status, status);
                        }
                    });
                    until_descriptors(before);
                    let count = recorder.count();
                    at_once("the stop", || drop(runtime));
                    assert_eq!(recorder.count(), count);
                });
            }
        }
    });
}

#[test]
fn a_stop_during_a_race_leaves_nothing() {
    within(Setup::default(), |world| {
        let host = Host::new(world, &["::1", "127.0.0.1"], 2);
        let before = descriptors();
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let ops: Vec<_> = (0..20)
                .map(|_| recorder.connect_to(runtime.open(), NAME, host.port))
                .collect();
            until("some attempts", || descriptors() > before + 10);
            at_once("the stop", || runtime.stop());
            for op in ops {
                let completion = recorder.completion_of(op);
                completion.expect(ASOCK_KIND_CONNECT, ASOCK_STOPPED);
            }
            assert_eq!(recorder.count(), 20);
            // A look-up that nobody waits for any more may have one yet, for a moment.
            until_descriptors(before);
        });
    });
}

/// A limit that began anew for the attempts, or for each of them, would let this take a second longer at least.
#[test]
fn the_time_out_covers_look_up_and_all_attempts() {
    within(Setup::default(), |world| {
        let addresses = ["::1", "127.0.0.1", "127.0.0.2"];
        let host = Host::new(world, &addresses, 3);
        let (look_up, limit) = (Duration::from_millis(1000), Duration::from_millis(2500));
        world.answers_after(look_up, "slow.test", Answer::addresses(&addresses));
        let runtime = Runtime::on_worker();
        let recorder = runtime.recorder();
        let socket = runtime.open();
        let before = descriptors();
        set(
            socket,
            ASOCK_OPTION_CONNECT_TIMEOUT_MS,
            limit.as_millis() as i64,
        );
        let start = Instant::now();
        let op = recorder.connect_to(socket, "slow.test", host.port);
        until("the last attempt", || descriptors() == before + 3);
        assert_eq!(recorder.count(), 0);
        let completion = recorder.completion_of(op);
        let took = start.elapsed();
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_TIMED_OUT);
        assert_eq!(completion.os_error, 0);
        assert!(took >= limit && took < look_up + limit, "{took:?}");
        until_descriptors(before);
    });
}

/// Races end at all times: while the name is looked up, between the attempts, and when both are about to connect.
#[test]
fn races_that_end_at_random_leave_nothing_and_lose_nothing() {
    within(Setup::default(), |world| {
        let host = Host::new(world, &["::1", "127.0.0.1"], 0);
        let lost = Host::new(world, &["::1", "127.0.0.1"], 1);
        let ports = [host.port, lost.port];
        on_both(|runtime| {
            let before = descriptors();
            let recorder = runtime.recorder();
            let mut random = Random::new(8305);
            let mut begun = 0;
            for _ in 0..300 {
                let socket = runtime.open();
                let port = ports[random.below(2) as usize];
                let op = recorder.connect_to(socket, NAME, port);
                begun += 1;
                if random.one_in(2) {
                    std::thread::sleep(Duration::from_micros(random.below(2000)));
                }
                match random.below(5) {
                    0 => assert_ne!(asock_cancel(op), ASOCK_INVALID_ARGUMENT),
                    1 => {
                        // The operation may be over.
                        let limit = random.below(300) as i64;
                        assert_ne!(asock_set_deadline(op, limit), ASOCK_INVALID_ARGUMENT);
                    }
                    2 => {
                        recorder.close(socket, ASOCK_CLOSE_RESET);
                        begun += 1;
                        continue;
                    }
                    _ => {}
                }
                recorder.send(socket, &Memory::new(1), 0);
                recorder.close(socket, ASOCK_CLOSE_DRAIN);
                begun += 2;
            }
            recorder.wait_for(begun);
            assert_eq!(runtime.stats().sockets_open, 0);
            while host.listeners.iter().any(|one| one.accept().is_ok()) {}
            while lost.listeners[1].accept().is_ok() {}
            assert_exactly_once(&runtime, &recorder, begun);
            until("look-ups are over", || descriptors() <= before);
        });
    });
}
