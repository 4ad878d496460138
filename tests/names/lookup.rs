//! Connecting by a name that does not exist, whose server fails, or whose look-up hangs: how it ends, and that it holds
//! up nobody.

use super::common::*;
use super::server::Answer;
use super::world::{within, Setup, World, EXITED};
use super::{accept, assert_carries, assert_exactly_once, at_once, listen_on};
use asock::*;
use std::time::{Duration, Instant};

const HANGS: &str = "hangs.test";

/// A socket whose connect waits for a name that hangs, with a send and a receive behind it.
fn hanging(runtime: &Runtime, recorder: &Recorder) -> (asock_socket, [asock_op; 3]) {
    let socket = runtime.open();
    let connect = recorder.connect_to(socket, HANGS, 80);
    let send = recorder.send(socket, &Memory::new(10), ASOCK_SEND_COPY);
    let receive = recorder.receive(socket, &Memory::new(10), 0);
    (socket, [connect, send, receive])
}

/// All of these completed with this status, and none of their bytes went anywhere.
#[track_caller]
fn assert_ended(recorder: &Recorder, ops: &[asock_op], status: asock_status) {
    for op in ops {
        let completion = recorder.completion_of(*op);
        assert_eq!((completion.status, completion.bytes), (status, 0));
    }
}

/// After a connect that failed the socket is as good as new.
fn connects_after_all(runtime: &Runtime, recorder: &Recorder, socket: asock_socket) {
    let (listeners, port) = listen_on(&["127.0.0.1"]);
    let op = recorder.connect(socket, port);
    let completion = recorder.completion_of(op);
    completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
    assert_carries(runtime, socket, &mut accept(&listeners[0]));
}

#[test]
fn an_unknown_host_is_told_by_the_completion() {
    within(Setup::default(), |world| {
        world.answers("empty.test", Answer::Addresses(Vec::new()));
        on_both(|runtime| {
            for host in ["missing", "empty.test", "no..name"] {
                let recorder = runtime.recorder();
                let socket = runtime.open();
                let connect = recorder.connect_to(socket, host, 80);
                assert_ended(&recorder, &[connect], ASOCK_HOST_NOT_FOUND);
            }
            let recorder = runtime.recorder();
            let socket = runtime.open();
            world.answers("missing.test", Answer::Held);
            let connect = recorder.connect_to(socket, "missing.test", 80);
            let send = recorder.send(socket, &Memory::new(10), 0);
            world.answers("missing.test", Answer::NotFound);
            assert_ended(&recorder, &[connect, send], ASOCK_HOST_NOT_FOUND);
            connects_after_all(&runtime, &recorder, socket);
            assert_eq!(recorder.count(), 3);
        });
    });
}

#[test]
fn a_name_server_that_fails_is_told_apart() {
    let setup = Setup {
        timeout_s: 1,
        attempts: 1,
        ..Setup::default()
    };
    within(setup, |world| {
        world.answers("silent.test", Answer::Silence);
        on_both(|runtime| {
            world.answers("broken.test", Answer::Held);
            let recorder = runtime.recorder();
            let begin = |host: &str| {
                let socket = runtime.open();
                let connect = recorder.connect_to(socket, host, 80);
                let send = recorder.send(socket, &Memory::new(10), 0);
                (socket, [connect, send])
            };
            let begun = ["broken.test", "silent.test"].map(begin);
            world.answers("broken.test", Answer::Failure);
            for (socket, ops) in begun {
                assert_ended(&recorder, &ops, ASOCK_NAME_SERVER_FAILED);
                connects_after_all(&runtime, &recorder, socket);
            }
        });
    });
}

#[test]
fn what_looks_like_a_number_is_no_name() {
    within(Setup::default(), |world| {
        // The system's resolver takes them for 127.0.0.1, and a server of that address would let them in.
        let (listeners, port) = listen_on(&["127.0.0.1"]);
        let hosts = [
            "127.1",
            "0x7f.1",
            "1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "127.0.0.0x1",
            "127.0x000001",
            "1.2.3.4.5",
            "256.1.1.1",
        ];
        for host in hosts {
            world.answers(host, Answer::addresses(&["127.0.0.1"]));
        }
        on_both(|runtime| {
            let recorder = runtime.recorder();
            for host in hosts {
                let socket = runtime.open();
                let op = recorder.connect_to(socket, host, port);
                let status = recorder.completion_of(op).status;
                assert_eq!((host, status), (host, ASOCK_HOST_NOT_FOUND));
            }
            assert!(listeners[0].accept().is_err(), "nobody has come");
            assert_exactly_once(&runtime, &recorder, hosts.len());
        });
    });
}

/// What ends the connect, and what the operations are told.
type End = fn(&Runtime, &Recorder, asock_socket, asock_op);

fn ends() -> [(&'static str, End, asock_status, usize); 7] {
    let close: End = |_, _, socket, _| assert_eq!(asock_close(socket), ASOCK_OK);
    let begin_close: End = |_, recorder, socket, _| {
        recorder.close(socket, 0);
    };
    let reset: End = |_, recorder, socket, _| {
        recorder.close(socket, ASOCK_CLOSE_RESET);
    };
    let cancel: End = |_, _, _, op| assert_eq!(asock_cancel(op), ASOCK_OK);
    let deadline: End = |_, _, _, op| assert_eq!(asock_set_deadline(op, 30), ASOCK_OK);
    let drain: End = |runtime, _, _, _| {
        assert_eq!(asock_runtime_drain(runtime.handle()), ASOCK_OK);
    };
    let stop: End = |runtime, _, _, _| runtime.stop();
    [
        ("asock_cancel", cancel, ASOCK_CANCELED, 0),
        ("asock_set_deadline", deadline, ASOCK_TIMED_OUT, 0),
        ("asock_close", close, ASOCK_CLOSED, 0),
        ("asock_begin_close", begin_close, ASOCK_CLOSED, 1),
        ("a close with reset", reset, ASOCK_CLOSED, 1),
        ("asock_runtime_drain", drain, ASOCK_STOPPED, 0),
        ("asock_runtime_stop", stop, ASOCK_STOPPED, 0),
    ]
}

#[test]
fn whatever_ends_a_connect_ends_it_during_the_look_up() {
    within(Setup::default(), |world| {
        world.answers(HANGS, Answer::Silence);
        for (what, end, status, closes) in ends() {
            on_both(|runtime| {
                let recorder = runtime.recorder();
                let (socket, ops) = hanging(&runtime, &recorder);
                at_once(what, || {
                    end(&runtime, &recorder, socket, ops[0]);
                    assert_ended(&recorder, &ops, status);
                    recorder.wait_for(ops.len() + closes);
                });
                if matches!(status, ASOCK_CANCELED | ASOCK_TIMED_OUT) {
                    connects_after_all(&runtime, &recorder, socket);
                    recorder.close(socket, 0);
                    recorder.wait_for(ops.len() + closes + 2);
                }
                let count = recorder.count();
                at_once("the stop", || drop(runtime));
                assert_eq!(recorder.count(), count);
            });
        }
    });
}

#[test]
fn a_draining_close_behind_a_look_up_ends_with_the_runtime() {
    within(Setup::default(), |world| {
        world.answers(HANGS, Answer::Silence);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let (socket, [connect, send, receive]) = hanging(&runtime, &recorder);
            let close = recorder.close(socket, ASOCK_CLOSE_DRAIN);
            // It goes on as long as there is something to send; a receive is no such thing.
            assert_ended(&recorder, &[receive], ASOCK_CLOSED);
            assert_eq!(recorder.count(), 1);
            at_once("the stop", || runtime.stop());
            assert_ended(&recorder, &[connect, send, close], ASOCK_STOPPED);
            assert_eq!(recorder.completions()[3].op, close);
            assert_eq!(recorder.count(), 4);
        });
    });
}

#[test]
fn operations_behind_a_look_up_may_be_canceled_alone() {
    within(Setup::default(), |world| {
        let (listeners, port) = listen_on(&["127.0.0.1"]);
        world.answers(HANGS, Answer::Silence);
        on_both(|runtime| {
            world.answers("slow.test", Answer::Held);
            let recorder = runtime.recorder();
            let socket = runtime.open();
            let connect = recorder.connect_to(socket, "slow.test", port);
            let send = recorder.send(socket, &Memory::new(10), 0);
            let second = recorder.connect_to(socket, HANGS, port);
            for op in [send, second] {
                assert_eq!(asock_cancel(op), ASOCK_OK);
                assert_eq!(recorder.completion_of(op).status, ASOCK_CANCELED);
            }
            world.answers("slow.test", Answer::addresses(&["127.0.0.1"]));
            let completion = recorder.completion_of(connect);
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_carries(&runtime, socket, &mut accept(&listeners[0]));
        });
    });
}

#[test]
fn the_time_out_covers_the_look_up() {
    within(Setup::default(), |world| {
        world.answers(HANGS, Answer::Silence);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let socket = runtime.open();
            let option = ASOCK_OPTION_CONNECT_TIMEOUT_MS;
            assert_eq!(asock_set_option(socket, option, 150), ASOCK_OK);
            let start = Instant::now();
            let op = recorder.connect_to(socket, HANGS, 80);
            let completion = at_once("a time-out", || recorder.completion_of(op));
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_TIMED_OUT);
            assert_eq!(completion.os_error, 0);
            assert!(start.elapsed() >= Duration::from_millis(150));
        });
    });
}

#[test]
fn a_name_that_hangs_holds_up_nobody() {
    within(Setup::default(), |world| {
        let (listeners, port) = listen_on(&["127.0.0.1"]);
        world.answers("good.test", Answer::addresses(&["127.0.0.1"]));
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let sockets: Vec<_> = (0..5).map(|_| runtime.open()).collect();
            let mut hang = Vec::new();
            for (number, socket) in sockets.iter().enumerate() {
                let name = format!("hangs{number}.test");
                world.answers(&name, Answer::Silence);
                hang.push(recorder.connect_to(*socket, &name, port));
            }
            at_once("the others", || {
                for round in 0..10 {
                    let timer = recorder.timer(1);
                    recorder
                        .completion_of(timer)
                        .expect(ASOCK_KIND_TIMER, ASOCK_OK);
                    let host = ["good.test", "127.0.0.1", "localhost"][round % 3];
                    let socket = runtime.open();
                    let op = recorder.connect_to(socket, host, port);
                    let completion = recorder.completion_of(op);
                    completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
                    assert_carries(&runtime, socket, &mut accept(&listeners[0]));
                }
            });
            let ended = recorder.completions();
            assert!(ended.iter().all(|one| !hang.contains(&one.op)));
            at_once("the stop", || runtime.stop());
            assert_ended(&recorder, &hang, ASOCK_STOPPED);
        });
    });
}

#[test]
fn names_that_nobody_waits_for_any_more_hold_up_nobody() {
    let setup = Setup {
        timeout_s: 1,
        attempts: 1,
        ..Setup::default()
    };
    within(setup, |world| {
        world.answers("good.test", Answer::addresses(&["127.0.0.1"]));
        let (listeners, port) = listen_on(&["127.0.0.1"]);
        // One thread for names: each that hangs would take it for a second.
        let runtime = Runtime::start(&asock_runtime_config {
            resolvers: 1,
            ..config(ASOCK_DELIVER_ON_WORKER)
        });
        let recorder = runtime.recorder();
        let mut ops = Vec::new();
        for number in 0..20 {
            let name = format!("hangs{number}.test");
            world.answers(&name, Answer::Silence);
            ops.push(recorder.connect_to(runtime.open(), &name, port));
        }
        for op in &ops {
            assert_eq!(asock_cancel(*op), ASOCK_OK);
        }
        assert_ended(&recorder, &ops, ASOCK_CANCELED);
        let socket = runtime.open();
        let op = recorder.connect_to(socket, "good.test", port);
        let completion = at_once("a good name behind them", || recorder.completion_of(op));
        completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
        assert_carries(&runtime, socket, &mut accept(&listeners[0]));
    });
}

/// Every thread of the runtime is gone but the one that the resolver still holds, and that one wants nothing.
#[test]
fn a_stop_leaves_no_thread_but_the_one_in_the_resolver() {
    let setup = Setup {
        timeout_s: 1,
        attempts: 1,
        ..Setup::default()
    };
    within(setup, |world| {
        world.answers(HANGS, Answer::Silence);
        let threads = || {
            let all = std::fs::read_dir("/proc/self/task").expect("this is Linux");
            all.count()
        };
        let before = threads();
        for _ in 0..3 {
            let runtime = Runtime::on_worker();
            let recorder = runtime.recorder();
            let (found, missing) = ("localhost", "missing.test");
            for name in [found, missing] {
                let (op, _) = super::resolve::begin(&runtime, &recorder, name, 80, 1);
                recorder.completion_of(op);
            }
            hanging(&runtime, &recorder);
            runtime.stop();
            assert_eq!(recorder.count(), 5);
        }
        until("the resolver gives up", || threads() == before);
    });
}

#[test]
fn the_process_may_end_during_a_look_up() {
    let setup = Setup {
        exits: true,
        ..Setup::default()
    };
    let exits = |world: &World| {
        world.answers(HANGS, Answer::Silence);
        let runtimes = [Runtime::on_worker(), Runtime::on_poll()];
        for runtime in &runtimes {
            let recorder = runtime.recorder();
            hanging(runtime, &recorder);
            super::resolve::begin(runtime, &recorder, HANGS, 80, 3);
        }
        std::process::exit(EXITED)
    };
    at_once("the exit of a process", || within(setup, exits));
}
