/*
 * asock: the calls of a synchronous client, and of a synchronous server.
 *
 * Each begins an operation, waits for its completion, and returns its status. Made of the public header only. Compile
 * asock_blocking.c along, as C99 or C++11, and link asock and the thread library.
 *
 *   asock_blocking_socket socket;
 *   char buffer[256];
 *   size_t received;
 *
 *   if (asock_blocking_open(0, &socket) == ASOCK_OK) {
 *     if (asock_blocking_connect(socket, "127.0.0.1", 11000, 5000) == ASOCK_OK &&
 *         asock_blocking_send(socket, "This is a test<EOF>", 19, 5000, NULL) == ASOCK_OK &&
 *         asock_blocking_receive(socket, buffer, sizeof buffer, 5000, &received) == ASOCK_OK)
 *       printf("%.*s", (int)received, buffer);
 *     asock_blocking_close(socket, 1000);
 *   }
 *
 * A server opens a socket, lets it listen, and accepts one connection after the other, each of them a socket like the
 * client's:
 *
 *   asock_blocking_socket listener, socket;
 *
 *   if (asock_blocking_open(0, &listener) == ASOCK_OK &&
 *       asock_blocking_listen(listener, "127.0.0.1", 11000, 0) == ASOCK_OK)
 *     while (asock_blocking_accept(listener, -1, &socket) == ASOCK_OK)
 *       ... serve it here, or hand it to a thread; then asock_blocking_close(socket, 1000) ...
 *
 *
 * WHAT HOLDS FOR ALL OF THEM
 *
 * Time. `timeout_ms` limits the whole call, in milliseconds; 0 does what can be done at once; -1 sets no limit. It
 * takes the place of the socket's own time-out options. Past it the call returns ASOCK_TIMED_OUT. The look-up of a
 * name counts.
 *
 * Buffers. When a call returns, whatever it returns, no operation of it is pending and its buffer is the caller's.
 *
 * Bytes. `*sent` and `*received` are written on every return, unless NULL, and tell what was moved, also where the
 * status is a failure: bytes received are in the buffer and gone from the stream, bytes sent are with the system.
 * After a time-out a receive may be repeated; nothing is lost. A send that was cut has left part of its data in the
 * stream.
 *
 * Threads. Any thread may use any socket, several at a time: a thread that receives and one that sends do not disturb
 * each other, and calls in one direction take effect one after the other. asock_close, asock_blocking_close or a stop
 * of the runtime from another thread ends what is waiting: with ASOCK_CLOSED, ASOCK_STOPPED. The first waiting call
 * of each thread takes about a millisecond longer: it finds out whether the thread may wait.
 *
 * Callbacks. On a worker of any runtime, that is inside a callback of the library, a call that would wait gives
 * ASOCK_WOULD_DEADLOCK at once and begins nothing, whatever its socket; open, listen and os_error may be called there.
 *
 * Delivery. They are for runtimes that deliver on their worker. On one that delivers on poll, whose completions are
 * taken by the application's own loop, every call gives ASOCK_INVALID_STATE and begins nothing. In a callback that
 * asock_dispatch calls, on an application's thread, they may be used on a socket of another runtime, and hold up that
 * loop.
 *
 * Mixing. `socket.socket` is an ordinary socket: options, addresses, asock_shutdown and asynchronous operations may
 * be used beside these calls, and take their turn with them.
 *
 * Every call may also return, having begun nothing: ASOCK_BAD_HANDLE (the socket is closed, or its runtime stopped),
 * ASOCK_FORKED, ASOCK_INVALID_ARGUMENT (NULL where something is needed, a `timeout_ms` below -1), ASOCK_STOPPED and
 * ASOCK_OUT_OF_MEMORY; and in the course of it what asock.h says of the operation.
 */
#ifndef ASOCK_BLOCKING_H
#define ASOCK_BLOCKING_H

#include <asock.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Status: the peer closed its side before all that was asked for had come.
 */
#define ASOCK_BLOCKING_ENDED (-1001)

/**
 * Status: the buffer, or the limit, is full, and there is more in the stream.
 */
#define ASOCK_BLOCKING_FULL (-1002)

/**
 * A socket and the runtime that it lives in: a plain value, to be copied freely, that owns nothing by itself. Made by
 * `asock_blocking_open` and `asock_blocking_accept`, or put together by the caller, of any stream socket and its own
 * runtime.
 */
typedef struct asock_blocking_socket {
  /** The runtime of the socket; 0 is the default one. */
  asock_runtime runtime;
  /** The socket. */
  asock_socket socket;
} asock_blocking_socket;

/**
 * Makes a stream socket in a runtime that delivers on its worker; 0 is the default runtime, which is started if it
 * does not run. `*socket` is written on ASOCK_OK only; the caller closes it with `asock_blocking_close`, or with
 * `asock_close`.
 *
 * Never waits for the network. Returns what `asock_open` does; ASOCK_INVALID_STATE on a runtime that delivers on poll.
 */
asock_status asock_blocking_open(asock_runtime runtime, asock_blocking_socket *socket);

/**
 * Connects to a host: what `asock_begin_connect` takes, which copies it. After a failure, a time-out too, the socket
 * may connect again, and its options are kept.
 */
asock_status asock_blocking_connect(asock_blocking_socket socket, const char *host, uint16_t port, int32_t timeout_ms);

/**
 * Lets a socket listen: gives it a local address, what `asock_bind` takes, and then a queue of `backlog` connections
 * that wait to be accepted; 0 is as many as the system allows. `host` is a literal address, "unix:PATH", "unix:@NAME",
 * or NULL for any address of both families; it is copied. With port 0 the system chooses one, which
 * `asock_local_address` and `asock_address_port` tell.
 *
 * A server that is started anew has its port again at once, whatever the connections that it had: `asock_bind` turns
 * ASOCK_OPTION_REUSE_ADDRESS on, unless that was set on `socket.socket` before this call.
 *
 * Never waits, and may be called inside a callback. Returns ASOCK_OK, and what `asock_bind` and `asock_listen` do. Where
 * the address is not to be had, the socket is as it was, and another may be tried; only where two sockets have one
 * address with ASOCK_OPTION_REUSE_ADDRESS, the second is ASOCK_ADDRESS_IN_USE with its address, and left to be closed.
 */
asock_status asock_blocking_listen(asock_blocking_socket socket, const char *host, uint16_t port, int32_t backlog);

/**
 * Accepts a connection: waits until there is one. `*accepted`, in the runtime of the listener, is written on ASOCK_OK
 * only, and is then the caller's to close; the calls above and below work on it. Several threads may wait on one
 * listener, and each connection goes to one of them.
 *
 * A connection that has come when the limit is reached is not lost: it is accepted, or it waits for the next call. The
 * limit takes the place of ASOCK_OPTION_ACCEPT_TIMEOUT_MS. With no room for another socket: ASOCK_TOO_MANY_SOCKETS, and
 * the next call is right to try again. On a socket that does not listen: ASOCK_INVALID_STATE.
 */
asock_status asock_blocking_accept(asock_blocking_socket listener, int32_t timeout_ms, asock_blocking_socket *accepted);

/**
 * Sends `length` bytes, all of them: ASOCK_OK means that the system has taken every byte. `data` may be NULL if
 * `length` is 0, `sent` if nobody wants to know.
 *
 * After a failure `*sent` bytes of the data, from the first on, are in the stream or on their way.
 */
asock_status asock_blocking_send(asock_blocking_socket socket,
                                 const void *data,
                                 size_t length,
                                 int32_t timeout_ms,
                                 size_t *sent);

/**
 * Receives some bytes: waits until there is at least one, and takes as many as there are, at most `length`. ASOCK_OK
 * and `*received` 0: the peer has closed its side (with `length` 0 it may also mean that there is something to
 * receive).
 */
asock_status asock_blocking_receive(asock_blocking_socket socket,
                                    void *buffer,
                                    size_t length,
                                    int32_t timeout_ms,
                                    size_t *received);

/**
 * Receives exactly `length` bytes: ASOCK_OK means that the buffer is full. If the peer closes its side before,
 * ASOCK_BLOCKING_ENDED. `received` may be NULL.
 */
asock_status asock_blocking_receive_exactly(asock_blocking_socket socket,
                                            void *buffer,
                                            size_t length,
                                            int32_t timeout_ms,
                                            size_t *received);

/**
 * Receives until the peer closes its side, into memory of the caller's: ASOCK_OK means that `*received` bytes, which
 * may be 0, are all there was. If there are more than `length`, ASOCK_BLOCKING_FULL: the buffer is full, and the
 * rest, at least one byte, is still in the stream.
 */
asock_status asock_blocking_receive_until_close(asock_blocking_socket socket,
                                                void *buffer,
                                                size_t length,
                                                int32_t timeout_ms,
                                                size_t *received);

/**
 * Receives until the peer closes its side, into memory that grows as needed, to `limit` bytes at most; 0 is no limit
 * but the machine's: set one where the peer is not trusted. If there are more, ASOCK_BLOCKING_FULL, as above.
 *
 * `*data` and `*received` are written on every return: what has come so far, also where the status is a failure.
 * `*data` is the caller's to release with `free`; NULL if nothing was allocated. A zero byte follows the data, and is
 * not counted. ASOCK_OUT_OF_MEMORY: there was no room to go on; the rest is still in the stream.
 */
asock_status asock_blocking_receive_until_close_alloc(asock_blocking_socket socket,
                                                      size_t limit,
                                                      int32_t timeout_ms,
                                                      void **data,
                                                      size_t *received);

/**
 * Closes a socket: what other operations have still to send is sent first, then the peer sees the end of the stream.
 * When the call returns, every other operation of the socket has completed (receives with ASOCK_CLOSED) and its
 * callback has returned, so that all their buffers are free.
 *
 * Past the limit what is left to send is dropped, and the call returns ASOCK_TIMED_OUT; the socket is closed then
 * too. In a runtime that is draining, or without memory, it closes as `asock_close` does and returns its status.
 * Nothing is closed only on ASOCK_WOULD_DEADLOCK, ASOCK_INVALID_STATE, ASOCK_INVALID_ARGUMENT and, there being
 * nothing to close, ASOCK_BAD_HANDLE and ASOCK_FORKED: `asock_close` is for those who must not wait.
 */
asock_status asock_blocking_close(asock_blocking_socket socket, int32_t timeout_ms);

/**
 * The system's error (errno) behind the status that the last of these calls on the calling thread returned; 0 if
 * there is none, and after open and listen, which do not tell. Any thread; never fails.
 */
int32_t asock_blocking_os_error(void);

/**
 * Like `asock_status_text`, and it knows the two statuses of this header too.
 */
const char *asock_blocking_status_text(asock_status status);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ASOCK_BLOCKING_H */
