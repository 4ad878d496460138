/*
 * Promise 10: the library is a good guest. This host has the system's default reaction to every signal, so a SIGPIPE would
 * end it. It does all sorts of things, most of which fail, and then finds its process as it was: signals, their handlers,
 * working directory, locale. It writes nothing, and so must the library: the test looks.
 */
#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "support.h"

struct process {
  void (*handlers[65])(int);
  int flags[65];
  int blocked[65];
  char directory[4096];
  char locale[256];
  mode_t umask;
};

static void look(struct process *process) {
  sigset_t mask;
  memset(process, 0, sizeof *process);
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
  for (int signal = 1; signal < 65; signal++) {
    struct sigaction action;
    process->blocked[signal] = sigismember(&mask, signal);
    if (sigaction(signal, NULL, &action) != 0)
      continue; /* the C library keeps two to itself */
    process->handlers[signal] = action.sa_handler;
    process->flags[signal] = action.sa_flags;
  }
  CHECK(getcwd(process->directory, sizeof process->directory) != NULL);
  snprintf(process->locale, sizeof process->locale, "%s", setlocale(LC_ALL, NULL));
  process->umask = umask(0);
  umask(process->umask);
}

static void reset_connection(int peer) {
  struct linger linger = {1, 0};
  CHECK(setsockopt(peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
  CHECK(close(peer) == 0);
}

static asock_status send_and_wait(asock_socket socket) {
  asock_op op;
  asock_result result;
  OK(asock_begin_send(socket, "some bytes", 10, 0, NULL, NULL, &op));
  OK(asock_end(op, &result));
  return result.status;
}

/* Every way that a send can meet a connection that is gone: each would be a SIGPIPE. */
static void send_into_the_void(asock_runtime runtime) {
  int peer;
  asock_status status;
  asock_socket socket = connect_pair(runtime, &peer);
  reset_connection(peer);
  for (int times = 0; times < 5; times++)
    status = send_and_wait(socket);
  CHECK(status == ASOCK_CONNECTION_RESET);
  OK(asock_close(socket));

  socket = connect_pair(runtime, &peer);
  CHECK(close(peer) == 0);
  for (int times = 0; times < 100; times++) {
    status = send_and_wait(socket);
    if (status != ASOCK_OK)
      break;
    pause_ms(1); /* until the peer's answer is there */
  }
  CHECK(status == ASOCK_CONNECTION_RESET);
  OK(asock_close(socket));

  socket = connect_pair(runtime, &peer);
  OK(asock_shutdown(socket, ASOCK_SHUTDOWN_SEND));
  CHECK(send_and_wait(socket) == ASOCK_SHUT_DOWN);
  OK(asock_close(socket));
  CHECK(close(peer) == 0);
}

/* The same on a unix socket, where the broken pipe comes at once. */
static void send_into_a_broken_pipe(asock_runtime runtime) {
  int peer;
  asock_socket socket = connect_unix_pair(runtime, &peer);
  CHECK(close(peer) == 0);
  CHECK(send_and_wait(socket) == ASOCK_CONNECTION_RESET);
  CHECK(send_and_wait(socket) == ASOCK_CONNECTION_RESET);
  OK(asock_close(socket));
}

/* What goes wrong in everyday life. */
static void fail_a_lot(asock_runtime runtime) {
  asock_op op;
  asock_result result;
  asock_socket socket;
  uint16_t port;
  char text[ASOCK_ADDRESS_TEXT_MAX];
  asock_address address;
  int refusing = bind_on_loopback(&port);
  OK(asock_open(runtime, ASOCK_STREAM, &socket));
  OK(asock_begin_connect(socket, "127.0.0.1", port, NULL, NULL, &op));
  OK(asock_end(op, &result));
  CHECK(result.status == ASOCK_CONNECTION_REFUSED);
  CHECK(send_and_wait(socket) == ASOCK_NOT_CONNECTED);
  CHECK(asock_begin_connect(socket, "", 1, NULL, NULL, NULL) == ASOCK_INVALID_ARGUMENT);
  CHECK(asock_begin_connect(socket, "\xff\xfe", 1, NULL, NULL, NULL) == ASOCK_INVALID_ARGUMENT);
  CHECK(asock_begin_send(socket, NULL, 7, 0, NULL, NULL, NULL) == ASOCK_INVALID_ARGUMENT);
  CHECK(asock_address_parse("256.1.1.1", 1, &address) == ASOCK_INVALID_ARGUMENT);
  OK(asock_address_parse("127.0.0.1", 1, &address));
  CHECK(asock_address_format(&address, text, 3) == ASOCK_INVALID_ARGUMENT);
  OK(asock_begin_timer(runtime, 1000000, NULL, NULL, &op));
  OK(asock_cancel(op));
  OK(asock_end(op, &result));
  CHECK(asock_end(op, &result) == ASOCK_BAD_HANDLE);
  OK(asock_close(socket));
  CHECK(asock_close(socket) == ASOCK_BAD_HANDLE);
  CHECK(close(refusing) == 0);
}

/* Everything that is open now, but was not before, goes when the host starts another program. */
static void check_descriptors(const char *own) {
  DIR *directory = opendir("/proc/self/fd");
  struct dirent *entry;
  int seen = 0;
  CHECK(directory != NULL);
  while ((entry = readdir(directory)) != NULL) {
    int descriptor = atoi(entry->d_name);
    if (entry->d_name[0] == '.' || descriptor == dirfd(directory) || own[descriptor])
      continue;
    CHECK(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
    seen++;
  }
  CHECK(seen >= 4); /* epoll, its waker, the socket, the poll descriptor */
  closedir(directory);
}

static void stay_out_of_other_programs(void) {
  static char own[1024];
  int peer;
  int64_t number;
  asock_runtime runtime;
  asock_socket socket;
  for (int descriptor = 0; descriptor < 1024; descriptor++)
    own[descriptor] = fcntl(descriptor, F_GETFD) >= 0;
  runtime = start_runtime(ASOCK_DELIVER_ON_POLL);
  OK(asock_poll_fd(runtime, &number));
  socket = connect_pair(runtime, &peer);
  CHECK(fcntl(peer, F_SETFD, FD_CLOEXEC) == 0); /* ours, not the library's */
  check_descriptors(own);
  OK(asock_close(socket));
  OK(asock_runtime_stop(runtime));
  CHECK(close(peer) == 0);
}

int main(void) {
  static struct process before, after;
  asock_runtime runtime;
  for (int signal = 1; signal < 65; signal++)
    if (signal != SIGKILL && signal != SIGSTOP)
      sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
  setlocale(LC_ALL, "C");
  look(&before);
  runtime = start_runtime(ASOCK_DELIVER_ON_WORKER);
  send_into_the_void(runtime);
  send_into_a_broken_pipe(runtime);
  fail_a_lot(runtime);
  fail_a_lot(0);
  stay_out_of_other_programs();
  look(&after);
  CHECK(memcmp(&before, &after, sizeof before) == 0);
  OK(asock_runtime_stop(runtime));
  OK(asock_runtime_stop(0));
  look(&after);
  CHECK(memcmp(&before, &after, sizeof before) == 0);
  return 0;
}
