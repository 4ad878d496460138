/*
 * Promise 10: a host whose threads are busy in the library forks, again and again. In the child every handle of the parent
 * gives ASOCK_FORKED, and nothing waits for a lock that a thread of the parent held at that moment: the child uses runtime
 * 0, starts others, sets a log, and ends in order. A child that hangs is ended by an alarm, and the host tells.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "support.h"

#define FORKS 150
#define BUSY_THREADS 3
#define NEVER_MS 1000000
#define HANGS_S 50

static asock_runtime shared;
static int done, lines;

static void count_line(uint32_t level, const char *message, void *user_data) {
  (void)level, (void)message, (void)user_data;
  __atomic_add_fetch(&lines, 1, __ATOMIC_SEQ_CST);
}

static void count_call(const asock_result *result, void *calls) {
  CHECK(result->status == ASOCK_OK || result->status == ASOCK_STOPPED);
  __atomic_add_fetch((int *)calls, 1, __ATOMIC_SEQ_CST);
}

static asock_status ended(asock_op op) {
  asock_result result;
  OK(asock_end(op, &result));
  return result.status;
}

/* Something there and back again. */
static void talk(asock_runtime runtime) {
  int peer;
  char here[5], there[5];
  asock_op sent, received;
  asock_socket socket = connect_unix_pair(runtime, &peer);
  OK(asock_begin_send(socket, "hello", 5, ASOCK_SEND_COPY, NULL, NULL, &sent));
  OK(asock_begin_receive(socket, here, 5, ASOCK_RECEIVE_ALL, NULL, NULL, &received));
  CHECK(recv(peer, there, 5, MSG_WAITALL) == 5);
  CHECK(send(peer, there, 5, MSG_NOSIGNAL) == 5);
  CHECK(ended(sent) == ASOCK_OK && ended(received) == ASOCK_OK);
  CHECK(memcmp(here, "hello", 5) == 0);
  OK(asock_close(socket));
  CHECK(close(peer) == 0);
}

/* A runtime of its own that comes and goes. */
static void live_and_die(uint32_t delivery) {
  asock_op op;
  int calls = 0;
  asock_runtime runtime = start_runtime(delivery);
  OK(asock_begin_timer(runtime, 0, count_call, &calls, &op));
  OK(asock_begin_timer(runtime, NEVER_MS, count_call, &calls, NULL));
  OK(asock_wait(op, -1));
  OK(asock_runtime_stop(runtime));
  CHECK(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) == 2);
}

static void *be_busy(void *part) {
  asock_op op;
  for (unsigned round = 0; !__atomic_load_n(&done, __ATOMIC_SEQ_CST); round++) {
    switch (*(int *)part) {
    case 0:
      talk(shared);
      break;
    case 1:
      OK(asock_begin_timer(shared, round % 2, NULL, NULL, &op));
      ended(op);
      OK(asock_set_log(ASOCK_LOG_TRACE, count_line, NULL));
      break;
    default:
      live_and_die(round % 2 ? ASOCK_DELIVER_ON_POLL : ASOCK_DELIVER_ON_WORKER);
      OK(asock_begin_timer(0, 0, NULL, NULL, &op));
      CHECK(ended(op) == ASOCK_OK);
      OK(asock_runtime_stop(0));
    }
  }
  return NULL;
}

static void be_a_child(asock_socket socket, asock_op op) {
  char byte;
  asock_result result;
  alarm(HANGS_S);
  CHECK(asock_runtime_drain(shared) == ASOCK_FORKED);
  CHECK(asock_runtime_stop(shared) == ASOCK_FORKED);
  CHECK(asock_begin_timer(shared, 0, NULL, NULL, NULL) == ASOCK_FORKED);
  CHECK(asock_begin_receive(socket, &byte, 1, 0, NULL, NULL, &op) == ASOCK_FORKED);
  CHECK(asock_close(socket) == ASOCK_FORKED);
  CHECK(asock_wait(op, -1) == ASOCK_FORKED);
  CHECK(asock_end(op, &result) == ASOCK_FORKED);
  CHECK(asock_cancel(op) == ASOCK_FORKED);

  talk(0);
  live_and_die(ASOCK_DELIVER_ON_WORKER);
  live_and_die(ASOCK_DELIVER_ON_POLL);
  OK(asock_set_log(ASOCK_LOG_TRACE, count_line, NULL));
  OK(asock_runtime_stop(0));
  OK(asock_set_log(ASOCK_LOG_OFF, NULL, NULL));
  CHECK(asock_close(socket) == ASOCK_FORKED);
  OK(asock_begin_timer(0, NEVER_MS, NULL, NULL, NULL));
  exit(7);
}

int main(void) {
  static int parts[BUSY_THREADS] = {0, 1, 2};
  pthread_t threads[BUSY_THREADS];
  shared = start_runtime(ASOCK_DELIVER_ON_WORKER);
  for (int i = 0; i < BUSY_THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, be_busy, &parts[i]) == 0);
  for (int times = 0; times < FORKS; times++) {
    int status;
    pid_t child;
    asock_op op;
    asock_socket socket;
    OK(asock_open(shared, ASOCK_STREAM, &socket));
    OK(asock_begin_timer(shared, NEVER_MS, NULL, NULL, &op));
    child = fork();
    CHECK(child >= 0);
    if (child == 0)
      be_a_child(socket, op);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!WIFSIGNALED(status)); /* SIGALRM: it hung */
    CHECK(WEXITSTATUS(status) == 7);
    OK(asock_close(socket));
    OK(asock_cancel(op));
    CHECK(ended(op) == ASOCK_CANCELED);
  }
  __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < BUSY_THREADS; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
  OK(asock_set_log(ASOCK_LOG_OFF, NULL, NULL));
  OK(asock_runtime_stop(shared));
  CHECK(lines > 0);
  return 0;
}
