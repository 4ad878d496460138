/*
 * The C wrapper (bindings/c) against a peer that does what it is told: see tests/c_wrapper.rs, which compiles this as
 * C99 and as C++11 and serves it. Each scenario checks what the user of a call notices: status, bytes, time, and
 * whose the buffer is.
 *
 *   c_wrapper SCRIPT_PORT REFUSED_PORT SILENT_PORT
 *
 * The peer at SCRIPT_PORT obeys lines: "give N" sends the next N bytes of a pattern, "close" ends its side, "reset"
 * resets, "echo" sends back all that follows, "drip" sends a little every 20 ms without end, "stall" reads nothing
 * until another connection says "release", then reads to the end, tells how many bytes it has read, and closes. Where
 * a test has to wait for a state it looks for it; none sleeps to be sure.
 */
#include "c_wrapper.h"

#include <errno.h>

uint16_t script_port, refused_port, silent_port;

/* ---- success, and the end of the stream ---- */

void some_bytes(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime);
  char buffer[100];
  size_t received = 77;

  tell(socket, "give 5\n");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive(socket, buffer, sizeof buffer, LIMIT_MS, &received));
  CHECK(received == 5 && is_pattern(buffer, 0, 5));
  tell(socket, "give 2000\n");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive(socket, buffer, sizeof buffer, -1, &received));
  CHECK(received > 0 && received <= sizeof buffer && is_pattern(buffer, 5, received));
  CHECK_STATUS(ASOCK_OK, asock_blocking_send(socket, NULL, 0, LIMIT_MS, NULL));
  close_well(socket);
}

void exactly(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime);
  char *buffer = (char *)allocate(1000000);
  size_t received = 77;

  tell(socket, "give 1000000\n");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_exactly(socket, buffer, 1000000, LIMIT_MS, &received));
  CHECK(received == 1000000 && is_pattern(buffer, 0, received));
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_exactly(socket, NULL, 0, LIMIT_MS, &received));
  CHECK(received == 0);
  tell(socket, "give 7\nclose\n");
  CHECK_STATUS(ASOCK_BLOCKING_ENDED, asock_blocking_receive_exactly(socket, buffer, 8, LIMIT_MS, &received));
  CHECK(received == 7 && is_pattern(buffer, 1000000, 7));
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive(socket, buffer, 8, LIMIT_MS, &received));
  CHECK(received == 0);
  close_well(socket);
  free(buffer);
}

/* Into a buffer that is larger than, as large as, and smaller than what comes. */
void until_close(asock_runtime runtime) {
  static const size_t rooms[] = { 200, 123, 100, 0 };
  char buffer[200];
  size_t at, received = 77;

  for (at = 0; at < sizeof rooms / sizeof rooms[0]; at++) {
    asock_blocking_socket socket = connected(runtime);
    size_t expected = rooms[at] < 123 ? rooms[at] : 123;
    asock_status status = rooms[at] < 123 ? ASOCK_BLOCKING_FULL : ASOCK_OK;

    tell(socket, "give 123\nclose\n");
    CHECK_STATUS(status, asock_blocking_receive_until_close(socket, buffer, rooms[at], LIMIT_MS, &received));
    CHECK(received == expected && is_pattern(buffer, 0, received));
    /* The rest was left in the stream. */
    CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close(socket, buffer, sizeof buffer, LIMIT_MS, &received));
    CHECK(received == 123 - expected && is_pattern(buffer, expected, received));
    close_well(socket);
  }
}

void until_close_growing(asock_runtime runtime) {
  static const char *const scripts[] = { "close\n", "give 1\nclose\n", "give 4096\nclose\n", "give 1500000\nclose\n" };
  static const size_t lengths[] = { 0, 1, 4096, 1500000 };
  void *data = NULL;
  size_t at, received = 77;
  asock_blocking_socket socket;

  for (at = 0; at < sizeof lengths / sizeof lengths[0]; at++) {
    socket = connected(runtime);
    tell(socket, scripts[at]);
    CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close_alloc(socket, 0, LIMIT_MS, &data, &received));
    CHECK(received == lengths[at] && data != NULL && is_pattern(data, 0, received));
    CHECK(((char *)data)[received] == '\0');
    free(data);
    close_well(socket);
  }
  /* A limit that just suffices, and one that does not. */
  socket = connected(runtime);
  tell(socket, "give 10000\nclose\n");
  CHECK_STATUS(ASOCK_BLOCKING_FULL, asock_blocking_receive_until_close_alloc(socket, 9000, LIMIT_MS, &data, &received));
  CHECK(received == 9000 && is_pattern(data, 0, received));
  free(data);
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close_alloc(socket, 1000, LIMIT_MS, &data, &received));
  CHECK(received == 1000 && is_pattern(data, 9000, received));
  free(data);
  close_well(socket);
}

/* ---- time-outs, and what was moved by then ---- */

/* Waits until so many bytes can be received. */
static void until_there(asock_blocking_socket socket, size_t count) {
  char *room = (char *)allocate(count);
  int64_t start_ms = clock_ms();
  asock_result result;
  asock_op op = 0;

  do {
    CHECK(clock_ms() - start_ms < LIMIT_MS);
    CHECK_STATUS(ASOCK_OK, asock_begin_receive(socket.socket, room, count, ASOCK_RECEIVE_PEEK, NULL, NULL, &op));
    CHECK_STATUS(ASOCK_OK, asock_end(op, &result));
    CHECK_STATUS(ASOCK_OK, result.status);
  } while (result.bytes < count);
  free(room);
}

void receive_times_out(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime);
  char buffer[64];
  void *data = NULL;
  size_t received = 77;
  int64_t start_ms = clock_ms();

  memset(buffer, 'x', sizeof buffer);
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_receive(socket, buffer, sizeof buffer, SHORT_MS, &received));
  check_passed(start_ms, SHORT_MS);
  CHECK(received == 0 && buffer[0] == 'x');
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_receive(socket, buffer, sizeof buffer, 0, &received));

  tell(socket, "give 5\n");
  until_there(socket, 5);
  start_ms = clock_ms();
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_receive_exactly(socket, buffer, 10, SHORT_MS, &received));
  check_passed(start_ms, SHORT_MS);
  CHECK(received == 5 && is_pattern(buffer, 0, 5) && buffer[5] == 'x');
  memset(buffer, 'y', sizeof buffer);

  /* The buffer was free: what comes now goes to the next receive, which goes on where the first one was cut. */
  tell(socket, "give 20\n");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_exactly(socket, buffer + 32, 20, LIMIT_MS, &received));
  CHECK(is_pattern(buffer + 32, 5, 20) && buffer[0] == 'y' && buffer[31] == 'y');

  tell(socket, "give 30\n");
  until_there(socket, 30);
  start_ms = clock_ms();
  CHECK_STATUS(ASOCK_TIMED_OUT,
               asock_blocking_receive_until_close(socket, buffer, sizeof buffer, SHORT_MS, &received));
  check_passed(start_ms, SHORT_MS);
  CHECK(received == 30 && is_pattern(buffer, 25, 30));

  tell(socket, "give 5000\n"); /* more than the first piece of memory, so that the limit spans two */
  until_there(socket, 5000);
  start_ms = clock_ms();
  CHECK_STATUS(ASOCK_TIMED_OUT,
               asock_blocking_receive_until_close_alloc(socket, 0, SHORT_MS, &data, &received));
  check_passed(start_ms, SHORT_MS);
  CHECK(received == 5000 && is_pattern(data, 55, received));
  free(data);
  close_well(socket);
}

/*
 * A limit is for the whole call, of however many pieces: the peer is slow, but never so slow that one piece would
 * time out before more time has passed in all than twice the limit. Several tries, with more and more time, since the
 * machine may be slow as well.
 */
void limit_spans_pieces(asock_runtime runtime) {
  int limit_ms, shown = 0;

  for (limit_ms = 150; limit_ms < 5000 && !shown; limit_ms *= 2) {
    asock_blocking_socket socket = connected(runtime);
    void *data = NULL;
    size_t received;
    int64_t start_ms, passed_ms;

    tell(socket, "drip\n");
    start_ms = clock_ms();
    CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_receive_until_close_alloc(socket, 0, limit_ms, &data, &received));
    passed_ms = clock_ms() - start_ms;
    CHECK(passed_ms >= limit_ms - 1);
    shown = received > 4096 && passed_ms < 2 * limit_ms - 20;
    free(data);
    close_well(socket);
  }
  CHECK(shown);
}

/* The time-out of a call takes the place of the socket's. */
void options_do_not_count(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime);
  char byte;
  size_t received;
  int64_t start_ms = clock_ms();

  CHECK_STATUS(ASOCK_OK, asock_set_option(socket.socket, ASOCK_OPTION_RECEIVE_TIMEOUT_MS, 3600000));
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_receive(socket, &byte, 1, SHORT_MS, &received));
  check_passed(start_ms, SHORT_MS);
  close_well(socket);
}

void connect_times_out(asock_runtime runtime) {
  asock_blocking_socket socket = opened(runtime);
  int64_t start_ms = clock_ms();

  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_connect(socket, HOST, silent_port, SHORT_MS));
  check_passed(start_ms, SHORT_MS);
  CHECK_STATUS(ASOCK_OK, asock_blocking_connect(socket, HOST, script_port, LIMIT_MS));
  close_well(socket);
}

/* Far more than fits: the peer, once it reads, finds as many bytes as the cut send has told. */
void send_times_out(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime), other = connected(runtime);
  char *data = (char *)allocate(BIG), count[32];
  size_t sent = 77, received;
  int64_t start_ms;

  tell(socket, "stall\n");
  start_ms = clock_ms();
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_send(socket, data, BIG, SHORT_MS, &sent));
  check_passed(start_ms, SHORT_MS);
  CHECK(sent > 0 && sent < BIG);
  free(data); /* it is ours again */
  CHECK_STATUS(ASOCK_OK, asock_shutdown(socket.socket, ASOCK_SHUTDOWN_SEND));
  CHECK_STATUS(ASOCK_SHUT_DOWN, asock_blocking_send(socket, "x", 1, LIMIT_MS, &received));
  CHECK(received == 0);
  tell(other, "release\n");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close(socket, count, sizeof count - 1, LIMIT_MS, &received));
  count[received] = '\0';
  CHECK(strtoul(count, NULL, 10) == sent);
  close_well(socket);
  close_well(other);
}

/* What an asynchronous send has left is sent by the close, and dropped at its limit. */
void close_drains(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime);
  char *data = (char *)allocate(BIG);
  asock_op op = 0;
  asock_result result;
  int64_t start_ms;

  tell(socket, "stall\n");
  CHECK_STATUS(ASOCK_OK, asock_begin_send(socket.socket, data, BIG, 0, NULL, NULL, &op));
  start_ms = clock_ms();
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_close(socket, SHORT_MS));
  check_passed(start_ms, SHORT_MS);
  CHECK_STATUS(ASOCK_OK, asock_wait(op, 0)); /* its end came before that of the close */
  CHECK_STATUS(ASOCK_OK, asock_end(op, &result));
  CHECK(result.status == ASOCK_CLOSED && result.bytes < BIG);
  free(data);
}

/* ---- failures ---- */

void refused(asock_runtime runtime) {
  asock_blocking_socket socket = opened(runtime);
  char byte;
  size_t bytes = 77;

  CHECK_STATUS(ASOCK_CONNECTION_REFUSED, asock_blocking_connect(socket, HOST, refused_port, LIMIT_MS));
  CHECK(asock_blocking_os_error() == ECONNREFUSED);
  CHECK_STATUS(ASOCK_NOT_CONNECTED, asock_blocking_send(socket, "x", 1, LIMIT_MS, &bytes));
  CHECK(bytes == 0);
  CHECK_STATUS(ASOCK_NOT_CONNECTED, asock_blocking_receive(socket, &byte, 1, LIMIT_MS, &bytes));
  CHECK_STATUS(ASOCK_OK, asock_blocking_connect(socket, HOST, script_port, LIMIT_MS));
  CHECK(asock_blocking_os_error() == 0);
  CHECK_STATUS(ASOCK_ALREADY_CONNECTED, asock_blocking_connect(socket, HOST, script_port, LIMIT_MS));
  close_well(socket);
}

void reset(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime);
  char buffer[16];
  void *data = NULL;
  size_t bytes = 77;

  tell(socket, "reset\n");
  CHECK_STATUS(ASOCK_CONNECTION_RESET, asock_blocking_receive(socket, buffer, sizeof buffer, LIMIT_MS, &bytes));
  CHECK(bytes == 0 && asock_blocking_os_error() == ECONNRESET);
  CHECK_STATUS(ASOCK_CONNECTION_RESET, asock_blocking_receive_exactly(socket, buffer, 4, LIMIT_MS, &bytes));
  CHECK_STATUS(ASOCK_CONNECTION_RESET, asock_blocking_receive_until_close(socket, buffer, 4, LIMIT_MS, &bytes));
  CHECK_STATUS(ASOCK_CONNECTION_RESET, asock_blocking_receive_until_close_alloc(socket, 0, LIMIT_MS, &data, &bytes));
  CHECK(bytes == 0);
  free(data);
  CHECK_STATUS(ASOCK_CONNECTION_RESET, asock_blocking_send(socket, "x", 1, LIMIT_MS, &bytes));
  CHECK(bytes == 0);
  close_well(socket);
}

void bad_arguments(asock_runtime runtime) {
  asock_blocking_socket socket = connected(runtime), none;
  uint64_t begun = stats_of(runtime).operations_begun;
  char byte;
  void *data = &byte;
  size_t bytes = 77;

  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_open(runtime, NULL));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_connect(socket, NULL, 1, LIMIT_MS));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_connect(socket, HOST, 0, LIMIT_MS));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_send(socket, NULL, 1, LIMIT_MS, &bytes));
  CHECK(bytes == 0);
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_send(socket, "x", 1, -2, NULL));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_receive(socket, &byte, 1, LIMIT_MS, NULL));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_receive_exactly(socket, NULL, 1, LIMIT_MS, &bytes));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_receive_until_close(socket, NULL, 1, LIMIT_MS, &bytes));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_receive_until_close_alloc(socket, 0, LIMIT_MS, NULL, &bytes));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_receive_until_close_alloc(socket, 0, LIMIT_MS, &data, NULL));
  CHECK(data == NULL);
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_close(socket, -2));
  CHECK(stats_of(runtime).operations_begun == begun);
  close_well(socket);

  none = socket;
  CHECK_STATUS(ASOCK_BAD_HANDLE, asock_blocking_connect(none, NULL, 0, -2)); /* the handle leads */
  CHECK_STATUS(ASOCK_BAD_HANDLE, asock_blocking_receive(none, &byte, 1, LIMIT_MS, &bytes));
  none.socket = 0;
  CHECK_STATUS(ASOCK_BAD_HANDLE, asock_blocking_send(none, "x", 1, LIMIT_MS, NULL));
  CHECK(strcmp(asock_blocking_status_text(ASOCK_TIMED_OUT), asock_status_text(ASOCK_TIMED_OUT)) == 0);
}

/* ---- */

#define SCENARIO(name) { #name, name }
static const struct {
  const char *name;
  void (*run)(asock_runtime runtime);
} scenarios[] = {
  SCENARIO(some_bytes), SCENARIO(exactly), SCENARIO(until_close),
  SCENARIO(until_close_growing), SCENARIO(receive_times_out), SCENARIO(limit_spans_pieces),
  SCENARIO(options_do_not_count), SCENARIO(connect_times_out), SCENARIO(send_times_out),
  SCENARIO(close_drains), SCENARIO(refused), SCENARIO(reset),
  SCENARIO(bad_arguments), SCENARIO(draining), SCENARIO(many_threads),
  SCENARIO(ended_by_another_thread), SCENARIO(inside_callbacks), SCENARIO(on_poll),
  SCENARIO(accepts), SCENARIO(accept_times_out), SCENARIO(accepts_on_threads),
  SCENARIO(listens_in_a_callback), SCENARIO(bad_listeners), SCENARIO(event_lets_all_through),
  SCENARIO(event_stays_set), SCENARIO(event_ends_at_once),
};

int main(int count, char **arguments) {
  asock_runtime runtime;
  size_t at;

  CHECK(count == 4);
  script_port = (uint16_t)strtoul(arguments[1], NULL, 10);
  refused_port = (uint16_t)strtoul(arguments[2], NULL, 10);
  silent_port = (uint16_t)strtoul(arguments[3], NULL, 10);
  runtime = start(ASOCK_DELIVER_ON_WORKER);
  for (at = 0; at < sizeof scenarios / sizeof scenarios[0]; at++) {
    int64_t start_ms = clock_ms();

    scenarios[at].run(runtime);
    printf("%s: %d ms\n", scenarios[at].name, (int)(clock_ms() - start_ms));
    (void)fflush(stdout);
    until_pending(runtime, 0);
  }
  CHECK_STATUS(ASOCK_OK, asock_runtime_stop(runtime));
  printf("all %d scenarios\n", (int)at);
  return 0;
}
