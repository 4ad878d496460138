//! The calls on a runtime: start, drain, stop, counters, and the taking of completions.

use std::mem::{offset_of, size_of};

use super::{array_of, declared_size, guard, of_runtime, read_sized, require, time_limit};
use crate::abi::*;
use crate::runtime::{self, Backend, Config, Delivery, Stats};
use crate::status::{Answer, Status};

/// The size of the first version of each struct that may grow, up to its last member then. These stay when it grows.
const FIRST_CONFIG: usize = offset_of!(asock_runtime_config, spin_us) + size_of::<u32>();
const FIRST_STATS: usize = offset_of!(asock_stats, workers) + size_of::<u32>();

/// Starts a runtime: its worker threads, one unless `config->workers` says more, and no other until names
/// are looked up or files are sent.
///
/// `config` may be NULL for the defaults; it is read during the call only. `*runtime` is written on ASOCK_OK and is the
/// caller's to stop with `asock_runtime_stop`. A process may have many runtimes, which share nothing. The default
/// runtime, 0, needs no start.
///
/// Any thread, also inside a callback. It costs the start of the workers, and waits for nothing else. They block the
/// signals named under "The process around it" above, and those that the calling thread blocks.
///
/// Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for an unknown value, a `size` smaller than the first version's struct, or
/// bytes other than zero past those that this library knows; ASOCK_NOT_SUPPORTED for a backend that this machine or this
/// version lacks; ASOCK_OUT_OF_MEMORY; ASOCK_TOO_MANY_SOCKETS when the process has no descriptor left; ASOCK_OS_ERROR.
#[no_mangle]
pub unsafe extern "C" fn asock_runtime_start(
    config: *const asock_runtime_config,
    runtime: *mut asock_runtime,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that `config` is NULL or points to a struct of its own `size`.
        let config = unsafe { configuration(config) }?;
        require(!runtime.is_null())?;
        let started = runtime::start(&config)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { runtime.write(started) };
        Ok(())
    })
}

/// Refuses new operations from now on (ASOCK_STOPPED) and ends those that are pending: they complete with
/// ASOCK_STOPPED, through the usual delivery. Returns at once. Sockets stay open until they are closed or the runtime
/// stops; `asock_close` is never refused, while `asock_begin_close` gives ASOCK_STOPPED and leaves the socket open.
/// On a runtime that delivers on poll, drain, then poll until ASOCK_STOPPED: so no completion is dropped by the stop.
///
/// Any thread, also inside a callback; never waits. Draining again, and draining a default runtime that does not run,
/// is ASOCK_OK. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED.
#[no_mangle]
pub extern "C" fn asock_runtime_drain(runtime: asock_runtime) -> asock_status {
    guard(|| runtime::drain(runtime))
}

/// Ends a runtime: its pending operations complete with ASOCK_STOPPED, its sockets are closed, its threads end. The
/// handles of the runtime, and of all its sockets and operations, are stale when it returns; but a record that
/// `asock_end` is to collect stays until it is ended or forgotten.
///
/// When it returns, every completion has been delivered, no thread of the runtime is left, and no callback runs or will
/// run. It waits for one that does, and where `asock_begin_send_file` is reading, for the disk; for nothing else,
/// neither for the network nor for a name server. (A thread that the system's resolver holds then is left to it: it has
/// nothing of the application's, and ends when it is let go.) On a runtime that delivers on poll it wakes a waiting
/// poller, and the calling thread itself calls the callbacks that are left; records without a callback are dropped
/// (drain first to see them all).
///
/// 0 stops the default runtime, if it runs, and a later use starts it anew. Any thread but the library's own: on a worker
/// of any runtime and inside any callback it gives ASOCK_WOULD_DEADLOCK and does nothing. When two threads stop one
/// runtime, both return after it has stopped, one of them with ASOCK_BAD_HANDLE. Other returns: ASOCK_OK;
/// ASOCK_BAD_HANDLE; ASOCK_FORKED.
#[no_mangle]
pub extern "C" fn asock_runtime_stop(runtime: asock_runtime) -> asock_status {
    guard(|| runtime::stop(runtime))
}

/// Reports the counters of a runtime since its start. The caller sets `*stats` to zero, then `stats->size`; the library
/// writes the rest, as far as `size` goes. The numbers are each exact, but not taken at one instant. Runtime 0 is started
/// if it does not run.
///
/// Any thread, never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL, a
/// `size` smaller than the first version's struct, or bytes other than zero past those that this library knows; for
/// runtime 0 also what `asock_runtime_start` returns.
#[no_mangle]
pub unsafe extern "C" fn asock_runtime_stats(
    runtime: asock_runtime,
    stats: *mut asock_stats,
) -> asock_status {
    guard(|| {
        // SAFETY: the header says that `stats` points to a struct of its own `size`.
        let size = of_runtime(runtime, unsafe {
            declared_size(stats.cast_const(), FIRST_STATS)
        })?;
        let report = report(size, &runtime::stats(runtime)?);
        // SAFETY: the caller's struct is `size` bytes long and may be written; ours is a local.
        unsafe {
            let source = (&raw const report).cast::<u8>();
            source.copy_to_nonoverlapping(stats.cast::<u8>(), size.min(size_of::<asock_stats>()));
        }
        Ok(())
    })
}

/// Takes completions of a runtime that delivers on poll: waits until there is one, at most `timeout_ms` milliseconds
/// (0: not at all; -1: without limit), then writes as many as there are, at most `capacity`, to `results` and their
/// number to `*count`. Those of one worker, and so those of one socket, come in the order in which the operations ended.
/// Callbacks are not called: the record is the completion, whether the operation has a callback or not. An operation's
/// handle is retired when its record is handed out, and its buffer is the caller's again.
///
/// At the limit, or woken by `asock_wake`, it gives ASOCK_OK and a count of 0. After a drain, once all is handed out,
/// ASOCK_STOPPED. `results` and `count` are written on ASOCK_OK only and are the caller's.
///
/// Any thread, but one at a time in poll and dispatch of a runtime: a second gives ASOCK_INVALID_STATE. Inside any
/// callback, dispatched or on a worker, whatever its runtime and also with a limit of 0: ASOCK_WOULD_DEADLOCK. Other
/// returns: ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL, a capacity of 0 or a `timeout_ms` below -1;
/// ASOCK_INVALID_STATE on a runtime that delivers on its worker.
#[no_mangle]
pub unsafe extern "C" fn asock_poll(
    runtime: asock_runtime,
    timeout_ms: i32,
    results: *mut asock_result,
    capacity: usize,
    count: *mut usize,
) -> asock_status {
    guard(|| {
        let arguments = time_limit(timeout_ms)
            .and(require(capacity > 0 && !count.is_null()))
            .and(array_of(results.cast_const(), capacity));
        of_runtime(runtime, arguments)?;
        let mut hand_out = |at: usize, result: asock_result| {
            debug_assert!(at < capacity);
            // SAFETY: the header says that `results` has room for `capacity` records.
            unsafe { results.add(at).write(result) };
        };
        let taken = runtime::poll(runtime, timeout_ms, capacity, &mut hand_out)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { count.write(taken) };
        Ok(())
    })
}

/// Takes completions of a runtime that delivers on poll and calls their callbacks on the calling thread, those of one
/// worker, and so those of one socket, in the order in which the operations ended: waits until there is one, at most
/// `timeout_ms` milliseconds (0: not at all; -1: without limit), then calls at most `max_callbacks` of them and begins
/// none after `budget_us` microseconds of calling (0: no such limit). What is left waits for the next call. Completions
/// without a callback are dropped and not counted. `*count` is the number of callbacks called.
///
/// At the limit, or woken by `asock_wake`, it gives ASOCK_OK and a count of 0. After a drain, once all is handed out,
/// ASOCK_STOPPED. `count` is written on ASOCK_OK only.
///
/// Any thread, but one at a time in poll and dispatch of a runtime: a second gives ASOCK_INVALID_STATE. Inside any
/// callback, dispatched or on a worker, whatever its runtime and also with a limit of 0: ASOCK_WOULD_DEADLOCK. Other
/// returns: ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL or a `timeout_ms` below -1;
/// ASOCK_INVALID_STATE on a runtime that delivers on its worker.
#[no_mangle]
pub unsafe extern "C" fn asock_dispatch(
    runtime: asock_runtime,
    timeout_ms: i32,
    max_callbacks: usize,
    budget_us: u32,
    count: *mut usize,
) -> asock_status {
    guard(|| {
        let arguments = time_limit(timeout_ms).and(require(!count.is_null()));
        of_runtime(runtime, arguments)?;
        let called = runtime::dispatch(runtime, timeout_ms, max_callbacks, budget_us)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { count.write(called) };
        Ok(())
    })
}

/// Gives a descriptor that is readable while completions of this runtime wait or a wake is pending, for a loop that
/// waits for other things too: epoll, asyncio, GLib, Qt, SDL. When it is readable, call `asock_poll` or `asock_dispatch`
/// with a limit of 0. It is level-triggered, one for all workers, and stays the same until the runtime stops. On
/// Windows it is an event HANDLE.
///
/// The descriptor is the library's own: never read, close or change it; take it out of the loop before the runtime
/// stops. Any thread, never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL;
/// ASOCK_INVALID_STATE on a runtime that delivers on its worker.
#[no_mangle]
pub unsafe extern "C" fn asock_poll_fd(runtime: asock_runtime, fd: *mut i64) -> asock_status {
    guard(|| {
        of_runtime(runtime, require(!fd.is_null()))?;
        let number = runtime::poll_fd(runtime)?;
        // SAFETY: not NULL, and the header says that it may be written.
        unsafe { fd.write(number) };
        Ok(())
    })
}

/// Ends the waiting `asock_poll` or `asock_dispatch` of this runtime early or, if none waits, the next one that would.
/// Several wakes before that count as one.
///
/// Any thread, also inside a callback; never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED;
/// ASOCK_INVALID_STATE on a runtime that delivers on its worker.
#[no_mangle]
pub extern "C" fn asock_wake(runtime: asock_runtime) -> asock_status {
    guard(|| runtime::wake(runtime))
}

/// What a runtime is to be started with; every number is checked before it means something.
///
/// Safety: `config` is NULL or points to a struct that is as long as its `size` says.
unsafe fn configuration(config: *const asock_runtime_config) -> Answer<Config> {
    if config.is_null() {
        return Ok(Config::default());
    }
    // SAFETY: passed on by the caller; the struct consists of integers.
    let given = unsafe { read_sized(config, FIRST_CONFIG) }?;
    Ok(Config {
        delivery: match given.delivery {
            ASOCK_DELIVER_ON_WORKER => Delivery::OnWorker,
            ASOCK_DELIVER_ON_POLL => Delivery::OnPoll,
            _ => return Err(Status::InvalidArgument),
        },
        backend: match given.backend {
            ASOCK_BACKEND_AUTO => Backend::Auto,
            ASOCK_BACKEND_EPOLL => Backend::Epoll,
            ASOCK_BACKEND_IO_URING => Backend::IoUring,
            ASOCK_BACKEND_KQUEUE => Backend::Kqueue,
            ASOCK_BACKEND_IOCP => Backend::Iocp,
            _ => return Err(Status::InvalidArgument),
        },
        workers: given.workers,
        resolvers: given.resolvers,
        max_sockets: given.max_sockets,
        spin_us: given.spin_us,
    })
}

fn report(size: usize, stats: &Stats) -> asock_stats {
    asock_stats {
        size,
        operations_begun: stats.begun,
        operations_completed: stats.completed,
        operations_pending: stats.pending,
        bytes_sent: stats.bytes_sent,
        bytes_received: stats.bytes_received,
        sockets_open: stats.sockets,
        wake_ups: stats.wake_ups,
        longest_callback_ns: stats.longest_callback_ns,
        backend: stats.backend,
        workers: stats.workers,
    }
}
