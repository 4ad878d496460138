/*
 * The scenarios of c_wrapper.c in which the wrapper is the server: its own client calls are at the other end.
 */
#include "c_wrapper.h"

#include <unistd.h>

#define ACCEPTORS 4
#define EACH 8 /* clients for each acceptor, on average */

static uint16_t port_of(asock_blocking_socket socket) {
  asock_address address;

  CHECK_STATUS(ASOCK_OK, asock_local_address(socket.socket, &address));
  return asock_address_port(&address);
}

/* A client of a listener, of any kind. The connection stands, and waits to be accepted, when this returns. */
static asock_blocking_socket client_of(asock_blocking_socket listener) {
  asock_blocking_socket client = opened(listener.runtime);
  asock_address address;
  asock_result result;
  asock_op op = 0;

  CHECK_STATUS(ASOCK_OK, asock_local_address(listener.socket, &address));
  CHECK_STATUS(ASOCK_OK, asock_begin_connect_address(client.socket, &address, NULL, NULL, &op));
  CHECK_STATUS(ASOCK_OK, asock_end(op, &result));
  CHECK_STATUS(ASOCK_OK, result.status);
  return client;
}

/* Both directions, and the end of the stream in both. */
static void converse(asock_blocking_socket client, asock_blocking_socket served) {
  char buffer[16];
  void *data = NULL;
  size_t bytes = 77;

  tell(client, "question");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_exactly(served, buffer, 8, LIMIT_MS, &bytes));
  CHECK(memcmp(buffer, "question", 8) == 0);
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_receive(served, buffer, sizeof buffer, 0, &bytes));
  tell(served, "answer");
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive(client, buffer, sizeof buffer, LIMIT_MS, &bytes));
  CHECK(bytes == 6 && memcmp(buffer, "answer", 6) == 0);
  tell(client, "more");
  CHECK_STATUS(ASOCK_OK, asock_shutdown(client.socket, ASOCK_SHUTDOWN_SEND));
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close_alloc(served, 0, LIMIT_MS, &data, &bytes));
  CHECK(bytes == 4 && memcmp(data, "more", 4) == 0);
  free(data);
  close_well(served);
  CHECK_STATUS(ASOCK_OK, asock_blocking_receive_until_close(client, buffer, sizeof buffer, LIMIT_MS, &bytes));
  CHECK(bytes == 0);
  close_well(client);
}

/* On a port, on any address, on a path and on a name: what is accepted is a socket like the client's. */
void accepts(asock_runtime runtime) {
  char path[64], name[64], directory[] = "/tmp/asock-c-wrapper-XXXXXX";
  const char *hosts[4];
  size_t at;

  CHECK(mkdtemp(directory) != NULL);
  (void)snprintf(path, sizeof path, "unix:%s/socket", directory);
  (void)snprintf(name, sizeof name, "unix:@asock-c-wrapper-%ld", (long)getpid());
  hosts[0] = HOST;
  hosts[1] = "::1";
  hosts[2] = path;
  hosts[3] = name;
  for (at = 0; at < sizeof hosts / sizeof hosts[0]; at++) {
    asock_blocking_socket listener = opened(runtime), client, served;
    asock_address near, far;

    if (asock_blocking_listen(listener, hosts[at], 0, 0) == ASOCK_ADDRESS_NOT_AVAILABLE && at == 1) {
      close_well(listener); /* a machine without IPv6 */
      continue;
    }
    client = client_of(listener);
    CHECK_STATUS(ASOCK_OK, asock_blocking_accept(listener, LIMIT_MS, &served));
    CHECK(served.runtime == runtime && served.socket != listener.socket && served.socket != client.socket);
    CHECK_STATUS(ASOCK_OK, asock_remote_address(served.socket, &far));
    CHECK_STATUS(ASOCK_OK, asock_local_address(client.socket, &near));
    CHECK(at > 1 || memcmp(&near, &far, sizeof near) == 0); /* that of a unix client has no name */
    close_well(listener);
    converse(client, served); /* and outlives the listener */
  }
  CHECK(rmdir(directory) == 0); /* the listener has taken its file with it */
}

void accept_times_out(asock_runtime runtime) {
  asock_blocking_socket listener = listening(runtime), served, client, second;
  int64_t start_ms;

  /* The time-out of the call counts, and not that of the listener. */
  CHECK_STATUS(ASOCK_OK, asock_set_option(listener.socket, ASOCK_OPTION_ACCEPT_TIMEOUT_MS, 3600000));
  served.runtime = served.socket = 77;
  start_ms = clock_ms();
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_accept(listener, SHORT_MS, &served));
  check_passed(start_ms, SHORT_MS);
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_accept(listener, 0, &served));
  CHECK(served.runtime == 77 && served.socket == 77);
  CHECK_STATUS(ASOCK_OK, asock_set_option(listener.socket, ASOCK_OPTION_ACCEPT_TIMEOUT_MS, 1));

  /* One that has come is there at once, and the time-outs before have taken none. */
  client = client_of(listener);
  second = client_of(listener);
  CHECK_STATUS(ASOCK_OK, asock_blocking_accept(listener, 0, &served));
  converse(client, served);
  CHECK_STATUS(ASOCK_OK, asock_blocking_accept(listener, -1, &served));
  converse(second, served);
  CHECK_STATUS(ASOCK_TIMED_OUT, asock_blocking_accept(listener, 0, &served));
  close_well(listener);
}

static void *acceptor(void *argument) {
  asock_blocking_socket listener = *(asock_blocking_socket *)argument, served;
  asock_status status;

  while ((status = asock_blocking_accept(listener, -1, &served)) == ASOCK_OK) {
    uint64_t number = 0;

    CHECK_STATUS(ASOCK_OK, asock_blocking_receive_exactly(served, &number, sizeof number, LIMIT_MS, NULL));
    number = ~number;
    CHECK_STATUS(ASOCK_OK, asock_blocking_send(served, &number, sizeof number, LIMIT_MS, NULL));
    close_well(served);
  }
  if (status != ASOCK_BAD_HANDLE) /* it was between two calls */
    CHECK_STATUS(ASOCK_CLOSED, status);
  return NULL;
}

/* Each connection goes to one of those that wait, and the close of the listener lets all of them go. */
void accepts_on_threads(asock_runtime runtime) {
  asock_blocking_socket listener = listening(runtime), clients[ACCEPTORS * EACH];
  pthread_t threads[ACCEPTORS];
  size_t at;

  for (at = 0; at < ACCEPTORS; at++)
    CHECK(pthread_create(&threads[at], NULL, acceptor, &listener) == 0);
  for (at = 0; at < ACCEPTORS * EACH; at++) {
    clients[at] = opened(runtime);
    CHECK_STATUS(ASOCK_OK, asock_blocking_connect(clients[at], HOST, port_of(listener), LIMIT_MS));
  }
  for (at = 0; at < ACCEPTORS * EACH; at++) {
    uint64_t number = clients[at].socket, answer = 0;

    CHECK_STATUS(ASOCK_OK, asock_blocking_send(clients[at], &number, sizeof number, LIMIT_MS, NULL));
    CHECK_STATUS(ASOCK_OK, asock_blocking_receive_exactly(clients[at], &answer, sizeof answer, LIMIT_MS, NULL));
    CHECK(answer == ~number);
    close_well(clients[at]);
  }
  until_pending(runtime, ACCEPTORS);
  close_well(listener);
  for (at = 0; at < ACCEPTORS; at++)
    CHECK(pthread_join(threads[at], NULL) == 0);
}

struct inside {
  asock_blocking_socket listener;
  asock_event done;
};

static void listens(const asock_result *result, void *user_data) {
  struct inside *inside = (struct inside *)user_data;

  CHECK_STATUS(ASOCK_OK, result->status);
  CHECK_STATUS(ASOCK_OK, asock_blocking_listen(inside->listener, HOST, 0, 1));
  CHECK_STATUS(ASOCK_OK, asock_event_set(&inside->done));
}

static void refuses(const asock_result *result, void *user_data) {
  struct inside *inside = (struct inside *)user_data;
  asock_blocking_socket served;

  (void)result;
  CHECK_STATUS(ASOCK_WOULD_DEADLOCK, asock_blocking_accept(inside->listener, LIMIT_MS, &served));
  CHECK_STATUS(ASOCK_OK, asock_event_set(&inside->done));
}

/* To listen does not wait, so it is not refused there; an accept is, and takes nobody. */
void listens_in_a_callback(asock_runtime runtime) {
  asock_runtime other = start(ASOCK_DELIVER_ON_WORKER);
  asock_blocking_socket client, served;
  struct inside inside;

  inside.listener = opened(runtime);
  CHECK_STATUS(ASOCK_OK, asock_event_init(&inside.done));
  CHECK_STATUS(ASOCK_OK, asock_begin_timer(runtime, 0, listens, &inside, NULL));
  CHECK_STATUS(ASOCK_OK, asock_event_wait(&inside.done, LIMIT_MS));
  client = client_of(inside.listener);
  CHECK_STATUS(ASOCK_OK, asock_event_reset(&inside.done));
  CHECK_STATUS(ASOCK_OK, asock_begin_timer(other, 0, refuses, &inside, NULL));
  CHECK_STATUS(ASOCK_OK, asock_event_wait(&inside.done, LIMIT_MS));
  CHECK_STATUS(ASOCK_OK, asock_runtime_stop(other));
  until_pending(runtime, 0);
  CHECK_STATUS(ASOCK_OK, asock_blocking_accept(inside.listener, LIMIT_MS, &served));
  converse(client, served);
  close_well(inside.listener);
  CHECK_STATUS(ASOCK_OK, asock_event_destroy(&inside.done));
}

void bad_listeners(asock_runtime runtime) {
  asock_blocking_socket listener = listening(runtime), other = opened(runtime), served;
  uint64_t begun = stats_of(runtime).operations_begun;

  served.runtime = served.socket = 77;
  CHECK_STATUS(ASOCK_INVALID_STATE, asock_blocking_listen(listener, HOST, 0, 0)); /* it has an address */
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_listen(other, "", 0, 0));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_listen(other, "localhost", 0, 0)); /* it is a name */
  CHECK_STATUS(ASOCK_ADDRESS_NOT_AVAILABLE, asock_blocking_listen(other, "192.0.2.1", 0, 0));
  CHECK_STATUS(ASOCK_ADDRESS_IN_USE, asock_blocking_listen(other, HOST, port_of(listener), 0));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_accept(listener, LIMIT_MS, NULL));
  CHECK_STATUS(ASOCK_INVALID_ARGUMENT, asock_blocking_accept(listener, -2, &served));
  CHECK(stats_of(runtime).operations_begun == begun);
  CHECK_STATUS(ASOCK_INVALID_STATE, asock_blocking_accept(other, LIMIT_MS, &served));
  CHECK_STATUS(ASOCK_OK, asock_blocking_listen(other, HOST, 0, -1)); /* what failed has left no trace */
  close_well(listener);
  CHECK_STATUS(ASOCK_BAD_HANDLE, asock_blocking_accept(listener, -2, NULL)); /* the handle leads */
  CHECK_STATUS(ASOCK_BAD_HANDLE, asock_blocking_listen(listener, "", 0, 0));
  CHECK(served.runtime == 77 && served.socket == 77);
  close_well(other);
}
