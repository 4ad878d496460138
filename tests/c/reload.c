/*
 * A host of plug-ins: it loads the library, works with it on threads of its own, stops what it started, and unloads it,
 * again and again. Promise 8: that is safe, also for threads that were in the library and end after it was unloaded, and
 * leaves neither threads nor descriptors.
 *
 *   reload PATH-OF-THE-LIBRARY
 */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "asock.h"

#define TIMES 50

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "reload.c:%d: %s\n", __LINE__, #condition);              \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)

/* The library is loaded at run time, so its functions are looked up by name. */
struct library {
  __typeof__(asock_runtime_start) *runtime_start;
  __typeof__(asock_runtime_stop) *runtime_stop;
  __typeof__(asock_begin_timer) *begin_timer;
  __typeof__(asock_wait) *wait;
};

static struct library library;
static pthread_barrier_t worked, unloaded;
static int calls;

static void count_call(const asock_result *result, void *user_data) {
  CHECK(result->status == ASOCK_OK || result->status == ASOCK_STOPPED);
  CHECK(user_data == &calls);
  __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
}

/* Uses the library, and ends only when it has been unloaded. */
static void *work(void *runtime) {
  asock_op op;
  CHECK(library.begin_timer(*(asock_runtime *)runtime, 0, count_call, &calls, &op) == ASOCK_OK);
  CHECK(library.wait(op, -1) == ASOCK_OK);
  pthread_barrier_wait(&worked);
  pthread_barrier_wait(&unloaded);
  return NULL;
}

static int entries(const char *path) {
  int count = 0;
  DIR *directory = opendir(path);
  CHECK(directory != NULL);
  while (readdir(directory) != NULL)
    count++;
  closedir(directory);
  return count;
}

static void once(const char *path) {
  pthread_t thread;
  asock_runtime runtime;
  void *loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CHECK(loaded != NULL);
  *(void **)&library.runtime_start = dlsym(loaded, "asock_runtime_start");
  *(void **)&library.runtime_stop = dlsym(loaded, "asock_runtime_stop");
  *(void **)&library.begin_timer = dlsym(loaded, "asock_begin_timer");
  *(void **)&library.wait = dlsym(loaded, "asock_wait");
  CHECK(library.runtime_start && library.runtime_stop && library.begin_timer && library.wait);

  CHECK(library.runtime_start(NULL, &runtime) == ASOCK_OK);
  CHECK(pthread_create(&thread, NULL, work, &runtime) == 0);
  CHECK(library.begin_timer(runtime, 1000000, count_call, &calls, NULL) == ASOCK_OK);
  CHECK(library.begin_timer(0, 1000000, count_call, &calls, NULL) == ASOCK_OK);
  pthread_barrier_wait(&worked);
  CHECK(library.runtime_stop(runtime) == ASOCK_OK);
  CHECK(library.runtime_stop(0) == ASOCK_OK);
  CHECK(dlclose(loaded) == 0);
  pthread_barrier_wait(&unloaded);
  CHECK(pthread_join(thread, NULL) == 0);
}

int main(int count, char **arguments) {
  int descriptors = 0, threads = 0;
  CHECK(count == 2);
  CHECK(pthread_barrier_init(&worked, NULL, 2) == 0);
  CHECK(pthread_barrier_init(&unloaded, NULL, 2) == 0);
  for (int time = 1; time <= TIMES; time++) {
    once(arguments[1]);
    CHECK(calls == 3 * time);
    if (time == 1) {
      descriptors = entries("/proc/self/fd");
      threads = entries("/proc/self/task");
    }
  }
  CHECK(entries("/proc/self/fd") == descriptors);
  /* The system takes a thread off the list a moment after it has been joined. */
  for (int tries = 0; entries("/proc/self/task") > threads && tries < 1000; tries++)
    usleep(1000);
  CHECK(entries("/proc/self/task") <= threads);
  printf("%d times\n", TIMES);
  return 0;
}
