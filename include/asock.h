/*
 * asock: asynchronous sockets behind a C interface.
 *
 * Generated from src/abi.rs and src/ffi by build.rs. Do not edit: the next build writes it anew.
 *
 *
 * WHAT IT IS
 *
 * The application begins an operation (connect, send, receive, ...), goes on at once, and gets exactly one
 * completion: an asock_result. A worker thread inside the library owns the sockets and makes their system calls.
 * Nothing that begins an operation, closes or shuts down ever waits for the network, for a name server, or for a
 * callback.
 *
 *   runtime      one worker thread (or several), its sockets and its completions. Runtime 0 is the process's default
 *                runtime, started on first use; it belongs to the application. Libraries and plug-ins start their own.
 *   operation    what one asock_begin_... call started; it ends in exactly one completion, whatever happens: success,
 *                error, time-out, cancel, close, stop.
 *   completion   the asock_result of an operation, delivered in one of three ways (see DELIVERY).
 *   worker       a thread of the runtime.
 *
 *
 * EXAMPLE
 *
 *   asock_socket socket;
 *   asock_op op;
 *   asock_result result;
 *   char buffer[256];
 *
 *   if (asock_open(0, ASOCK_STREAM, &socket) == ASOCK_OK) {
 *     asock_begin_connect(socket, "127.0.0.1", 11000, NULL, NULL, NULL);
 *     asock_begin_send(socket, "This is a test<EOF>", 19, 0, NULL, NULL, NULL);      // waits for the connect
 *     if (asock_begin_receive(socket, buffer, sizeof buffer, 0, NULL, NULL, &op) == ASOCK_OK) {
 *       // ... do something else ...
 *       if (asock_end(op, &result) == ASOCK_OK && result.status == ASOCK_OK)
 *         printf("%.*s", (int)result.bytes, buffer);
 *     }
 *     asock_close(socket);
 *   }
 *   asock_runtime_stop(0);
 *
 *
 * OPERATIONS
 *
 * Every asock_begin_... call takes `callback`, `user_data` and `op` last, and each may be NULL. `callback` is called
 * with the completion (see DELIVERY). `user_data` comes back with it, bit by bit, and is never looked at. `*op` is
 * written on ASOCK_OK, before the operation can complete: also before its callback can run on another thread.
 *
 * The call itself fails only for what its arguments show, for want of room, or because the runtime is draining:
 *
 *   ASOCK_BAD_HANDLE         the handle is stale, of another kind, 0 or random; checked before everything else
 *   ASOCK_FORKED             the handle is the parent process's
 *   ASOCK_INVALID_ARGUMENT   see each function
 *   ASOCK_STOPPED            the runtime is draining or stopping
 *   ASOCK_OUT_OF_MEMORY      there was no room for the operation
 *   ASOCK_NOT_SUPPORTED      see each function
 *   ASOCK_INTERNAL           a defect of the library; any function that returns a status may give it
 *
 * Then there is no operation and no completion. All that concerns the connection arrives in the completion. Four
 * statuses of a completion end any operation: ASOCK_CANCELED (asock_cancel), ASOCK_CLOSED (asock_close,
 * asock_begin_close), ASOCK_TIMED_OUT (a time-out option, asock_set_deadline) and ASOCK_STOPPED (a drain or a stop
 * of the runtime). An operation that had ended before one of these reached it keeps its own result.
 *
 * Several sends and several receives may be pending on one socket. They take effect in the order begun, each
 * direction for itself, and their successes complete in that order; one that is canceled or times out completes at
 * once, out of turn. An operation on a socket that was never connected completes with ASOCK_NOT_CONNECTED; one that
 * is begun while a connect is pending waits for it, and has its status if it fails. A connect may fail before the next
 * call is made, which then finds a socket that was never connected: why, only the connect's own completion tells. A
 * broken pipe is ASOCK_SHUT_DOWN after an own shutdown, else ASOCK_CONNECTION_RESET; once one operation has reported a
 * reset, every later one does.
 *
 *
 * DELIVERY
 *
 *   runtime     callback given             no callback, op asked for    no callback, no op
 *   ---------   ------------------------   --------------------------   -----------------------------
 *   on worker   the worker calls it        asock_end collects it        nobody is told: fire and forget
 *   on poll     asock_poll hands out the   asock_poll hands out the     asock_poll hands out the
 *               record, or                 record                       record
 *               asock_dispatch calls it
 *
 * A receive or an accept that nobody could see (on worker, neither callback nor op) is ASOCK_INVALID_ARGUMENT.
 *
 * Callbacks of one socket never run at the same time, and run in the order in which its operations ended; those of
 * sockets on different workers may run at the same time. None runs inside the call that began its operation. A
 * callback may call every function; those that would have to wait give ASOCK_WOULD_DEADLOCK. While it runs, its worker
 * does nothing else: keep it short. It must return: no exception and no longjmp may leave it. Callbacks of timers and
 * look-ups run on the worker that began them, else on the first.
 *
 *
 * HANDLES AND THREADS
 *
 * Handles are numbers, never pointers. Any thread may use any handle at any time, also while another closes it: a
 * handle that is no longer good is answered with ASOCK_BAD_HANDLE. A handle never comes back. The handle of an
 * operation is retired when its callback has returned, its record was handed out or dropped, or asock_end succeeded;
 * asock_wait gives ASOCK_OK for it from then on.
 *
 *
 * OWNERSHIP
 *
 * A buffer belongs to the library from the asock_begin_... call that returns ASOCK_OK until the operation's
 * completion is delivered, and is not touched after that: also after cancel, close and stop. The same holds for the
 * `from` of a receive and the `addresses` of a look-up. Hosts, addresses that are read, and arrays of asock_buffer
 * are copied by the call. The buffer of a send that nobody is told of, without ASOCK_SEND_COPY, is free when
 * asock_begin_close of its socket completes or the runtime has stopped. An out-parameter is written only when the
 * call gives ASOCK_OK.
 *
 * Pointers must be NULL or point to what their type says, aligned as the type wants; that cannot be checked. Structs
 * that begin with `size` are set to zero as a whole, then `size` to their sizeof. Every enumeration is an integer of
 * fixed width, and an unknown value is ASOCK_INVALID_ARGUMENT.
 *
 * Units are in the names: _ms, _us, _ns, _s. Lengths are bytes. Limits of time are measured on a clock that nobody
 * sets.
 *
 *
 * THE PROCESS AROUND IT
 *
 * Signals: none reaches the application because of the library, SIGPIPE included. The library's threads block INT,
 * TERM, HUP, QUIT, USR1, USR2, CHLD, ALRM, PIPE, IO, URG, WINCH, TSTP, TTIN and TTOU, and no others but those that
 * their creator blocks. Nothing is written to the terminal: see asock_set_log. Descriptors are close-on-exec.
 *
 * fork: in the child every handle of the parent gives ASOCK_FORKED, and no thread of the library runs. Runtime 0 is
 * there the child's own, started on first use, and the child may start others.
 *
 * exit: the process may end with everything pending. No new callback starts then, and a running one is waited for, a
 * second at most; nothing is joined.
 *
 * dlclose: safe after every runtime has been stopped. The library stays mapped (it is linked with -z nodelete),
 * since threads of the application that were in it have something of it to run when they end.
 *
 * Memory: in the steady state, with no more operations pending than before, an operation other than a connect, and
 * without ASOCK_SEND_COPY, allocates nothing. Completing never allocates.
 */


#ifndef ASOCK_H
#define ASOCK_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus) && __cplusplus < 201103L && !defined(_MSC_VER)
#error "asock.h needs C++11 or later"
#endif


/**
 * The version of this header: major, minor, patch. A change of the major number may break programs; `asock_version`
 * tells the version of the library that was loaded.
 */
#define ASOCK_VERSION_MAJOR 0

/**
 * See `ASOCK_VERSION_MAJOR`.
 */
#define ASOCK_VERSION_MINOR 1

/**
 * See `ASOCK_VERSION_MAJOR`.
 */
#define ASOCK_VERSION_PATCH 0

/**
 * Status: it worked. The only status that is not negative.
 */
#define ASOCK_OK 0

/**
 * Status: an argument shows by itself that the call cannot work: NULL where a pointer is needed, an unknown flag or
 * value, a host that is no valid text, a length that no object can have.
 */
#define ASOCK_INVALID_ARGUMENT (-1)

/**
 * Status: the call is not possible in the present state of its object, for example `asock_end` of an operation that
 * has a callback, or a second thread in `asock_poll`.
 */
#define ASOCK_INVALID_STATE (-2)

/**
 * Status: the handle is 0 where 0 is not allowed, stale, of another kind, or was never issued. Handles are checked
 * before every other argument.
 */
#define ASOCK_BAD_HANDLE (-3)

/**
 * Status: this version of the library, this system or this backend cannot do it.
 */
#define ASOCK_NOT_SUPPORTED (-4)

/**
 * Status: the call would have to wait for the very thread that makes it.
 */
#define ASOCK_WOULD_DEADLOCK (-5)

/**
 * Status: the handle was made by the parent process, before `fork`.
 */
#define ASOCK_FORKED (-6)

/**
 * Status: there was no memory. Nothing was begun.
 */
#define ASOCK_OUT_OF_MEMORY (-7)

/**
 * Status: the send would pass the socket's `ASOCK_OPTION_SEND_QUEUE_LIMIT`. Nothing was begun; try again when an
 * earlier send has completed.
 */
#define ASOCK_QUEUE_FULL (-8)

/**
 * Status: the system, or the runtime's `max_sockets`, allows no further socket.
 */
#define ASOCK_TOO_MANY_SOCKETS (-9)

/**
 * Status: a defect inside the library, which it survived. The log tells more.
 */
#define ASOCK_INTERNAL (-10)

/**
 * Status of a completion: `asock_cancel` ended the operation.
 */
#define ASOCK_CANCELED (-20)

/**
 * Status of a completion: the socket was closed on this side while the operation was pending.
 */
#define ASOCK_CLOSED (-21)

/**
 * Status: the runtime is draining or has been stopped. As a status of a completion: a drain or a stop ended the
 * operation. From `asock_poll` and `asock_dispatch`: all is handed out, nothing more will come.
 */
#define ASOCK_STOPPED (-22)

/**
 * Status: the limit of time passed. If `os_error` is set, it was the system's own limit (its ETIMEDOUT).
 */
#define ASOCK_TIMED_OUT (-23)

/**
 * Status of a completion: no such host name, or it has no address.
 */
#define ASOCK_HOST_NOT_FOUND (-40)

/**
 * Status of a completion: the name server gave no answer or an unusable one; a later try may succeed.
 */
#define ASOCK_NAME_SERVER_FAILED (-41)

/**
 * Status of a completion: nobody listens at that address.
 */
#define ASOCK_CONNECTION_REFUSED (-42)

/**
 * Status of a completion: the peer has reset the connection, or closed it while data was under way to it.
 */
#define ASOCK_CONNECTION_RESET (-43)

/**
 * Status of a completion: the system gave the connection up.
 */
#define ASOCK_CONNECTION_ABORTED (-44)

/**
 * Status of a completion: there is no route to that network, or the network is down.
 */
#define ASOCK_NETWORK_UNREACHABLE (-45)

/**
 * Status of a completion: there is no route to that host, or the host is down.
 */
#define ASOCK_HOST_UNREACHABLE (-46)

/**
 * Status: the socket is not connected.
 */
#define ASOCK_NOT_CONNECTED (-47)

/**
 * Status of a completion: the socket is connected already; that connection is unharmed.
 */
#define ASOCK_ALREADY_CONNECTED (-48)

/**
 * Status of a completion: the sending side was shut down here, with `asock_shutdown`.
 */
#define ASOCK_SHUT_DOWN (-49)

/**
 * Status: another socket holds that local address.
 */
#define ASOCK_ADDRESS_IN_USE (-50)

/**
 * Status: that address is not one of this machine, or not one that can be connected to; for a unix socket: there is
 * no such path.
 */
#define ASOCK_ADDRESS_NOT_AVAILABLE (-51)

/**
 * Status: the system does not permit it.
 */
#define ASOCK_ACCESS_DENIED (-52)

/**
 * Status of a completion: the datagram is larger than the network takes.
 */
#define ASOCK_MESSAGE_TOO_LONG (-53)

/**
 * Status: any other error of the system; in a completion `os_error` tells which.
 */
#define ASOCK_OS_ERROR (-99)

/**
 * `asock_result.kind`: begun by `asock_begin_connect` or `asock_begin_connect_address`.
 */
#define ASOCK_KIND_CONNECT 1

/**
 * `asock_result.kind`: begun by `asock_begin_send`, `asock_begin_send_vectored` or `asock_begin_send_file`.
 */
#define ASOCK_KIND_SEND 2

/**
 * `asock_result.kind`: begun by `asock_begin_receive` or `asock_begin_receive_vectored`.
 */
#define ASOCK_KIND_RECEIVE 3

/**
 * `asock_result.kind`: begun by `asock_begin_accept`.
 */
#define ASOCK_KIND_ACCEPT 4

/**
 * `asock_result.kind`: begun by `asock_begin_send_to`.
 */
#define ASOCK_KIND_SEND_TO 5

/**
 * `asock_result.kind`: begun by `asock_begin_receive_from`.
 */
#define ASOCK_KIND_RECEIVE_FROM 6

/**
 * `asock_result.kind`: begun by `asock_begin_resolve`.
 */
#define ASOCK_KIND_RESOLVE 7

/**
 * `asock_result.kind`: begun by `asock_begin_timer`.
 */
#define ASOCK_KIND_TIMER 8

/**
 * `asock_result.kind`: begun by `asock_begin_close`.
 */
#define ASOCK_KIND_CLOSE 9

/**
 * `asock_result.flags`: a datagram or a list of addresses was larger than the room given; what fitted is there.
 */
#define ASOCK_RESULT_TRUNCATED 1

/**
 * `asock_runtime_config.delivery`: a worker thread of the runtime calls the callbacks. The default.
 */
#define ASOCK_DELIVER_ON_WORKER 0

/**
 * `asock_runtime_config.delivery`: completions wait until the application takes them with `asock_poll` or
 * `asock_dispatch`; no callback ever runs on a thread of the library.
 */
#define ASOCK_DELIVER_ON_POLL 1

/**
 * `asock_runtime_config.backend`: the library chooses. On Linux it takes io_uring where the system's does all that is needed
 * (Linux 6.1 or later, and no sandbox, limit or administrator in the way), and epoll everywhere else, without a word;
 * `asock_runtime_stats` says which it is. The environment variable ASOCK_BACKEND (`epoll`, `io_uring`, `kqueue`, `iocp`)
 * overrides this value, and no other: what it names is taken, or the start gives ASOCK_NOT_SUPPORTED.
 */
#define ASOCK_BACKEND_AUTO 0

/**
 * `asock_runtime_config.backend`: epoll, on Linux.
 */
#define ASOCK_BACKEND_EPOLL 1

/**
 * `asock_runtime_config.backend`: io_uring, on recent Linux.
 */
#define ASOCK_BACKEND_IO_URING 2

/**
 * `asock_runtime_config.backend`: kqueue, on macOS and the BSDs.
 */
#define ASOCK_BACKEND_KQUEUE 3

/**
 * `asock_runtime_config.backend`: completion ports, on Windows.
 */
#define ASOCK_BACKEND_IOCP 4

/**
 * Type of `asock_open`: a connection that carries a stream of bytes: TCP, or a unix stream socket.
 */
#define ASOCK_STREAM 1

/**
 * Type of `asock_open`: datagrams: UDP, or a unix datagram socket.
 */
#define ASOCK_DATAGRAM 2

/**
 * `asock_shutdown`: nothing more is received.
 */
#define ASOCK_SHUTDOWN_RECEIVE 1

/**
 * `asock_shutdown`: nothing more is sent; the peer sees the end of the stream after what was begun before.
 */
#define ASOCK_SHUTDOWN_SEND 2

/**
 * `asock_shutdown`: both directions.
 */
#define ASOCK_SHUTDOWN_BOTH 3

/**
 * `asock_begin_close`: send what is queued first, then close. Not together with `ASOCK_CLOSE_RESET`.
 */
#define ASOCK_CLOSE_DRAIN 1

/**
 * `asock_begin_close`: drop everything and reset the connection (RST instead of FIN). Not together with
 * `ASOCK_CLOSE_DRAIN`.
 */
#define ASOCK_CLOSE_RESET 2

/**
 * Send flag: the library copies the data before `asock_begin_send` returns; the caller may reuse it at once.
 */
#define ASOCK_SEND_COPY 1

/**
 * Send flag: more follows at once, so the system may wait for it to fill a packet (MSG_MORE).
 */
#define ASOCK_SEND_MORE 2

/**
 * Send flag: the last byte is urgent data (MSG_OOB).
 */
#define ASOCK_SEND_OUT_OF_BAND 4

/**
 * Receive flag: completes when the buffer is full or the peer has closed its side. Not together with
 * `ASOCK_RECEIVE_PEEK` or `ASOCK_RECEIVE_OUT_OF_BAND`.
 */
#define ASOCK_RECEIVE_ALL 1

/**
 * Receive flag: the bytes stay in the stream for the next receive.
 */
#define ASOCK_RECEIVE_PEEK 2

/**
 * Receive flag: takes the urgent byte (MSG_OOB) instead of the stream.
 */
#define ASOCK_RECEIVE_OUT_OF_BAND 4

/**
 * Option: 1 sends small writes at once (TCP_NODELAY), 0 lets the system gather them. 1 unless set.
 */
#define ASOCK_OPTION_NODELAY 1

/**
 * Option: 1 has the system probe an idle connection.
 */
#define ASOCK_OPTION_KEEPALIVE 2

/**
 * Option: seconds of silence before the first probe.
 */
#define ASOCK_OPTION_KEEPALIVE_IDLE_S 3

/**
 * Option: seconds between probes.
 */
#define ASOCK_OPTION_KEEPALIVE_INTERVAL_S 4

/**
 * Option: probes without an answer before the connection is given up.
 */
#define ASOCK_OPTION_KEEPALIVE_COUNT 5

/**
 * Option: seconds that the system goes on sending after a close; 0 resets the connection instead; -1 is off, the
 * system's default: it sends in the background. No close of this library ever waits for it.
 */
#define ASOCK_OPTION_LINGER_S 6

/**
 * Option: bytes of the system's send buffer. What is read back may differ: Linux doubles it.
 */
#define ASOCK_OPTION_SEND_BUFFER 7

/**
 * Option: bytes of the system's receive buffer. What is read back may differ: Linux doubles it.
 */
#define ASOCK_OPTION_RECEIVE_BUFFER 8

/**
 * Option: 1 lets a socket take a local address that an old connection still holds (SO_REUSEADDR). Unless it was set,
 * `asock_bind` turns it on for a stream socket, so that a server can start again at once.
 */
#define ASOCK_OPTION_REUSE_ADDRESS 9

/**
 * Option: 1 lets several sockets share a local address (SO_REUSEPORT); each of them sets it before `asock_bind`.
 */
#define ASOCK_OPTION_REUSE_PORT 10

/**
 * Option: 1 permits datagrams to broadcast addresses.
 */
#define ASOCK_OPTION_BROADCAST 11

/**
 * Option: hops that a packet may make (IP_TTL, or IPV6_UNICAST_HOPS).
 */
#define ASOCK_OPTION_TTL 12

/**
 * Option: 1 keeps an IPv6 socket from carrying IPv4. Without meaning, and harmless, on other sockets.
 */
#define ASOCK_OPTION_V6_ONLY 13

/**
 * Option of datagram sockets: 0 keeps what is sent to a group (`asock_join_group`) from the receivers on this machine. 1
 * unless set.
 */
#define ASOCK_OPTION_MULTICAST_LOOP 14

/**
 * Option of datagram sockets: hops that a datagram to a group may make; 0 keeps it on this machine. 1 unless set.
 */
#define ASOCK_OPTION_MULTICAST_TTL 15

/**
 * Option of datagram sockets: the index of the interface that datagrams to groups are sent on; 0, the default, lets the
 * system choose. What is read is what was set.
 */
#define ASOCK_OPTION_MULTICAST_INTERFACE 16

/**
 * Option of the library: limit in milliseconds of each connect begun after the call; 0, the default, means none.
 */
#define ASOCK_OPTION_CONNECT_TIMEOUT_MS 64

/**
 * Option of the library: limit in milliseconds of each send begun after the call, its time in the queue included; 0,
 * the default, means none.
 */
#define ASOCK_OPTION_SEND_TIMEOUT_MS 65

/**
 * Option of the library: limit in milliseconds of each receive begun after the call, its time in the queue included;
 * 0, the default, means none.
 */
#define ASOCK_OPTION_RECEIVE_TIMEOUT_MS 66

/**
 * Option of the library: limit in milliseconds of each accept begun after the call; 0, the default, means none.
 */
#define ASOCK_OPTION_ACCEPT_TIMEOUT_MS 67

/**
 * Option of the library: bytes begun and not yet sent that the socket may hold; a send that would pass it is refused
 * with `ASOCK_QUEUE_FULL`, unless the queue is empty. 0, the default, means none.
 */
#define ASOCK_OPTION_SEND_QUEUE_LIMIT 68

/**
 * Option of the library, to read only: bytes begun and not yet sent.
 */
#define ASOCK_OPTION_SEND_QUEUED 69

/**
 * `asock_address_family`: no address, or a malformed one.
 */
#define ASOCK_FAMILY_NONE 0

/**
 * `asock_address_family`: IPv4.
 */
#define ASOCK_FAMILY_IPV4 1

/**
 * `asock_address_family`: IPv6.
 */
#define ASOCK_FAMILY_IPV6 2

/**
 * `asock_address_family`: a unix socket, by path, by abstract name, or unnamed.
 */
#define ASOCK_FAMILY_UNIX 3

/**
 * Bytes that always suffice for `asock_address_format`, the final zero included.
 */
#define ASOCK_ADDRESS_TEXT_MAX 160

/**
 * `asock_set_log`: nothing is reported.
 */
#define ASOCK_LOG_OFF 0

/**
 * `asock_set_log`: defects and failures that nobody else would hear of.
 */
#define ASOCK_LOG_ERROR 1

/**
 * `asock_set_log`: also what may be a mistake of the application.
 */
#define ASOCK_LOG_WARN 2

/**
 * `asock_set_log`: also starts and stops.
 */
#define ASOCK_LOG_INFO 3

/**
 * `asock_set_log`: also connects, closes and their causes.
 */
#define ASOCK_LOG_DEBUG 4

/**
 * `asock_set_log`: also every operation.
 */
#define ASOCK_LOG_TRACE 5

/**
 * ASOCK_OK, which is 0, or one of the failures, which are negative. The numbers are fixed and never reused; a later
 * version may bring new ones, so treat an unknown negative number as a failure.
 */
typedef int32_t asock_status;

/**
 * Called with one line for the log, without a line end; `message` is UTF-8 and valid during the call. It may be called
 * from any thread, several at a time. It must return: no C++ exception and no longjmp may leave it. What the library
 * would report because of calls that it makes is dropped, and `asock_set_log` answers it ASOCK_WOULD_DEADLOCK.
 */
typedef void (*asock_log_callback)(uint32_t level, const char *message, void *user_data);

/**
 * What a runtime is started with. Set it to zero as a whole, then `size`, then what shall differ from the default. The
 * library reads it during `asock_runtime_start` only.
 */
typedef struct asock_runtime_config {
  /**
   * `sizeof(asock_runtime_config)`, as the caller was compiled: this is how the struct grows without breaking. Bytes
   * that the library does not know must be zero.
   */
  size_t size;
  /**
   * ASOCK_DELIVER_ON_WORKER (0, the default) or ASOCK_DELIVER_ON_POLL.
   */
  uint32_t delivery;
  /**
   * ASOCK_BACKEND_AUTO (0, the default), or a certain one; one that this machine lacks: ASOCK_NOT_SUPPORTED.
   */
  uint32_t backend;
  /**
   * Threads that own sockets; 0 means 1. A socket is given to the one that has the fewest when it is opened, and stays
   * there. A process has about a thousand at a time, all runtimes together; past that: ASOCK_OUT_OF_MEMORY.
   */
  uint32_t workers;
  /**
   * Threads for names, at most; 0 means the default, 64. They are started when names are looked up, and end when there
   * is none to look up for a while. A thread that the system's resolver holds on to after everybody who asked for its
   * name has gone does not count, up to three times as many.
   */
  uint32_t resolvers;
  /**
   * Sockets open at a time; 0 means no limit but the system's.
   */
  uint32_t max_sockets;
  /**
   * Microseconds that a worker looks for work before it sleeps; 0: not at all. It uses a core for that, which it gives up
   * when others need it, and it never looks on a machine that has only one.
   */
  uint32_t spin_us;
} asock_runtime_config;

/**
 * A runtime: one worker thread (or several), its sockets and its completions. 0 is the process's default runtime, which
 * is started on first use and belongs to the application: libraries and plug-ins start their own.
 *
 * Like every handle it is a plain number (a slot, a generation and a kind, never a pointer). It may be copied, kept and
 * passed to any thread. A handle that is no longer valid is answered with ASOCK_BAD_HANDLE and never comes back.
 * From `asock_runtime_start` until `asock_runtime_stop`.
 */
typedef uint64_t asock_runtime;

/**
 * Counters of a runtime since its start. Set it to zero as a whole, then `size`.
 */
typedef struct asock_stats {
  /**
   * `sizeof(asock_stats)`, as the caller was compiled. Set by the caller and left as it is.
   */
  size_t size;
  /**
   * Operations begun.
   */
  uint64_t operations_begun;
  /**
   * Operations completed.
   */
  uint64_t operations_completed;
  /**
   * Operations begun and not yet completed.
   */
  uint64_t operations_pending;
  /**
   * Bytes that the system has taken.
   */
  uint64_t bytes_sent;
  /**
   * Bytes received into the buffers of the application.
   */
  uint64_t bytes_received;
  /**
   * Sockets open now.
   */
  uint64_t sockets_open;
  /**
   * How often a worker was woken from its sleep by a call of the application.
   */
  uint64_t wake_ups;
  /**
   * Nanoseconds of the longest callback so far.
   */
  uint64_t longest_callback_ns;
  /**
   * The backend in use: one of ASOCK_BACKEND_..., never ASOCK_BACKEND_AUTO.
   */
  uint32_t backend;
  /**
   * Threads that own sockets.
   */
  uint32_t workers;
} asock_stats;

/**
 * What one `asock_begin_...` call started; 0 is none. It ends in exactly one completion. The handle is retired when the
 * operation's callback has returned, its record was handed out or dropped, or `asock_end` succeeded.
 */
typedef uint64_t asock_op;

/**
 * A socket of a runtime; 0 is none. From `asock_open`, `asock_adopt` or an accept, until `asock_close`,
 * `asock_begin_close`, `asock_release` or the runtime's stop.
 */
typedef uint64_t asock_socket;

/**
 * The completion of one operation. It never grows, since users hold arrays of it.
 *
 * The record that a callback is given belongs to the library and is valid during the call; records from `asock_poll`
 * and `asock_end` are written into the caller's memory and are the caller's own. Neither owns what it points to:
 * `buffer` is the caller's again from the moment that the completion is delivered.
 */
typedef struct asock_result {
  /**
   * The operation. Always set, also where the caller did not ask for the handle.
   */
  asock_op op;
  /**
   * The socket that it was begun on; 0 for a timer and a look-up. The socket may be closed by now.
   */
  asock_socket socket;
  /**
   * Of an accept: the new `asock_socket`, which the receiver of this record owns. Of a look-up: the number of
   * addresses found, which may be more than there was room for. Else 0.
   */
  uint64_t value;
  /**
   * Bytes sent or received, also where `status` is a failure.
   */
  size_t bytes;
  /**
   * The buffer given to the `asock_begin_...` call, or NULL. That of a send was const: it is only handed back.
   */
  void *buffer;
  /**
   * The `user_data` given to the `asock_begin_...` call, bit by bit.
   */
  void *user_data;
  /**
   * One of ASOCK_KIND_...
   */
  uint32_t kind;
  /**
   * How the operation ended.
   */
  asock_status status;
  /**
   * The system's error behind `status` (errno, on Windows WSAGetLastError), 0 if there is none.
   */
  int32_t os_error;
  /**
   * ASOCK_RESULT_TRUNCATED or 0. Later versions may set further bits.
   */
  uint32_t flags;
} asock_result;

/**
 * An address of a socket: a `sockaddr` inside, `length` bytes long. The rest is zero, so that `memcmp` is equality.
 * `length` 0: no address. It is a plain value: copy it freely, nothing needs to be released. Make one with
 * `asock_address_parse`, or by zeroing it and copying a `sockaddr` of the system into it.
 */
typedef struct asock_address {
  /**
   * The bytes of the `sockaddr`, aligned for every member of it.
   */
  uint64_t storage[16];
  /**
   * How many bytes of `storage` count.
   */
  uint32_t length;
  /**
   * Zero.
   */
  uint32_t reserved;
} asock_address;

/**
 * Called with the completion of one operation, exactly once; NULL for none. `result` is valid during the call;
 * `user_data` is what was given to the `asock_begin_...` call.
 *
 * On a runtime that delivers on its worker, the worker calls it; on one that delivers on poll, the thread in
 * `asock_dispatch` does, or the one in `asock_runtime_stop`. It never runs before the call that began the operation has
 * returned, unless on another thread, which then finds `op` already written. Callbacks of one socket never run at the
 * same time, and run in the order in which its operations ended. Every function of this header may be called from it,
 * but waiting calls answer ASOCK_WOULD_DEADLOCK. While it runs, the other sockets of the same worker wait. It must
 * return: no C++ exception and no longjmp may leave it.
 */
typedef void (*asock_callback)(const struct asock_result *result, void *user_data);

/**
 * One piece of the memory of a vectored send or receive. The array of these is copied by the call and may be reused at
 * once; the memory that they point to belongs to the library until the completion is delivered.
 */
typedef struct asock_buffer {
  /**
   * The first byte; NULL if `length` is 0.
   */
  void *data;
  /**
   * How many bytes.
   */
  size_t length;
} asock_buffer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that was loaded: (major << 16) | (minor << 8) | patch. Any thread, never fails.
 */
uint32_t asock_version(void);

/**
 * The version of the library that was loaded as text, such as "0.1.0". The text is the library's and stays for ever.
 * Any thread, never fails.
 */
const char *asock_version_string(void);

/**
 * The name of a status, such as "ASOCK_CONNECTION_REFUSED"; "ASOCK_UNKNOWN_STATUS" for a number that is none. Never
 * NULL; the text is the library's and stays for ever. Any thread.
 */
const char *asock_status_name(asock_status status);

/**
 * The meaning of a status in a few words of English, such as "connection refused"; "unknown status" for a number that
 * is none. Never NULL; the text is the library's and stays for ever. Any thread.
 */
const char *asock_status_text(asock_status status);

/**
 * Sends what the library has to report to `log`, up to `level` (ASOCK_LOG_ERROR to ASOCK_LOG_TRACE), for all runtimes
 * of the process. NULL, or ASOCK_LOG_OFF, turns it off, as it is at the start: the library never writes to the terminal.
 *
 * `log` is called from any thread, several at a time. When this call returns, the function that was set before no
 * longer runs and its `user_data` may be released; so it waits for one that is running. `user_data` stays the caller's.
 *
 * Any thread. Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for an unknown level; ASOCK_WOULD_DEADLOCK from inside `log`.
 */
asock_status asock_set_log(uint32_t level,
                           asock_log_callback log,
                           void *user_data);

/**
 * Starts a runtime: its worker threads, one unless `config->workers` says more, and no other until names
 * are looked up or files are sent.
 *
 * `config` may be NULL for the defaults; it is read during the call only. `*runtime` is written on ASOCK_OK and is the
 * caller's to stop with `asock_runtime_stop`. A process may have many runtimes, which share nothing. The default
 * runtime, 0, needs no start.
 *
 * Any thread, also inside a callback. It costs the start of the workers, and waits for nothing else. They block the
 * signals named under "The process around it" above, and those that the calling thread blocks.
 *
 * Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for an unknown value, a `size` smaller than the first version's struct, or
 * bytes other than zero past those that this library knows; ASOCK_NOT_SUPPORTED for a backend that this machine or this
 * version lacks; ASOCK_OUT_OF_MEMORY; ASOCK_TOO_MANY_SOCKETS when the process has no descriptor left; ASOCK_OS_ERROR.
 */
asock_status asock_runtime_start(const struct asock_runtime_config *config, asock_runtime *runtime);

/**
 * Refuses new operations from now on (ASOCK_STOPPED) and ends those that are pending: they complete with
 * ASOCK_STOPPED, through the usual delivery. Returns at once. Sockets stay open until they are closed or the runtime
 * stops; `asock_close` is never refused, while `asock_begin_close` gives ASOCK_STOPPED and leaves the socket open.
 * On a runtime that delivers on poll, drain, then poll until ASOCK_STOPPED: so no completion is dropped by the stop.
 *
 * Any thread, also inside a callback; never waits. Draining again, and draining a default runtime that does not run,
 * is ASOCK_OK. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED.
 */
asock_status asock_runtime_drain(asock_runtime runtime);

/**
 * Ends a runtime: its pending operations complete with ASOCK_STOPPED, its sockets are closed, its threads end. The
 * handles of the runtime, and of all its sockets and operations, are stale when it returns; but a record that
 * `asock_end` is to collect stays until it is ended or forgotten.
 *
 * When it returns, every completion has been delivered, no thread of the runtime is left, and no callback runs or will
 * run. It waits for one that does, and where `asock_begin_send_file` is reading, for the disk; for nothing else,
 * neither for the network nor for a name server. (A thread that the system's resolver holds then is left to it: it has
 * nothing of the application's, and ends when it is let go.) On a runtime that delivers on poll it wakes a waiting
 * poller, and the calling thread itself calls the callbacks that are left; records without a callback are dropped
 * (drain first to see them all).
 *
 * 0 stops the default runtime, if it runs, and a later use starts it anew. Any thread but the library's own: on a worker
 * of any runtime and inside any callback it gives ASOCK_WOULD_DEADLOCK and does nothing. When two threads stop one
 * runtime, both return after it has stopped, one of them with ASOCK_BAD_HANDLE. Other returns: ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED.
 */
asock_status asock_runtime_stop(asock_runtime runtime);

/**
 * Reports the counters of a runtime since its start. The caller sets `*stats` to zero, then `stats->size`; the library
 * writes the rest, as far as `size` goes. The numbers are each exact, but not taken at one instant. Runtime 0 is started
 * if it does not run.
 *
 * Any thread, never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL, a
 * `size` smaller than the first version's struct, or bytes other than zero past those that this library knows; for
 * runtime 0 also what `asock_runtime_start` returns.
 */
asock_status asock_runtime_stats(asock_runtime runtime,
                                 struct asock_stats *stats);

/**
 * Takes completions of a runtime that delivers on poll: waits until there is one, at most `timeout_ms` milliseconds
 * (0: not at all; -1: without limit), then writes as many as there are, at most `capacity`, to `results` and their
 * number to `*count`. Those of one worker, and so those of one socket, come in the order in which the operations ended.
 * Callbacks are not called: the record is the completion, whether the operation has a callback or not. An operation's
 * handle is retired when its record is handed out, and its buffer is the caller's again.
 *
 * At the limit, or woken by `asock_wake`, it gives ASOCK_OK and a count of 0. After a drain, once all is handed out,
 * ASOCK_STOPPED. `results` and `count` are written on ASOCK_OK only and are the caller's.
 *
 * Any thread, but one at a time in poll and dispatch of a runtime: a second gives ASOCK_INVALID_STATE. Inside any
 * callback, dispatched or on a worker, whatever its runtime and also with a limit of 0: ASOCK_WOULD_DEADLOCK. Other
 * returns: ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL, a capacity of 0 or a `timeout_ms` below -1;
 * ASOCK_INVALID_STATE on a runtime that delivers on its worker.
 */
asock_status asock_poll(asock_runtime runtime,
                        int32_t timeout_ms,
                        struct asock_result *results,
                        size_t capacity,
                        size_t *count);

/**
 * Takes completions of a runtime that delivers on poll and calls their callbacks on the calling thread, those of one
 * worker, and so those of one socket, in the order in which the operations ended: waits until there is one, at most
 * `timeout_ms` milliseconds (0: not at all; -1: without limit), then calls at most `max_callbacks` of them and begins
 * none after `budget_us` microseconds of calling (0: no such limit). What is left waits for the next call. Completions
 * without a callback are dropped and not counted. `*count` is the number of callbacks called.
 *
 * At the limit, or woken by `asock_wake`, it gives ASOCK_OK and a count of 0. After a drain, once all is handed out,
 * ASOCK_STOPPED. `count` is written on ASOCK_OK only.
 *
 * Any thread, but one at a time in poll and dispatch of a runtime: a second gives ASOCK_INVALID_STATE. Inside any
 * callback, dispatched or on a worker, whatever its runtime and also with a limit of 0: ASOCK_WOULD_DEADLOCK. Other
 * returns: ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL or a `timeout_ms` below -1;
 * ASOCK_INVALID_STATE on a runtime that delivers on its worker.
 */
asock_status asock_dispatch(asock_runtime runtime,
                            int32_t timeout_ms,
                            size_t max_callbacks,
                            uint32_t budget_us,
                            size_t *count);

/**
 * Gives a descriptor that is readable while completions of this runtime wait or a wake is pending, for a loop that
 * waits for other things too: epoll, asyncio, GLib, Qt, SDL. When it is readable, call `asock_poll` or `asock_dispatch`
 * with a limit of 0. It is level-triggered, one for all workers, and stays the same until the runtime stops. On
 * Windows it is an event HANDLE.
 *
 * The descriptor is the library's own: never read, close or change it; take it out of the loop before the runtime
 * stops. Any thread, never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL;
 * ASOCK_INVALID_STATE on a runtime that delivers on its worker.
 */
asock_status asock_poll_fd(asock_runtime runtime, int64_t *fd);

/**
 * Ends the waiting `asock_poll` or `asock_dispatch` of this runtime early or, if none waits, the next one that would.
 * Several wakes before that count as one.
 *
 * Any thread, also inside a callback; never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED;
 * ASOCK_INVALID_STATE on a runtime that delivers on its worker.
 */
asock_status asock_wake(asock_runtime runtime);

/**
 * Makes a socket in a runtime: ASOCK_STREAM or ASOCK_DATAGRAM. It has no descriptor
 * of the system yet, since the address that it will connect to decides of which family that is.
 *
 * `*socket` is written on ASOCK_OK; the caller owns the socket and closes it with `asock_close` or `asock_begin_close`.
 * Runtime 0 is the default runtime, which is started if it does not run.
 *
 * Any thread, also inside a callback; never waits for the network. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED;
 * ASOCK_INVALID_ARGUMENT for NULL or an unknown type; ASOCK_STOPPED; ASOCK_TOO_MANY_SOCKETS past `max_sockets`;
 * ASOCK_OUT_OF_MEMORY; for runtime 0 also what `asock_runtime_start` returns.
 */
asock_status asock_open(asock_runtime runtime, uint32_t type, asock_socket *socket);

/**
 * Makes a socket of a descriptor that the application has (on Windows a SOCKET), and takes ownership of it on ASOCK_OK;
 * on any other status it stays the caller's. It may be a TCP, UDP or Unix socket (stream or datagram), fresh, bound,
 * connected or listening; anything else, such as a file, a pipe or a raw socket, is ASOCK_INVALID_ARGUMENT. `*socket` is
 * written on ASOCK_OK. Nobody else in the process may use the descriptor from then on.
 *
 * It becomes close-on-exec and, on epoll, non-blocking, which holds for all that share it; io_uring leaves that as it is.
 * Its options stay as they are, but that connections of an adopted listener have ASOCK_OPTION_NODELAY on. A close shuts a
 * connection down, also for those that share it; a listener that was adopted is only closed. The file of an adopted unix
 * socket is never removed.
 *
 * Any thread, also inside a callback; makes a few short system calls on the calling thread. Returns ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT also for NULL or a number that is no descriptor; ASOCK_STOPPED;
 * ASOCK_TOO_MANY_SOCKETS past `max_sockets`; ASOCK_OUT_OF_MEMORY; for runtime 0 also what `asock_runtime_start` returns.
 */
asock_status asock_adopt(asock_runtime runtime,
                         int64_t os_socket,
                         asock_socket *socket);

/**
 * Gives the descriptor of a socket back to the application, which owns it from then on; the handle is stale on ASOCK_OK,
 * and `*os_socket` is written then. It has the number that it always had, is close-on-exec and non-blocking, whichever the
 * driver and however it was adopted. Connection and options are as they were.
 *
 * While an operation of the socket is pending, a shutdown that has not taken effect among them, and on a socket that has
 * no descriptor: ASOCK_INVALID_STATE, and nothing has changed. Inside a callback its own operation is pending no more.
 *
 * Any thread, also inside a callback; never waits for the network. Returns ASOCK_OK; ASOCK_INVALID_STATE;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL.
 */
asock_status asock_release(asock_socket socket,
                           int64_t *os_socket);

/**
 * Gives a socket its local address: `host` is a literal address, "unix:PATH" or "unix:@NAME" (the port is then ignored),
 * or NULL for any address, of both families ("::" is the same): an IPv6 socket that takes IPv4 too, unless ASOCK_OPTION_V6_ONLY was set, and
 * IPv4 alone on a machine without IPv6. Port 0 lets the system choose one, which `asock_local_address` then tells. `host`
 * is copied.
 *
 * The socket gets its descriptor here, and the options that were set before hold for it. A stream socket may then listen
 * or connect. A connect that fails leaves the socket bound: it keeps its descriptor, its address, and a port that was
 * given; one that the system chose may be another after that. A name is tried one address after the other.
 *
 * "unix:PATH" makes a file; one that is there already, even a stale one, is ASOCK_ADDRESS_IN_USE and is never removed. The
 * file that was made is removed when the socket is closed or its runtime stops, unless something else is in its place by
 * then; after `asock_release` it is the caller's. A relative path is looked up again then.
 *
 * Any thread, also inside a callback; makes a few short system calls on the calling thread. Returns ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for a host that is empty, longer than 253 bytes, not UTF-8 or no
 * literal address; ASOCK_INVALID_STATE for a socket that is bound, connecting or connected; ASOCK_ADDRESS_IN_USE;
 * ASOCK_ADDRESS_NOT_AVAILABLE, also for a path in no directory; ASOCK_ACCESS_DENIED; ASOCK_TOO_MANY_SOCKETS where the
 * system has no more descriptors; ASOCK_OUT_OF_MEMORY; what the system says to an option set before.
 */
asock_status asock_bind(asock_socket socket,
                        const char *host,
                        uint16_t port);

/**
 * Lets a bound stream socket accept connections. `backlog` is how many may wait to be accepted; 0 or a negative number
 * means as many as the system allows. Once more on a socket that listens sets another backlog. `asock_begin_accept` then
 * takes one connection after the other. A listener does nothing else: a connect completes with ASOCK_INVALID_STATE, a send
 * or receive with ASOCK_NOT_CONNECTED.
 *
 * Any thread, also inside a callback; makes one short system call on the calling thread. Returns ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_STATE for a socket that is not bound, or is connecting or connected;
 * ASOCK_NOT_SUPPORTED for a bound datagram socket; ASOCK_ADDRESS_IN_USE where another socket listens at the address
 * already: with ASOCK_OPTION_REUSE_ADDRESS, which `asock_bind` turns on, two may be bound to it, but one listens.
 */
asock_status asock_listen(asock_socket socket,
                          int32_t backlog);

/**
 * Ends a direction of a connection, or both: ASOCK_SHUTDOWN_RECEIVE, ASOCK_SHUTDOWN_SEND, ASOCK_SHUTDOWN_BOTH.
 *
 * SEND takes effect after the sends begun before it: they go out first, then the peer sees the end of the stream; sends
 * begun later complete with ASOCK_SHUT_DOWN. RECEIVE completes the pending receives with 0 bytes; sends go on. While a
 * connect is pending, all of it takes effect after the connect. Shutting down again is ASOCK_OK. Of a datagram socket the
 * peer is told nothing, and after RECEIVE every later receive completes with 0 bytes at once.
 *
 * Any thread, also inside a callback; never waits. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED;
 * ASOCK_INVALID_ARGUMENT for an unknown `how`; ASOCK_NOT_CONNECTED for a socket that is neither connected nor connecting;
 * ASOCK_STOPPED while its runtime is being stopped; ASOCK_OUT_OF_MEMORY.
 */
asock_status asock_shutdown(asock_socket socket,
                            uint32_t how);

/**
 * Closes a socket. The handle is stale when this returns. Pending operations complete with ASOCK_CLOSED, soon, through
 * the usual delivery; an operation that had ended before keeps its own result. Queued sends are dropped, then the peer
 * sees the end of the stream, or a reset if ASOCK_OPTION_LINGER_S is 0. It is also a reset, as with every TCP program, where
 * bytes have arrived that nobody has received; then what the peer has not got yet is lost, after a draining close too.
 * Buffers are the caller's again with their completions, not before. To know when all is over, or to send what is queued
 * first, use `asock_begin_close`.
 *
 * Any thread, also inside a callback; never waits, neither for the network nor for a callback, and is never refused by a
 * drain. Returns ASOCK_OK; ASOCK_BAD_HANDLE, also for a socket that is closed already; ASOCK_FORKED.
 */
asock_status asock_close(asock_socket socket);

/**
 * Sets an option (one of ASOCK_OPTION_...). Options set before there is a descriptor are kept, hold for the connection
 * whichever address it ends on, and also for a later connect after a failed one; one that the system then refuses fails
 * that connect. The library's time-outs bind the operations begun after this call.
 *
 * Any thread, also inside a callback; makes at most one short system call on the calling thread. Returns ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for an unknown option, one that can only be read, or a value out
 * of range; what the system answers, such as ASOCK_ACCESS_DENIED or ASOCK_NOT_SUPPORTED.
 */
asock_status asock_set_option(asock_socket socket,
                              uint32_t option,
                              int64_t value);

/**
 * Reads an option (one of ASOCK_OPTION_...). Before there is a descriptor it gives what was set, or the default; after
 * that the system's own answer, which may differ from what was set (Linux doubles the sizes of buffers).
 *
 * `*value` is written on ASOCK_OK only. Any thread, also inside a callback; makes at most one short system call on the
 * calling thread. Returns ASOCK_OK; ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL or an unknown option;
 * what the system answers.
 */
asock_status asock_get_option(asock_socket socket,
                              uint32_t option,
                              int64_t *value);

/**
 * Has a datagram socket receive what is sent to a group of receivers, an IPv4 address from 224.0.0.0 to 239.255.255.255 or
 * an IPv6 address that begins with ff, whose port does not matter. `interface_index` says where from; 0 lets the system
 * choose, or the address with its scope. The socket has to be bound, to any address or to the group's, and to the port
 * that is sent to; on one for both families, groups of either can be joined. From the first of them on it receives what
 * is sent to groups that it has joined, and to no others. The close leaves all of them. To send to a group, a socket need
 * not have joined it.
 *
 * Any thread, also inside a callback; makes one short system call on the calling thread. Returns ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL, an address that is no group's, or a stream socket;
 * ASOCK_INVALID_STATE for a socket that is neither bound nor connected and has not sent; ASOCK_ADDRESS_IN_USE for a group
 * that it has joined there; ASOCK_NOT_SUPPORTED for one of another family; what else the system answers.
 */
asock_status asock_join_group(asock_socket socket,
                              const struct asock_address *group,
                              uint32_t interface_index);

/**
 * Ends what `asock_join_group` with the same group and interface has begun.
 *
 * Threads and returns as there, but ASOCK_ADDRESS_NOT_AVAILABLE for a group that it has not joined there.
 */
asock_status asock_leave_group(asock_socket socket, const struct asock_address *group, uint32_t interface_index);

/**
 * The local address of a socket; before a bind or a connect: `length` 0. `*address` is written on ASOCK_OK only and is
 * a plain value.
 *
 * Any thread, also inside a callback; makes at most one short system call on the calling thread. Returns ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL; what the system answers.
 */
asock_status asock_local_address(asock_socket socket, struct asock_address *address);

/**
 * The address that a socket is connected to; before a connect: `length` 0. It is remembered after a reset. `*address`
 * is written on ASOCK_OK only and is a plain value.
 *
 * Any thread, also inside a callback; makes at most one short system call on the calling thread. Returns ASOCK_OK;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED; ASOCK_INVALID_ARGUMENT for NULL; what the system answers.
 */
asock_status asock_remote_address(asock_socket socket, struct asock_address *address);

/**
 * Begins to connect a socket to a host: a literal IPv4 or IPv6 address, the name of a host (at most 253 bytes), or
 * "unix:PATH" (the port is then ignored). A name is looked up by the system's resolver, on a thread of the runtime's own,
 * and its addresses are tried as RFC 8305 says (Happy Eyeballs): the families take turns, every 250 ms another attempt
 * joins those that have not ended, the first that connects wins, and if none does the last failure is the completion's
 * status. A time-out covers the look-up and all attempts. A listener whose queue is full is waited for, over unix sockets
 * too. `host` is copied.
 *
 * Operations begun while the connect is pending wait for it, and complete with its status if it fails; a second connect
 * then completes with ASOCK_ALREADY_CONNECTED if the first succeeds. After a failed connect the socket may connect again,
 * and its options are kept.
 *
 * The connect of a datagram socket sends nothing. It names the peer to whom `asock_begin_send` sends, and the only one
 * from whom datagrams are received; of several addresses it is the first that the system can reach. Another connect
 * changes the peer, for the sends begun after it; if it fails, those that were begun behind it complete with its status,
 * and the peer is who it was.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
 * returns ASOCK_INVALID_ARGUMENT for a host that is NULL, empty, longer, or not UTF-8, an address that cannot be, or port 0.
 * Completes with ASOCK_OK; ASOCK_CONNECTION_REFUSED, ASOCK_NETWORK_UNREACHABLE, ASOCK_HOST_UNREACHABLE, ASOCK_TIMED_OUT,
 * ASOCK_HOST_NOT_FOUND, ASOCK_NAME_SERVER_FAILED, ASOCK_ADDRESS_NOT_AVAILABLE, ASOCK_ACCESS_DENIED,
 * ASOCK_TOO_MANY_SOCKETS; ASOCK_ALREADY_CONNECTED, the connection being unharmed; ASOCK_INVALID_STATE on a socket that
 * listens; what the system says to an option set before, or else; or one of the four that end any operation.
 */
asock_status asock_begin_connect(asock_socket socket,
                                 const char *host,
                                 uint16_t port,
                                 asock_callback callback,
                                 void *user_data,
                                 asock_op *op);

/**
 * Begins to connect a socket to one address, which is copied. Otherwise like `asock_begin_connect`.
 *
 * Returns ASOCK_INVALID_ARGUMENT for NULL, no address, a malformed one, or one with port 0.
 */
asock_status asock_begin_connect_address(asock_socket socket,
                                         const struct asock_address *address,
                                         asock_callback callback,
                                         void *user_data,
                                         asock_op *op);

/**
 * Begins to send `length` bytes on a connection: all of them. It completes when the system has taken every byte, so
 * ASOCK_OK means `bytes == length`. Sends take effect in the order begun, and their successes complete in that order.
 *
 * `data` belongs to the library until the completion is delivered: do not change or release it before (with
 * ASOCK_SEND_COPY: only during the call). With neither `callback` nor `op`, on a runtime that delivers on its worker,
 * nobody is told: `data` is then free when an `asock_begin_close` of the socket completes or the runtime has stopped.
 * A length of 0 is allowed (`data` may be NULL) and completes in its turn. `flags`: ASOCK_SEND_COPY, ASOCK_SEND_MORE,
 * ASOCK_SEND_OUT_OF_BAND.
 *
 * On a datagram socket a send is one datagram, which may be empty, to the peer that the last connect has named. It goes
 * as a whole or not at all (ASOCK_MESSAGE_TOO_LONG), and its failure stops none of those behind it. That nobody listens
 * at the peer's port is known after the send: ASOCK_CONNECTION_REFUSED comes once, to the first receive that is pending,
 * or else to the next operation that the system refuses for it, of which a send has sent nothing. The socket stays as it
 * is. ASOCK_SEND_MORE changes nothing, since each send is a datagram of its own.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
 * returns ASOCK_QUEUE_FULL past ASOCK_OPTION_SEND_QUEUE_LIMIT, and ASOCK_INVALID_ARGUMENT for an unknown flag, or NULL with
 * a length, a length that no object can have, or ASOCK_SEND_OUT_OF_BAND on a datagram socket. Completes with ASOCK_OK;
 * ASOCK_NOT_CONNECTED; ASOCK_SHUT_DOWN; ASOCK_MESSAGE_TOO_LONG;
 * ASOCK_CONNECTION_RESET; ASOCK_TIMED_OUT; the status of the connect that it waited for; or one of the four that end any
 * operation. `bytes` tells how much of it was sent. A send that is cut after its first byte has broken the stream: those
 * queued behind it complete with its status and 0 bytes; sends begun after its completion go on.
 */
asock_status asock_begin_send(asock_socket socket,
                              const void *data,
                              size_t length,
                              uint32_t flags,
                              asock_callback callback,
                              void *user_data,
                              asock_op *op);

/**
 * Begins to receive at most `length` bytes from a connection. It completes when there is at least one byte, with as many
 * as there are, or with 0 bytes and ASOCK_OK when the peer has closed its side, and again on each later receive.
 * Receives take effect in the order begun, and their successes complete in that order.
 *
 * `buffer` belongs to the library until the completion is delivered: do not read, change or release it before. A receive
 * of length 0 (`buffer` may be NULL) completes when there is something to read, or the end, and takes nothing.
 * `flags`: ASOCK_RECEIVE_ALL completes when the buffer is full or the stream ends; ASOCK_RECEIVE_PEEK leaves the bytes in
 * the stream; ASOCK_RECEIVE_OUT_OF_BAND takes the urgent byte.
 *
 * On a datagram socket a receive takes one datagram, of which at most `length` bytes are kept: ASOCK_RESULT_TRUNCATED in
 * `flags` of the completion tells that there were more. A datagram may be empty, so 0 bytes are no end. Of length 0 the
 * receive leaves the datagram where it is. The socket need not be connected if it is bound or has sent.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
 * returns ASOCK_INVALID_ARGUMENT for an unknown flag, ALL together with another flag, NULL with a length, a length that no
 * object can have, ALL or OUT_OF_BAND on a datagram socket, and, on a runtime that delivers on its worker, neither
 * `callback` nor `op`, since nobody could see the result. Completes with ASOCK_OK; ASOCK_NOT_CONNECTED; ASOCK_CONNECTION_RESET; ASOCK_TIMED_OUT; the status of the connect
 * that it waited for; or one of the four that end any operation. `bytes` of a receive that was cut short are in the
 * buffer and consumed.
 */
asock_status asock_begin_receive(asock_socket socket,
                                 void *buffer,
                                 size_t length,
                                 uint32_t flags,
                                 asock_callback callback,
                                 void *user_data,
                                 asock_op *op);

/**
 * Closes a socket and tells when all is over: it completes after every other completion of the socket has been delivered
 * and its callback has returned. The handle is stale when this call returns ASOCK_OK.
 *
 * With no flag like `asock_close`: what is queued is dropped. ASOCK_CLOSE_DRAIN: what is queued is sent first, while
 * pending receives end at once. ASOCK_CLOSE_RESET: the connection is reset (RST). A draining close that is met by a drain,
 * a stop, `asock_cancel` or a deadline drops its queue, closes, and completes with that status. Every other close
 * completes with ASOCK_OK, also where a send that it waited for has failed: that is in the send's own completion.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above; on any
 * status but ASOCK_OK the socket stays open. Also returns ASOCK_INVALID_ARGUMENT for an unknown flag or both.
 */
asock_status asock_begin_close(asock_socket socket,
                               uint32_t flags,
                               asock_callback callback,
                               void *user_data,
                               asock_op *op);

/**
 * Like `asock_begin_send`, from several pieces of memory in one operation: their bytes follow one another, and `bytes` of
 * the completion counts all of them. Any number of pieces, and some or all of them may have the length 0. The array is
 * copied, the pieces belong to the library until the completion is delivered (with ASOCK_SEND_COPY: only during the call).
 * `buffer` of the completion is `data` of the first piece.
 *
 * On a datagram socket the pieces make one datagram; more of them than the system takes at once (1024 on Linux, those of
 * length 0 not counted) are ASOCK_MESSAGE_TOO_LONG.
 *
 * Also returns ASOCK_INVALID_ARGUMENT for no pieces, a piece that is NULL with a length, or lengths that together no object
 * can have.
 */
asock_status asock_begin_send_vectored(asock_socket socket,
                                       const struct asock_buffer *buffers,
                                       size_t count,
                                       uint32_t flags,
                                       asock_callback callback,
                                       void *user_data,
                                       asock_op *op);

/**
 * Like `asock_begin_receive`, into several pieces of memory, filled in their order: none is begun before the one before it
 * is full, and `bytes` of the completion counts all of them. ASOCK_RECEIVE_ALL fills them all. Any number of pieces, and
 * some of them may have the length 0; if all have, it is a receive of length 0. The array is copied, the pieces belong to
 * the library until the completion is delivered. `buffer` of the completion is `data` of the first piece.
 *
 * On a datagram socket one datagram is spread over the pieces (more of them than 1024, those of length 0 not counted:
 * completes with ASOCK_MESSAGE_TOO_LONG).
 *
 * Also returns ASOCK_INVALID_ARGUMENT for no pieces, a piece that is NULL with a length, or lengths that together no object
 * can have.
 */
asock_status asock_begin_receive_vectored(asock_socket socket,
                                          const struct asock_buffer *buffers,
                                          size_t count,
                                          uint32_t flags,
                                          asock_callback callback,
                                          void *user_data,
                                          asock_op *op);

/**
 * Begins to send `length` bytes of a file, from `offset` on, without bringing them into the application's memory: all of
 * them. It takes its place among the other sends, completes as ASOCK_KIND_SEND when the system has taken every byte, and
 * its bytes count for ASOCK_OPTION_SEND_QUEUED and ASOCK_OPTION_SEND_QUEUE_LIMIT. `buffer` of the completion is NULL.
 *
 * `os_file` is the descriptor (Windows: a HANDLE) of a regular file that is open for reading. It stays the caller's, who
 * may close it as soon as this call has returned; its own position is neither used nor moved. The file itself is read
 * while it is sent, and after the completion what the peer has not yet confirmed is still sent from it: what is written
 * into the file meanwhile may or may not be what arrives. A length of 0 completes in its turn, and nothing is read.
 *
 * The file is read on a thread of the runtime's own, so a slow disk does not hold up other sockets; at most 16 parts of
 * files are read at once. A cancel, a deadline, a close and a stop wait for the read in progress, of 1 MiB at most: the
 * completion comes when the disk has answered (`asock_close` itself never waits, `asock_runtime_stop` does).
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
 * returns ASOCK_QUEUE_FULL past ASOCK_OPTION_SEND_QUEUE_LIMIT; ASOCK_INVALID_ARGUMENT for a number that is no such file, or
 * an end that no file can have; ASOCK_TOO_MANY_SOCKETS if the process has no descriptor left. Completes like
 * `asock_begin_send`; also with ASOCK_INVALID_ARGUMENT if the file ends before `offset + length` (`bytes` tells how many
 * there were), or its file system has no such way of sending (`os_error` is then set); with ASOCK_OS_ERROR if it cannot be
 * read; and with ASOCK_NOT_SUPPORTED on a datagram socket.
 */
asock_status asock_begin_send_file(asock_socket socket,
                                   int64_t os_file,
                                   uint64_t offset,
                                   uint64_t length,
                                   asock_callback callback,
                                   void *user_data,
                                   asock_op *op);

/**
 * Begins to accept a connection on a listening socket. `value` of the completion is the new `asock_socket`, which belongs
 * to whoever receives the completion: a connected socket of the listener's runtime, on the worker that had the fewest
 * sockets when the accept was begun, with both addresses. Several accepts may be pending; connections go to them in the
 * order begun.
 *
 * The new socket has ASOCK_OPTION_NODELAY on unless it was turned off on the listener, the listener's other options of the
 * system, and its send and receive time-outs and send queue limit; the other options of the library's own begin anew.
 * Where the listener is of both families, the address of an IPv4 peer reads "[::ffff:127.0.0.1]:80".
 *
 * With no room for another descriptor it completes with ASOCK_TOO_MANY_SOCKETS and `os_error`; the connection waits on, and
 * the listener does not try again for 100 ms, so that beginning anew at once is the right answer. Past `max_sockets` it
 * completes with ASOCK_TOO_MANY_SOCKETS when a connection comes, which is then closed. A connection that has come when a
 * cancel or a close arrives is handed over. One that nobody can learn of, after `asock_forget` or when `asock_dispatch`
 * drops the record, is closed.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also returns
 * ASOCK_INVALID_ARGUMENT, on a runtime that delivers on its worker, for neither `callback` nor `op`, since nobody could see
 * the result. Completes with ASOCK_OK; ASOCK_INVALID_STATE on a socket that does not listen; ASOCK_TIMED_OUT, also after
 * ASOCK_OPTION_ACCEPT_TIMEOUT_MS; ASOCK_TOO_MANY_SOCKETS; ASOCK_OUT_OF_MEMORY; or one of the four that end any operation.
 */
asock_status asock_begin_accept(asock_socket listener,
                                asock_callback callback,
                                void *user_data,
                                asock_op *op);

/**
 * Begins to send one datagram of `length` bytes, which may be 0, to an address, which is copied. The socket need not be
 * bound: the first send gives it a descriptor of the address's family and a port that the system chooses. A socket for
 * both families (`asock_bind` with NULL) sends to addresses of either. On a connected socket this datagram goes to `to`
 * all the same, where the system allows that (Linux does). `data` is as in `asock_begin_send`; `flags`: ASOCK_SEND_COPY,
 * ASOCK_SEND_MORE, which changes nothing.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
 * returns ASOCK_QUEUE_FULL past ASOCK_OPTION_SEND_QUEUE_LIMIT, and ASOCK_INVALID_ARGUMENT for a stream socket, another
 * flag, NULL with a length, a length that no object can have, or an address that is NULL, none, malformed or has port 0.
 * Completes with ASOCK_OK; ASOCK_MESSAGE_TOO_LONG; ASOCK_SHUT_DOWN; ASOCK_ACCESS_DENIED for a broadcast without
 * ASOCK_OPTION_BROADCAST; ASOCK_NOT_SUPPORTED for an address of another family than the socket's; what else the system
 * says; the status of the connect that it waited for; or one of the four that end any operation.
 */
asock_status asock_begin_send_to(asock_socket socket,
                                 const void *data,
                                 size_t length,
                                 uint32_t flags,
                                 const struct asock_address *to,
                                 asock_callback callback,
                                 void *user_data,
                                 asock_op *op);

/**
 * Begins to receive one datagram, of which at most `length` bytes are kept (ASOCK_RESULT_TRUNCATED in `flags` of the
 * completion tells that there were more), and writes its sender to `*from`. A sender may have no name: on unix sockets
 * that is an address of ASOCK_FAMILY_UNIX without a path. On a socket for both families, an IPv4 sender has an IPv6
 * address that says so ("::ffff:192.0.2.1").
 *
 * `buffer` and `from` belong to the library until the completion is delivered; `from` is written if the status is
 * ASOCK_OK, before that. A datagram may be empty, so 0 bytes are no end. A receive of length 0 leaves the datagram where
 * it is and tells who has sent it. `flags`: ASOCK_RECEIVE_PEEK leaves it there, too. After ASOCK_SHUTDOWN_RECEIVE it
 * completes with 0 bytes, and `from` is left alone.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
 * returns ASOCK_INVALID_ARGUMENT for a stream socket, another flag, NULL as `from`, NULL with a length, a length that no
 * object can have, and, on a runtime that delivers on its worker, neither `callback` nor `op`, since nobody could see the
 * result. Completes with ASOCK_OK; ASOCK_INVALID_STATE on a socket that is neither bound nor connected and has not sent;
 * ASOCK_CONNECTION_REFUSED as in `asock_begin_send`; ASOCK_TIMED_OUT; the status of the connect that it waited for; or one
 * of the four that end any operation.
 */
asock_status asock_begin_receive_from(asock_socket socket,
                                      void *buffer,
                                      size_t length,
                                      uint32_t flags,
                                      struct asock_address *from,
                                      asock_callback callback,
                                      void *user_data,
                                      asock_op *op);

/**
 * Begins to look up the addresses of a host, with `port` in each; a literal address and "unix:PATH" need no look-up.
 * They are written to `addresses`, best first, at most `capacity` of them (0 with NULL: only counted), and `value` of the
 * completion is how many there are (ASOCK_RESULT_TRUNCATED tells when that is more). `addresses` belongs to the library
 * until the completion is delivered; `host` is copied.
 *
 * Names are looked up by the system's resolver, on threads of the runtime's own; a literal address completes at once,
 * and no look-up ever holds up anything else, save other names when all of these threads are busy. Runtime 0 is started
 * if it does not run.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. Also
 * returns ASOCK_INVALID_ARGUMENT for a bad host or port, as in `asock_begin_connect`, or NULL with a capacity; for
 * runtime 0 what `asock_runtime_start` returns. Completes
 * with ASOCK_OK; ASOCK_HOST_NOT_FOUND; ASOCK_NAME_SERVER_FAILED; or one of the four that end any operation.
 */
asock_status asock_begin_resolve(asock_runtime runtime,
                                 const char *host,
                                 uint16_t port,
                                 struct asock_address *addresses,
                                 size_t capacity,
                                 asock_callback callback,
                                 void *user_data,
                                 asock_op *op);

/**
 * Begins to wait for `delay_ms` milliseconds; 0 completes soon. It completes with ASOCK_OK when they have passed, never
 * earlier; or with one of the four that end any operation. Runtime 0 is started if it does not run.
 *
 * `callback`, `user_data` and `op`, threads, and what every `asock_begin_...` returns: see "Operations" above. A callback
 * runs on the worker that began the timer, else on the first. For runtime 0 it also returns what `asock_runtime_start`
 * does.
 */
asock_status asock_begin_timer(asock_runtime runtime,
                               uint64_t delay_ms,
                               asock_callback callback,
                               void *user_data,
                               asock_op *op);

/**
 * Waits until an operation is no longer pending, at most `timeout_ms` milliseconds (0: only asks; -1: without limit). Its
 * result is fixed then and its buffer is released; its callback may not have run yet. The handle stays what it was.
 *
 * Returns ASOCK_OK, also for any handle that was ever issued and is retired; ASOCK_TIMED_OUT past the limit;
 * ASOCK_WOULD_DEADLOCK where it would have to wait on a worker of any runtime; ASOCK_BAD_HANDLE; ASOCK_FORKED;
 * ASOCK_INVALID_ARGUMENT for a `timeout_ms` below -1. Any thread, several at a time.
 */
asock_status asock_wait(asock_op op,
                        int32_t timeout_ms);

/**
 * Waits, without limit, until an operation that was begun without a callback on a runtime that delivers on its worker has
 * completed, hands over its result, and retires the handle. `*result` is written on ASOCK_OK only and is the caller's.
 * ASOCK_OK says that there is a result: whether the operation succeeded is in `result->status`.
 *
 * The result outlives a stop of its runtime until it is collected or `asock_forget` lets it go. Of several threads that
 * end one operation, one gets the result, the others ASOCK_BAD_HANDLE.
 *
 * Returns ASOCK_OK; ASOCK_INVALID_STATE for an operation that has a callback or belongs to a runtime that delivers on poll;
 * ASOCK_WOULD_DEADLOCK where it would have to wait on a worker of any runtime; ASOCK_BAD_HANDLE; ASOCK_FORKED;
 * ASOCK_INVALID_ARGUMENT for NULL, the result being still there. Any thread.
 */
asock_status asock_end(asock_op op,
                       struct asock_result *result);

/**
 * Says that nobody will end an operation: its record goes when it completes, at once if it has. `asock_end` and a second
 * forget then give ASOCK_BAD_HANDLE; cancel, set_deadline and wait reach it until it completes. Its buffer still belongs
 * to the library until then: wait for it, or close the socket with `asock_begin_close`.
 *
 * Any thread, also inside a callback; never waits. Returns ASOCK_OK; ASOCK_INVALID_STATE where `asock_end` would not work;
 * ASOCK_BAD_HANDLE; ASOCK_FORKED.
 */
asock_status asock_forget(asock_op op);

/**
 * Asks for an operation to end now: it completes with ASOCK_CANCELED, out of turn, and `bytes` tells how much of it was
 * done. One that had ended before keeps its own result. The completion still comes, exactly once, and the buffer belongs
 * to the library until then.
 *
 * Any thread, also inside a callback; never waits. Returns ASOCK_OK, also when the operation has ended but is not yet
 * retired; ASOCK_BAD_HANDLE; ASOCK_FORKED.
 */
asock_status asock_cancel(asock_op op);

/**
 * Limits an operation to `timeout_ms` milliseconds from now, in place of the socket's time-out option or an earlier
 * deadline; a negative number takes the limit away. When they have passed, it completes with ASOCK_TIMED_OUT, out of turn,
 * and `bytes` tells how much of it was done.
 *
 * Any thread, also inside a callback; never waits. Returns ASOCK_OK, also when the operation has ended but is not yet
 * retired; ASOCK_BAD_HANDLE; ASOCK_FORKED.
 */
asock_status asock_set_deadline(asock_op op,
                                int64_t timeout_ms);

/**
 * Reads a literal address: IPv4 as a strict dotted quad (octal, hexadecimal and short forms are none), IPv6 with an
 * optional %scope (a number, or the name of an interface), "unix:PATH", or "unix:@NAME" for a name in Linux's abstract
 * space (the port is then ignored). Names are not looked up: see `asock_begin_resolve`.
 *
 * `host` is read during the call only. `*address` is written on ASOCK_OK only and is a plain value. Any thread; never
 * waits. Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for NULL, a host that is empty, longer than 253 bytes, not UTF-8 or no
 * literal address, a path longer than the system takes (107 bytes on Linux), an unknown interface, or port 0 with
 * anything but "unix:".
 */
asock_status asock_address_parse(const char *host,
                                 uint16_t port,
                                 struct asock_address *address);

/**
 * Writes an address as text with a final zero, at most `capacity` bytes in all: "127.0.0.1:80", "[::1]:80",
 * "[fe80::1%3]:80", "unix:/p", "unix:@n", and nothing but the zero for no address. IPv6 is written as RFC 5952 says. Bytes
 * of a path that are no text are written as "?". ASOCK_ADDRESS_TEXT_MAX bytes always suffice.
 *
 * `text` is the caller's and is written on ASOCK_OK only. Any thread; never waits. Returns ASOCK_OK;
 * ASOCK_INVALID_ARGUMENT for NULL, a malformed address, or too little room.
 */
asock_status asock_address_format(const struct asock_address *address,
                                  char *text,
                                  size_t capacity);

/**
 * The family of an address: ASOCK_FAMILY_IPV4, ASOCK_FAMILY_IPV6 or ASOCK_FAMILY_UNIX; ASOCK_FAMILY_NONE for NULL, no
 * address, or a malformed one. Any thread; never fails.
 */
uint32_t asock_address_family(const struct asock_address *address);

/**
 * The port of an address, in the machine's own byte order; 0 for a unix socket, NULL, no address, or a malformed one.
 * Any thread; never fails.
 */
uint16_t asock_address_port(const struct asock_address *address);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ASOCK_H */
