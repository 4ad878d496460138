/*
 * A getaddrinfo that answers as a test tells it, to be preloaded where the machine does not allow a test its own name
 * server. It knows nothing but what asock_test_name has told it, and takes as long as that says.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MOST_ADDRESSES 64
#define HELD (~0u) /* the delay of a name that is not answered before something else is said of it */

struct entry {
  struct entry *next;
  char name[256];
  unsigned delay_ms;
  int code; /* 0, or one of EAI_... */
  char addresses[MOST_ADDRESSES * INET6_ADDRSTRLEN];
};

static struct entry *entries;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;

/* From now on `name` is answered after `delay_ms`: with a failure, or with addresses that are separated by spaces. */
void asock_test_name(const char *name, unsigned delay_ms, int code, const char *addresses);
void asock_test_name(const char *name, unsigned delay_ms, int code, const char *addresses) {
  struct entry *entry = calloc(1, sizeof *entry);
  if (!entry)
    abort();
  strncpy(entry->name, name, sizeof entry->name - 1);
  entry->delay_ms = delay_ms;
  entry->code = code;
  strncpy(entry->addresses, addresses, sizeof entry->addresses - 1);
  pthread_mutex_lock(&lock);
  entry->next = entries; /* What was said last counts. */
  entries = entry;
  pthread_cond_broadcast(&told);
  pthread_mutex_unlock(&lock);
}

static const struct entry *last_of(const char *name) {
  const struct entry *entry = entries;
  while (entry && strcasecmp(entry->name, name) != 0)
    entry = entry->next;
  return entry;
}

static struct entry find(const char *name) {
  static const struct entry unknown = {.code = EAI_NONAME};
  const struct entry *entry;
  pthread_mutex_lock(&lock);
  while ((entry = last_of(name)) && entry->delay_ms == HELD)
    pthread_cond_wait(&told, &lock);
  struct entry found = entry ? *entry : unknown;
  pthread_mutex_unlock(&lock);
  return found;
}

/* One element, in one piece of memory with its address. */
static struct addrinfo *element(const char *text) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  const void *address = &v4;
  size_t length = sizeof v4;
  if (inet_pton(AF_INET, text, &v4.sin_addr) != 1) {
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
      abort();
    address = &v6;
    length = sizeof v6;
  }
  struct addrinfo *made = calloc(1, sizeof *made + sizeof v6);
  if (!made)
    abort();
  made->ai_family = length == sizeof v4 ? AF_INET : AF_INET6;
  made->ai_socktype = SOCK_STREAM;
  made->ai_protocol = IPPROTO_TCP;
  made->ai_addrlen = (socklen_t)length;
  made->ai_addr = (struct sockaddr *)(made + 1);
  memcpy(made->ai_addr, address, length);
  return made;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  (void)service;
  (void)hints;
  struct entry entry = find(node);
  struct timespec delay = {entry.delay_ms / 1000, (long)(entry.delay_ms % 1000) * 1000000};
  nanosleep(&delay, NULL);
  if (entry.code != 0)
    return entry.code;
  struct addrinfo **tail = result;
  char *rest = NULL;
  *result = NULL;
  for (char *text = strtok_r(entry.addresses, " ", &rest); text; text = strtok_r(NULL, " ", &rest)) {
    *tail = element(text);
    tail = &(*tail)->ai_next;
  }
  return 0;
}

void freeaddrinfo(struct addrinfo *list) {
  while (list) {
    struct addrinfo *next = list->ai_next;
    free(list);
    list = next;
  }
}
