/*
 * A client for servers that nobody here wrote, over the public header only.
 *
 *   client DELIVERY download HOST PORT PATH BUFFER PENDING    fetches PATH over HTTP/1.0 through PENDING buffers of
 *                                                             BUFFER bytes each, and writes the body to the output
 *   client DELIVERY pairs HOST PORT COUNT                     sends COUNT pairs of SET and GET to a redis server without
 *                                                             waiting for an answer, and checks each answer
 *
 * DELIVERY is "callback" (a worker of the library calls back) or "poll" (this thread calls asock_poll). What is done with
 * a completion is the same function for both.
 */
#define _POSIX_C_SOURCE 200809L

#include <asock.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_BATCH = 64, LIMIT_MS = 60000 };

/* ---- the conversation that both jobs share ---- */

/* What a job does with the bytes that came; they come in order. Returns whether it has all that it wants. */
typedef int (*consume)(void *job, const char *data, size_t length);

struct text {
  const char *data;
  size_t length;
};

struct conversation {
  asock_runtime runtime;
  asock_socket socket;
  int by_callback;

  consume consume;
  void *job;
  int ends_with_stream; /* the end of the stream is the end of the job */
  int done;

  char *buffers; /* `pending` of them, each of `buffer_size` bytes */
  size_t buffer_size;
  size_t pending;

  size_t sends_begun;
  size_t bytes_begun;
  size_t sends_seen;
  size_t receives_begun;
  size_t receives_seen;

  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int closed; /* the completion of the close came: it is the last one of the socket */
};

/* A program of the tests: whatever is not as it must be ends it. */
static void require(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "client: %s\n", what);
    _Exit(EXIT_FAILURE);
  }
}

static void require_ok(const char *what, asock_status status) {
  if (status != ASOCK_OK) {
    fprintf(stderr, "client: %s: %s\n", what, asock_status_name(status));
    _Exit(EXIT_FAILURE);
  }
}

static void completed(const asock_result *result, void *user_data);

static asock_callback callback_of(const struct conversation *conversation) {
  return conversation->by_callback ? completed : NULL;
}

static void begin_send(struct conversation *conversation, const struct text *text) {
  conversation->sends_begun++;
  conversation->bytes_begun += text->length;
  require_ok("begin_send", asock_begin_send(conversation->socket, text->data, text->length, 0,
                                            callback_of(conversation), conversation, NULL));
}

static void begin_receive(struct conversation *conversation, char *buffer) {
  conversation->receives_begun++;
  require_ok("begin_receive", asock_begin_receive(conversation->socket, buffer, conversation->buffer_size, 0,
                                                  callback_of(conversation), conversation, NULL));
}

static void received(struct conversation *conversation, const asock_result *result) {
  conversation->receives_seen++;
  if (conversation->done) /* the others that were pending: the end once more, or the close */
    return;
  require_ok("receive", result->status);
  if (result->bytes > 0)
    conversation->done = conversation->consume(conversation->job, result->buffer, result->bytes);
  else {
    require(conversation->ends_with_stream, "the server closed too early");
    conversation->done = 1;
  }
  if (conversation->done)
    require_ok("begin_close", asock_begin_close(conversation->socket, 0, callback_of(conversation), conversation, NULL));
  else
    begin_receive(conversation, result->buffer);
}

/* The receives are begun here, not beside the sends, so that only one thread at a time counts them. */
static void connected(struct conversation *conversation, const asock_result *result) {
  size_t at;

  require_ok("connect", result->status);
  for (at = 0; at < conversation->pending; at++)
    begin_receive(conversation, conversation->buffers + at * conversation->buffer_size);
}

/* One completion. Those of one socket never run at the same time, so nothing here needs a lock but the last of them. */
static void completed(const asock_result *result, void *user_data) {
  struct conversation *conversation = user_data;

  require(result->socket == conversation->socket && result->user_data == user_data, "a foreign completion");
  switch (result->kind) {
  case ASOCK_KIND_CONNECT:
    connected(conversation, result);
    break;
  case ASOCK_KIND_SEND:
    require_ok("send", result->status);
    conversation->sends_seen++;
    break;
  case ASOCK_KIND_RECEIVE:
    received(conversation, result);
    break;
  case ASOCK_KIND_CLOSE:
    require_ok("close", result->status);
    pthread_mutex_lock(&conversation->mutex);
    conversation->closed = 1;
    pthread_cond_signal(&conversation->changed);
    pthread_mutex_unlock(&conversation->mutex);
    break;
  default:
    require(0, "a completion of an unknown kind");
  }
}

static void wait_for_close(struct conversation *conversation) {
  asock_result results[POLL_BATCH];
  size_t count, at;

  if (conversation->by_callback) {
    pthread_mutex_lock(&conversation->mutex);
    while (!conversation->closed)
      pthread_cond_wait(&conversation->changed, &conversation->mutex);
    pthread_mutex_unlock(&conversation->mutex);
    return;
  }
  while (!conversation->closed) {
    require_ok("poll", asock_poll(conversation->runtime, LIMIT_MS, results, POLL_BATCH, &count));
    require(count > 0, "nothing came for a minute");
    for (at = 0; at < count; at++)
      completed(&results[at], results[at].user_data);
  }
}

static void open_conversation(struct conversation *conversation, const char *delivery) {
  asock_runtime_config config;

  conversation->by_callback = strcmp(delivery, "callback") == 0;
  require(conversation->by_callback || strcmp(delivery, "poll") == 0, "delivery is 'callback' or 'poll'");
  memset(&config, 0, sizeof config);
  config.size = sizeof config;
  config.delivery = conversation->by_callback ? ASOCK_DELIVER_ON_WORKER : ASOCK_DELIVER_ON_POLL;
  require_ok("runtime_start", asock_runtime_start(&config, &conversation->runtime));
  require_ok("open", asock_open(conversation->runtime, ASOCK_STREAM, &conversation->socket));
  require_ok("set_option", asock_set_option(conversation->socket, ASOCK_OPTION_RECEIVE_TIMEOUT_MS, LIMIT_MS));
  require_ok("set_option", asock_set_option(conversation->socket, ASOCK_OPTION_SEND_TIMEOUT_MS, LIMIT_MS));
  pthread_mutex_init(&conversation->mutex, NULL);
  pthread_cond_init(&conversation->changed, NULL);
}

/* Begins the connect and all the sends at once: what follows the connect waits for it inside the library. */
static void converse(struct conversation *conversation, const char *host, uint16_t port, const struct text *texts,
                     size_t count) {
  asock_stats stats;
  size_t at;

  conversation->buffers = malloc(conversation->pending * conversation->buffer_size);
  require(conversation->buffers != NULL, "no memory");
  require_ok("begin_connect",
             asock_begin_connect(conversation->socket, host, port, callback_of(conversation), conversation, NULL));
  for (at = 0; at < count; at++)
    begin_send(conversation, &texts[at]);
  wait_for_close(conversation);

  /* The close is the last completion of its socket: by now each of the others must have been seen exactly once. */
  require(conversation->sends_seen == conversation->sends_begun, "a send was lost or came twice");
  require(conversation->receives_seen == conversation->receives_begun, "a receive was lost or came twice");
  memset(&stats, 0, sizeof stats);
  stats.size = sizeof stats;
  require_ok("runtime_stats", asock_runtime_stats(conversation->runtime, &stats));
  require(stats.bytes_sent == conversation->bytes_begun, "the bytes sent are not those begun");
  require_ok("runtime_stop", asock_runtime_stop(conversation->runtime));
  free(conversation->buffers);
}

/* ---- a file over HTTP ---- */

struct download {
  char head[4096];
  size_t head_length;
  int in_body;
  uint64_t expected;
  uint64_t written;
};

/* Takes the header's bytes one by one, for it may come in any pieces. Returns how many it took. */
static size_t take_head(struct download *download, const char *data, size_t length) {
  const char *field;
  size_t at;

  for (at = 0; at < length && !download->in_body; at++) {
    require(download->head_length < sizeof download->head - 1, "the header of the answer is too long");
    download->head[download->head_length++] = data[at];
    download->head[download->head_length] = '\0';
    download->in_body = download->head_length >= 4 &&
                        memcmp(download->head + download->head_length - 4, "\r\n\r\n", 4) == 0;
  }
  if (download->in_body) {
    require(strncmp(download->head, "HTTP/1.1 200 ", 13) == 0, "the server did not answer 200");
    field = strstr(download->head, "Content-Length: ");
    require(field != NULL, "the answer has no length");
    download->expected = strtoull(field + strlen("Content-Length: "), NULL, 10);
  }
  return at;
}

static int take_body(void *job, const char *data, size_t length) {
  struct download *download = job;
  size_t head = download->in_body ? 0 : take_head(download, data, length);

  if (length > head) /* the place behind the last byte is no place to write from */
    require(fwrite(data + head, 1, length - head, stdout) == length - head, "the output cannot be written");
  download->written += length - head;
  return 0; /* the end of the stream is the end */
}

static void run_download(struct conversation *conversation, const char *host, uint16_t port, const char *path) {
  static struct download download;
  char text[512];
  struct text request = { text, 0 };
  int length = snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host);

  require(length > 0 && (size_t)length < sizeof text, "the path is too long");
  request.length = (size_t)length;
  conversation->consume = take_body;
  conversation->job = &download;
  conversation->ends_with_stream = 1;
  converse(conversation, host, port, &request, 1);
  require(download.in_body && download.written == download.expected, "the answer is not as long as it says");
  require(fflush(stdout) == 0, "the output cannot be written");
  fprintf(stderr, "%" PRIu64 " bytes in %lu receives\n", download.written, (unsigned long)conversation->receives_seen);
}

/* ---- pairs of SET and GET ---- */

enum { VALUE_MAX = 3000, PAIR_MAX = VALUE_MAX + 256 };

struct pairs {
  size_t count;
  size_t at;              /* the pair whose answers are due; `count`: that of DBSIZE */
  char expected[PAIR_MAX]; /* the answers that are due, byte by byte */
  size_t length;
  size_t seen;
};

/* The value of a pair: 0 to 2999 bytes of every kind, line ends and zeros among them, that only this pair has. */
static size_t make_value(size_t pair, char *value) {
  size_t length = pair * 7919 % VALUE_MAX;
  uint32_t state = (uint32_t)pair * 2654435761u + 1;
  size_t at;

  for (at = 0; at < length; at++) {
    state = state * 1664525u + 1013904223u;
    value[at] = (char)(state >> 24);
  }
  return length;
}

/* "HEAD<length>\r\n<value>\r\n", as redis wants a value in both directions. */
static size_t put_value(char *text, size_t pair, const char *head) {
  char value[VALUE_MAX];
  size_t length = make_value(pair, value);
  size_t at = (size_t)sprintf(text, "%s$%lu\r\n", head, (unsigned long)length);

  memcpy(text + at, value, length);
  memcpy(text + at + length, "\r\n", 2);
  return at + length + 2;
}

static void expect(struct pairs *pairs) {
  if (pairs->at < pairs->count)
    pairs->length = put_value(pairs->expected, pairs->at, "+OK\r\n");
  else
    pairs->length = (size_t)sprintf(pairs->expected, ":%lu\r\n", (unsigned long)pairs->count);
  pairs->seen = 0;
}

static int take_answers(void *job, const char *data, size_t length) {
  struct pairs *pairs = job;

  while (length > 0) {
    size_t due = pairs->length - pairs->seen;
    size_t part = length < due ? length : due;

    require(pairs->at <= pairs->count, "an answer that nobody asked for");
    if (memcmp(data, pairs->expected + pairs->seen, part) != 0) {
      fprintf(stderr, "client: the answer of pair %lu is wrong\n", (unsigned long)pairs->at);
      _Exit(EXIT_FAILURE);
    }
    pairs->seen += part;
    data += part;
    length -= part;
    if (pairs->seen == pairs->length) {
      pairs->at++;
      expect(pairs);
    }
  }
  return pairs->at > pairs->count;
}

static struct text copy_of(const char *data, size_t length) {
  char *copy = malloc(length);
  struct text text;

  require(copy != NULL, "no memory");
  memcpy(copy, data, length);
  text.data = copy;
  text.length = length;
  return text;
}

static struct text set_command(size_t pair) {
  char text[PAIR_MAX], head[128], key[32];
  int length = sprintf(key, "key:%lu", (unsigned long)pair);

  sprintf(head, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n", length, key);
  return copy_of(text, put_value(text, pair, head));
}

static struct text get_command(size_t pair) {
  char text[128], key[32];
  int length = sprintf(key, "key:%lu", (unsigned long)pair);

  return copy_of(text, (size_t)sprintf(text, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", length, key));
}

static void run_pairs(struct conversation *conversation, const char *host, uint16_t port, size_t count) {
  static struct pairs pairs;
  struct text *texts = calloc(2 * count + 1, sizeof *texts);
  size_t at, made = 0;

  require(texts != NULL && count > 0, "no memory, or nothing to do");
  for (at = 0; at < count; at++) {
    texts[made++] = set_command(at);
    texts[made++] = get_command(at);
  }
  texts[made++] = copy_of("*1\r\n$6\r\nDBSIZE\r\n", 16);
  pairs.count = count;
  expect(&pairs);
  conversation->consume = take_answers;
  conversation->job = &pairs;
  converse(conversation, host, port, texts, made);
  require(pairs.at == count + 1, "an answer is missing");
  fprintf(stderr, "%lu pairs, each as it was sent\n", (unsigned long)count);
  for (at = 0; at < made; at++)
    free((char *)texts[at].data);
  free(texts);
}

/* ---- the command line ---- */

static unsigned long number(const char *text) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);

  require(end != text && *end == '\0', "not a number");
  return value;
}

int main(int count, char **arguments) {
  static struct conversation conversation;
  uint16_t port;

  require(count >= 6, "usage: client DELIVERY download|pairs HOST PORT ...");
  port = (uint16_t)number(arguments[4]);
  open_conversation(&conversation, arguments[1]);
  if (strcmp(arguments[2], "download") == 0 && count == 8) {
    conversation.buffer_size = number(arguments[6]);
    conversation.pending = number(arguments[7]);
    run_download(&conversation, arguments[3], port, arguments[5]);
  } else {
    require(strcmp(arguments[2], "pairs") == 0 && count == 6, "see the head of this file");
    conversation.buffer_size = 16384;
    conversation.pending = 4;
    run_pairs(&conversation, arguments[3], port, number(arguments[5]));
  }
  return EXIT_SUCCESS;
}
