/*
 * Promise 10 at the end of a process: whatever is pending, whoever waits and whichever callback runs, `exit` goes through.
 * No new callback starts, one that runs is waited for a second at most, nothing is joined, nothing crashes.
 *
 *   exit WAY     leaves in one of the ways of the table at the end
 */
#include <pthread.h>
#include <sys/wait.h>

#include "support.h"

#define NEVER_MS 1000000

static asock_runtime on_worker, on_poll;
static pthread_barrier_t inside; /* passed when a callback runs */
static int calls;

static void wait_for_ever(void) {
  for (;;)
    pause();
}

static void *thread_dispatches(void *runtime) {
  size_t count;
  for (;;)
    CHECK(asock_dispatch(*(asock_runtime *)runtime, -1, 0, 0, &count) != ASOCK_INVALID_STATE);
  return NULL;
}

static void begin_thread(void *(*body)(void *), void *argument) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, body, argument) == 0);
  pthread_detach(thread);
}

static void ignore(const asock_result *result, void *user_data) {
  (void)result;
  (void)user_data;
}

/* Operations of several kinds, on all runtimes, that will not end by themselves. */
static void leave_pending(void) {
  static char room[100], much[8000000];
  asock_runtime runtimes[3] = {0, on_worker, on_poll};
  for (int i = 0; i < 3; i++) {
    int peer;
    asock_socket socket = connect_pair(runtimes[i], &peer);
    OK(asock_begin_receive(socket, room, sizeof room, 0, ignore, NULL, NULL));
    OK(asock_begin_send(socket, much, sizeof much, 0, ignore, NULL, NULL));
    OK(asock_begin_send(socket, much, sizeof much, ASOCK_SEND_COPY, NULL, NULL, NULL));
    OK(asock_begin_timer(runtimes[i], NEVER_MS, ignore, NULL, NULL));
    OK(asock_begin_close(socket, ASOCK_CLOSE_DRAIN, ignore, NULL, NULL));
  }
}

/* The callbacks that are still running when the process ends. */

static void takes_a_while(const asock_result *result, void *user_data) {
  (void)result;
  (void)user_data;
  pthread_barrier_wait(&inside);
  pause_ms(100);
  CHECK(write(STDOUT_FILENO, "the callback has returned\n", 26) == 26);
}

static void never_returns(const asock_result *result, void *user_data) {
  (void)result;
  (void)user_data;
  pthread_barrier_wait(&inside);
  wait_for_ever();
}

static void leaves(const asock_result *result, void *user_data) {
  (void)result;
  (void)user_data;
  exit(7);
}

/* Begins itself anew for ever, from all runtimes. */
static void goes_on(const asock_result *result, void *runtime) {
  CHECK(result->kind == ASOCK_KIND_TIMER);
  __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
  asock_begin_timer(*(asock_runtime *)runtime, 0, goes_on, runtime, NULL);
}

static void call(asock_runtime runtime, asock_callback callback) {
  OK(asock_begin_timer(runtime, 0, callback, &on_worker, NULL));
}

static void *thread_ends(void *op) {
  asock_result result;
  asock_end(*(asock_op *)op, &result);
  wait_for_ever();
  return NULL;
}

static void *thread_waits(void *op) {
  asock_wait(*(asock_op *)op, -1);
  wait_for_ever();
  return NULL;
}

static void *thread_stops(void *runtime) {
  asock_runtime_stop(*(asock_runtime *)runtime);
  wait_for_ever();
  return NULL;
}

static void *thread_exits(void *unused) {
  (void)unused;
  exit(7);
}

/* Handlers of the application, before and after the library's own. */

static void late_use(void) {
  asock_op op;
  asock_socket socket;
  asock_result result;
  OK(asock_open(0, ASOCK_STREAM, &socket));
  OK(asock_begin_timer(0, 1, NULL, NULL, &op));
  OK(asock_end(op, &result));
  OK(asock_begin_timer(0, 0, never_returns, NULL, &op)); /* is not called */
  OK(asock_wait(op, -1));
  OK(asock_close(socket));
}

static void notes(const asock_result *result, void *called) {
  (void)result;
  __atomic_store_n((int *)called, 1, __ATOMIC_SEQ_CST);
}

/* Only this process ends, not a child that it still forks: there callbacks run, and a stop is one. */
static void late_child(void) {
  static int called;
  int status;
  pid_t child = fork();
  if (child == 0) {
    alarm(30);
    OK(asock_begin_timer(0, 0, notes, &called, NULL));
    while (!__atomic_load_n(&called, __ATOMIC_SEQ_CST))
      pause_ms(1);
    OK(asock_runtime_stop(0));
    OK(asock_begin_timer(0, 0, NULL, NULL, NULL)); /* on one that is new */
    _exit(7);
  }
  CHECK(child > 0);
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* What a static destructor of C++ would do: the runtime that it owns is to be stopped, perhaps again and again. */
static void late_stop(void) {
  for (int times = 0; times < 3; times++) {
    asock_runtime_stop(on_worker);
    asock_runtime_stop(on_poll);
    asock_runtime_drain(0);
    asock_runtime_stop(0);
  }
}

static void nothing_starts(void) {
  int before = __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
  pause_ms(100);
  CHECK(before > 0);
  CHECK(before == __atomic_load_n(&calls, __ATOMIC_SEQ_CST));
}

static int stops_in_destructor;

__attribute__((destructor)) static void destructor(void) {
  if (stops_in_destructor)
    late_stop();
}

static void wait_until_stopping(asock_runtime runtime) {
  asock_op op;
  while (asock_begin_timer(runtime, NEVER_MS, NULL, NULL, &op) != ASOCK_STOPPED)
    pause_ms(1);
}

/* The ways. Those with `at_first` have something to do before the library is used for the first time. */

static void at_first_nothing_starts(void) { atexit(nothing_starts); }
static void at_first_late_stop(void) { atexit(late_stop); }
static void at_first_late_use(void) { atexit(late_use); }
static void at_first_late_child(void) { atexit(late_child); }
static void at_first_destructor(void) { stops_in_destructor = 1; }

static void pending(void) { leave_pending(); }

static void running(void) {
  leave_pending();
  call(on_worker, takes_a_while);
  pthread_barrier_wait(&inside);
}

static void running_on_poll(void) {
  asock_op op;

  begin_thread(thread_dispatches, &on_poll);
  call(on_poll, takes_a_while);
  pthread_barrier_wait(&inside);
  /* The worker goes on meanwhile. */
  CHECK(asock_begin_timer(on_poll, 0, NULL, NULL, &op) == ASOCK_OK);
  CHECK(asock_wait(op, -1) == ASOCK_OK);
}

static void blocked(void) {
  leave_pending();
  call(on_worker, never_returns);
  pthread_barrier_wait(&inside);
}

static void blocked_on_poll(void) {
  begin_thread(thread_dispatches, &on_poll);
  call(on_poll, never_returns);
  pthread_barrier_wait(&inside);
}

static void from_callback(void) {
  leave_pending();
  call(on_worker, leaves);
  wait_for_ever();
}

static void from_dispatched_callback(void) {
  leave_pending();
  call(on_poll, leaves);
  thread_dispatches(&on_poll);
}

static void from_callback_beside_a_blocked_one(void) {
  call(0, never_returns);
  pthread_barrier_wait(&inside);
  call(on_worker, leaves);
  wait_for_ever();
}

static void from_thread(void) {
  leave_pending();
  begin_thread(thread_exits, NULL);
  wait_for_ever();
}

static void storm(void) {
  begin_thread(thread_dispatches, &on_poll);
  for (int i = 0; i < 10; i++) {
    OK(asock_begin_timer(on_worker, 0, goes_on, &on_worker, NULL));
    OK(asock_begin_timer(on_poll, 0, goes_on, &on_poll, NULL));
  }
  while (__atomic_load_n(&calls, __ATOMIC_SEQ_CST) < 1000)
    pause_ms(1);
}

static void others_wait(void) {
  static asock_op op;
  begin_thread(thread_dispatches, &on_poll);
  OK(asock_begin_timer(on_worker, NEVER_MS, NULL, NULL, &op));
  begin_thread(thread_ends, &op);
  begin_thread(thread_waits, &op);
  leave_pending();
}

static void another_stops(void) {
  call(on_worker, never_returns);
  pthread_barrier_wait(&inside);
  begin_thread(thread_stops, &on_worker);
  wait_until_stopping(on_worker);
}

static void early_stop(void) {
  atexit(late_stop); /* registered after the library's own, and so called before it */
  leave_pending();
}

/* A child's end is its own: its parent's callbacks are not waited for, nor its parent's runtimes joined. */
static void in_child(void) {
  int status;
  pid_t child;
  leave_pending();
  call(on_worker, never_returns);
  pthread_barrier_wait(&inside);
  child = fork();
  if (child == 0) {
    int peer;
    asock_socket socket = connect_pair(0, &peer);
    OK(asock_begin_timer(0, NEVER_MS, ignore, NULL, NULL));
    CHECK(asock_close(socket) == ASOCK_OK);
    CHECK(asock_runtime_stop(on_worker) == ASOCK_FORKED);
    exit(7);
  }
  CHECK(child > 0);
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  _exit(0);
}

static const struct way {
  const char *name;
  void (*at_first)(void);
  void (*leave)(void);
} ways[] = {
    {"pending", NULL, pending},
    {"running", NULL, running},
    {"running_on_poll", NULL, running_on_poll},
    {"blocked", NULL, blocked},
    {"blocked_on_poll", NULL, blocked_on_poll},
    {"from_callback", NULL, from_callback},
    {"from_dispatched_callback", NULL, from_dispatched_callback},
    {"from_callback_beside_a_blocked_one", NULL, from_callback_beside_a_blocked_one},
    {"from_thread", NULL, from_thread},
    {"storm", at_first_nothing_starts, storm},
    {"others_wait", NULL, others_wait},
    {"another_stops", NULL, another_stops},
    {"another_stops_and_late_stop", at_first_late_stop, another_stops},
    {"late_stop", at_first_late_stop, pending},
    {"late_stop_blocked", at_first_late_stop, blocked},
    {"late_use", at_first_late_use, pending},
    {"late_child", at_first_late_child, pending},
    {"early_stop", NULL, early_stop},
    {"destructor", at_first_destructor, pending},
    {"destructor_blocked", at_first_destructor, blocked},
    {"in_child", NULL, in_child},
};

int main(int count, char **arguments) {
  CHECK(count == 2);
  CHECK(pthread_barrier_init(&inside, NULL, 2) == 0);
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    if (strcmp(ways[i].name, arguments[1]) != 0)
      continue;
    if (ways[i].at_first != NULL)
      ways[i].at_first();
    on_worker = start_runtime(ASOCK_DELIVER_ON_WORKER);
    on_poll = start_runtime(ASOCK_DELIVER_ON_POLL);
    ways[i].leave();
    return 0;
  }
  CHECK(!"a way that there is");
}
