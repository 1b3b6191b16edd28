/* park_test.c -- connections that wait for their peer without a stack. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server.h"

enum { CROWD = 1000, PARKED_BYTES_MAX = 512 };

/* ---- memory ---- */

/* What is resident of a process and its own: anonymous and not shared with anybody. */
static int64_t private_bytes(pid_t pid)
{
    char path[64], line[128];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(path, "re");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            break;
    fclose(f);
    CHECK(kib > 0);
    return kib * 1024;
}

static void open_and_echo(int port, int *fds, unsigned seed)
{
    for (unsigned i = 0; i < CROWD; i++) {
        fds[i] = client_open(port);
        client_echo(fds[i], seed + i, 10);
    }
}

/* The second thousand is measured: by then the pools and tables are there. */
static void thousands_park(weir_backend backend)
{
    static int fds[2][CROWD];
    struct plan p = { .handler = echo_parked, .config = { .backend = backend, .workers = 1 } };
    struct server s;
    struct rlimit limit = { 4096, 4096 };
    if (setrlimit(RLIMIT_NOFILE, &limit))
        SKIP("this machine does not allow 4096 descriptors");
    server_start(&s, &p);
    open_and_echo(s.port, fds[0], 1);
    int64_t before = private_bytes(s.pid);
    open_and_echo(s.port, fds[1], 2);
    int64_t each = (private_bytes(s.pid) - before) / CROWD;
    printf("%d bytes each\n", (int)each);
    if (test_slowness() == 1 && each > PARKED_BYTES_MAX)
        FAIL("a parked connection costs %d bytes of memory", (int)each);
    for (unsigned i = 0; i < CROWD; i++) {
        client_echo(fds[i % 2][i], 3 + i, 3000);
        client_finish(fds[0][i]);
        client_finish(fds[1][i]);
    }
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

TEST(thousands_epoll, "a parked connection costs at most 512 bytes, and goes on, on epoll")
{
    thousands_park(WEIR_EPOLL);
}

TEST(thousands_uring, "a parked connection costs at most 512 bytes, and goes on, on io_uring")
{
    thousands_park(WEIR_IO_URING);
}

/* ---- what a handler finds when it is called again ---- */

static int count_visits(weir_conn *c, void *arg)
{
    char byte;
    long visits = (long)(intptr_t)weir_data(c) + 1;
    (void)arg;
    weir_setdata(c, (void *)(intptr_t)visits);
    if (weir_read(c, &byte, 1) != 1)
        return WEIR_DONE;
    byte = (char)('0' + visits);
    return weir_write(c, &byte, 1) == 1 ? WEIR_PARK : -1;
}

TEST(data, "weir_data survives parking")
{
    struct plan p = { .handler = count_visits };
    struct server s;
    server_start(&s, &p);
    int a = client_open(s.port), b = client_open(s.port);
    for (char byte = '1'; byte < '9'; byte++) {
        client_say(a, "x", 1);
        client_hear(a, &byte, 1);
        client_say(b, "x", 1);
        client_hear(b, &byte, 1);
    }
    client_finish(a);
    client_finish(b);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

/* One line per visit, of which several come at once. */
static int answer_line(weir_conn *c, void *arg)
{
    char line[16];
    ssize_t n = weir_getline(c, line, sizeof line);
    atomic_int *runs = arg;
    if (runs)
        atomic_fetch_add(runs, 1);
    if (n < 0)
        return WEIR_DONE;
    return weir_printf(c, "<%s>", line) > 0 ? WEIR_PARK : -1;
}

TEST(buffered, "what is buffered when a handler parks is handled at once")
{
    struct plan p = { .handler = answer_line };
    struct server s;
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_say(fd, "one\ntwo\nthree\nfo", 16);
    client_hear(fd, "<one><two><three>", 17);
    client_say(fd, "ur\n", 3);
    client_hear(fd, "<four>", 6);
    client_finish(fd);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

/* Takes four bytes or none: leaves what there is lying until there are four. */
static int answer_four(weir_conn *c, void *arg)
{
    const void *bytes;
    ssize_t n;
    {
        WEIR_TRY;
        n = weir_peek(c, &bytes, 4);
    }
    if (n < 0 && errno == EAGAIN)
        return WEIR_PARK; /* the first call may come before the first byte */
    atomic_fetch_add((atomic_int *)arg, 1);
    if (n <= 0)
        return WEIR_DONE;
    if (n < 4)
        return weir_write(c, ".", 1) == 1 ? WEIR_PARK : -1;
    if (weir_skip(c, 4) || weir_write(c, "4", 1) != 1)
        return -1;
    return WEIR_PARK;
}

static void unconsumed(struct plan p)
{
    atomic_int *runs = shared(sizeof *runs);
    struct server s;
    p.handler = answer_four;
    p.arg = runs;
    server_start(&s, &p);
    int fd = client_open(s.port);
    for (int i = 0; i < 3; i++) {
        client_say(fd, "x", 1);
        client_hear(fd, ".", 1);
    }
    client_say(fd, "x", 1);
    client_hear(fd, "4", 1);
    client_say(fd, "xxxxx", 5);
    client_hear(fd, "4.", 2);
    CHECK_EQ(atomic_load(runs), 6);
    client_finish(fd);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

TEST(unconsumed, "a handler that leaves half a message lying is called again when more has come")
{
    unconsumed((struct plan){ .config = { .workers = 1 } });
}

TEST(unconsumed_thread, "so it is in a thread")
{
    unconsumed((struct plan){ .plain = true, .opts = { .model = WEIR_THREAD } });
}

static int park_always(weir_conn *c, void *arg)
{
    char byte;
    atomic_int *runs = arg;
    atomic_fetch_add(runs, 1);
    weir_read(c, &byte, 1);
    return WEIR_PARK;
}

static void parks_at_end(struct plan p)
{
    atomic_int *runs = shared(sizeof *runs);
    struct server s;
    p.handler = park_always;
    p.arg = runs;
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_finish(fd);
    CHECK_EQ(atomic_load(runs), 1);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

TEST(at_end, "a connection that parks after the end of its input is closed")
{
    parks_at_end((struct plan){ .config = { .workers = 1 } });
}

TEST(at_end_thread, "and so it is in a thread")
{
    parks_at_end((struct plan){ .plain = true, .opts = { .model = WEIR_THREAD } });
}

/* ---- silence ---- */

static void silence(struct plan p)
{
    struct server s;
    weir_opts o = { .read_stall = 100 * WEIR_MS };
    p.handler = echo_parked;
    p.listen = &o;
    server_start(&s, &p);
    int loud = client_open(s.port), silent = client_open(s.port);
    client_echo(silent, 1, 10);
    int64_t before = clock_ns();
    struct timeval limit = { .tv_usec = 20000 };
    CHECK_OK(setsockopt(silent, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    char byte;
    do
        client_echo(loud, 2, 1);
    while (recv(silent, &byte, 1, 0) < 0);
    int64_t took = clock_ns() - before;
    CHECK(took >= 90 * WEIR_MS && took < 1 * WEIR_SEC * test_slowness());
    close(silent);
    client_echo(loud, 3, 1);
    client_finish(loud);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

TEST(silent, "a parked connection is closed when its peer is silent for read_stall, others are not")
{
    silence((struct plan){ .config = { .workers = 1 } });
}

TEST(silent_thread, "and so in a thread")
{
    silence((struct plan){ .plain = true, .opts = { .model = WEIR_THREAD } });
}

/* ---- closing what is parked ---- */

struct table {
    weir_mutex mutex;
    weir_conn *conns[CROWD];
    int count;
    atomic_int closed;
};

static int enlist_and_park(weir_conn *c, void *arg)
{
    struct table *t = arg;
    char byte;
    if (weir_read(c, &byte, 1) != 1)
        return WEIR_DONE;
    if (byte == '!') {
        weir_lock(&t->mutex);
        for (int i = 0; i < t->count; i++)
            if (t->conns[i] != c)
                CHECK_OK(i % 2 ? weir_close(t->conns[i]) : weir_abort(t->conns[i]));
        weir_unlock(&t->mutex);
    } else {
        weir_lock(&t->mutex);
        t->conns[t->count++] = c;
        weir_unlock(&t->mutex);
    }
    return weir_write(c, &byte, 1) == 1 ? WEIR_PARK : -1;
}

static void count_closed(weir_conn *c, void *arg)
{
    struct table *t = arg;
    (void)c;
    atomic_fetch_add(&t->closed, 1);
}

/* The clients are spread over the workers, so most are closed from another one. */
static void closes_parked(weir_backend backend)
{
    struct table *t = shared(sizeof *t);
    struct plan p = { .handler = enlist_and_park,
                      .arg = t,
                      .opts = { .on_close = count_closed },
                      .config = { .backend = backend } };
    struct server s;
    int fds[100];
    server_start(&s, &p);
    for (int i = 0; i < 100; i++) {
        fds[i] = client_open(s.port);
        client_say(fds[i], "x", 1);
        client_hear(fds[i], "x", 1);
    }
    int closer = client_open(s.port);
    client_say(closer, "!", 1);
    client_hear(closer, "!", 1);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(client_end(fds[i]), i % 2 ? 0 : ECONNRESET);
    client_finish(closer);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    CHECK_EQ(atomic_load(&t->closed), 101);
}

TEST(close_epoll, "any fiber can close a connection that is parked on another worker, on epoll")
{
    closes_parked(WEIR_EPOLL);
}

TEST(close_uring, "any fiber can close a connection that is parked on another worker, on io_uring")
{
    closes_parked(WEIR_IO_URING);
}

/* ---- what a closed connection leaves ---- */

struct left {
    struct table table;
    atomic_int with, without; /* calls of on_close that found the pointer, or not */
};

static void attach(weir_conn *c, void *arg)
{
    weir_setdata(c, arg);
}

static void note_left(weir_conn *c, void *arg)
{
    struct left *left = arg;
    atomic_fetch_add(weir_data(c) == arg ? &left->with : &left->without, 1);
}

/* '!' closes the others, and '|' shuts them down. */
static int send_away_and_park(weir_conn *c, void *arg)
{
    struct table *t = arg;
    char byte;
    if (weir_read(c, &byte, 1) != 1)
        return WEIR_DONE;
    weir_lock(&t->mutex);
    for (int i = 0; byte != 'x' && i < t->count; i++)
        CHECK_OK(byte == '!' ? weir_close(t->conns[i]) : weir_shutdown(t->conns[i], SHUT_RDWR));
    if (byte == 'x')
        t->conns[t->count++] = c;
    weir_unlock(&t->mutex);
    return weir_write(c, &byte, 1) == 1 ? WEIR_PARK : -1;
}

static void sent_away(const char *how, weir_model model, bool plain, int with, int without)
{
    enum { GUESTS = 8 };
    struct left *left = shared(sizeof *left);
    struct plan p = { .handler = send_away_and_park, .arg = left, .plain = plain,
                      .opts = { .model = model, .on_open = attach, .on_close = note_left } };
    struct server s;
    int fds[GUESTS];
    server_start(&s, &p);
    for (int i = 0; i < GUESTS; i++) {
        fds[i] = client_open(s.port);
        client_say(fds[i], "x", 1);
        client_hear(fds[i], "x", 1);
    }
    int closer = client_open(s.port);
    client_say(closer, how, 1);
    client_hear(closer, how, 1);
    for (int i = 0; i < GUESTS; i++)
        CHECK_EQ(client_end(fds[i]), 0);
    client_finish(closer);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    CHECK_EQ(atomic_load(&left->with), with * GUESTS + 1);
    CHECK_EQ(atomic_load(&left->without), without * GUESTS);
}

TEST(shut_down, "of a connection that is shut down while it is parked, on_close finds the pointer")
{
    sent_away("|", WEIR_FIBER, false, 1, 0);
    sent_away("|", WEIR_THREAD, true, 1, 0);
}

TEST(closed, "of one that the program closes itself, on_close is called and finds no pointer")
{
    sent_away("!", WEIR_FIBER, false, 0, 1);
    sent_away("!", WEIR_THREAD, true, 0, 1);
}

/* Clients speak, close and are closed all at the same time. */
static int close_next(weir_conn *c, void *arg)
{
    struct table *t = arg;
    char byte;
    if (weir_read(c, &byte, 1) != 1)
        return WEIR_DONE;
    weir_lock(&t->mutex);
    weir_conn *other = t->conns[t->count % CROWD];
    t->conns[t->count++ % CROWD] = c;
    weir_unlock(&t->mutex);
    if (other)
        weir_close(other);
    return weir_write(c, &byte, 1) == 1 ? WEIR_PARK : -1;
}

static void closing_storm(weir_backend backend)
{
    enum { HANDS = 20, ROUNDS = 3000 };
    struct table *t = shared(sizeof *t);
    struct plan p = { .handler = close_next,
                      .arg = t,
                      .opts = { .on_close = count_closed },
                      .config = { .backend = backend } };
    struct server s;
    int fds[HANDS], opened = HANDS;
    char byte;
    t->count = CROWD - HANDS / 2; /* closes the one that spoke half a round ago */
    server_start(&s, &p);
    for (int i = 0; i < HANDS; i++)
        fds[i] = client_open(s.port);
    for (int i = 0; i < ROUNDS; i++) {
        int *fd = &fds[i % HANDS];
        bool said = send(*fd, "x", 1, MSG_NOSIGNAL) == 1;
        if (said && i % 3)
            continue; /* the answer is looked at in another round */
        if (said && recv(*fd, &byte, 1, 0) == 1 && i % 5)
            continue;
        close(*fd);
        *fd = client_open(s.port);
        opened++;
    }
    for (int i = 0; i < HANDS; i++)
        close(fds[i]);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    CHECK_EQ(atomic_load(&t->closed), opened);
}

TEST(storm_epoll, "parking, speaking and closing at the same time loses no connection, on epoll")
{
    closing_storm(WEIR_EPOLL);
}

TEST(storm_uring, "parking, speaking and closing at the same time loses no connection, on io_uring")
{
    closing_storm(WEIR_IO_URING);
}
