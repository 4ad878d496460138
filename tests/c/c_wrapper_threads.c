/*
 * The scenarios of c_wrapper.c in which several threads, callbacks or other runtimes take part, and those of the event.
 */
#include "c_wrapper.h"

#include <sys/syscall.h>
#include <unistd.h>

#define CLIENTS 32
#define WAITERS 8

/* ---- ended by another thread ---- */

enum call { RECEIVE, EXACTLY, UNTIL_CLOSE, UNTIL_CLOSE_ALLOC, SEND, CONNECT, ACCEPT, CALLS };
enum ending { CLOSE, BLOCKING_CLOSE, STOP, ENDINGS };

struct waiter {
  asock_blocking_socket socket;
  enum call call;
  asock_event ready;
  asock_status status;
};

static asock_status call_one(asock_blocking_socket socket, enum call call, int32_t timeout_ms) {
  char *data = (char *)allocate(BIG); /* freed at once: a call that returns too early shows under valgrind */
  void *grown = NULL;
  asock_blocking_socket accepted;
  size_t bytes = 0;
  asock_status status = ASOCK_INTERNAL;

  switch (call) {
  case RECEIVE:
    status = asock_blocking_receive(socket, data, 100, timeout_ms, &bytes);
    break;
  case EXACTLY:
    status = asock_blocking_receive_exactly(socket, data, 100, timeout_ms, &bytes);
    break;
  case UNTIL_CLOSE:
    status = asock_blocking_receive_until_close(socket, data, 100, timeout_ms, &bytes);
    break;
  case UNTIL_CLOSE_ALLOC:
    status = asock_blocking_receive_until_close_alloc(socket, 0, timeout_ms, &grown, &bytes);
    break;
  case SEND:
    status = asock_blocking_send(socket, data, BIG, timeout_ms, &bytes);
    break;
  case CONNECT:
    status = asock_blocking_connect(socket, HOST, silent_port, timeout_ms);
    break;
  case ACCEPT:
    status = asock_blocking_accept(socket, timeout_ms, &accepted);
    break;
  case CALLS:
    break;
  }
  free(grown);
  free(data);
  return status;
}

static void *wait_in_call(void *argument) {
  struct waiter *waiter = (struct waiter *)argument;
  char byte;
  size_t bytes;

  /* The thread's first call looks whether it may wait, which is an operation of its own: that shall be over. */
  (void)asock_blocking_receive(waiter->socket, &byte, 1, 0, &bytes);
  CHECK_STATUS(ASOCK_OK, asock_event_set(&waiter->ready));
  waiter->status = call_one(waiter->socket, waiter->call, -1);
  return NULL;
}

static void ended(enum call call, enum ending ending) {
  asock_runtime runtime = start(ASOCK_DELIVER_ON_WORKER);
  struct waiter waiter;
  pthread_t thread;

  waiter.socket = call == CONNECT ? opened(runtime) : call == ACCEPT ? listening(runtime) : connected(runtime);
  waiter.call = call;
  waiter.status = ASOCK_OK;
  if (call == SEND)
    tell(waiter.socket, "stall\n");
  CHECK_STATUS(ASOCK_OK, asock_event_init(&waiter.ready));
  CHECK(pthread_create(&thread, NULL, wait_in_call, &waiter) == 0);
  CHECK_STATUS(ASOCK_OK, asock_event_wait(&waiter.ready, LIMIT_MS));
  until_pending(runtime, 1);
  if (ending == CLOSE)
    CHECK_STATUS(ASOCK_OK, asock_close(waiter.socket.socket));
  else if (ending == BLOCKING_CLOSE)
    CHECK_STATUS(call == SEND ? ASOCK_TIMED_OUT : ASOCK_OK,
                 asock_blocking_close(waiter.socket, call == SEND ? SHORT_MS : LIMIT_MS));
  else
    CHECK_STATUS(ASOCK_OK, asock_runtime_stop(runtime));
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK_STATUS(ending == STOP ? ASOCK_STOPPED : ASOCK_CLOSED, waiter.status);
  CHECK_STATUS(ASOCK_OK, asock_event_destroy(&waiter.ready));
  if (ending == STOP)
    CHECK_STATUS(ASOCK_BAD_HANDLE, call_one(waiter.socket, call, LIMIT_MS));
  else
    CHECK_STATUS(ASOCK_OK, asock_runtime_stop(runtime));
}

void ended_by_another_thread(asock_runtime unused) {
  int call, ending;

  (void)unused;
  for (call = 0; call < CALLS; call++)
    for (ending = 0; ending < ENDINGS; ending++)
      if (call != CONNECT || ending != BLOCKING_CLOSE) /* which waits, by its promise, for what is connecting */
        ended((enum call)call, (enum ending)ending);
}

/* A runtime that drains refuses new calls, and lets its sockets be closed. */
void draining(asock_runtime unused) {
  asock_runtime runtime = start(ASOCK_DELIVER_ON_WORKER);
  asock_blocking_socket socket = connected(runtime);

  (void)unused;
  CHECK_STATUS(ASOCK_OK, asock_runtime_drain(runtime));
  CHECK_STATUS(ASOCK_STOPPED, call_one(socket, RECEIVE, LIMIT_MS));
  close_well(socket);
  CHECK_STATUS(ASOCK_OK, asock_runtime_stop(runtime));
}

/* ---- many at once ---- */

static void *echo_client(void *argument) {
  asock_runtime runtime = *(asock_runtime *)argument;
  asock_blocking_socket socket = connected(runtime);
  unsigned char out[20000], in[20000];
  size_t bytes, at;
  unsigned round;

  tell(socket, "echo\n");
  for (round = 0; round < 4; round++) {
    for (at = 0; at < sizeof out; at++)
      out[at] = (unsigned char)(socket.socket * 31 + round * 7 + at % 253);
    CHECK_STATUS(ASOCK_OK, asock_blocking_send(socket, out, sizeof out, LIMIT_MS, &bytes));
    CHECK(bytes == sizeof out);
    CHECK_STATUS(ASOCK_OK, asock_blocking_receive_exactly(socket, in, sizeof in, LIMIT_MS, &bytes));
    CHECK(bytes == sizeof in && memcmp(in, out, sizeof in) == 0);
  }
  CHECK_STATUS(ASOCK_OK, asock_shutdown(socket.socket, ASOCK_SHUTDOWN_SEND));
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close(socket, in, sizeof in, LIMIT_MS, &bytes));
  CHECK(bytes == 0);
  close_well(socket);
  return NULL;
}

void many_threads(asock_runtime runtime) {
  pthread_t threads[CLIENTS];
  int at;

  for (at = 0; at < CLIENTS; at++)
    CHECK(pthread_create(&threads[at], NULL, echo_client, &runtime) == 0);
  for (at = 0; at < CLIENTS; at++)
    CHECK(pthread_join(threads[at], NULL) == 0);
}

/* ---- where they must not wait ---- */

struct inside {
  asock_blocking_socket socket;
  asock_event done;
};

/* A callback in which every call is refused, although there is something to receive, and room to send. */
static void refuses(const asock_result *result, void *user_data) {
  struct inside *inside = (struct inside *)user_data;
  int call;

  CHECK(result->status == ASOCK_OK);
  for (call = 0; call < CALLS; call++)
    CHECK_STATUS(ASOCK_WOULD_DEADLOCK, call_one(inside->socket, (enum call)call, LIMIT_MS));
  CHECK_STATUS(ASOCK_WOULD_DEADLOCK, asock_blocking_close(inside->socket, LIMIT_MS));
  CHECK_STATUS(ASOCK_OK, asock_event_set(&inside->done));
}

/* On the worker of the socket's own runtime, and on that of another, which could do the work meanwhile. */
void inside_callbacks(asock_runtime runtime) {
  asock_runtime other = start(ASOCK_DELIVER_ON_WORKER);
  struct inside inside;
  char buffer[64];
  size_t received;
  int64_t start_ms = clock_ms();
  int round;

  inside.socket = connected(runtime);
  CHECK_STATUS(ASOCK_OK, asock_event_init(&inside.done));
  tell(inside.socket, "give 5\n");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive(inside.socket, NULL, 0, LIMIT_MS, &received)); /* they are here */
  for (round = 0; round < 6; round++) {
    asock_runtime of = round % 2 == 0 ? runtime : other;

    CHECK_STATUS(ASOCK_OK, asock_event_reset(&inside.done));
    CHECK_STATUS(ASOCK_OK, asock_begin_timer(of, 0, refuses, &inside, NULL));
    CHECK_STATUS(ASOCK_OK, asock_event_wait(&inside.done, LIMIT_MS));
    until_pending(runtime, 0); /* nothing was left behind */
  }
  CHECK(clock_ms() - start_ms < LIMIT_MS / 2);
  /* Nothing was sent, nothing taken out of the stream, and nothing closed. */
  tell(inside.socket, "give 3\nclose\n");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close(inside.socket, buffer, sizeof buffer, LIMIT_MS, &received));
  CHECK(received == 8 && is_pattern(buffer, 0, 8));
  close_well(inside.socket);
  CHECK_STATUS(ASOCK_OK, asock_runtime_stop(other));
  CHECK_STATUS(ASOCK_OK, asock_event_destroy(&inside.done));
}

void on_poll(asock_runtime worker_runtime) {
  asock_runtime runtime = start(ASOCK_DELIVER_ON_POLL);
  asock_blocking_socket socket;
  asock_result record;
  size_t count = 0;
  int call;

  CHECK_STATUS(ASOCK_INVALID_STATE, asock_blocking_open(runtime, &socket));
  socket.runtime = runtime;
  CHECK_STATUS(ASOCK_OK, asock_open(runtime, ASOCK_STREAM, &socket.socket));
  for (call = 0; call < CALLS; call++)
    CHECK_STATUS(ASOCK_INVALID_STATE, call_one(socket, (enum call)call, LIMIT_MS));
  CHECK_STATUS(ASOCK_INVALID_STATE, asock_blocking_close(socket, LIMIT_MS));
  CHECK(stats_of(runtime).operations_begun == 0);

  /* A socket that was put together with a runtime not its own: also refused, and its buffer is free. */
  CHECK_STATUS(ASOCK_OK, asock_begin_connect(socket.socket, HOST, script_port, NULL, NULL, NULL));
  CHECK_STATUS(ASOCK_OK, asock_poll(runtime, LIMIT_MS, &record, 1, &count));
  CHECK(count == 1 && record.status == ASOCK_OK);
  socket.runtime = worker_runtime;
  CHECK_STATUS(ASOCK_INVALID_STATE, call_one(socket, RECEIVE, LIMIT_MS));
  CHECK(stats_of(runtime).operations_pending == 0);
  CHECK_STATUS(ASOCK_OK, asock_close(socket.socket));
  CHECK_STATUS(ASOCK_OK, asock_runtime_stop(runtime));
}

/* ---- the event ---- */

struct crowd {
  asock_event event;
  pthread_mutex_t mutex; /* of what follows */
  long threads[WAITERS];
  int count, through;
};

static void *wait_for_event(void *argument) {
  struct crowd *crowd = (struct crowd *)argument;

  CHECK(pthread_mutex_lock(&crowd->mutex) == 0);
  crowd->threads[crowd->count++] = (long)syscall(SYS_gettid);
  CHECK(pthread_mutex_unlock(&crowd->mutex) == 0);
  CHECK_STATUS(ASOCK_OK, asock_event_wait(&crowd->event, LIMIT_MS));
  CHECK(pthread_mutex_lock(&crowd->mutex) == 0);
  crowd->through++;
  CHECK(pthread_mutex_unlock(&crowd->mutex) == 0);
  return NULL;
}

static int count_of(struct crowd *crowd) {
  int count;

  CHECK(pthread_mutex_lock(&crowd->mutex) == 0);
  count = crowd->count;
  CHECK(pthread_mutex_unlock(&crowd->mutex) == 0);
  return count;
}

/* A thread that has nothing but the event to sleep on. */
static int is_asleep(long thread) {
  char name[64], line[512], *at;
  FILE *file;
  size_t length;

  (void)snprintf(name, sizeof name, "/proc/self/task/%ld/stat", thread);
  file = fopen(name, "r");
  CHECK(file != NULL);
  length = fread(line, 1, sizeof line - 1, file);
  (void)fclose(file);
  line[length] = '\0';
  at = strrchr(line, ')');
  CHECK(at != NULL);
  return at[2] == 'S';
}

/* All who sleep are let through by a set, also when a reset follows at once; nobody was before. */
void event_lets_all_through(asock_runtime unused) {
  struct crowd crowd;
  pthread_t threads[WAITERS];
  int64_t start_ms = clock_ms();
  int at, looks;

  (void)unused;
  memset(&crowd, 0, sizeof crowd);
  CHECK(pthread_mutex_init(&crowd.mutex, NULL) == 0);
  CHECK_STATUS(ASOCK_OK, asock_event_init(&crowd.event));
  for (at = 0; at < WAITERS; at++)
    CHECK(pthread_create(&threads[at], NULL, wait_for_event, &crowd) == 0);
  while (count_of(&crowd) < WAITERS)
    pause_ms(1);
  /* Several looks, since one may also sleep for a moment on the event's own lock, behind another that is awake. */
  for (looks = 0; looks < 3; looks++) {
    CHECK(clock_ms() - start_ms < LIMIT_MS);
    pause_ms(1);
    for (at = 0; at < WAITERS; at++)
      if (!is_asleep(crowd.threads[at]))
        looks = -1;
  }
  CHECK(crowd.through == 0);
  CHECK_STATUS(ASOCK_OK, asock_event_set(&crowd.event));
  CHECK_STATUS(ASOCK_OK, asock_event_reset(&crowd.event));
  for (at = 0; at < WAITERS; at++)
    CHECK(pthread_join(threads[at], NULL) == 0);
  CHECK(crowd.through == WAITERS);
  CHECK(clock_ms() - start_ms < LIMIT_MS / 2); /* it was the set, and not their limit */
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_event_wait(&crowd.event, 0));
  CHECK_STATUS(ASOCK_OK, asock_event_destroy(&crowd.event));
  CHECK(pthread_mutex_destroy(&crowd.mutex) == 0);
}

void event_stays_set(asock_runtime unused) {
  asock_event event;
  int64_t start_ms;

  (void)unused;
  CHECK_STATUS(ASOCK_OK, asock_event_init(&event));
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_event_wait(&event, 0));
  start_ms = clock_ms();
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_event_wait(&event, SHORT_MS));
  check_passed(start_ms, SHORT_MS);
  CHECK_STATUS(ASOCK_OK, asock_event_set(&event));
  CHECK_STATUS(ASOCK_OK, asock_event_set(&event));
  CHECK_STATUS(ASOCK_OK, asock_event_wait(&event, 0));
  CHECK_STATUS(ASOCK_OK, asock_event_wait(&event, LIMIT_MS));
  CHECK_STATUS(ASOCK_OK, asock_event_wait(&event, -1));
  CHECK_STATUS(ASOCK_OK, asock_event_reset(&event)); /* once, for two sets */
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_event_wait(&event, 1));
  CHECK_STATUS(ASOCK_OK, asock_event_reset(&event));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_event_wait(&event, -2));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_event_wait(NULL, 0));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_event_set(NULL));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_event_reset(NULL));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_event_init(NULL));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_event_destroy(NULL));
  CHECK_STATUS(ASOCK_OK, asock_event_destroy(&event));
}

static void set_it(const asock_result *result, void *user_data) {
  (void)result;
  CHECK_STATUS(ASOCK_OK, asock_event_set((asock_event *)user_data));
}

/* Whom a set lets through may end the event at once, while the worker's set is about to return. */
void event_ends_at_once(asock_runtime runtime) {
  int round;

  for (round = 0; round < 500; round++) {
    asock_event *event = (asock_event *)allocate(sizeof *event);

    CHECK_STATUS(ASOCK_OK, asock_event_init(event));
    CHECK_STATUS(ASOCK_OK, asock_begin_timer(runtime, 0, set_it, event, NULL));
    CHECK_STATUS(ASOCK_OK, asock_event_wait(event, round % 2 == 0 ? -1 : LIMIT_MS));
    CHECK_STATUS(ASOCK_OK, asock_event_destroy(event));
    free(event);
  }
}
