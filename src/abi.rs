//! Every type and constant of the C surface, with its numbers written out.
//!
//! This file holds no functions and no opinions: it is what the two sides of the boundary agree on. The comments
//! become the comments of `include/asock.h`, so they speak to the reader of C. The numbers are fixed for ever: one may
//! be added, none is changed or used a second time.
#![allow(non_camel_case_types)] // The names are those of the C header.

use libc::{c_char, c_void};

// ---- version ----

/// The version of this header: major, minor, patch. A change of the major number may break programs; `asock_version`
/// tells the version of the library that was loaded.
pub const ASOCK_VERSION_MAJOR: u32 = 0;
/// See `ASOCK_VERSION_MAJOR`.
pub const ASOCK_VERSION_MINOR: u32 = 1;
/// See `ASOCK_VERSION_MAJOR`.
pub const ASOCK_VERSION_PATCH: u32 = 0;

// ---- status ----
// Written as `i32`, which asock_status is, so that the header shows them first.

/// Status: it worked. The only status that is not negative.
pub const ASOCK_OK: i32 = 0;
/// Status: an argument shows by itself that the call cannot work: NULL where a pointer is needed, an unknown flag or
/// value, a host that is no valid text, a length that no object can have.
pub const ASOCK_INVALID_ARGUMENT: i32 = -1;
/// Status: the call is not possible in the present state of its object, for example `asock_end` of an operation that
/// has a callback, or a second thread in `asock_poll`.
pub const ASOCK_INVALID_STATE: i32 = -2;
/// Status: the handle is 0 where 0 is not allowed, stale, of another kind, or was never issued. Handles are checked
/// before every other argument.
pub const ASOCK_BAD_HANDLE: i32 = -3;
/// Status: this version of the library, this system or this backend cannot do it.
pub const ASOCK_NOT_SUPPORTED: i32 = -4;
/// Status: the call would have to wait for the very thread that makes it.
pub const ASOCK_WOULD_DEADLOCK: i32 = -5;
/// Status: the handle was made by the parent process, before `fork`.
pub const ASOCK_FORKED: i32 = -6;
/// Status: there was no memory. Nothing was begun.
pub const ASOCK_OUT_OF_MEMORY: i32 = -7;
/// Status: the send would pass the socket's `ASOCK_OPTION_SEND_QUEUE_LIMIT`. Nothing was begun; try again when an
/// earlier send has completed.
pub const ASOCK_QUEUE_FULL: i32 = -8;
/// Status: the system, or the runtime's `max_sockets`, allows no further socket.
pub const ASOCK_TOO_MANY_SOCKETS: i32 = -9;
/// Status: a defect inside the library, which it survived. The log tells more.
pub const ASOCK_INTERNAL: i32 = -10;

/// Status of a completion: `asock_cancel` ended the operation.
pub const ASOCK_CANCELED: i32 = -20;
/// Status of a completion: the socket was closed on this side while the operation was pending.
pub const ASOCK_CLOSED: i32 = -21;
/// Status: the runtime is draining or has been stopped. As a status of a completion: a drain or a stop ended the
/// operation. From `asock_poll` and `asock_dispatch`: all is handed out, nothing more will come.
pub const ASOCK_STOPPED: i32 = -22;
/// Status: the limit of time passed. If `os_error` is set, it was the system's own limit (its ETIMEDOUT).
pub const ASOCK_TIMED_OUT: i32 = -23;

/// Status of a completion: no such host name, or it has no address.
pub const ASOCK_HOST_NOT_FOUND: i32 = -40;
/// Status of a completion: the name server gave no answer or an unusable one; a later try may succeed.
pub const ASOCK_NAME_SERVER_FAILED: i32 = -41;
/// Status of a completion: nobody listens at that address.
pub const ASOCK_CONNECTION_REFUSED: i32 = -42;
/// Status of a completion: the peer has reset the connection, or closed it while data was under way to it.
pub const ASOCK_CONNECTION_RESET: i32 = -43;
/// Status of a completion: the system gave the connection up.
pub const ASOCK_CONNECTION_ABORTED: i32 = -44;
/// Status of a completion: there is no route to that network, or the network is down.
pub const ASOCK_NETWORK_UNREACHABLE: i32 = -45;
/// Status of a completion: there is no route to that host, or the host is down.
pub const ASOCK_HOST_UNREACHABLE: i32 = -46;
/// Status: the socket is not connected.
pub const ASOCK_NOT_CONNECTED: i32 = -47;
/// Status of a completion: the socket is connected already; that connection is unharmed.
pub const ASOCK_ALREADY_CONNECTED: i32 = -48;
/// Status of a completion: the sending side was shut down here, with `asock_shutdown`.
pub const ASOCK_SHUT_DOWN: i32 = -49;
/// Status: another socket holds that local address.
pub const ASOCK_ADDRESS_IN_USE: i32 = -50;
/// Status: that address is not one of this machine, or not one that can be connected to; for a unix socket: there is
/// no such path.
pub const ASOCK_ADDRESS_NOT_AVAILABLE: i32 = -51;
/// Status: the system does not permit it.
pub const ASOCK_ACCESS_DENIED: i32 = -52;
/// Status of a completion: the datagram is larger than the network takes.
pub const ASOCK_MESSAGE_TOO_LONG: i32 = -53;
/// Status: any other error of the system; in a completion `os_error` tells which.
pub const ASOCK_OS_ERROR: i32 = -99;

// ---- kinds of operation ----

/// `asock_result.kind`: begun by `asock_begin_connect` or `asock_begin_connect_address`.
pub const ASOCK_KIND_CONNECT: u32 = 1;
/// `asock_result.kind`: begun by `asock_begin_send`, `asock_begin_send_vectored` or `asock_begin_send_file`.
pub const ASOCK_KIND_SEND: u32 = 2;
/// `asock_result.kind`: begun by `asock_begin_receive` or `asock_begin_receive_vectored`.
pub const ASOCK_KIND_RECEIVE: u32 = 3;
/// `asock_result.kind`: begun by `asock_begin_accept`.
pub const ASOCK_KIND_ACCEPT: u32 = 4;
/// `asock_result.kind`: begun by `asock_begin_send_to`.
pub const ASOCK_KIND_SEND_TO: u32 = 5;
/// `asock_result.kind`: begun by `asock_begin_receive_from`.
pub const ASOCK_KIND_RECEIVE_FROM: u32 = 6;
/// `asock_result.kind`: begun by `asock_begin_resolve`.
pub const ASOCK_KIND_RESOLVE: u32 = 7;
/// `asock_result.kind`: begun by `asock_begin_timer`.
pub const ASOCK_KIND_TIMER: u32 = 8;
/// `asock_result.kind`: begun by `asock_begin_close`.
pub const ASOCK_KIND_CLOSE: u32 = 9;

/// `asock_result.flags`: a datagram or a list of addresses was larger than the room given; what fitted is there.
pub const ASOCK_RESULT_TRUNCATED: u32 = 1;

// ---- runtime ----

/// `asock_runtime_config.delivery`: a worker thread of the runtime calls the callbacks. The default.
pub const ASOCK_DELIVER_ON_WORKER: u32 = 0;
/// `asock_runtime_config.delivery`: completions wait until the application takes them with `asock_poll` or
/// `asock_dispatch`; no callback ever runs on a thread of the library.
pub const ASOCK_DELIVER_ON_POLL: u32 = 1;

/// `asock_runtime_config.backend`: the library chooses. On Linux it takes io_uring where the system's does all that is needed
/// (Linux 6.1 or later, and no sandbox, limit or administrator in the way), and epoll everywhere else, without a word;
/// `asock_runtime_stats` says which it is. The environment variable ASOCK_BACKEND (`epoll`, `io_uring`, `kqueue`, `iocp`)
/// overrides this value, and no other: what it names is taken, or the start gives ASOCK_NOT_SUPPORTED.
pub const ASOCK_BACKEND_AUTO: u32 = 0;
/// `asock_runtime_config.backend`: epoll, on Linux.
pub const ASOCK_BACKEND_EPOLL: u32 = 1;
/// `asock_runtime_config.backend`: io_uring, on recent Linux.
pub const ASOCK_BACKEND_IO_URING: u32 = 2;
/// `asock_runtime_config.backend`: kqueue, on macOS and the BSDs.
pub const ASOCK_BACKEND_KQUEUE: u32 = 3;
/// `asock_runtime_config.backend`: completion ports, on Windows.
pub const ASOCK_BACKEND_IOCP: u32 = 4;

// ---- sockets ----

/// Type of `asock_open`: a connection that carries a stream of bytes: TCP, or a unix stream socket.
pub const ASOCK_STREAM: u32 = 1;
/// Type of `asock_open`: datagrams: UDP, or a unix datagram socket.
pub const ASOCK_DATAGRAM: u32 = 2;

/// `asock_shutdown`: nothing more is received.
pub const ASOCK_SHUTDOWN_RECEIVE: u32 = 1;
/// `asock_shutdown`: nothing more is sent; the peer sees the end of the stream after what was begun before.
pub const ASOCK_SHUTDOWN_SEND: u32 = 2;
/// `asock_shutdown`: both directions.
pub const ASOCK_SHUTDOWN_BOTH: u32 = 3;

/// `asock_begin_close`: send what is queued first, then close. Not together with `ASOCK_CLOSE_RESET`.
pub const ASOCK_CLOSE_DRAIN: u32 = 1;
/// `asock_begin_close`: drop everything and reset the connection (RST instead of FIN). Not together with
/// `ASOCK_CLOSE_DRAIN`.
pub const ASOCK_CLOSE_RESET: u32 = 2;

/// Send flag: the library copies the data before `asock_begin_send` returns; the caller may reuse it at once.
pub const ASOCK_SEND_COPY: u32 = 1;
/// Send flag: more follows at once, so the system may wait for it to fill a packet (MSG_MORE).
pub const ASOCK_SEND_MORE: u32 = 2;
/// Send flag: the last byte is urgent data (MSG_OOB).
pub const ASOCK_SEND_OUT_OF_BAND: u32 = 4;

/// Receive flag: completes when the buffer is full or the peer has closed its side. Not together with
/// `ASOCK_RECEIVE_PEEK` or `ASOCK_RECEIVE_OUT_OF_BAND`.
pub const ASOCK_RECEIVE_ALL: u32 = 1;
/// Receive flag: the bytes stay in the stream for the next receive.
pub const ASOCK_RECEIVE_PEEK: u32 = 2;
/// Receive flag: takes the urgent byte (MSG_OOB) instead of the stream.
pub const ASOCK_RECEIVE_OUT_OF_BAND: u32 = 4;

/// Option: 1 sends small writes at once (TCP_NODELAY), 0 lets the system gather them. 1 unless set.
pub const ASOCK_OPTION_NODELAY: u32 = 1;
/// Option: 1 has the system probe an idle connection.
pub const ASOCK_OPTION_KEEPALIVE: u32 = 2;
/// Option: seconds of silence before the first probe.
pub const ASOCK_OPTION_KEEPALIVE_IDLE_S: u32 = 3;
/// Option: seconds between probes.
pub const ASOCK_OPTION_KEEPALIVE_INTERVAL_S: u32 = 4;
/// Option: probes without an answer before the connection is given up.
pub const ASOCK_OPTION_KEEPALIVE_COUNT: u32 = 5;
/// Option: seconds that the system goes on sending after a close; 0 resets the connection instead; -1 is off, the
/// system's default: it sends in the background. No close of this library ever waits for it.
pub const ASOCK_OPTION_LINGER_S: u32 = 6;
/// Option: bytes of the system's send buffer. What is read back may differ: Linux doubles it.
pub const ASOCK_OPTION_SEND_BUFFER: u32 = 7;
/// Option: bytes of the system's receive buffer. What is read back may differ: Linux doubles it.
pub const ASOCK_OPTION_RECEIVE_BUFFER: u32 = 8;
/// Option: 1 lets a socket take a local address that an old connection still holds (SO_REUSEADDR). Unless it was set,
/// `asock_bind` turns it on for a stream socket, so that a server can start again at once.
pub const ASOCK_OPTION_REUSE_ADDRESS: u32 = 9;
/// Option: 1 lets several sockets share a local address (SO_REUSEPORT); each of them sets it before `asock_bind`.
pub const ASOCK_OPTION_REUSE_PORT: u32 = 10;
/// Option: 1 permits datagrams to broadcast addresses.
pub const ASOCK_OPTION_BROADCAST: u32 = 11;
/// Option: hops that a packet may make (IP_TTL, or IPV6_UNICAST_HOPS).
pub const ASOCK_OPTION_TTL: u32 = 12;
/// Option: 1 keeps an IPv6 socket from carrying IPv4. Without meaning, and harmless, on other sockets.
pub const ASOCK_OPTION_V6_ONLY: u32 = 13;
/// Option of datagram sockets: 0 keeps what is sent to a group (`asock_join_group`) from the receivers on this machine. 1
/// unless set.
pub const ASOCK_OPTION_MULTICAST_LOOP: u32 = 14;
/// Option of datagram sockets: hops that a datagram to a group may make; 0 keeps it on this machine. 1 unless set.
pub const ASOCK_OPTION_MULTICAST_TTL: u32 = 15;
/// Option of datagram sockets: the index of the interface that datagrams to groups are sent on; 0, the default, lets the
/// system choose. What is read is what was set.
pub const ASOCK_OPTION_MULTICAST_INTERFACE: u32 = 16;
/// Option of the library: limit in milliseconds of each connect begun after the call; 0, the default, means none.
pub const ASOCK_OPTION_CONNECT_TIMEOUT_MS: u32 = 64;
/// Option of the library: limit in milliseconds of each send begun after the call, its time in the queue included; 0,
/// the default, means none.
pub const ASOCK_OPTION_SEND_TIMEOUT_MS: u32 = 65;
/// Option of the library: limit in milliseconds of each receive begun after the call, its time in the queue included;
/// 0, the default, means none.
pub const ASOCK_OPTION_RECEIVE_TIMEOUT_MS: u32 = 66;
/// Option of the library: limit in milliseconds of each accept begun after the call; 0, the default, means none.
pub const ASOCK_OPTION_ACCEPT_TIMEOUT_MS: u32 = 67;
/// Option of the library: bytes begun and not yet sent that the socket may hold; a send that would pass it is refused
/// with `ASOCK_QUEUE_FULL`, unless the queue is empty. 0, the default, means none.
pub const ASOCK_OPTION_SEND_QUEUE_LIMIT: u32 = 68;
/// Option of the library, to read only: bytes begun and not yet sent.
pub const ASOCK_OPTION_SEND_QUEUED: u32 = 69;

// ---- addresses ----

/// `asock_address_family`: no address, or a malformed one.
pub const ASOCK_FAMILY_NONE: u32 = 0;
/// `asock_address_family`: IPv4.
pub const ASOCK_FAMILY_IPV4: u32 = 1;
/// `asock_address_family`: IPv6.
pub const ASOCK_FAMILY_IPV6: u32 = 2;
/// `asock_address_family`: a unix socket, by path, by abstract name, or unnamed.
pub const ASOCK_FAMILY_UNIX: u32 = 3;

/// Bytes that always suffice for `asock_address_format`, the final zero included.
pub const ASOCK_ADDRESS_TEXT_MAX: usize = 160;

// ---- log ----

/// `asock_set_log`: nothing is reported.
pub const ASOCK_LOG_OFF: u32 = 0;
/// `asock_set_log`: defects and failures that nobody else would hear of.
pub const ASOCK_LOG_ERROR: u32 = 1;
/// `asock_set_log`: also what may be a mistake of the application.
pub const ASOCK_LOG_WARN: u32 = 2;
/// `asock_set_log`: also starts and stops.
pub const ASOCK_LOG_INFO: u32 = 3;
/// `asock_set_log`: also connects, closes and their causes.
pub const ASOCK_LOG_DEBUG: u32 = 4;
/// `asock_set_log`: also every operation.
pub const ASOCK_LOG_TRACE: u32 = 5;

// ---- types ----

/// A runtime: one worker thread (or several), its sockets and its completions. 0 is the process's default runtime, which
/// is started on first use and belongs to the application: libraries and plug-ins start their own.
///
/// Like every handle it is a plain number (a slot, a generation and a kind, never a pointer). It may be copied, kept and
/// passed to any thread. A handle that is no longer valid is answered with ASOCK_BAD_HANDLE and never comes back.
/// From `asock_runtime_start` until `asock_runtime_stop`.
pub type asock_runtime = u64;

/// A socket of a runtime; 0 is none. From `asock_open`, `asock_adopt` or an accept, until `asock_close`,
/// `asock_begin_close`, `asock_release` or the runtime's stop.
pub type asock_socket = u64;

/// What one `asock_begin_...` call started; 0 is none. It ends in exactly one completion. The handle is retired when the
/// operation's callback has returned, its record was handed out or dropped, or `asock_end` succeeded.
pub type asock_op = u64;

/// ASOCK_OK, which is 0, or one of the failures, which are negative. The numbers are fixed and never reused; a later
/// version may bring new ones, so treat an unknown negative number as a failure.
pub type asock_status = i32;

/// The completion of one operation. It never grows, since users hold arrays of it.
///
/// The record that a callback is given belongs to the library and is valid during the call; records from `asock_poll`
/// and `asock_end` are written into the caller's memory and are the caller's own. Neither owns what it points to:
/// `buffer` is the caller's again from the moment that the completion is delivered.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct asock_result {
    /// The operation. Always set, also where the caller did not ask for the handle.
    pub op: asock_op,
    /// The socket that it was begun on; 0 for a timer and a look-up. The socket may be closed by now.
    pub socket: asock_socket,
    /// Of an accept: the new `asock_socket`, which the receiver of this record owns. Of a look-up: the number of
    /// addresses found, which may be more than there was room for. Else 0.
    pub value: u64,
    /// Bytes sent or received, also where `status` is a failure.
    pub bytes: usize,
    /// The buffer given to the `asock_begin_...` call, or NULL. That of a send was const: it is only handed back.
    pub buffer: *mut c_void,
    /// The `user_data` given to the `asock_begin_...` call, bit by bit.
    pub user_data: *mut c_void,
    /// One of ASOCK_KIND_...
    pub kind: u32,
    /// How the operation ended.
    pub status: asock_status,
    /// The system's error behind `status` (errno, on Windows WSAGetLastError), 0 if there is none.
    pub os_error: i32,
    /// ASOCK_RESULT_TRUNCATED or 0. Later versions may set further bits.
    pub flags: u32,
}

/// Called with the completion of one operation, exactly once; NULL for none. `result` is valid during the call;
/// `user_data` is what was given to the `asock_begin_...` call.
///
/// On a runtime that delivers on its worker, the worker calls it; on one that delivers on poll, the thread in
/// `asock_dispatch` does, or the one in `asock_runtime_stop`. It never runs before the call that began the operation has
/// returned, unless on another thread, which then finds `op` already written. Callbacks of one socket never run at the
/// same time, and run in the order in which its operations ended. Every function of this header may be called from it,
/// but waiting calls answer ASOCK_WOULD_DEADLOCK. While it runs, the other sockets of the same worker wait. It must
/// return: no C++ exception and no longjmp may leave it.
pub type asock_callback =
    Option<unsafe extern "C" fn(result: *const asock_result, user_data: *mut c_void)>;

/// Called with one line for the log, without a line end; `message` is UTF-8 and valid during the call. It may be called
/// from any thread, several at a time. It must return: no C++ exception and no longjmp may leave it. What the library
/// would report because of calls that it makes is dropped, and `asock_set_log` answers it ASOCK_WOULD_DEADLOCK.
pub type asock_log_callback =
    Option<unsafe extern "C" fn(level: u32, message: *const c_char, user_data: *mut c_void)>;

/// An address of a socket: a `sockaddr` inside, `length` bytes long. The rest is zero, so that `memcmp` is equality.
/// `length` 0: no address. It is a plain value: copy it freely, nothing needs to be released. Make one with
/// `asock_address_parse`, or by zeroing it and copying a `sockaddr` of the system into it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct asock_address {
    /// The bytes of the `sockaddr`, aligned for every member of it.
    pub storage: [u64; 16],
    /// How many bytes of `storage` count.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
}

/// One piece of the memory of a vectored send or receive. The array of these is copied by the call and may be reused at
/// once; the memory that they point to belongs to the library until the completion is delivered.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct asock_buffer {
    /// The first byte; NULL if `length` is 0.
    pub data: *mut c_void,
    /// How many bytes.
    pub length: usize,
}

/// What a runtime is started with. Set it to zero as a whole, then `size`, then what shall differ from the default. The
/// library reads it during `asock_runtime_start` only.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct asock_runtime_config {
    /// `sizeof(asock_runtime_config)`, as the caller was compiled: this is how the struct grows without breaking. Bytes
    /// that the library does not know must be zero.
    pub size: usize,
    /// ASOCK_DELIVER_ON_WORKER (0, the default) or ASOCK_DELIVER_ON_POLL.
    pub delivery: u32,
    /// ASOCK_BACKEND_AUTO (0, the default), or a certain one; one that this machine lacks: ASOCK_NOT_SUPPORTED.
    pub backend: u32,
    /// Threads that own sockets; 0 means 1. A socket is given to the one that has the fewest when it is opened, and stays
    /// there. A process has about a thousand at a time, all runtimes together; past that: ASOCK_OUT_OF_MEMORY.
    pub workers: u32,
    /// Threads for names, at most; 0 means the default, 64. They are started when names are looked up, and end when there
    /// is none to look up for a while. A thread that the system's resolver holds on to after everybody who asked for its
    /// name has gone does not count, up to three times as many.
    pub resolvers: u32,
    /// Sockets open at a time; 0 means no limit but the system's.
    pub max_sockets: u32,
    /// Microseconds that a worker looks for work before it sleeps; 0: not at all. It uses a core for that, which it gives up
    /// when others need it, and it never looks on a machine that has only one.
    pub spin_us: u32,
}

/// Counters of a runtime since its start. Set it to zero as a whole, then `size`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct asock_stats {
    /// `sizeof(asock_stats)`, as the caller was compiled. Set by the caller and left as it is.
    pub size: usize,
    /// Operations begun.
    pub operations_begun: u64,
    /// Operations completed.
    pub operations_completed: u64,
    /// Operations begun and not yet completed.
    pub operations_pending: u64,
    /// Bytes that the system has taken.
    pub bytes_sent: u64,
    /// Bytes received into the buffers of the application.
    pub bytes_received: u64,
    /// Sockets open now.
    pub sockets_open: u64,
    /// How often a worker was woken from its sleep by a call of the application.
    pub wake_ups: u64,
    /// Nanoseconds of the longest callback so far.
    pub longest_callback_ns: u64,
    /// The backend in use: one of ASOCK_BACKEND_..., never ASOCK_BACKEND_AUTO.
    pub backend: u32,
    /// Threads that own sockets.
    pub workers: u32,
}

// A change of any of these is a break of the binary interface. The records with pointers are given for 64-bit machines.
const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    assert!(size_of::<asock_address>() == 136);
    assert!(align_of::<asock_address>() == align_of::<u64>());
    assert!(offset_of!(asock_address, length) == 128);
    assert!(size_of::<asock_callback>() == size_of::<*const c_void>());
    assert!(size_of::<asock_log_callback>() == size_of::<*const c_void>());
    if size_of::<usize>() == 8 {
        assert!(size_of::<asock_result>() == 64);
        assert!(offset_of!(asock_result, bytes) == 24);
        assert!(offset_of!(asock_result, user_data) == 40);
        assert!(offset_of!(asock_result, kind) == 48);
        assert!(offset_of!(asock_result, flags) == 60);
        assert!(size_of::<asock_buffer>() == 16);
        assert!(size_of::<asock_runtime_config>() == 32);
        assert!(offset_of!(asock_runtime_config, spin_us) == 28);
        assert!(size_of::<asock_stats>() == 80);
        assert!(offset_of!(asock_stats, backend) == 72);
    }
};
