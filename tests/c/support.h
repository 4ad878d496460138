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

/* A descriptor that listens on 127.0.0.1, and its port. */
static inline int listen_on_loopback(uint16_t *port) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(listener >= 0);
  CHECK(bind(listener, (struct sockaddr *)&address, length) == 0);
  CHECK(listen(listener, 64) == 0);
  CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
  *port = ntohs(address.sin_port);
  return listener;
}

/* A connected socket of the library, and in `*peer` the other end of it. */
static inline asock_socket connect_pair(asock_runtime runtime, int *peer) {
  uint16_t port;
  asock_op op;
  asock_socket socket;
  int listener = listen_on_loopback(&port);
  OK(asock_open(runtime, ASOCK_STREAM, &socket));
  OK(asock_begin_connect(socket, "127.0.0.1", port, NULL, NULL, &op));
  *peer = accept(listener, NULL, NULL);
  CHECK(*peer >= 0);
  close(listener);
  return socket;
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
