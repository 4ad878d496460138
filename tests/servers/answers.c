/*
 * Two servers as small as can be, for load tools that nobody here wrote: see .ci/servers, which runs it. Over the public
 * header only.
 *
 *   answers DELIVERY http|ping [WORKERS]
 *
 * "http" has the same short answer for every request, "ping" speaks as much of redis as redis-benchmark asks for. It
 * prints its port, and serves until SIGTERM; then it tells on the error output how many it has answered, once everything
 * has ended as it should.
 *
 * DELIVERY is "callback" (a worker of the library calls back) or "poll" (this thread calls asock_poll). What is done with
 * a completion is the same function for both.
 */
#define _POSIX_C_SOURCE 200809L

#include <asock.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_BATCH = 256, POLL_MS = 100, ACCEPTS = 32, IN_SIZE = 4096, OUT_SIZE = 65536, ARGUMENTS = 8 };

#define CONTENT "Hello, world!\n"
#define HTTP_ANSWER "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\n" CONTENT

/* A connection receives, answers all that has come as a whole, sends that, and so on: one operation at a time. */
struct connection {
  asock_socket socket;
  size_t in_length; /* what has come of requests that are not answered yet */
  size_t out_length;
  char in[IN_SIZE];
  char out[OUT_SIZE]; /* has room for the answers to all that fits into `in` */
};

/* Answers one request at the start of `text`, if it is there as a whole: returns its length, else 0. */
typedef size_t (*answer)(struct connection *connection, const char *text, size_t length);

static asock_runtime runtime;
static answer answer_one;
static int by_callback;
static volatile sig_atomic_t ending;

/* Of all connections, which several workers may have. */
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static uint64_t answered, connections;

static void completed(const asock_result *result, void *user_data);

/* A program of the tests: whatever is not as it must be ends it. */
static void require(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "answers: %s\n", what);
    _Exit(EXIT_FAILURE);
  }
}

static void require_ok(const char *what, asock_status status) {
  if (status != ASOCK_OK) {
    fprintf(stderr, "answers: %s: %s\n", what, asock_status_name(status));
    _Exit(EXIT_FAILURE);
  }
}

static void say(struct connection *connection, const char *text, size_t length) {
  require(length <= OUT_SIZE - connection->out_length, "the answers are too long");
  memcpy(connection->out + connection->out_length, text, length);
  connection->out_length += length;
}

/* ---- HTTP: every request without a body ---- */

static size_t answer_http(struct connection *connection, const char *text, size_t length) {
  size_t at;

  for (at = 4; at <= length; at++)
    if (memcmp(text + at - 4, "\r\n\r\n", 4) == 0) {
      require(memcmp(text, "GET / HTTP/1.1\r\n", 16) == 0, "not what wrk asks for");
      say(connection, HTTP_ANSWER, strlen(HTTP_ANSWER));
      return at;
    }
  return 0;
}

/* ---- redis: PING, and the questions that redis-benchmark asks before it begins ---- */

/* The number after a '*' or '$', up to the end of its line. Returns how much that took, 0 if the line is not complete. */
static size_t number_line(const char *text, size_t length, size_t *number) {
  size_t at;

  *number = 0;
  for (at = 1; at + 1 < length; at++) {
    if (text[at] == '\r')
      return at + 2;
    require(text[at] >= '0' && text[at] <= '9' && *number < IN_SIZE, "not a number");
    *number = *number * 10 + (size_t)(text[at] - '0');
  }
  return 0;
}

static void answer_command(struct connection *connection, const char *name, size_t length, const char *last,
                           size_t last_length) {
  char text[256];
  int count;

  if (length == 4 && memcmp(name, "PING", 4) == 0)
    say(connection, "+PONG\r\n", 7);
  else if (length == 6 && memcmp(name, "CONFIG", 6) == 0) {
    /* A setting by its name, without a value. */
    count = snprintf(text, sizeof text, "*2\r\n$%d\r\n%.*s\r\n$0\r\n\r\n", (int)last_length, (int)last_length, last);
    require(count > 0 && (size_t)count < sizeof text, "a name that is too long");
    say(connection, text, (size_t)count);
  } else
    say(connection, "-ERR unknown command\r\n", 22);
}

static size_t answer_ping(struct connection *connection, const char *text, size_t length) {
  const char *arguments[ARGUMENTS];
  size_t lengths[ARGUMENTS], count, at, used, line;

  if (length > 0 && text[0] != '*') { /* a command as somebody types it */
    for (used = 2; used <= length; used++)
      if (memcmp(text + used - 2, "\r\n", 2) == 0) {
        answer_command(connection, text, used - 2, text, 0);
        return used;
      }
    return 0;
  }
  used = number_line(text, length, &count);
  if (used == 0)
    return 0;
  require(count > 0 && count <= ARGUMENTS, "a command of so many words");
  for (at = 0; at < count; at++) {
    require(used >= length || text[used] == '$', "a word that is none");
    line = number_line(text + used, length - used, &lengths[at]);
    if (line == 0 || length - used < line + lengths[at] + 2)
      return 0;
    arguments[at] = text + used + line;
    used += line + lengths[at] + 2;
  }
  answer_command(connection, arguments[0], lengths[0], arguments[count - 1], lengths[count - 1]);
  return used;
}

/* ---- what both share ---- */

static void begin_accept(asock_socket listener) {
  asock_status status = asock_begin_accept(listener, by_callback ? completed : NULL, NULL, NULL);

  require(status == ASOCK_OK || status == ASOCK_STOPPED, "an accept was refused");
}

static asock_status begin_receive(struct connection *connection) {
  return asock_begin_receive(connection->socket, connection->in + connection->in_length,
                             IN_SIZE - connection->in_length, 0, by_callback ? completed : NULL, connection, NULL);
}

/* Ends a connection of which nothing is pending. */
static void end(struct connection *connection) {
  (void)asock_close(connection->socket); /* during a stop it may be closed already */
  free(connection);
}

static void accepted(const asock_result *result) {
  struct connection *connection;

  if (result->status == ASOCK_STOPPED)
    return;
  require_ok("accept", result->status);
  connection = malloc(sizeof *connection);
  require(connection != NULL, "no memory");
  connection->socket = result->value;
  connection->in_length = connection->out_length = 0;
  pthread_mutex_lock(&counting);
  connections++;
  pthread_mutex_unlock(&counting);
  if (begin_receive(connection) != ASOCK_OK)
    end(connection);
  begin_accept(result->socket);
}

/* Takes what has come. Returns whether there is something to send. */
static int take(struct connection *connection, size_t bytes) {
  uint64_t count = 0;
  size_t at = 0, used;

  connection->in_length += bytes;
  while ((used = answer_one(connection, connection->in + at, connection->in_length - at)) > 0) {
    at += used;
    count++;
  }
  memmove(connection->in, connection->in + at, connection->in_length - at);
  connection->in_length -= at;
  require(connection->in_length < IN_SIZE, "a request that is too long");
  pthread_mutex_lock(&counting);
  answered += count;
  pthread_mutex_unlock(&counting);
  return count > 0;
}

/* One completion: an accept, or what was pending on a connection. */
static void completed(const asock_result *result, void *user_data) {
  struct connection *connection = user_data;
  asock_status status = result->status;

  if (result->kind == ASOCK_KIND_ACCEPT) {
    accepted(result);
    return;
  }
  require(result->socket == connection->socket, "a foreign completion");
  /* A tool that has seen enough may go without a good-bye. */
  require(status == ASOCK_OK || status == ASOCK_CONNECTION_RESET || status == ASOCK_STOPPED, "a failure");
  if (status == ASOCK_OK && result->kind == ASOCK_KIND_RECEIVE) {
    if (result->bytes == 0)
      status = ASOCK_CLOSED;
    else if (take(connection, result->bytes))
      status = asock_begin_send(connection->socket, connection->out, connection->out_length, 0,
                                by_callback ? completed : NULL, connection, NULL);
    else
      status = begin_receive(connection);
  } else if (status == ASOCK_OK) {
    require(result->kind == ASOCK_KIND_SEND && result->bytes == connection->out_length, "a send that sent less");
    connection->out_length = 0;
    status = begin_receive(connection);
  }
  if (status != ASOCK_OK)
    end(connection);
}

static void terminated(int number) {
  (void)number;
  ending = 1;
}

static void start(uint32_t workers) {
  asock_runtime_config config;
  asock_address address;
  asock_socket listener;
  int at;

  memset(&config, 0, sizeof config);
  config.size = sizeof config;
  config.delivery = by_callback ? ASOCK_DELIVER_ON_WORKER : ASOCK_DELIVER_ON_POLL;
  config.workers = workers;
  require_ok("runtime_start", asock_runtime_start(&config, &runtime));
  require_ok("open", asock_open(runtime, ASOCK_STREAM, &listener));
  require_ok("bind", asock_bind(listener, "127.0.0.1", 0));
  require_ok("listen", asock_listen(listener, 0));
  require_ok("local_address", asock_local_address(listener, &address));
  for (at = 0; at < ACCEPTS; at++)
    begin_accept(listener);
  printf("%u\n", (unsigned)asock_address_port(&address));
  require(fflush(stdout) == 0, "the output cannot be written");
}

/* Until SIGTERM, which nothing but the waiting lets through: so it cannot come between the look and the wait. */
static void serve(const sigset_t *waiting) {
  asock_result results[POLL_BATCH];
  size_t count, at;

  while (by_callback && !ending)
    sigsuspend(waiting);
  require(pthread_sigmask(SIG_SETMASK, waiting, NULL) == 0, "no signals");
  while (!ending) {
    require_ok("poll", asock_poll(runtime, POLL_MS, results, POLL_BATCH, &count));
    for (at = 0; at < count; at++)
      completed(&results[at], results[at].user_data);
  }
}

/* Takes what is left, and looks whether each operation has ended exactly once. */
static void finish(void) {
  asock_result results[POLL_BATCH];
  asock_status status = ASOCK_OK;
  asock_stats stats;
  size_t count, at;

  require_ok("runtime_drain", asock_runtime_drain(runtime));
  while (!by_callback && status == ASOCK_OK) {
    status = asock_poll(runtime, -1, results, POLL_BATCH, &count);
    for (at = 0; status == ASOCK_OK && at < count; at++)
      completed(&results[at], results[at].user_data);
  }
  do {
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    require_ok("runtime_stats", asock_runtime_stats(runtime, &stats));
  } while (stats.operations_pending > 0);
  require(stats.operations_begun == stats.operations_completed, "an operation was lost");
  require_ok("runtime_stop", asock_runtime_stop(runtime));
  fprintf(stderr, "%" PRIu64 " answers on %" PRIu64 " connections\n", answered, connections);
}

int main(int count, char **arguments) {
  struct sigaction action;
  sigset_t blocked, waiting;

  require(count == 3 || count == 4, "usage: answers callback|poll http|ping [WORKERS]");
  by_callback = strcmp(arguments[1], "callback") == 0;
  require(by_callback || strcmp(arguments[1], "poll") == 0, "delivery is 'callback' or 'poll'");
  answer_one = strcmp(arguments[2], "http") == 0 ? answer_http : answer_ping;
  require(answer_one == answer_http || strcmp(arguments[2], "ping") == 0, "it is 'http' or 'ping'");

  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  require(pthread_sigmask(SIG_BLOCK, &blocked, &waiting) == 0, "no signals");
  memset(&action, 0, sizeof action);
  action.sa_handler = terminated;
  sigemptyset(&action.sa_mask);
  require(sigaction(SIGTERM, &action, NULL) == 0, "no signals");

  start(count == 4 ? (uint32_t)strtoul(arguments[3], NULL, 10) : 1);
  serve(&waiting);
  finish();
  return EXIT_SUCCESS;
}
