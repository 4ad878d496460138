/*
 * The asynchronous client, step by step like .NET's sample: connect, send a line, receive the answer, each with a
 * callback that runs on a thread of the library, while the application waits for nothing but its own three events.
 * C99, over the public header only.
 *
 *   cargo build --release
 *   cc -std=c99 bindings/c/examples/async_client.c -Iinclude target/release/libasock.a -o async_client \
 *      -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
 *   ./async_client HOST PORT [TEXT]
 */
#define _POSIX_C_SOURCE 200112L

#include <asock.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "This is a test<EOF>"
#define BUFFER_SIZE 256
#define LIMIT_MS 30000 /* a server that says nothing for so long is given up */

/* .NET's ManualResetEvent: it is set once, with the status of what it stands for. */
struct event {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int is_set;
  asock_status status;
};

/* The state object: what the callbacks need. It outlives them, since main stops the runtime before it goes. */
struct state {
  asock_socket socket;
  char buffer[BUFFER_SIZE]; /* the library's from the beginning of a receive until its callback */
  char *response;
  size_t length;
  struct event connect_done;
  struct event send_done;
  struct event receive_done;
};

#define EVENT { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, ASOCK_OK }

static void event_set(struct event *event, asock_status status) {
  pthread_mutex_lock(&event->mutex);
  event->is_set = 1;
  event->status = status;
  pthread_cond_broadcast(&event->changed);
  pthread_mutex_unlock(&event->mutex);
}

static asock_status event_wait(struct event *event) {
  asock_status status;
  pthread_mutex_lock(&event->mutex);
  while (!event->is_set)
    pthread_cond_wait(&event->changed, &event->mutex);
  status = event->status;
  pthread_mutex_unlock(&event->mutex);
  return status;
}

static void connected(const asock_result *result, void *user_data) {
  struct state *state = user_data;
  asock_address address;
  char text[ASOCK_ADDRESS_TEXT_MAX];

  if (result->status == ASOCK_OK && asock_remote_address(state->socket, &address) == ASOCK_OK &&
      asock_address_format(&address, text, sizeof text) == ASOCK_OK)
    printf("Socket connected to %s\n", text);
  event_set(&state->connect_done, result->status);
}

static void sent(const asock_result *result, void *user_data) {
  struct state *state = user_data;

  if (result->status == ASOCK_OK)
    printf("Sent %lu bytes to server.\n", (unsigned long)result->bytes);
  event_set(&state->send_done, result->status);
}

/* Keeps what has come. Returns 0 where there is no memory for it. */
static int append(struct state *state, const char *data, size_t length) {
  char *response = realloc(state->response, state->length + length);

  if (response == NULL)
    return 0;
  memcpy(response + state->length, data, length);
  state->response = response;
  state->length += length;
  return 1;
}

/* There may be more data: it is stored, and the rest is received, until the server closes. */
static void received(const asock_result *result, void *user_data) {
  struct state *state = user_data;
  asock_status status = result->status;

  if (status == ASOCK_OK && result->bytes > 0) {
    status = ASOCK_OUT_OF_MEMORY;
    if (append(state, state->buffer, result->bytes))
      status = asock_begin_receive(state->socket, state->buffer, sizeof state->buffer, 0, received, state, NULL);
    if (status == ASOCK_OK)
      return;
  }
  event_set(&state->receive_done, status);
}

/* Says what failed. Returns whether it did. */
static int failed(const char *what, asock_status status) {
  if (status != ASOCK_OK)
    fprintf(stderr, "async_client: cannot %s: %s\n", what, asock_status_text(status));
  return status != ASOCK_OK;
}

static int converse(struct state *state, const char *host, uint16_t port, const char *text) {
  if (failed("set a time-out", asock_set_option(state->socket, ASOCK_OPTION_CONNECT_TIMEOUT_MS, LIMIT_MS)) ||
      failed("set a time-out", asock_set_option(state->socket, ASOCK_OPTION_SEND_TIMEOUT_MS, LIMIT_MS)) ||
      failed("set a time-out", asock_set_option(state->socket, ASOCK_OPTION_RECEIVE_TIMEOUT_MS, LIMIT_MS)))
    return EXIT_FAILURE;

  /* .NET's "BeginConnect, connectDone.WaitOne()": the call itself fails only for what its arguments show. */
  if (failed("begin to connect", asock_begin_connect(state->socket, host, port, connected, state, NULL)) ||
      failed("connect", event_wait(&state->connect_done)))
    return EXIT_FAILURE;

  if (failed("begin to send", asock_begin_send(state->socket, text, strlen(text), 0, sent, state, NULL)) ||
      failed("send", event_wait(&state->send_done)))
    return EXIT_FAILURE;

  if (failed("begin to receive",
             asock_begin_receive(state->socket, state->buffer, sizeof state->buffer, 0, received, state, NULL)) ||
      failed("receive", event_wait(&state->receive_done)))
    return EXIT_FAILURE;

  printf("Response received : ");
  fwrite(state->response, 1, state->length, stdout);
  printf("\n");

  /* The server has closed its side already, perhaps with a reset: then there is nothing left to shut down. */
  (void)asock_shutdown(state->socket, ASOCK_SHUTDOWN_BOTH);
  return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
  struct state state = { 0, { 0 }, NULL, 0, EVENT, EVENT, EVENT };
  unsigned long port = 0;
  char *end = NULL;
  int outcome;

  if (count == 3 || count == 4)
    port = strtoul(arguments[2], &end, 10);
  if (end == NULL || *end != '\0' || port == 0 || port > 65535) {
    fprintf(stderr, "usage: async_client HOST PORT [TEXT]\n");
    return EXIT_FAILURE;
  }
  if (failed("open a socket", asock_open(0, ASOCK_STREAM, &state.socket)))
    return EXIT_FAILURE;
  outcome = converse(&state, arguments[1], (uint16_t)port, count == 4 ? arguments[3] : TEXT);

  /* After the stop no callback runs or will run: only then may the state go, also when something failed. */
  if (failed("close", asock_close(state.socket)) || failed("stop", asock_runtime_stop(0)))
    outcome = EXIT_FAILURE;
  free(state.response);
  return outcome;
}
