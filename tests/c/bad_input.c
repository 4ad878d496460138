/*
 * Bad input from C, over the public header only: NULL, unknown flags, lengths and hosts that cannot be. Each call must be
 * answered with the contract's status, write nothing, and leave no trace; valgrind must find nothing to say about it, so
 * the memory that is handed over ends exactly where it may be read.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asock.h"

static int failures;

#define EXPECT(expected, call)                                                                     \
    do {                                                                                           \
        asock_status status_ = (call);                                                             \
        if (status_ != (expected)) {                                                               \
            fprintf(stderr, "line %d: %s gives %s, not %s\n", __LINE__, #call,                     \
                    asock_status_name(status_), asock_status_name(expected));                      \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

#define REFUSED(call) EXPECT(ASOCK_INVALID_ARGUMENT, call)

/* What an out-parameter holds that nothing was written to. */
static const uint64_t untouched = 0x5a5a5a5a5a5a5a5aULL;

static void never(const asock_result *result, void *user_data)
{
    (void)user_data;
    fprintf(stderr, "a completion of kind %u came\n", (unsigned)result->kind);
    failures++;
}

static void *allocate(size_t size)
{
    void *memory = malloc(size);
    if (!memory)
        abort();
    return memory;
}

static void runtimes(void)
{
    asock_runtime runtime = untouched;
    asock_runtime_config config;
    size_t *small = allocate(sizeof *small);
    unsigned char *large = allocate(sizeof config + 16);

    memset(&config, 0, sizeof config);
    REFUSED(asock_runtime_start(NULL, NULL));
    REFUSED(asock_runtime_start(&config, &runtime)); /* size 0 */
    config.size = sizeof config;
    config.delivery = 2;
    REFUSED(asock_runtime_start(&config, &runtime));
    config.delivery = 0;
    config.backend = 77;
    REFUSED(asock_runtime_start(&config, &runtime));
    *small = sizeof *small; /* It is no longer than that, so nothing behind it may be read. */
    REFUSED(asock_runtime_start((const asock_runtime_config *)(void *)small, &runtime));
    memset(large, 0, sizeof config + 16);
    *(size_t *)(void *)large = sizeof config + 16;
    large[sizeof config + 15] = 1;
    REFUSED(asock_runtime_start((const asock_runtime_config *)(void *)large, &runtime));
    if (runtime != untouched)
        failures++;
    free(small);
    free(large);
}

static void hosts(asock_socket socket)
{
    asock_op op = untouched;
    asock_address address;
    /* The longest host and one byte more, without a zero: not one byte behind it may be read. */
    char *over_long = allocate(254);

    memset(over_long, 'x', 254);
    memset(&address, 0, sizeof address);
    REFUSED(asock_begin_connect(socket, over_long, 80, never, NULL, &op));
    REFUSED(asock_begin_connect(socket, NULL, 80, never, NULL, &op));
    REFUSED(asock_begin_connect(socket, "", 80, never, NULL, &op));
    REFUSED(asock_begin_connect(socket, "\xff\xfe", 80, never, NULL, &op));
    REFUSED(asock_begin_connect(socket, "127.0.0.1", 0, never, NULL, &op));
    REFUSED(asock_begin_connect_address(socket, NULL, never, NULL, &op));
    REFUSED(asock_begin_connect_address(socket, &address, never, NULL, &op));
    address.length = UINT32_MAX;
    REFUSED(asock_begin_connect_address(socket, &address, never, NULL, &op));
    REFUSED(asock_address_parse(over_long, 80, &address));
    REFUSED(asock_address_parse("127.1", 80, &address));
    REFUSED(asock_address_parse("127.0.0.1", 80, NULL));
    if (op != untouched)
        failures++;
    free(over_long);
}

static void transfers(asock_socket socket)
{
    asock_op op = untouched;
    char *byte = allocate(1);

    *byte = 'b';
    REFUSED(asock_begin_send(socket, NULL, 1, 0, never, NULL, &op));
    REFUSED(asock_begin_send(socket, byte, 1, 8, never, NULL, &op));
    REFUSED(asock_begin_send(socket, byte, SIZE_MAX, ASOCK_SEND_COPY, never, NULL, &op));
    REFUSED(asock_begin_send(socket, byte, (size_t)PTRDIFF_MAX + 1, 0, never, NULL, &op));
    REFUSED(asock_begin_receive(socket, NULL, 1, 0, never, NULL, &op));
    REFUSED(asock_begin_receive(socket, byte, 1, UINT32_MAX, never, NULL, &op));
    REFUSED(asock_begin_receive(socket, byte, SIZE_MAX, 0, never, NULL, &op));
    REFUSED(asock_begin_receive(socket, byte, 1, 0, NULL, NULL, NULL));
    REFUSED(asock_begin_close(socket, ASOCK_CLOSE_DRAIN | ASOCK_CLOSE_RESET, never, NULL, &op));
    REFUSED(asock_shutdown(socket, 0));
    REFUSED(asock_set_option(socket, 999, 1));
    REFUSED(asock_set_option(socket, ASOCK_OPTION_NODELAY, 2));
    REFUSED(asock_get_option(socket, ASOCK_OPTION_NODELAY, NULL));
    REFUSED(asock_local_address(socket, NULL));
    REFUSED(asock_remote_address(socket, NULL));
    if (op != untouched || *byte != 'b')
        failures++;
    free(byte);
}

static void handles(asock_socket stale)
{
    const uint64_t bad[] = {0, 1, UINT64_MAX, 0x123456789abcdef0ULL, stale};
    asock_result result;
    asock_op op = untouched;
    char byte = 0;
    size_t at;

    for (at = 0; at < sizeof bad / sizeof *bad; at++) {
        /* A bad handle comes before a bad argument. */
        EXPECT(ASOCK_BAD_HANDLE, asock_begin_send(bad[at], NULL, 1, 99, never, NULL, &op));
        EXPECT(ASOCK_BAD_HANDLE, asock_begin_receive(bad[at], &byte, 1, 0, never, NULL, &op));
        EXPECT(ASOCK_BAD_HANDLE, asock_begin_connect(bad[at], NULL, 0, never, NULL, &op));
        EXPECT(ASOCK_BAD_HANDLE, asock_begin_close(bad[at], 99, never, NULL, &op));
        EXPECT(ASOCK_BAD_HANDLE, asock_close(bad[at]));
        EXPECT(ASOCK_BAD_HANDLE, asock_wait(bad[at], -9));
        EXPECT(ASOCK_BAD_HANDLE, asock_end(bad[at], &result));
        EXPECT(ASOCK_BAD_HANDLE, asock_cancel(bad[at]));
        if (bad[at] != 0) {
            EXPECT(ASOCK_BAD_HANDLE, asock_open(bad[at], 99, NULL));
            EXPECT(ASOCK_BAD_HANDLE, asock_runtime_stop(bad[at]));
        }
    }
    if (op != untouched)
        failures++;
}

/* A length may be as large as it likes where nothing is read of it: the socket is not connected. */
static void the_largest_length(asock_socket socket)
{
    asock_op op = 0;
    asock_result result;
    char byte = 'b';

    EXPECT(ASOCK_OK, asock_begin_receive(socket, &byte, (size_t)PTRDIFF_MAX, 0, NULL, NULL, &op));
    EXPECT(ASOCK_OK, asock_end(op, &result));
    EXPECT(ASOCK_NOT_CONNECTED, result.status);
}

int main(void)
{
    asock_runtime runtime = 0;
    asock_socket socket = 0;
    asock_stats stats;

    runtimes();
    EXPECT(ASOCK_OK, asock_runtime_start(NULL, &runtime));
    EXPECT(ASOCK_OK, asock_open(runtime, ASOCK_STREAM, &socket));
    hosts(socket);
    transfers(socket);
    memset(&stats, 0, sizeof stats);
    REFUSED(asock_runtime_stats(runtime, NULL));
    REFUSED(asock_runtime_stats(runtime, &stats));
    stats.size = sizeof stats;
    EXPECT(ASOCK_OK, asock_runtime_stats(runtime, &stats));
    if (stats.operations_begun != 0 || stats.sockets_open != 1)
        failures++;
    the_largest_length(socket);
    EXPECT(ASOCK_OK, asock_close(socket));
    handles(socket);
    EXPECT(ASOCK_OK, asock_runtime_stop(runtime));
    handles(socket);
    return failures ? 1 : 0;
}
