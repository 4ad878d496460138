/*
 * What the scenarios of c_wrapper.c share: checks that end the program and say where, and the usual steps.
 */
#ifndef C_WRAPPER_H
#define C_WRAPPER_H

#include <asock_blocking.h>
#include <asock_event.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HOST "127.0.0.1"
#define LIMIT_MS 60000 /* only reached by a test that fails */
#define SHORT_MS 200   /* a time-out that is meant to pass */
#define BIG ((size_t)32 * 1024 * 1024)

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                          \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)
#define CHECK_STATUS(expected, call) check_status(expected, call, #call, __FILE__, __LINE__)

/* Where the peers are. */
extern uint16_t script_port, refused_port, silent_port;

static inline void check_status(asock_status expected, asock_status status, const char *call, const char *file,
                                int line) {
  if (status == expected)
    return;
  fprintf(stderr, "%s:%d: %s gave %s (%d), not %s\n", file, line, call, asock_blocking_status_text(status), (int)status,
          asock_blocking_status_text(expected));
  exit(1);
}

static inline int64_t clock_ms(void) {
  struct timespec now;

  CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return (int64_t)now.tv_sec * 1000 + (int64_t)now.tv_nsec / 1000000;
}

static inline void pause_ms(long ms) {
  struct timespec pause;

  pause.tv_sec = 0;
  pause.tv_nsec = ms * 1000000L;
  (void)nanosleep(&pause, NULL);
}

/* A time-out was kept: not too early (but for the rounding of this clock), and not so late that it was another. */
static inline void check_passed(int64_t start_ms, int64_t timeout_ms) {
  int64_t passed_ms = clock_ms() - start_ms;

  CHECK(passed_ms >= timeout_ms - 1);
  CHECK(passed_ms < LIMIT_MS / 2);
}

static inline int is_pattern(const void *data, size_t from, size_t length) {
  const unsigned char *bytes = (const unsigned char *)data;
  size_t at;

  for (at = 0; at < length; at++)
    if (bytes[at] != (unsigned char)((from + at) % 251))
      return 0;
  return 1;
}

static inline asock_stats stats_of(asock_runtime runtime) {
  asock_stats stats;

  memset(&stats, 0, sizeof stats);
  stats.size = sizeof stats;
  CHECK_STATUS(ASOCK_OK, asock_runtime_stats(runtime, &stats));
  return stats;
}

static inline void until_pending(asock_runtime runtime, uint64_t count) {
  int64_t start_ms = clock_ms();

  while (stats_of(runtime).operations_pending != count) {
    CHECK(clock_ms() - start_ms < LIMIT_MS);
    pause_ms(1);
  }
}

static inline asock_runtime start(uint32_t delivery) {
  asock_runtime_config config;
  asock_runtime runtime = 0;

  memset(&config, 0, sizeof config);
  config.size = sizeof config;
  config.delivery = delivery;
  CHECK_STATUS(ASOCK_OK, asock_runtime_start(&config, &runtime));
  return runtime;
}

static inline asock_blocking_socket opened(asock_runtime runtime) {
  asock_blocking_socket socket;

  CHECK_STATUS(ASOCK_OK, asock_blocking_open(runtime, &socket));
  CHECK(socket.socket != 0 && socket.runtime == runtime);
  return socket;
}

static inline asock_blocking_socket connected(asock_runtime runtime) {
  asock_blocking_socket socket = opened(runtime);

  CHECK_STATUS(ASOCK_OK, asock_blocking_connect(socket, HOST, script_port, LIMIT_MS));
  return socket;
}

static inline asock_blocking_socket listening(asock_runtime runtime) {
  asock_blocking_socket socket = opened(runtime);

  CHECK_STATUS(ASOCK_OK, asock_blocking_listen(socket, HOST, 0, 0));
  return socket;
}

static inline void tell(asock_blocking_socket socket, const char *line) {
  size_t sent = 77;

  CHECK_STATUS(ASOCK_OK, asock_blocking_send(socket, line, strlen(line), LIMIT_MS, &sent));
  CHECK(sent == strlen(line));
}

static inline void close_well(asock_blocking_socket socket) {
  CHECK_STATUS(ASOCK_OK, asock_blocking_close(socket, LIMIT_MS));
  CHECK_STATUS(ASOCK_BAD_HANDLE, asock_blocking_close(socket, LIMIT_MS));
}

static inline void *allocate(size_t size) {
  void *memory = calloc(1, size);

  CHECK(memory != NULL);
  return memory;
}

/* The scenarios. Each is given a runtime that delivers on its worker, and leaves nothing pending in it. */
void some_bytes(asock_runtime runtime);
void exactly(asock_runtime runtime);
void until_close(asock_runtime runtime);
void until_close_growing(asock_runtime runtime);
void receive_times_out(asock_runtime runtime);
void limit_spans_pieces(asock_runtime runtime);
void options_do_not_count(asock_runtime runtime);
void connect_times_out(asock_runtime runtime);
void send_times_out(asock_runtime runtime);
void close_drains(asock_runtime runtime);
void refused(asock_runtime runtime);
void reset(asock_runtime runtime);
void bad_arguments(asock_runtime runtime);
void draining(asock_runtime runtime);
void many_threads(asock_runtime runtime);
void ended_by_another_thread(asock_runtime runtime);
void inside_callbacks(asock_runtime runtime);
void on_poll(asock_runtime runtime);
void accepts(asock_runtime runtime);
void accept_times_out(asock_runtime runtime);
void accepts_on_threads(asock_runtime runtime);
void listens_in_a_callback(asock_runtime runtime);
void bad_listeners(asock_runtime runtime);
void event_lets_all_through(asock_runtime runtime);
void event_stays_set(asock_runtime runtime);
void event_ends_at_once(asock_runtime runtime);

#endif /* C_WRAPPER_H */
