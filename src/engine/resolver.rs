//! Names are looked up on threads of their own, since the system's resolver may take its time.
//!
//! A look-up knows nothing of the application's: it has the name, and the slot and generation of
//! the operations that ask. Whoever has ended meanwhile is not found any more, so a look-up may be
//! let go at any moment. Operations that ask for a name which is being looked up join it, so that
//! one dead name server does not take a thread for each of them; threads are started only when
//! all are busy, and one that finds nothing to do for a while ends.

use super::operation::Fault;
use super::seat::Seat;
use crate::address::Address;
use crate::log;
use crate::status::{Answer, OsError, Status};
use crate::sys::{name, thread};
use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads at most, unless the application says otherwise. They cost an idle stack each, and only
/// while that many names are slow at once.
const THREADS: u32 = 64;
/// How many times as many there may be when the system's resolver holds on to names that nobody
/// wants any more.
const ABANDONED: usize = 4;
/// How long a thread waits for another name before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who asks for a name.
#[derive(Clone, Copy)]
pub struct Asker {
    pub seat: &'static Seat,
    pub slot: u32,
    pub generation: u32,
}

struct LookUp {
    host: CString,
    askers: Vec<Asker>,
    /// A thread is at it.
    running: bool,
}

impl LookUp {
    /// Somebody still waits for it. A name that nobody wants any more must not take a thread from
    /// others, which may be for as long as a dead name server takes.
    fn is_wanted(&self) -> bool {
        let waits = |asker: &Asker| asker.seat.is_pending(asker.slot, asker.generation);
        self.askers.iter().any(waits)
    }
}

/// A thread that looks up names.
struct Helper {
    number: u64,
    handle: Option<JoinHandle<()>>,
    /// It is inside the system's resolver, and nobody can say for how long.
    away: bool,
}

#[derive(Default)]
struct State {
    look_ups: VecDeque<LookUp>,
    helpers: Vec<Helper>,
    /// Threads ever started; the number of the last one.
    started: u64,
    /// Threads that found nothing more to do.
    finished: Vec<JoinHandle<()>>,
    idle: usize,
    stopping: bool,
}

/// The name threads of one runtime.
pub struct Resolver {
    most: u32,
    state: Mutex<State>,
    changed: Condvar,
}

impl Resolver {
    /// `most` threads at most; 0 stands for the default.
    pub fn new(most: u32) -> Arc<Resolver> {
        Arc::new(Resolver {
            most: if most == 0 { THREADS } else { most },
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a name looked up for an operation. The answer comes to its seat; an error here means
    /// that none will come.
    pub fn ask(self: &Arc<Self>, host: &str, asker: Asker) -> Answer<()> {
        if looks_like_a_number(host) {
            return Err(Status::HostNotFound);
        }
        let host = CString::new(host).map_err(|_| Status::InvalidArgument)?;
        let mut state = self.lock();
        if state.stopping {
            return Err(Status::Stopped);
        }
        let same = |look_up: &&mut LookUp| {
            look_up
                .host
                .as_bytes()
                .eq_ignore_ascii_case(host.as_bytes())
        };
        if let Some(look_up) = state.look_ups.iter_mut().find(same) {
            let room = look_up.askers.try_reserve(1);
            room.map_err(|_| Status::OutOfMemory)?;
            look_up.askers.push(asker);
            return Ok(());
        }
        let room = state.look_ups.try_reserve(1);
        room.map_err(|_| Status::OutOfMemory)?;
        state.look_ups.push_back(LookUp {
            host,
            askers: vec![asker],
            running: false,
        });
        let waiting = state.look_ups.iter().filter(|one| !one.running).count();
        if waiting > state.idle && self.may_start(&state) {
            self.start_helper(&mut state)?;
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Whether there may be another thread. One that looks up what nobody wants any more cannot be
    /// called back, so it does not count, as long as there are not too many of them.
    fn may_start(&self, state: &State) -> bool {
        let (all, most) = (state.helpers.len(), self.most as usize);
        let abandoned = |look_up: &&LookUp| look_up.running && !look_up.is_wanted();
        all < most
            || (all < most.saturating_mul(ABANDONED)
                && all - state.look_ups.iter().filter(abandoned).count() < most)
    }

    /// Starts another thread. That it fails matters only when there is none at all.
    fn start_helper(self: &Arc<Self>, state: &mut State) -> Answer<()> {
        state.finished.retain(|handle| !handle.is_finished());
        state.started += 1;
        let number = state.started;
        let resolver = self.clone();
        let started = thread::spawn("asock-names", move || resolver.help(number));
        match started {
            Ok(handle) => state.helpers.push(Helper {
                number,
                handle: Some(handle),
                away: false,
            }),
            Err(_) if !state.helpers.is_empty() => {}
            Err(error) => {
                state.look_ups.pop_back();
                return Err(Status::of_os(error));
            }
        }
        Ok(())
    }

    /// The body of a thread.
    fn help(self: &Arc<Self>, number: u64) {
        log::inside(|| {
            let mut state = self.lock();
            loop {
                if state.stopping {
                    return; // Whoever stops joins us.
                }
                let next = state.look_ups.iter().position(|one| !one.running);
                let Some(next) = next else {
                    state.idle += 1;
                    let answer = self.changed.wait_timeout(state, PATIENCE);
                    let (back, limit) = answer.unwrap_or_else(PoisonError::into_inner);
                    state = back;
                    state.idle -= 1;
                    let nothing = state.look_ups.iter().all(|one| one.running);
                    if limit.timed_out() && nothing && !state.stopping {
                        state.retire(number);
                        return;
                    }
                    continue;
                };
                if !state.look_ups[next].is_wanted() {
                    state.look_ups.remove(next);
                    continue;
                }
                state.look_ups[next].running = true;
                let host = state.look_ups[next].host.clone();
                state.set_away(number, true);
                drop(state);
                let answer = name::look_up(&host);
                state = self.lock();
                state.set_away(number, false);
                if state.stopping {
                    return;
                }
                let place = state.look_ups.iter().position(|one| one.host == host);
                let askers = match place.and_then(|place| state.look_ups.remove(place)) {
                    Some(look_up) => look_up.askers,
                    None => Vec::new(),
                };
                drop(state);
                tell(&askers, answer);
                state = self.lock();
            }
        });
    }

    /// Forgets every look-up, and waits for the threads that are not inside the system's resolver;
    /// those end by themselves when it lets them go.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.look_ups.clear();
        let helpers = std::mem::take(&mut state.helpers);
        let finished = std::mem::take(&mut state.finished);
        drop(state);
        self.changed.notify_all();
        for handle in finished {
            let _ = handle.join();
        }
        for helper in helpers {
            if let (false, Some(handle)) = (helper.away, helper.handle) {
                let _ = handle.join();
            }
        }
    }
}

/// Whether a name ends in a number, as no name of a host does (RFC 3696, section 2). The system's
/// resolver takes such texts for old ways of writing an IPv4 address, some of them octal.
fn looks_like_a_number(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl State {
    fn retire(&mut self, number: u64) {
        let place = self.helpers.iter().position(|one| one.number == number);
        let helper = place.map(|place| self.helpers.swap_remove(place));
        self.finished
            .extend(helper.and_then(|helper| helper.handle));
    }

    fn set_away(&mut self, number: u64, away: bool) {
        let helper = self.helpers.iter_mut().find(|one| one.number == number);
        if let Some(helper) = helper {
            helper.away = away;
        }
    }
}

/// Gives the answer to everyone who asked for the name.
fn tell(askers: &[Asker], answer: Result<Vec<Address>, (Status, OsError)>) {
    let answer = answer.map_err(|(status, os_error)| Fault { status, os_error });
    for asker in askers {
        asker
            .seat
            .resolved(asker.slot, asker.generation, answer.clone());
    }
}
