//! Starting a runtime: the backend is chosen, the seats are taken, the workers set to work.

use super::drain_seat;
use super::{
    locked, process, settle_exit, Backend, Config, Delivery, Entry, Life, Process, Runtime,
};
use crate::driver::{Driver, Waker};
use crate::engine::delivery::Poll;
use crate::engine::files::Files;
use crate::engine::population::Population;
use crate::engine::resolver::Resolver;
use crate::engine::seat::Seat;
use crate::engine::worker::Worker;
use crate::handle::{Handle, HandleKind, LAST_GENERATION, SEATS};
use crate::log;
use crate::status::{Answer, OsError, Status};
use crate::sys::{thread, SysResult, NOT_SUPPORTED, OUT_OF_MEMORY};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Starts a runtime.
pub fn start(config: &Config) -> Answer<u64> {
    let mut news = News::default();
    let started = start_runtime(config, &mut news);
    news.tell();
    started.map(|runtime| runtime.handle)
}

/// What the log is to hear of a start. The application's function, which hears it, may use the very
/// runtime that starts, so it is told when there is one.
#[derive(Default)]
pub(super) struct News {
    /// Why there is no io_uring.
    refusal: Option<OsError>,
    started: Option<(u64, Backend)>,
}

impl News {
    /// Nothing is locked here, and nobody waits for the start any more.
    pub fn tell(self) {
        if let Some(error) = self.refusal {
            log::write(
                log::INFO,
                format_args!("asock: no io_uring here: error {}", error.0),
            );
        }
        if let Some((handle, backend)) = self.started {
            log::write(
                log::INFO,
                format_args!("asock: runtime {handle:#x} started on {backend:?}"),
            );
        }
    }
}

/// The backend to use: the environment decides where the application has left it open.
fn choose(backend: Backend) -> Answer<Backend> {
    let backend = match (backend, std::env::var_os("ASOCK_BACKEND")) {
        (Backend::Auto, Some(name)) if !name.is_empty() => match name.to_str() {
            Some("epoll") => Backend::Epoll,
            Some("io_uring") => Backend::IoUring,
            _ => return Err(Status::NotSupported),
        },
        (backend, _) => backend,
    };
    match backend {
        Backend::Auto | Backend::Epoll | Backend::IoUring => Ok(backend),
        Backend::Kqueue | Backend::Iocp => Err(Status::NotSupported),
    }
}

/// A driver for each waker, all on the same backend, and which it is. Where the choice was left to
/// the library it is rings, or epoll where this machine refuses any of them; the news say why.
fn make_drivers(
    backend: Backend,
    wakers: &[Waker],
    news: &mut News,
) -> Answer<(Backend, Vec<Driver>)> {
    if backend != Backend::Epoll {
        match rings(wakers)? {
            Ok(drivers) => return Ok((Backend::IoUring, drivers)),
            // That is no refusal: epoll wants a descriptor too.
            Err(error) if Status::of_os(error) == Status::TooManySockets => {
                return Err(Status::TooManySockets);
            }
            Err(error) => news.refusal = Some(error),
        }
    }
    if backend == Backend::IoUring {
        return Err(Status::NotSupported);
    }
    let drivers = drivers_of(wakers, Driver::epoll).map_err(Status::of_os)?;
    Ok((Backend::Epoll, drivers))
}

/// Rings, made on a thread that is gone afterwards: when a ring ends, the kernel interrupts
/// whichever thread has made it, and that shall be none of the application's, whose own calls with
/// a limit of time would fail with EINTR. Without a thread there would be none for a worker either, so
/// that is no refusal of rings.
fn rings(wakers: &[Waker]) -> Answer<SysResult<Vec<Driver>>> {
    let wakers = wakers.to_vec();
    let made = thread::spawn("asock-start", move || {
        log::inside(|| {
            Driver::probe_uring(&wakers[0])?;
            drivers_of(&wakers, Driver::uring)
        })
    });
    let made = made.map_err(Status::of_os)?;
    Ok(made.join().unwrap_or(Err(NOT_SUPPORTED)))
}

fn drivers_of(
    wakers: &[Waker],
    make: impl Fn(&Waker) -> SysResult<Driver>,
) -> SysResult<Vec<Driver>> {
    let mut drivers = Vec::new();
    let room = drivers.try_reserve_exact(wakers.len());
    room.map_err(|_| OUT_OF_MEMORY)?;
    for waker in wakers {
        drivers.push(make(waker)?);
    }
    Ok(drivers)
}

pub(super) fn start_runtime(config: &Config, news: &mut News) -> Answer<Arc<Runtime>> {
    let backend = choose(config.backend)?;
    log::catch_panics();
    settle_exit()?;
    let process = process()?;
    let count = config.workers.max(1) as usize;
    if count > SEATS {
        return Err(Status::OutOfMemory);
    }
    let mut seats = Vec::new();
    seats
        .try_reserve_exact(count)
        .map_err(|_| Status::OutOfMemory)?;
    let started = move_in(process, count, &mut seats, backend, config, news);
    match &started {
        Ok(runtime) => news.started = Some((runtime.handle, runtime.backend)),
        Err(_) => process.give_back(&seats),
    }
    started
}

/// Sets workers to work, each on a seat that is added to `seats`, and registers their runtime.
fn move_in(
    process: &'static Process,
    count: usize,
    seats: &mut Vec<&'static Seat>,
    backend: Backend,
    config: &Config,
    news: &mut News,
) -> Answer<Arc<Runtime>> {
    let on_poll = config.delivery == Delivery::OnPoll;
    let poll = on_poll.then(|| Arc::new(Poll::new(count)));
    let sockets = Population::new(config.max_sockets);
    let resolver = Resolver::new(config.resolvers);
    let files = Files::new();
    let mut workers = Vec::new();
    let mut wakers = Vec::new();
    for _ in 0..count {
        wakers.push(Waker::new().map_err(Status::of_os)?);
    }
    let (backend, drivers) = make_drivers(backend, &wakers, news)?;
    for (waker, driver) in wakers.into_iter().zip(drivers) {
        let seat = process.take_seat()?;
        seats.push(seat);
        let (files, resolver) = (files.clone(), resolver.clone());
        let occupied =
            seat.lock()
                .occupy(waker, &driver, on_poll, sockets.clone(), resolver, files);
        let worker = Worker::new(seat, driver, sockets.clone(), poll.clone(), spin_ns(config));
        workers.push(worker.map_err(Status::of_os)?);
        occupied.map_err(|_| Status::OutOfMemory)?;
    }
    sockets.settle(seats.clone());
    let mut threads = Vec::new();
    for worker in workers {
        match thread::spawn("asock-worker", move || worker.run()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                dismiss(seats, threads);
                return Err(Status::of_os(error));
            }
        }
    }
    Ok(register(process, |slot, handle| Runtime {
        slot,
        handle,
        seats: seats.clone(),
        poll,
        backend,
        sockets,
        resolver,
        files,
        turn: AtomicU32::new(0),
        threads: Mutex::new(threads),
        life: Mutex::new(Life::Running),
        changed: Condvar::new(),
    }))
}

/// How long a worker looks for work before it sleeps. With one core nobody could bring any
/// meanwhile.
fn spin_ns(config: &Config) -> u64 {
    match thread::cores() {
        1 => 0,
        _ => u64::from(config.spin_us) * 1000,
    }
}

/// Sends the workers home that were started before one could not be.
fn dismiss(seats: &[&'static Seat], threads: Vec<JoinHandle<()>>) {
    for seat in seats {
        drain_seat(seat, seat.lock(), true);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Gives a runtime its place and its handle.
fn register(process: &Process, make: impl FnOnce(usize, u64) -> Runtime) -> Arc<Runtime> {
    let mut registry = locked(&process.registry);
    let free = registry
        .runtimes
        .iter()
        .position(|entry| entry.runtime.is_none() && entry.generation < LAST_GENERATION);
    let slot = free.unwrap_or(registry.runtimes.len());
    if slot == registry.runtimes.len() {
        registry.runtimes.push(Entry {
            generation: 0,
            runtime: None,
        });
    }
    let generation = registry.runtimes[slot].generation + 1;
    let handle = Handle {
        kind: HandleKind::Runtime,
        seat: process.first_seat as u16,
        slot: slot as u32,
        generation,
    };
    let runtime = Arc::new(make(slot, handle.pack()));
    registry.runtimes[slot] = Entry {
        generation,
        runtime: Some(runtime.clone()),
    };
    runtime
}
