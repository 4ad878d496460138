/*
 * asock: the one C file of the wrapper, for asock_blocking.h and asock_event.h. C99, and C++11 as it stands.
 *
 * First the blocking calls, over the public header only; at the end what belongs to the platform: a clock and the
 * event. It is a C file, and not part of the headers, since that platform part needs declarations that a strict
 * compiler only shows to those who ask before the first #include, and since what is known of a thread has to be kept
 * in one place.
 */
#if !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L /* clock_gettime, pthread_condattr_setclock */
#endif

#include "asock_blocking.h"
#include "asock_event.h"

#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#define PER_THREAD __declspec(thread)
#else
#define PER_THREAD __thread /* also in C99 and in C++11, other than the words of later standards */
#endif

/* The first room of a growing buffer; it doubles from there. */
#define FIRST_ROOM ((size_t)4096)

/* How long a thread stands still to see that it may, and how long what it looks at surely lasts. */
#define TRIAL_MS 1
#define TRIAL_LASTS_MS ((uint64_t)3600 * 1000)

/* This thread is none of the library's: it has waited before. A thread never changes sides. */
static PER_THREAD int thread_may_wait;
static PER_THREAD int32_t last_os_error;

static int64_t now_ms(void);

/*
 * Finds out whether the calling thread may wait, before anything is begun that it would have to wait for: once an
 * operation is begun, a worker could neither wait for its end nor leave its buffer to the caller. Waiting is refused
 * only where it would happen, and an operation of another worker could be over before: so it is tried with a timer
 * that is not.
 */
static asock_status thread_check(asock_runtime runtime) {
  asock_op trial = 0;
  asock_status status;

  if (thread_may_wait)
    return ASOCK_OK;
  status = asock_begin_timer(runtime, TRIAL_LASTS_MS, NULL, NULL, &trial);
  if (status != ASOCK_OK)
    return status;
  status = asock_wait(trial, TRIAL_MS);
  (void)asock_cancel(trial); /* nobody waits for it, and it has no buffer */
  (void)asock_forget(trial);
  if (status == ASOCK_OK)
    return ASOCK_STOPPED; /* nothing else ends it so soon */
  if (status != ASOCK_TIMED_OUT)
    return status;
  thread_may_wait = 1;
  return ASOCK_OK;
}

/* ASOCK_INVALID_STATE on a runtime whose completions the application takes by itself. */
static asock_status delivery_check(asock_runtime runtime) {
  int64_t descriptor = 0;
  asock_status status = asock_poll_fd(runtime, &descriptor);

  if (status == ASOCK_OK)
    return ASOCK_INVALID_STATE;
  return status == ASOCK_INVALID_STATE ? ASOCK_OK : status;
}

/* What every call looks at first. The handle leads, as everywhere; a stale one does not start the default runtime. */
static asock_status check_socket(asock_blocking_socket socket, int arguments_are_good) {
  int64_t queued = 0;
  asock_status status = asock_get_option(socket.socket, ASOCK_OPTION_SEND_QUEUED, &queued);

  last_os_error = 0;
  if (status != ASOCK_OK)
    return status;
  return arguments_are_good ? delivery_check(socket.runtime) : ASOCK_INVALID_ARGUMENT;
}

/* The same for a call that waits. */
static asock_status check(asock_blocking_socket socket, int arguments_are_good, int32_t timeout_ms) {
  asock_status status = check_socket(socket, arguments_are_good && timeout_ms >= -1);

  return status == ASOCK_OK ? thread_check(socket.runtime) : status;
}

/* Waits for an operation that was begun, and gives its status; the limit is the library's business. */
static asock_status finish_with(asock_op op, int32_t timeout_ms, asock_result *result) {
  asock_status status = asock_set_deadline(op, timeout_ms);

  if (status == ASOCK_OK)
    status = asock_end(op, result);
  if (status != ASOCK_OK) {
    /* The runtime is not the socket's own, and that one delivers on poll: its loop is handed the record. */
    (void)asock_cancel(op);
    (void)asock_wait(op, -1);
    return status;
  }
  last_os_error = result->os_error;
  return result->status;
}

/* The same for an operation of which only the bytes are of interest. */
static asock_status finish(asock_op op, int32_t timeout_ms, size_t *bytes) {
  asock_result result;
  asock_status status;

  result.bytes = 0;
  status = finish_with(op, timeout_ms, &result);
  *bytes = result.bytes;
  return status;
}

/* Begins a receive and waits for it; what `check` looks at is known. */
static asock_status receive(asock_socket socket, void *buffer, size_t length, uint32_t flags, int32_t timeout_ms,
                            size_t *bytes) {
  asock_op op = 0;
  asock_status status = asock_begin_receive(socket, buffer, length, flags, NULL, NULL, &op);

  *bytes = 0;
  return status == ASOCK_OK ? finish(op, timeout_ms, bytes) : status;
}

/* What is left of a call's limit, which began at `start_ms`. */
static int32_t time_left(int64_t start_ms, int32_t timeout_ms) {
  int64_t passed_ms;

  if (timeout_ms < 0)
    return timeout_ms;
  passed_ms = now_ms() - start_ms;
  return passed_ms >= timeout_ms ? 0 : (int32_t)(timeout_ms - passed_ms);
}

/* The buffer is full: is that all there is? Looks for one more byte and leaves it where it is. */
static asock_status expect_end(asock_socket socket, int32_t timeout_ms) {
  char next;
  size_t bytes;
  asock_status status = receive(socket, &next, 1, ASOCK_RECEIVE_PEEK, timeout_ms, &bytes);

  return status == ASOCK_OK && bytes > 0 ? ASOCK_BLOCKING_FULL : status;
}

/* Fills memory until it is full, and gives ASOCK_OK, or until the stream ends, and gives ASOCK_BLOCKING_ENDED. */
static asock_status fill(asock_socket socket, void *buffer, size_t length, int32_t timeout_ms, size_t *bytes) {
  asock_status status;

  *bytes = 0;
  if (length == 0)
    return ASOCK_OK; /* a receive of nothing would wait for something */
  status = receive(socket, buffer, length, ASOCK_RECEIVE_ALL, timeout_ms, bytes);
  return status == ASOCK_OK && *bytes < length ? ASOCK_BLOCKING_ENDED : status;
}

asock_status asock_blocking_open(asock_runtime runtime, asock_blocking_socket *socket) {
  asock_blocking_socket opened;
  asock_status status = delivery_check(runtime);

  last_os_error = 0;
  if (status != ASOCK_OK)
    return status;
  if (socket == NULL)
    return ASOCK_INVALID_ARGUMENT;
  opened.runtime = runtime;
  status = asock_open(runtime, ASOCK_STREAM, &opened.socket);
  if (status == ASOCK_OK)
    *socket = opened;
  return status;
}

asock_status asock_blocking_connect(asock_blocking_socket socket, const char *host, uint16_t port, int32_t timeout_ms) {
  asock_op op = 0;
  size_t none = 0;
  asock_status status = check(socket, host != NULL, timeout_ms);

  if (status == ASOCK_OK)
    status = asock_begin_connect(socket.socket, host, port, NULL, NULL, &op);
  return status == ASOCK_OK ? finish(op, timeout_ms, &none) : status;
}

asock_status asock_blocking_listen(asock_blocking_socket socket, const char *host, uint16_t port, int32_t backlog) {
  asock_status status = check_socket(socket, 1);

  if (status == ASOCK_OK)
    status = asock_bind(socket.socket, host, port);
  return status == ASOCK_OK ? asock_listen(socket.socket, backlog) : status;
}

asock_status asock_blocking_accept(asock_blocking_socket listener, int32_t timeout_ms, asock_blocking_socket *accepted) {
  asock_op op = 0;
  asock_result result;
  asock_status status = check(listener, accepted != NULL, timeout_ms);

  if (status == ASOCK_OK)
    status = asock_begin_accept(listener.socket, NULL, NULL, &op);
  if (status == ASOCK_OK)
    status = finish_with(op, timeout_ms, &result);
  if (status == ASOCK_OK) {
    accepted->runtime = listener.runtime;
    accepted->socket = result.value;
  }
  return status;
}

asock_status asock_blocking_send(asock_blocking_socket socket, const void *data, size_t length, int32_t timeout_ms,
                                 size_t *sent) {
  asock_op op = 0;
  size_t bytes = 0;
  asock_status status = check(socket, data != NULL || length == 0, timeout_ms);

  if (status == ASOCK_OK)
    status = asock_begin_send(socket.socket, data, length, 0, NULL, NULL, &op);
  if (status == ASOCK_OK)
    status = finish(op, timeout_ms, &bytes);
  if (sent != NULL)
    *sent = bytes;
  return status;
}

asock_status asock_blocking_receive(asock_blocking_socket socket, void *buffer, size_t length, int32_t timeout_ms,
                                    size_t *received) {
  size_t bytes = 0;
  asock_status status = check(socket, received != NULL && (buffer != NULL || length == 0), timeout_ms);

  if (status == ASOCK_OK)
    status = receive(socket.socket, buffer, length, 0, timeout_ms, &bytes);
  if (received != NULL)
    *received = bytes;
  return status;
}

asock_status asock_blocking_receive_exactly(asock_blocking_socket socket, void *buffer, size_t length,
                                            int32_t timeout_ms, size_t *received) {
  size_t bytes = 0;
  asock_status status = check(socket, buffer != NULL || length == 0, timeout_ms);

  if (status == ASOCK_OK)
    status = fill(socket.socket, buffer, length, timeout_ms, &bytes);
  if (received != NULL)
    *received = bytes;
  return status;
}

asock_status asock_blocking_receive_until_close(asock_blocking_socket socket, void *buffer, size_t length,
                                                int32_t timeout_ms, size_t *received) {
  int64_t start_ms = now_ms();
  size_t bytes = 0;
  asock_status status = check(socket, received != NULL && (buffer != NULL || length == 0), timeout_ms);

  if (status == ASOCK_OK) {
    status = fill(socket.socket, buffer, length, timeout_ms, &bytes);
    if (status == ASOCK_OK)
      status = expect_end(socket.socket, time_left(start_ms, timeout_ms));
    else if (status == ASOCK_BLOCKING_ENDED)
      status = ASOCK_OK;
  }
  if (received != NULL)
    *received = bytes;
  return status;
}

/* Makes room for more, at most `limit` bytes and the zero after them. Leaves all as it is where there is no memory. */
static int grow(char **data, size_t *room, size_t limit) {
  size_t wanted = *room == 0 ? FIRST_ROOM : *room > limit / 2 ? limit : *room * 2;
  char *grown;

  if (wanted > limit)
    wanted = limit;
  grown = (char *)realloc(*data, wanted + 1);
  if (grown == NULL)
    return 0;
  *data = grown;
  *room = wanted;
  return 1;
}

asock_status asock_blocking_receive_until_close_alloc(asock_blocking_socket socket, size_t limit, int32_t timeout_ms,
                                                      void **data, size_t *received) {
  int64_t start_ms = now_ms();
  char *text = NULL;
  size_t room = 0, used = 0, bytes = 0;
  asock_status status = check(socket, data != NULL && received != NULL, timeout_ms);

  if (limit == 0 || limit > SIZE_MAX / 2 - 1)
    limit = SIZE_MAX / 2 - 1; /* no object is larger */
  while (status == ASOCK_OK) {
    if (used == limit) {
      status = expect_end(socket.socket, time_left(start_ms, timeout_ms));
      break;
    }
    if (used == room && !grow(&text, &room, limit)) {
      status = ASOCK_OUT_OF_MEMORY;
      break;
    }
    status = fill(socket.socket, text + used, room - used, time_left(start_ms, timeout_ms), &bytes);
    used += bytes;
  }
  if (status == ASOCK_BLOCKING_ENDED)
    status = ASOCK_OK;
  if (text != NULL)
    text[used] = '\0';
  if (received != NULL)
    *received = data != NULL ? used : 0;
  if (data != NULL)
    *data = text;
  return status;
}

asock_status asock_blocking_close(asock_blocking_socket socket, int32_t timeout_ms) {
  asock_op op = 0;
  size_t none = 0;
  asock_status status = check(socket, 1, timeout_ms);

  if (status == ASOCK_OK)
    status = asock_begin_close(socket.socket, ASOCK_CLOSE_DRAIN, NULL, NULL, &op);
  switch (status) {
  case ASOCK_OK:
    return finish(op, timeout_ms, &none);
  case ASOCK_WOULD_DEADLOCK:
  case ASOCK_INVALID_STATE:
  case ASOCK_INVALID_ARGUMENT:
    return status;
  default: /* draining, say, or without memory: this works then, too, and knows a bad handle by itself */
    return asock_close(socket.socket);
  }
}

int32_t asock_blocking_os_error(void) {
  return last_os_error;
}

const char *asock_blocking_status_text(asock_status status) {
  if (status == ASOCK_BLOCKING_ENDED)
    return "the peer closed its side before all had come";
  if (status == ASOCK_BLOCKING_FULL)
    return "there is more than there was room for";
  return asock_status_text(status);
}

/* The platform: POSIX. Another one brings the members of `asock_event` and what follows. */

#include <errno.h>
#include <time.h>

/* On a clock that nobody sets. */
static int64_t now_ms(void) {
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + (int64_t)now.tv_nsec / 1000000;
}

static asock_status status_of(int error) {
  switch (error) {
  case 0:
    return ASOCK_OK;
  case ENOMEM:
    return ASOCK_OUT_OF_MEMORY;
  default:
    return ASOCK_OS_ERROR;
  }
}

asock_status asock_event_init(asock_event *event) {
  pthread_condattr_t attributes;
  int error;

  if (event == NULL)
    return ASOCK_INVALID_ARGUMENT;
  event->is_set = 0;
  event->sets = 0;
  error = pthread_mutex_init(&event->mutex, NULL);
  if (error != 0)
    return status_of(error);
  error = pthread_condattr_init(&attributes);
  if (error == 0) {
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0)
      error = pthread_cond_init(&event->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
  }
  if (error != 0)
    (void)pthread_mutex_destroy(&event->mutex);
  return status_of(error);
}

asock_status asock_event_set(asock_event *event) {
  if (event == NULL)
    return ASOCK_INVALID_ARGUMENT;
  (void)pthread_mutex_lock(&event->mutex);
  event->is_set = 1;
  event->sets += 1;
  (void)pthread_cond_broadcast(&event->changed); /* inside: after the unlock a waiter may end the event */
  (void)pthread_mutex_unlock(&event->mutex);
  return ASOCK_OK;
}

asock_status asock_event_reset(asock_event *event) {
  if (event == NULL)
    return ASOCK_INVALID_ARGUMENT;
  (void)pthread_mutex_lock(&event->mutex);
  event->is_set = 0;
  (void)pthread_mutex_unlock(&event->mutex);
  return ASOCK_OK;
}

asock_status asock_event_wait(asock_event *event, int32_t timeout_ms) {
  struct timespec until;
  uint64_t sets;
  int error = 0;
  asock_status status;

  if (event == NULL || timeout_ms < -1)
    return ASOCK_INVALID_ARGUMENT;
  (void)clock_gettime(CLOCK_MONOTONIC, &until);
  if (timeout_ms > 0) {
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
      until.tv_sec += 1;
      until.tv_nsec -= 1000000000L;
    }
  }
  (void)pthread_mutex_lock(&event->mutex);
  sets = event->sets;
  while (!event->is_set && event->sets == sets && error == 0) {
    if (timeout_ms == 0)
      error = ETIMEDOUT;
    else if (timeout_ms < 0)
      error = pthread_cond_wait(&event->changed, &event->mutex);
    else
      error = pthread_cond_timedwait(&event->changed, &event->mutex, &until);
  }
  status = event->is_set || event->sets != sets ? ASOCK_OK : error == ETIMEDOUT ? ASOCK_TIMED_OUT : ASOCK_OS_ERROR;
  (void)pthread_mutex_unlock(&event->mutex);
  return status;
}

asock_status asock_event_destroy(asock_event *event) {
  if (event == NULL)
    return ASOCK_INVALID_ARGUMENT;
  (void)pthread_cond_destroy(&event->changed);
  (void)pthread_mutex_destroy(&event->mutex);
  return ASOCK_OK;
}
