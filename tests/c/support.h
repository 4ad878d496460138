/*
 * What the C programs of the tests share: checks, and a peer on loopback made of plain sockets.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "asock.h"

/* Ends the program at once, whatever the rest of it is doing: `exit` is what some of these programs test. */
#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);          \
      _exit(99);                                                               \
    }                                                                          \
  } while (0)

#define OK(call) CHECK((call) == ASOCK_OK)

static inline void pause_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

/* A descriptor that is bound to a port of 127.0.0.1, which is nobody else's as long as it is open. Until it listens,
   connecting to it is refused. */
static inline int bind_on_loopback(uint16_t *port) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int one = 1, bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bound >= 0);
  CHECK(setsockopt(bound, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
  CHECK(bind(bound, (struct sockaddr *)&address, length) == 0);
  CHECK(getsockname(bound, (struct sockaddr *)&address, &length) == 0);
  *port = ntohs(address.sin_port);
  return bound;
}

static inline int listen_on_loopback(uint16_t *port) {
  int listener = bind_on_loopback(port);
  CHECK(listen(listener, 64) == 0);
  return listener;
}

/* A descriptor that listens on a unix socket with a name that the system has chosen, and that name as a host. */
static inline int listen_on_unix(char host[64]) {
  struct sockaddr family = {.sa_family = AF_UNIX};
  struct sockaddr_storage name;
  socklen_t length = sizeof name;
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  /* With the family alone, Linux chooses a name in its abstract space. */
  CHECK(bind(listener, &family, sizeof family.sa_family) == 0);
  CHECK(listen(listener, 64) == 0);
  CHECK(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
  snprintf(host, 64, "unix:@%.*s", (int)(length - 3), (char *)&name + 3);
  return listener;
}

/* Connects a socket of the library; in `*peer` the other end of it. */
static inline asock_socket connect_through(asock_runtime runtime, int listener, const char *host,
                                           uint16_t port, int *peer) {
  asock_op op;
  asock_socket socket;
  OK(asock_open(runtime, ASOCK_STREAM, &socket));
  OK(asock_begin_connect(socket, host, port, NULL, NULL, &op));
  *peer = accept(listener, NULL, NULL);
  CHECK(*peer >= 0);
  close(listener);
  OK(asock_wait(op, -1));
  asock_forget(op); /* refused where it is polled */
  return socket;
}

static inline asock_socket connect_pair(asock_runtime runtime, int *peer) {
  uint16_t port;
  int listener = listen_on_loopback(&port);
  return connect_through(runtime, listener, "127.0.0.1", port, peer);
}

/* The same without the system's ports, of which there are only so many. */
static inline asock_socket connect_unix_pair(asock_runtime runtime, int *peer) {
  char host[64];
  int listener = listen_on_unix(host);
  return connect_through(runtime, listener, host, 0, peer);
}

static inline asock_runtime start_runtime(uint32_t delivery) {
  asock_runtime runtime;
  asock_runtime_config config;
  memset(&config, 0, sizeof config);
  config.size = sizeof config;
  config.delivery = delivery;
  OK(asock_runtime_start(&config, &runtime));
  return runtime;
}

#endif
