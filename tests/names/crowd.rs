//! Many names at once.

use super::common::*;
use super::server::Answer;
use super::world::{within, Setup};
use super::{accept, assert_carries, assert_exactly_once, at_once, listen_on, resolve};
use asock::*;
use std::time::Duration;

const MANY: usize = 1000;

/// More threads than usual, so that a second's wait for the dead server, for each of the names, is not waited for too
/// often.
const THREADS: u32 = 350;

/// Lets this process open as many descriptors as it may: a look-up has two or three of its own.
fn allow_descriptors() {
    // SAFETY: a struct of integers, which may be read and written.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        let limit = &raw mut limit;
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, limit), 0);
        (*limit).rlim_cur = (*limit).rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, limit), 0);
    }
}

#[test]
fn a_thousand_names_are_found_though_one_of_two_servers_is_dead() {
    let setup = Setup {
        timeout_s: 1,
        first_server_is_dead: true,
        ..Setup::default()
    };
    within(setup, |world| {
        allow_descriptors();
        for number in 0..MANY {
            let address = format!("127.1.{}.{}", number / 250, 1 + number % 250);
            let answer = match number % 10 {
                9 => Answer::NotFound,
                _ => Answer::addresses(&[&address]),
            };
            world.answers(&format!("name{number}.test"), answer);
        }
        let runtime = Runtime::start(&asock_runtime_config {
            resolvers: THREADS,
            ..config(ASOCK_DELIVER_ON_WORKER)
        });
        let recorder = runtime.recorder();
        let mut rooms = Vec::new();
        for number in 0..MANY {
            let name = format!("name{number}.test");
            rooms.push(resolve::begin(&runtime, &recorder, &name, 80, 1));
        }
        recorder.wait_for(MANY);
        let mut completions = recorder.completions();
        completions.sort_by_key(|one| one.op);
        for (number, (op, room)) in rooms.iter().enumerate() {
            let found = completions.binary_search_by_key(op, |one| one.op);
            let completion = completions[found.expect("each completes")];
            if number % 10 == 9 {
                completion.expect(ASOCK_KIND_RESOLVE, ASOCK_HOST_NOT_FOUND);
                continue;
            }
            completion.expect(ASOCK_KIND_RESOLVE, ASOCK_OK);
            let expected = format!("127.1.{}.{}:80", number / 250, 1 + number % 250);
            assert_eq!(resolve::texts(room), [expected]);
        }
        assert_exactly_once(&runtime, &recorder, MANY);
    });
}

#[test]
fn a_thousand_connects_to_a_dead_name_hold_up_no_other() {
    within(Setup::default(), |world| {
        world.answers("dead.test", Answer::Silence);
        world.answers("good.test", Answer::addresses(&["127.0.0.1"]));
        let (listeners, port) = listen_on(&["127.0.0.1"]);
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let mut dead = Vec::new();
            at_once("beginning a thousand connects", || {
                for _ in 0..MANY {
                    dead.push(recorder.connect_to(runtime.open(), "dead.test", port));
                }
            });
            let socket = runtime.open();
            let op = recorder.connect_to(socket, "good.test", port);
            let completion = at_once("the good name", || recorder.completion_of(op));
            completion.expect(ASOCK_KIND_CONNECT, ASOCK_OK);
            assert_carries(&runtime, socket, &mut accept(&listeners[0]));
            assert_eq!(recorder.count(), 1);
            for op in &dead[..MANY / 2] {
                assert_eq!(asock_cancel(*op), ASOCK_OK);
            }
            at_once("the canceled ones", || recorder.wait_for(1 + MANY / 2));
            at_once("the stop", || runtime.stop());
            let completions = recorder.completions();
            assert_eq!(completions.len(), 1 + MANY);
            let stopped = completions.iter().filter(|one| one.status == ASOCK_STOPPED);
            assert_eq!(stopped.count(), MANY / 2);
        });
    });
}

/// Names that are good, slow, missing or wrong, and connects that are canceled, limited or closed meanwhile.
#[test]
fn random_fates_are_told_exactly_once() {
    within(Setup::default(), |world| {
        let here = Answer::addresses(&["127.0.0.1"]);
        world.answers("good.test", here.clone());
        world.answers_after(Duration::from_millis(5), "slow.test", here);
        world.answers("broken.test", Answer::Failure);
        world.answers("hangs.test", Answer::Silence);
        let names = [
            "good.test",
            "slow.test",
            "broken.test",
            "missing.test",
            "hangs.test",
        ];
        let peer = Peer::sink();
        on_both(|runtime| {
            let recorder = runtime.recorder();
            let mut random = Random::new(53);
            let mut begun = 0;
            for _ in 0..600 {
                let socket = runtime.open();
                let name = names[random.below(names.len() as u64) as usize];
                let op = match random.one_in(3) {
                    true => resolve::begin(&runtime, &recorder, name, 80, 2).0,
                    false => recorder.connect_to(socket, name, peer.port()),
                };
                begun += 1;
                if random.one_in(4) {
                    std::thread::sleep(Duration::from_micros(random.below(3000)));
                }
                // Any of these may come too late.
                let status = match random.below(4) {
                    0 => asock_cancel(op),
                    1 => asock_set_deadline(op, random.below(20) as i64),
                    2 => asock_close(socket),
                    _ => ASOCK_OK,
                };
                assert!(matches!(status, ASOCK_OK | ASOCK_BAD_HANDLE));
            }
            at_once("the stop", || {
                let recorder = &recorder;
                assert_exactly_once(&runtime, recorder, begun);
            });
        });
    });
}
