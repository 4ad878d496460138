//! The log hook, and the panic hook that keeps our own panics off the host's terminal.
//!
//! It stands above `sys`, since the hook must not survive a fork with a lock that a thread of the
//! parent holds: each process has a hook of its own, and a child starts without one.

use crate::abi::asock_log_callback;
use crate::foreign::{self, UserData};
use crate::status::{Answer, Status};
use crate::sys::PerProcess;
use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

pub const ERROR: u32 = 1;
pub const INFO: u32 = 3;

/// The longest message, with its final zero; a longer one is cut.
const ROOM: usize = 512;

struct Hook {
    callback: asock_log_callback,
    user_data: UserData,
}

static HOOK: PerProcess<RwLock<Hook>> = PerProcess::new();
/// The level of the hook that is set; 0 when there is none, so that a message costs one load.
static LEVEL: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// How deep this thread is inside the library, not counting callbacks of the application.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// This thread is inside the log callback.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside the log callback.
pub fn is_here() -> bool {
    LOGGING.get()
}

/// Sets the hook, or takes it away. When it returns, the old one no longer runs.
pub fn set(level: u32, callback: asock_log_callback, user_data: UserData) -> Answer<()> {
    if is_here() {
        return Err(Status::WouldDeadlock); // We would wait for ourselves.
    }
    let none = || {
        Ok::<_, Status>(RwLock::new(Hook {
            callback: None,
            user_data: UserData::NONE,
        }))
    };
    let hook = HOOK.get_or_try_init(none)?;
    let mut hook = hook.write().unwrap_or_else(PoisonError::into_inner);
    *hook = Hook {
        callback,
        user_data,
    };
    let level = if callback.is_some() { level } else { 0 };
    LEVEL.store(level, Ordering::Relaxed);
    Ok(())
}

/// Gives a message to the application's hook, if it wants that level.
pub fn write(level: u32, message: fmt::Arguments<'_>) {
    if level > LEVEL.load(Ordering::Relaxed) || is_here() {
        return;
    }
    let Some(hook) = HOOK.get() else { return };
    let hook = hook.read().unwrap_or_else(PoisonError::into_inner);
    let mut line = Line {
        bytes: [0; ROOM],
        length: 0,
    };
    let _ = line.write_fmt(message);
    LOGGING.set(true);
    outside(|| foreign::log(hook.callback, level, &line.bytes, hook.user_data));
    LOGGING.set(false);
}

/// A message of limited length, made without an allocation.
struct Line {
    bytes: [u8; ROOM],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes().filter(|&byte| byte != 0) {
            if self.length + 1 < ROOM {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Runs code of the library: a panic in it is ours.
pub fn inside<T>(body: impl FnOnce() -> T) -> T {
    let _depth = Depth::set(DEPTH.get() + 1);
    body()
}

/// Runs code of the application: a panic in it is its own.
pub fn outside<T>(body: impl FnOnce() -> T) -> T {
    let _depth = Depth::set(0);
    body()
}

/// Restores the depth also when a panic passes.
struct Depth(u32);

impl Depth {
    fn set(depth: u32) -> Depth {
        Depth(DEPTH.replace(depth))
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// From now on our own panics go to the log; all others go to the hook that was there.
pub fn catch_panics() {
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    if CAUGHT.swap(true, Ordering::Relaxed) {
        return;
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if DEPTH.get() == 0 {
            before(panic);
        } else {
            write(
                ERROR,
                format_args!("asock: a panic, please report it: {panic}"),
            );
        }
    }));
}
