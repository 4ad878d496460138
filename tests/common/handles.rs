//! Every exported function that takes a handle, so that all of them can be called with any handle: with arguments that are
//! good otherwise, and with bad ones. What is begun is told to nobody and refers to memory that is there for ever, so a
//! call that succeeds after all does no harm.

use super::calls;
use asock::*;
use std::ffi::c_void;
use std::fs::File;
use std::mem::{zeroed, MaybeUninit};
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicU64;
use std::sync::OnceLock;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Runtime,
    Socket,
    Op,
}

/// A function that takes a handle, and how it is called with good arguments and with bad ones, where it has any.
pub struct Entry {
    pub name: &'static str,
    pub kind: Kind,
    pub good: fn(u64) -> i32,
    pub bad: Option<fn(u64) -> i32>,
}

const fn entry(
    name: &'static str,
    kind: Kind,
    good: fn(u64) -> i32,
    bad: Option<fn(u64) -> i32>,
) -> Entry {
    Entry {
        name,
        kind,
        good,
        bad,
    }
}

/// Memory that is there for ever: what an operation that is begun after all may refer to.
static DATA: [u8; 8] = *b"whatever";
static ROOM: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

fn room() -> *mut c_void {
    ROOM.as_ptr().cast_mut().cast()
}

/// The descriptor of a file that is there for ever.
fn file() -> i64 {
    static FILE: OnceLock<File> = OnceLock::new();
    let open = || File::open(std::env::current_exe().expect("we run")).expect("it can be read");
    super::files::number_of(FILE.get_or_init(open))
}

/// A place for an address of a sender.
fn sender() -> *mut asock_address {
    static PLACE: [AtomicU64; 18] = [const { AtomicU64::new(0) }; 18];
    const { assert!(size_of::<asock_address>() <= 18 * 8) };
    PLACE.as_ptr().cast_mut().cast()
}

fn data() -> *const c_void {
    DATA.as_ptr().cast()
}

/// Calls with a place for something, and checks that it was left alone unless the call succeeded.
fn untouched<T: PartialEq + Copy>(before: T, call: impl FnOnce(*mut T) -> i32) -> i32 {
    let mut place = before;
    let status = call(&raw mut place);
    assert!(status == ASOCK_OK || place == before, "written on {status}");
    status
}

fn no_address() -> asock_address {
    // SAFETY: a struct of integers may be all zero.
    unsafe { zeroed() }
}

fn an_address() -> asock_address {
    calls::address("127.0.0.1", 9)
}

/// The functions of runtimes.
pub const RUNTIMES: &[Entry] = &[
    entry(
        "asock_runtime_drain",
        Kind::Runtime,
        |h| asock_runtime_drain(h),
        None,
    ),
    entry(
        "asock_runtime_stop",
        Kind::Runtime,
        |h| asock_runtime_stop(h),
        None,
    ),
    entry(
        "asock_runtime_stats",
        Kind::Runtime,
        |h| {
            // SAFETY: a struct of integers that tells its size and may be written.
            unsafe {
                let mut stats: asock_stats = zeroed();
                stats.size = size_of::<asock_stats>();
                asock_runtime_stats(h, &raw mut stats)
            }
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_runtime_stats(h, null_mut()) }),
    ),
    entry(
        "asock_poll",
        Kind::Runtime,
        |h| {
            let mut results = [const { MaybeUninit::<asock_result>::uninit() }; 2];
            // SAFETY: there is room for two records.
            untouched(77, |count| unsafe {
                asock_poll(h, 0, results.as_mut_ptr().cast(), 2, count)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_poll(h, -7, null_mut(), 0, null_mut()) }),
    ),
    entry(
        "asock_dispatch",
        Kind::Runtime,
        // SAFETY: the count may be written.
        |h| untouched(77, |count| unsafe { asock_dispatch(h, 0, 0, 0, count) }),
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_dispatch(h, -7, 0, 0, null_mut()) }),
    ),
    entry(
        "asock_poll_fd",
        Kind::Runtime,
        // SAFETY: the number may be written.
        |h| untouched(77, |number| unsafe { asock_poll_fd(h, number) }),
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_poll_fd(h, null_mut()) }),
    ),
    entry("asock_wake", Kind::Runtime, |h| asock_wake(h), None),
    entry(
        "asock_open",
        Kind::Runtime,
        // SAFETY: the handle may be written.
        |h| untouched(77, |socket| unsafe { asock_open(h, ASOCK_STREAM, socket) }),
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_open(h, 99, null_mut()) }),
    ),
    entry(
        "asock_adopt",
        Kind::Runtime,
        // SAFETY: a number that is no descriptor is answered; a bad handle comes first.
        |h| untouched(77, |socket| unsafe { asock_adopt(h, i64::MAX, socket) }),
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_adopt(h, -1, null_mut()) }),
    ),
    entry(
        "asock_begin_resolve",
        Kind::Runtime,
        |h| {
            // SAFETY: only counted, nothing is written.
            untouched(77, |op| unsafe {
                asock_begin_resolve(
                    h,
                    c"127.0.0.1".as_ptr(),
                    1,
                    null_mut(),
                    0,
                    None,
                    null_mut(),
                    op,
                )
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe {
            asock_begin_resolve(h, null(), 0, null_mut(), 9, None, null_mut(), null_mut())
        }),
    ),
    entry(
        "asock_begin_timer",
        Kind::Runtime,
        |h| {
            // SAFETY: nothing but the place for the handle is given.
            untouched(77, |op| unsafe {
                asock_begin_timer(h, 0, None, null_mut(), op)
            })
        },
        None,
    ),
];

/// The functions of sockets that begin nothing.
pub const SOCKETS: &[Entry] = &[
    entry(
        "asock_release",
        Kind::Socket,
        // SAFETY: the number may be written.
        |h| untouched(77, |number| unsafe { asock_release(h, number) }),
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_release(h, null_mut()) }),
    ),
    entry(
        "asock_bind",
        Kind::Socket,
        // SAFETY: the host ends with a zero.
        |h| unsafe { asock_bind(h, c"127.0.0.1".as_ptr(), 0) },
        // SAFETY: as above.
        Some(|h| unsafe { asock_bind(h, c"".as_ptr(), 0) }),
    ),
    entry("asock_listen", Kind::Socket, |h| asock_listen(h, 1), None),
    entry(
        "asock_shutdown",
        Kind::Socket,
        |h| asock_shutdown(h, ASOCK_SHUTDOWN_BOTH),
        Some(|h| asock_shutdown(h, 99)),
    ),
    entry(
        "asock_set_option",
        Kind::Socket,
        |h| asock_set_option(h, ASOCK_OPTION_NODELAY, 1),
        Some(|h| asock_set_option(h, 9999, -5)),
    ),
    entry(
        "asock_get_option",
        Kind::Socket,
        |h| {
            // SAFETY: the value may be written.
            untouched(77, |value| unsafe {
                asock_get_option(h, ASOCK_OPTION_NODELAY, value)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_get_option(h, 9999, null_mut()) }),
    ),
    entry(
        "asock_join_group",
        Kind::Socket,
        |h| {
            let group = calls::address("239.1.2.3", 9);
            // SAFETY: the address is a live value.
            unsafe { asock_join_group(h, &raw const group, 1) }
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_join_group(h, null(), 0) }),
    ),
    entry(
        "asock_leave_group",
        Kind::Socket,
        |h| {
            let group = calls::address("239.1.2.3", 9);
            // SAFETY: the address is a live value.
            unsafe { asock_leave_group(h, &raw const group, 1) }
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_leave_group(h, null(), 0) }),
    ),
    entry(
        "asock_local_address",
        Kind::Socket,
        |h| {
            // SAFETY: the address may be written.
            untouched(no_address(), |address| unsafe {
                asock_local_address(h, address)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_local_address(h, null_mut()) }),
    ),
    entry(
        "asock_remote_address",
        Kind::Socket,
        |h| {
            // SAFETY: the address may be written.
            untouched(no_address(), |address| unsafe {
                asock_remote_address(h, address)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_remote_address(h, null_mut()) }),
    ),
    entry("asock_close", Kind::Socket, |h| asock_close(h), None),
];

/// The functions of sockets that begin an operation.
pub const BEGINNINGS: &[Entry] = &[
    entry(
        "asock_begin_connect",
        Kind::Socket,
        |h| {
            let host = c"127.0.0.1".as_ptr();
            // SAFETY: the host ends with a zero.
            untouched(77, |op| unsafe {
                asock_begin_connect(h, host, 9, None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_begin_connect(h, null(), 0, None, null_mut(), null_mut()) }),
    ),
    entry(
        "asock_begin_connect_address",
        Kind::Socket,
        |h| {
            let to = an_address();
            // SAFETY: the address is read during the call.
            untouched(77, |op| unsafe {
                asock_begin_connect_address(h, &raw const to, None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_begin_connect_address(h, null(), None, null_mut(), null_mut()) }),
    ),
    entry(
        "asock_begin_send",
        Kind::Socket,
        |h| {
            // SAFETY: the data is there for ever.
            untouched(77, |op| unsafe {
                asock_begin_send(h, data(), 8, 0, None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_begin_send(h, null(), 8, 999, None, null_mut(), null_mut()) }),
    ),
    entry(
        "asock_begin_receive",
        Kind::Socket,
        |h| {
            // SAFETY: the room is there for ever.
            untouched(77, |op| unsafe {
                asock_begin_receive(h, room(), 8, 0, None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe {
            asock_begin_receive(h, null_mut(), 8, 999, None, null_mut(), null_mut())
        }),
    ),
    entry(
        "asock_begin_close",
        Kind::Socket,
        |h| {
            // SAFETY: nothing but the place for the handle is given.
            untouched(77, |op| unsafe {
                asock_begin_close(h, 0, None, null_mut(), op)
            })
        },
        // SAFETY: unknown flags are answered.
        Some(|h| unsafe { asock_begin_close(h, 99, None, null_mut(), null_mut()) }),
    ),
    entry(
        "asock_begin_send_vectored",
        Kind::Socket,
        |h| {
            let piece = asock_buffer {
                data: data().cast_mut(),
                length: 8,
            };
            // SAFETY: the array is copied, the data is there for ever.
            untouched(77, |op| unsafe {
                asock_begin_send_vectored(h, &raw const piece, 1, 0, None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe {
            asock_begin_send_vectored(h, null(), 1, 999, None, null_mut(), null_mut())
        }),
    ),
    entry(
        "asock_begin_receive_vectored",
        Kind::Socket,
        |h| {
            let piece = asock_buffer {
                data: room(),
                length: 8,
            };
            // SAFETY: the array is copied, the room is there for ever.
            untouched(77, |op| unsafe {
                asock_begin_receive_vectored(h, &raw const piece, 1, 0, None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe {
            asock_begin_receive_vectored(h, null(), 1, 999, None, null_mut(), null_mut())
        }),
    ),
    entry(
        "asock_begin_send_file",
        Kind::Socket,
        |h| {
            // SAFETY: no memory is referred to.
            untouched(77, |op| unsafe {
                asock_begin_send_file(h, file(), 0, 8, None, null_mut(), op)
            })
        },
        // SAFETY: a number that is no descriptor is answered.
        Some(|h| unsafe {
            asock_begin_send_file(h, -1, u64::MAX, u64::MAX, None, null_mut(), null_mut())
        }),
    ),
    entry(
        "asock_begin_accept",
        Kind::Socket,
        |h| {
            // SAFETY: nothing but the place for the handle is given.
            untouched(77, |op| unsafe {
                asock_begin_accept(h, None, null_mut(), op)
            })
        },
        // SAFETY: as above.
        Some(|h| unsafe { asock_begin_accept(h, None, null_mut(), null_mut()) }),
    ),
    entry(
        "asock_begin_send_to",
        Kind::Socket,
        |h| {
            let to = an_address();
            // SAFETY: the address is copied, the data is there for ever.
            untouched(77, |op| unsafe {
                asock_begin_send_to(h, data(), 8, 0, &raw const to, None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe {
            asock_begin_send_to(h, null(), 8, 999, null(), None, null_mut(), null_mut())
        }),
    ),
    entry(
        "asock_begin_receive_from",
        Kind::Socket,
        |h| {
            // SAFETY: room and sender are there for ever.
            untouched(77, |op| unsafe {
                asock_begin_receive_from(h, room(), 8, 0, sender(), None, null_mut(), op)
            })
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe {
            asock_begin_receive_from(
                h,
                null_mut(),
                8,
                999,
                null_mut(),
                None,
                null_mut(),
                null_mut(),
            )
        }),
    ),
];

/// The functions of operations.
pub const OPERATIONS: &[Entry] = &[
    entry(
        "asock_wait",
        Kind::Op,
        |h| asock_wait(h, 0),
        Some(|h| asock_wait(h, -7)),
    ),
    entry(
        "asock_end",
        Kind::Op,
        |h| {
            let mut result = MaybeUninit::<asock_result>::zeroed();
            // SAFETY: the result may be written.
            let status = unsafe { asock_end(h, result.as_mut_ptr()) };
            // SAFETY: all zero is a record.
            let op = unsafe { result.assume_init() }.op;
            assert_eq!(op == 0, status != ASOCK_OK, "written on {status}");
            status
        },
        // SAFETY: NULL is answered.
        Some(|h| unsafe { asock_end(h, null_mut()) }),
    ),
    entry("asock_forget", Kind::Op, |h| asock_forget(h), None),
    entry("asock_cancel", Kind::Op, |h| asock_cancel(h), None),
    entry(
        "asock_set_deadline",
        Kind::Op,
        |h| asock_set_deadline(h, 1000),
        None,
    ),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    let groups = [RUNTIMES, SOCKETS, BEGINNINGS, OPERATIONS];
    groups.into_iter().flatten()
}

/// The functions that the header declares with a handle as the first parameter.
pub fn declared() -> Vec<String> {
    let header = include_str!("../../include/asock.h");
    let code = header
        .split("*/")
        .map(|part| part.split("/*").next().unwrap_or(""));
    let code: String = code.collect();
    let of = |declaration: &str| {
        let (name, parameters) = declaration.split_once('(')?;
        let first = parameters.split([' ', ',']).next()?;
        let takes = ["asock_runtime", "asock_socket", "asock_op"].contains(&first);
        let name = name.split_whitespace().last()?;
        (takes && name.starts_with("asock_")).then(|| name.to_owned())
    };
    code.split(';').filter_map(of).collect()
}
