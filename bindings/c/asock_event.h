/*
 * asock: a manual-reset event, as .NET's ManualResetEvent.
 *
 * One thread waits for what another, often the worker in a callback, says by setting the event. It stays set, and lets
 * every wait through, until somebody resets it. Compile asock_blocking.c along. C99 and C++11.
 *
 *   asock_event done;
 *
 *   static void received(const asock_result *result, void *user_data) {
 *     (void)result;
 *     asock_event_set((asock_event *)user_data);
 *   }
 *
 *   asock_event_init(&done);
 *   asock_begin_receive(socket, buffer, sizeof buffer, 0, received, &done, NULL);
 *   asock_event_wait(&done, -1);
 *   asock_event_destroy(&done);
 *
 * What is written before a set is seen after the wait that it lets through. To wait for one operation, asock_wait and
 * asock_end need no event; an event is for several threads, several operations, or a condition of the application's
 * own.
 */
#ifndef ASOCK_EVENT_H
#define ASOCK_EVENT_H

#include <asock.h>

#if defined(_WIN32)
#error "asock_event: this version is for POSIX threads"
#endif
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A manual-reset event. From `asock_event_init` until `asock_event_destroy`; not to be copied or moved between them.
 * Its members are for the functions below only.
 */
typedef struct asock_event {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  /** 1 while it is set. */
  int is_set;
  /** How often it was set: a wait sees by it that it was let through, also when a reset came at once. */
  uint64_t sets;
} asock_event;

/**
 * Makes an event, which is not set. Memory that holds no event, or one that was destroyed.
 *
 * Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for NULL; ASOCK_OUT_OF_MEMORY; ASOCK_OS_ERROR.
 */
asock_status asock_event_init(asock_event *event);

/**
 * Sets an event: all who wait for it go on, even if it is reset at once, and so do later waits until it is reset. To
 * set it again changes nothing.
 *
 * Any thread, also inside a callback; never waits. The event may be destroyed by a thread that this has let through
 * while this call has not returned yet. Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for NULL.
 */
asock_status asock_event_set(asock_event *event);

/**
 * Resets an event: later waits wait. To reset it again changes nothing.
 *
 * Any thread, also inside a callback; never waits. Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for NULL.
 */
asock_status asock_event_reset(asock_event *event);

/**
 * Waits until an event is set, at most `timeout_ms` milliseconds (0: only asks; -1: without limit), on a clock that
 * nobody sets. The event stays set.
 *
 * Any thread, several at a time, but never inside a callback: an event does not know what its waiter holds up, so
 * that nobody answers ASOCK_WOULD_DEADLOCK here. Returns ASOCK_OK; ASOCK_TIMED_OUT past the limit;
 * ASOCK_INVALID_ARGUMENT for NULL or a `timeout_ms` below -1.
 */
asock_status asock_event_wait(asock_event *event, int32_t timeout_ms);

/**
 * Ends an event, for which nobody waits any more.
 *
 * Returns ASOCK_OK; ASOCK_INVALID_ARGUMENT for NULL.
 */
asock_status asock_event_destroy(asock_event *event);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ASOCK_EVENT_H */
