/*
 * An echo server: one runtime, whose worker calls back; any number of connections, and no thread for any of them. Each
 * connection has one operation pending at any time: it receives, then sends back what came, and so on until its client
 * has closed. C99, over the public header only.
 *
 *   cargo build --release
 *   cc -std=c99 bindings/c/examples/echo_server.c -Iinclude target/release/libasock.a -o echo_server \
 *      -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
 *   ./echo_server [HOST [PORT]]
 *
 * HOST is a literal address or "unix:PATH", 127.0.0.1 unless it is told; PORT 0, or none, is any free one. It prints
 * where it listens, and ends on SIGINT and SIGTERM.
 */
#define _XOPEN_SOURCE 600 /* sigaction, setrlimit */

#include <asock.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BUFFER_SIZE 4096
#define ACCEPTS 16 /* pending at a time, so that a burst of clients need not wait for a callback each */

/* The state object of a connection. It is with the one operation that is pending, and goes when there is no next. */
struct connection {
  asock_socket socket;
  char buffer[BUFFER_SIZE]; /* the library's while an operation is pending */
};

/* What main waits for: a signal writes 's' into it, a server that cannot go on 'f'. */
static int wishes[2];

static void wish(char letter) {
  ssize_t written = write(wishes[1], &letter, 1); /* if the pipe is full, there are wishes enough */

  (void)written;
}

/* Only what a signal handler may do. */
static void signaled(int number) {
  int before = errno;

  (void)number;
  wish('s');
  errno = before;
}

static void echo(const asock_result *result, void *user_data) {
  struct connection *connection = user_data;
  asock_status status = result->status;

  if (status == ASOCK_OK && result->kind == ASOCK_KIND_SEND)
    status = asock_begin_receive(connection->socket, connection->buffer, BUFFER_SIZE, 0, echo, connection, NULL);
  else if (status == ASOCK_OK && result->bytes > 0)
    status = asock_begin_send(connection->socket, connection->buffer, result->bytes, 0, echo, connection, NULL);
  else
    status = ASOCK_CLOSED; /* by the client; or a reset, or the stop */
  if (status == ASOCK_OK)
    return;
  /* Nothing is pending that could still use the state object. During a stop the socket may be closed already. */
  (void)asock_close(connection->socket);
  free(connection);
}

static void serve(asock_socket socket) {
  struct connection *connection = malloc(sizeof *connection);

  if (connection != NULL) {
    connection->socket = socket;
    if (asock_begin_receive(socket, connection->buffer, BUFFER_SIZE, 0, echo, connection, NULL) == ASOCK_OK)
      return;
    free(connection);
  }
  (void)asock_close(socket); /* no memory, or the stop: this client has to go */
}

/* One more accept for each that has completed. Where descriptors run out the library paces them by itself. */
static void accepted(const asock_result *result, void *user_data) {
  asock_status status = result->status;

  (void)user_data;
  if (status == ASOCK_OK)
    serve(result->value);
  if (status != ASOCK_STOPPED)
    status = asock_begin_accept(result->socket, accepted, NULL, NULL);
  if (status != ASOCK_OK && status != ASOCK_STOPPED)
    wish('f');
}

/* Says what failed. Returns whether it did. */
static int failed(const char *what, asock_status status) {
  if (status != ASOCK_OK)
    fprintf(stderr, "echo_server: cannot %s: %s\n", what, asock_status_text(status));
  return status != ASOCK_OK;
}

/* As many connections as the system allows, not only as many as it gives to a program that does not ask. */
static void take_all_descriptors(void) {
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* then there are fewer */
  }
}

static int catch_signals(void) {
  struct sigaction action;

  if (pipe(wishes) != 0 || fcntl(wishes[1], F_SETFL, O_NONBLOCK) != 0)
    return 0;
  memset(&action, 0, sizeof action);
  action.sa_handler = signaled;
  sigemptyset(&action.sa_mask);
  return sigaction(SIGINT, &action, NULL) == 0 && sigaction(SIGTERM, &action, NULL) == 0;
}

static int start(asock_socket listener, const char *host, uint16_t port) {
  asock_address address;
  char text[ASOCK_ADDRESS_TEXT_MAX];
  int at;

  if (failed("set an option", asock_set_option(listener, ASOCK_OPTION_REUSE_ADDRESS, 1)) ||
      failed("bind", asock_bind(listener, host, port)) || failed("listen", asock_listen(listener, 0)) ||
      failed("tell its address", asock_local_address(listener, &address)) ||
      failed("tell its address", asock_address_format(&address, text, sizeof text)))
    return 0;
  for (at = 0; at < ACCEPTS; at++)
    if (failed("accept", asock_begin_accept(listener, accepted, NULL, NULL)))
      return 0;
  printf("listening on %s\n", text);
  (void)fflush(stdout);
  return 1;
}

/* Until a signal comes. Returns whether it was one. */
static int wait_for_the_end(void) {
  char letter = 'f';

  while (read(wishes[0], &letter, 1) < 0 && errno == EINTR)
    continue;
  if (letter != 's')
    fprintf(stderr, "echo_server: it cannot accept any more\n");
  return letter == 's';
}

int main(int count, char **arguments) {
  const char *host = count > 1 ? arguments[1] : "127.0.0.1";
  unsigned long port = 0;
  char *end = NULL;
  asock_socket listener;
  int outcome;

  if (count == 3)
    port = strtoul(arguments[2], &end, 10);
  if (count > 3 || (count == 3 && (end == arguments[2] || *end != '\0')) || port > 65535) {
    fprintf(stderr, "usage: echo_server [HOST [PORT]]\n");
    return EXIT_FAILURE;
  }
  take_all_descriptors();
  if (!catch_signals()) {
    perror("echo_server");
    return EXIT_FAILURE;
  }
  if (failed("open a socket", asock_open(0, ASOCK_STREAM, &listener)))
    return EXIT_FAILURE;
  outcome = start(listener, host, (uint16_t)port) && wait_for_the_end() ? EXIT_SUCCESS : EXIT_FAILURE;

  /* Closes every socket, and has called back for every operation when it returns: each state object is gone. */
  if (failed("stop", asock_runtime_stop(0)))
    outcome = EXIT_FAILURE;
  return outcome;
}
