/*
 * The synchronous client, step by step like .NET's sample: connect, send a line, receive the answer until it says
 * <EOF> or the server closes, each call waiting for what it does. It prints what async_client.c prints. C99.
 *
 *   cargo build --release
 *   cc -std=c99 bindings/c/examples/blocking_client.c bindings/c/asock_blocking.c -Iinclude -Ibindings/c \
 *      target/release/libasock.a -o blocking_client -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
 *   ./blocking_client HOST PORT [TEXT]
 */
#include <asock_blocking.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "This is a test<EOF>"
#define END "<EOF>"
#define ROOM 65536     /* for the answer */
#define LIMIT_MS 30000 /* a server that says nothing for so long is given up */

/* Says what failed. Returns whether it did. */
static int failed(const char *what, asock_status status) {
  if (status != ASOCK_OK)
    fprintf(stderr, "blocking_client: cannot %s: %s\n", what, asock_blocking_status_text(status));
  return status != ASOCK_OK;
}

/* Receives until the text is complete or the server closes. The text ends with a zero. */
static asock_status receive_text(asock_blocking_socket socket, char *text, size_t room) {
  size_t length = 0;

  for (;;) {
    size_t received;
    asock_status status = asock_blocking_receive(socket, text + length, room - 1 - length, LIMIT_MS, &received);

    length += received;
    text[length] = '\0';
    if (status != ASOCK_OK || received == 0 || strstr(text, END) != NULL)
      return status;
    if (length == room - 1)
      return ASOCK_BLOCKING_FULL;
  }
}

static int converse(asock_blocking_socket socket, const char *host, uint16_t port, const char *text) {
  static char response[ROOM];
  char server[ASOCK_ADDRESS_TEXT_MAX];
  asock_address address;
  size_t sent;

  if (failed("connect", asock_blocking_connect(socket, host, port, LIMIT_MS)))
    return EXIT_FAILURE;
  if (asock_remote_address(socket.socket, &address) == ASOCK_OK &&
      asock_address_format(&address, server, sizeof server) == ASOCK_OK)
    printf("Socket connected to %s\n", server);

  if (failed("send", asock_blocking_send(socket, text, strlen(text), LIMIT_MS, &sent)))
    return EXIT_FAILURE;
  printf("Sent %lu bytes to server.\n", (unsigned long)sent);

  if (failed("receive", receive_text(socket, response, sizeof response)))
    return EXIT_FAILURE;
  printf("Response received : %s\n", response);
  return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
  asock_blocking_socket socket;
  unsigned long port = 0;
  char *end = NULL;
  int outcome;

  if (count == 3 || count == 4)
    port = strtoul(arguments[2], &end, 10);
  if (end == NULL || *end != '\0' || port == 0 || port > 65535) {
    fprintf(stderr, "usage: blocking_client HOST PORT [TEXT]\n");
    return EXIT_FAILURE;
  }
  if (failed("open a socket", asock_blocking_open(0, &socket)))
    return EXIT_FAILURE;
  outcome = converse(socket, arguments[1], (uint16_t)port, count == 4 ? arguments[3] : TEXT);
  if (failed("close", asock_blocking_close(socket, LIMIT_MS)) || failed("stop", asock_runtime_stop(0)))
    outcome = EXIT_FAILURE;
  return outcome;
}
