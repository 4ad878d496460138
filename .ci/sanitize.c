/* What .ci/sanitize links into every program that it builds, by `-Wl,--wrap`: a sanitizer sees what C functions do to
   memory, but neither what a system call does that is made past them nor what the kernel does for a ring. This tells it.

   A send reads its bytes and a receive writes its room on the thread that calls. What a ring is given may be used from
   then until its completion, so it is looked at both times; what the kernel wrote counts as written by the thread that
   fetches the completion. Each ring is used by one thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* Of the one sanitizer that is there. */
#pragma weak __tsan_read_range
#pragma weak __tsan_write_range
#pragma weak __asan_loadN
#pragma weak __asan_storeN
void __tsan_read_range(void *start, unsigned long length);
void __tsan_write_range(void *start, unsigned long length);
void __asan_loadN(void *start, long length);
void __asan_storeN(void *start, long length);
#pragma weak __lsan_register_root_region
void __lsan_register_root_region(const void *start, size_t length);

long __real_syscall(long number, ...);
void *__real_mmap(void *place, size_t length, int protection, int flags, int file, off_t offset);

enum { RINGS = 1 << 16, REQUESTS = 1 << 16 };

/* A request that the kernel has, or has had. */
struct request {
  uint64_t data, start;
  uint32_t length;
  uint8_t opcode; /* 0: the place is free */
  uint8_t held;
};

struct ring {
  struct io_uring_params params;
  char *queues;
  struct io_uring_sqe *entries;
  struct request *requests;
  uint32_t seen; /* completions */
};

static struct ring *rings[RINGS]; /* by descriptor */

static void reads(uint64_t start, uint64_t length) {
  if (length > 0 && __asan_loadN)
    __asan_loadN((void *)start, (long)length);
  if (length > 0 && __tsan_read_range)
    __tsan_read_range((void *)start, length);
}

/* The room may be written. */
static void needs(uint64_t start, uint64_t length) {
  if (length > 0 && __asan_storeN)
    __asan_storeN((void *)start, (long)length);
}

static void wrote(uint64_t start, uint64_t length) {
  if (length > 0 && __tsan_write_range)
    __tsan_write_range((void *)start, length);
}

static void *room(size_t length) {
  void *made = __real_mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return made == MAP_FAILED ? 0 : made;
}

static struct ring *ring_of(long file) { return file >= 0 && file < RINGS ? rings[file] : 0; }

static void remember_ring(long file, const struct io_uring_params *params) {
  if (file >= RINGS)
    return;
  if (!rings[file]) {
    rings[file] = room(sizeof(struct ring));
    if (!rings[file])
      return;
  }
  struct request *requests = rings[file]->requests;
  if (requests)
    munmap(requests, REQUESTS * sizeof *requests);
  *rings[file] = (struct ring){.params = *params, .requests = room(REQUESTS * sizeof *requests)};
}

static struct request *find(struct ring *ring, uint64_t data) {
  uint32_t at = (uint32_t)(data * 0x9E3779B97F4A7C15u >> 48);
  for (int tries = 0; tries < 64; tries++, at++) {
    struct request *request = &ring->requests[at % REQUESTS];
    if (request->opcode == 0 || request->data == data)
      return request;
  }
  return 0;
}

/* What a request lets the kernel do: `took` is less than 0 while that is not known. */
static void look_at(const struct request *request, int64_t took) {
  const struct msghdr *message = (const struct msghdr *)request->start;
  switch (request->opcode) {
  case IORING_OP_SEND:
    reads(request->start, request->length);
    return;
  case IORING_OP_ACCEPT:
    needs(request->start, request->length);
    return;
  case IORING_OP_RECV:
    needs(request->start, request->length);
    if (took > 0)
      wrote(request->start, (uint64_t)took < request->length ? (uint64_t)took : request->length);
    return;
  }
  reads(request->start, sizeof *message);
  reads((uint64_t)message->msg_iov, message->msg_iovlen * sizeof *message->msg_iov);
  int64_t left = took;
  for (size_t at = 0; at < message->msg_iovlen; at++) {
    uint64_t start = (uint64_t)message->msg_iov[at].iov_base, length = message->msg_iov[at].iov_len;
    if (request->opcode == IORING_OP_SENDMSG) {
      reads(start, length);
    } else {
      needs(start, length);
      if (left > 0)
        wrote(start, (uint64_t)left < length ? (uint64_t)left : length);
      left -= (int64_t)length;
    }
  }
}

static void submitted(struct ring *ring, uint32_t count) {
  const struct io_sqring_offsets *at = &ring->params.sq_off;
  const uint32_t *array = (const uint32_t *)(ring->queues + at->array);
  uint32_t head = *(volatile uint32_t *)(ring->queues + at->head);
  uint32_t mask = *(uint32_t *)(ring->queues + at->ring_mask);
  for (uint32_t i = 0; i < count; i++) {
    const struct io_uring_sqe *entry = &ring->entries[array[(head + i) & mask] & mask];
    struct request new = {entry->user_data, entry->addr, entry->len, entry->opcode, 1};
    switch (entry->opcode) {
    case IORING_OP_CONNECT: /* the kernel copies the address at once */
      reads(entry->addr, entry->off);
      continue;
    case IORING_OP_ACCEPT:
      new.length = entry->addr2 ? *(const uint32_t *)entry->addr2 : 0;
      break;
    case IORING_OP_SEND:
    case IORING_OP_RECV:
    case IORING_OP_SENDMSG:
    case IORING_OP_RECVMSG:
      break;
    default:
      continue;
    }
    struct request *request = find(ring, new.data);
    if (request)
      *request = new;
    look_at(&new, -1);
  }
}

static void completed(struct ring *ring) {
  const struct io_cqring_offsets *at = &ring->params.cq_off;
  const struct io_uring_cqe *completions = (const struct io_uring_cqe *)(ring->queues + at->cqes);
  uint32_t mask = *(uint32_t *)(ring->queues + at->ring_mask);
  uint32_t tail = __atomic_load_n((uint32_t *)(ring->queues + at->tail), __ATOMIC_ACQUIRE);
  for (; ring->seen != tail; ring->seen++) {
    const struct io_uring_cqe *completion = &completions[ring->seen & mask];
    struct request *request = find(ring, completion->user_data);
    if (request && request->held) {
      request->held = 0;
      look_at(request, completion->res);
    }
  }
}

/* What the pages of `PerProcess` point to is in use: nobody looks for pointers in a mapping that is not told of. */
void *__wrap_mmap(void *place, size_t length, int protection, int flags, int file, off_t offset) {
  void *made = __real_mmap(place, length, protection, flags, file, offset);
  struct ring *ring = ring_of(file);
  if (ring && made != MAP_FAILED && offset == (off_t)IORING_OFF_SQ_RING)
    ring->queues = made;
  else if (ring && made != MAP_FAILED && offset == (off_t)IORING_OFF_SQES)
    ring->entries = made;
  if (made != MAP_FAILED && length == sizeof(void *) && __lsan_register_root_region)
    __lsan_register_root_region(made, length);
  return made;
}

long __wrap_syscall(long number, ...) {
  va_list list;
  long argument[6];
  va_start(list, number);
  for (int i = 0; i < 6; i++)
    argument[i] = va_arg(list, long);
  va_end(list);

  struct ring *ring = number == SYS_io_uring_enter ? ring_of(argument[0]) : 0;
  int known = ring && ring->queues && ring->entries && ring->requests;
  if (known)
    submitted(ring, (uint32_t)argument[1]);
  else if (number == SYS_sendto)
    reads((uint64_t)argument[1], (uint64_t)argument[2]);
  else if (number == SYS_recvfrom)
    needs((uint64_t)argument[1], (uint64_t)argument[2]);

  long answer = __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);

  int error = errno;
  if (known)
    completed(ring);
  else if (number == SYS_recvfrom && answer > 0)
    wrote((uint64_t)argument[1], answer < argument[2] ? (uint64_t)answer : (uint64_t)argument[2]);
  else if (number == SYS_epoll_pwait && answer > 0)
    wrote((uint64_t)argument[1], (uint64_t)answer * sizeof(struct epoll_event));
  else if (number == SYS_io_uring_setup && answer >= 0)
    remember_ring(answer, (const struct io_uring_params *)argument[1]);
  errno = error;
  return answer;
}
