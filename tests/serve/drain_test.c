/* drain_test.c -- how servers end: politely, in time, and not losing anybody. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/op.h"
#include "server.h"

struct model {
    const char *name;
    weir_model model;
    bool plain;
    weir_backend backend;
};

static const struct model models[] = {
    { "fibers on epoll", WEIR_FIBER, false, WEIR_EPOLL },
    { "fibers on io_uring", WEIR_FIBER, false, WEIR_IO_URING },
    { "one at a time in a fiber", WEIR_ITERATIVE, false, WEIR_AUTO },
    { "one at a time in a thread", WEIR_ITERATIVE, true, WEIR_AUTO },
    { "a thread for each", WEIR_THREAD, true, WEIR_AUTO },
    { "a process for each", WEIR_PROCESS, true, WEIR_AUTO },
    { "processes in stock", WEIR_PREFORK, true, WEIR_AUTO },
};

enum { MODELS = sizeof models / sizeof models[0] };

static struct plan plan_of(const struct model *m, int (*handler)(weir_conn *, void *))
{
    return (struct plan){ .opts = { .model = m->model, .max_conns = 2 },
                          .handler = handler,
                          .plain = m->plain,
                          .config = { .backend = m->backend } };
}

static bool is_serial(const struct model *m)
{
    return m->model == WEIR_ITERATIVE;
}

static void add(const char *promise, void (*fn)(const void *))
{
    char words[256];
    for (int i = 0; i < MODELS; i++) {
        snprintf(words, sizeof words, "%s (%s)", promise, models[i].name);
        test_register(words, fn, &models[i]);
    }
}

/* ---- handlers ---- */

/* A request has two halves of two bytes, and each is answered; the connection stays for more. */
static int answer_each(weir_conn *c, void *arg)
{
    char half[2];
    (void)arg;
    while (weir_idle(c) > 0) {
        if (weir_readn(c, half, 2) != 2 || weir_write(c, "half", 4) != 4)
            return -1;
        if (weir_readn(c, half, 2) != 2 || weir_write(c, "full", 4) != 4)
            return -1;
    }
    return WEIR_DONE;
}

static void ask_half(int fd)
{
    client_say(fd, "pi", 2);
    client_hear(fd, "half", 4);
}

static void ask_rest(int fd)
{
    client_say(fd, "ng", 2);
    client_hear(fd, "full", 4);
}

/* Deaf to drain. */
static int read_on(weir_conn *c, void *arg)
{
    char buf[64];
    ssize_t n;
    (void)arg;
    while ((n = weir_read(c, buf, sizeof buf)) > 0)
        if (weir_write(c, buf, (size_t)n) != n)
            return -1;
    return n < 0 ? -1 : WEIR_DONE;
}

/* ---- the promises of all models ---- */

/* The busy client has sent half a request when the server is told to stop. */
static void drains(const void *arg)
{
    const struct model *m = arg;
    struct plan p = plan_of(m, answer_each);
    struct server s;
    server_start(&s, &p);
    int idle = is_serial(m) ? -1 : client_open(s.port);
    if (idle >= 0) {
        ask_half(idle);
        ask_rest(idle);
    }
    int busy = client_open(s.port);
    ask_half(busy);
    CHECK_OK(kill(s.pid, SIGTERM));
    if (idle >= 0)
        CHECK_EQ(client_end(idle), 0);
    ask_rest(busy);
    CHECK_EQ(client_end(busy), 0);
    CHECK_EQ(server_join(&s), 0);
}

/* Two are served, as many as may; three more have connected and asked. */
static void queue_is_served(const void *arg)
{
    const struct model *m = arg;
    struct plan p = plan_of(m, answer_each);
    struct server s;
    int busy[2], queued[3], count = is_serial(m) ? 1 : 2;
    server_start(&s, &p);
    for (int i = 0; i < count; i++) {
        busy[i] = client_open(s.port);
        ask_half(busy[i]);
    }
    for (int i = 0; i < 3; i++) {
        queued[i] = client_open(s.port);
        client_say(queued[i], "ping", 4);
    }
    CHECK_OK(kill(s.pid, SIGTERM));
    for (int i = 0; i < count; i++) {
        ask_rest(busy[i]);
        CHECK_EQ(client_end(busy[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        client_hear(queued[i], "halffull", 8);
        CHECK_EQ(client_end(queued[i]), 0);
    }
    CHECK_EQ(server_join(&s), 0);
}

static void check_grace(const struct model *m, void (*before_it)(void))
{
    struct plan p = plan_of(m, read_on);
    struct server s;
    p.opts.drain = 200 * WEIR_MS;
    p.before = before_it;
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_echo(fd, 1, 10);
    int64_t before = clock_ns();
    CHECK_OK(kill(s.pid, SIGTERM));
    CHECK_EQ(client_end(fd), ECONNRESET);
    int64_t took = clock_ns() - before;
    CHECK(took >= 190 * WEIR_MS);
    CHECK(took < 2 * WEIR_SEC * test_slowness());
    CHECK_EQ(server_join(&s), 0);
}

static void grace_ends(const void *arg)
{
    check_grace(arg, NULL);
}

static int32_t fail_some(struct op *op)
{
    static atomic_uint polls;
    bool counts = op->kind == OP_POLL && op->flags & OP_FOREIGN;
    return counts && atomic_fetch_add(&polls, 1) % 4 < 3 ? -ENOMEM : 0;
}

static void become_short(void)
{
    op_interpose = fail_some;
}

/* What tells a plain thread of a signal and of the clock is a poll. */
static void stops_when_short(const void *arg)
{
    check_grace(arg, become_short);
}

/* A client still gets its answers while the server drains, until the second signal. */
static void second_signal(const void *arg)
{
    const struct model *m = arg;
    struct plan p = plan_of(arg, read_on);
    struct server s;
    p.opts.drain = 60 * WEIR_SEC;
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_echo(fd, 1, 10);
    CHECK_OK(kill(s.pid, SIGINT));
    if (!is_serial(m) && m->model != WEIR_PREFORK)
        server_await_refusal(&s);
    client_echo(fd, 2, 1000);
    int64_t before = clock_ns();
    CHECK_OK(kill(s.pid, SIGHUP));
    CHECK_EQ(client_end(fd), ECONNRESET);
    CHECK_EQ(server_join(&s), 0);
    CHECK(clock_ns() - before < 5 * WEIR_SEC * test_slowness());
}

/* Had the first signal been heard, SIGTERM would be the second one and cut the client off. */
static void outlives_terminal(const void *arg)
{
    struct plan p = plan_of(arg, read_on);
    struct server s;
    p.opts.drain = 60 * WEIR_SEC;
    CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_echo(fd, 1, 10);
    CHECK_OK(kill(s.pid, SIGHUP));
    CHECK_OK(kill(s.pid, SIGTERM));
    client_echo(fd, 2, 1000);
    CHECK_OK(shutdown(fd, SHUT_WR));
    CHECK_EQ(client_end(fd), 0);
    CHECK_EQ(server_join(&s), 0);
}

static void parked_leave(const void *arg)
{
    struct plan p = plan_of(arg, echo_parked);
    struct server s;
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_echo(fd, 1, 10);
    CHECK_OK(kill(s.pid, SIGHUP));
    CHECK_EQ(client_end(fd), 0);
    CHECK_EQ(server_join(&s), 0);
}

static void signals_untouched(const void *arg)
{
    struct plan p = plan_of(arg, answer_each);
    struct server s;
    p.opts.no_signals = true;
    orphans_adopt();
    server_start(&s, &p);
    int fd = client_open(s.port);
    ask_half(fd);
    CHECK_EQ(server_stop(&s, SIGTERM), 128 + SIGTERM);
    shutdown(fd, SHUT_WR);
    client_end(fd);
    orphans_join();
}

TEST_TABLE(models)
{
    add("SIGTERM lets the request in progress finish and closes idle connections", drains);
    add("clients who connected before the end of a server are still served", queue_is_served);
    add("connections that last longer than the grace period are reset", grace_ends);
    add("a server short of memory still hears of a signal, and ends in time", stops_when_short);
    add("a second signal ends everything at once", second_signal);
    add("a server that ignored SIGHUP when it began, as by nohup, goes on ignoring it",
        outlives_terminal);
    add("a server that stops closes parked connections at once", parked_leave);
    add("with no_signals a signal has its usual effect", signals_untouched);
}

/* ---- other ways to end ---- */

static int serve_here(void *arg)
{
    return weir_serve(arg, read_on, NULL, &(weir_serve_opts){ .drain = 100 * WEIR_MS }) ? errno : 0;
}

static weir_listener *listen_at(char *where, size_t size)
{
    char text[WEIR_ADDRSTR];
    weir_addr a;
    weir_listener *l = weir_listen("tcp://127.0.0.1:0", NULL);
    CHECK_OK(weir_local(l, &a));
    snprintf(where, size, "tcp://%s", weir_addr_str(&a, text, sizeof text));
    return l;
}

struct running {
    weir_group *group;
    weir_listener *listener;
    weir_conn *client;
};

static void run_begin(struct running *r)
{
    char where[WEIR_ADDRSTR + 8], byte;
    r->listener = listen_at(where, sizeof where);
    r->group = weir_group_open(NULL);
    CHECK_OK(weir_go(r->group, serve_here, r->listener));
    r->client = weir_dial(where, NULL);
    CHECK(r->client != NULL);
    CHECK_EQ(weir_write(r->client, "x", 1), 1);
    CHECK_EQ(weir_readn(r->client, &byte, 1), 1);
}

static void run_end(struct running *r, int result)
{
    char byte;
    CHECK_EQ(weir_group_wait(r->group), result);
    CHECK_ERRNO(weir_read(r->client, &byte, 1), ECONNRESET);
    CHECK_ERRNO(weir_close(r->listener), EBADF);
    CHECK_OK(weir_close(r->client));
    CHECK_OK(weir_close(r->group));
}

static int ways_to_end(void *arg)
{
    struct running r;
    (void)arg;
    run_begin(&r);
    CHECK_OK(weir_group_drain(r.group));
    run_end(&r, 0);
    run_begin(&r);
    CHECK_OK(weir_close(r.listener));
    run_end(&r, 0);
    run_begin(&r);
    CHECK_OK(weir_group_cancel(r.group));
    run_end(&r, ECANCELED);
    return 0;
}

/* Its acceptors on the other worker may hear of it before the task that serves does. */
static int cancelled_often(void *arg)
{
    struct running r;
    (void)arg;
    for (int i = 0; i < 200; i++) {
        run_begin(&r);
        CHECK_OK(weir_group_cancel(r.group));
        run_end(&r, ECANCELED);
    }
    return 0;
}

TEST(cancelled_end, "a cancelled server says so, whichever of its workers hears of it first")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, cancelled_often, NULL), 0);
}

TEST(other_ends, "a drained group and a closed listener end a server well, a cancelled one not")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, ways_to_end, NULL), 0);
}

static int serve_for(void *arg)
{
    char where[WEIR_ADDRSTR + 8];
    (void)arg;
    weir_listener *l = listen_at(where, sizeof where);
    WEIR_DEADLINE(50 * WEIR_MS);
    CHECK_ERRNO(weir_serve(l, echo, NULL, NULL), ETIME);
    return 0;
}

TEST(deadline, "a server ends with the deadline of its caller")
{
    CHECK_EQ(weir_run(NULL, serve_for, NULL), 0);
}

/* In a thread, the next wait of the task must not find what stopped the server. */
TEST(reusable, "a plain thread is as good as new after serving")
{
    char where[WEIR_ADDRSTR + 8], byte;
    weir_conn *pair[2];
    weir_listener *l = listen_at(where, sizeof where);
    sigset_t set, before, after;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    CHECK_OK(kill(getpid(), SIGTERM));
    CHECK_EQ(weir_serve(l, echo, NULL, &(weir_serve_opts){ .model = WEIR_ITERATIVE }), 0);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, &after), 0);
    CHECK_EQ(sigismember(&after, SIGTERM), 1);
    CHECK_EQ(sigismember(&after, SIGINT), 0);
    CHECK_EQ(weir_cancelled(), 0);
    CHECK_OK(weir_pair(pair));
    CHECK_EQ(weir_write(pair[0], "x", 1), 1);
    CHECK_EQ(weir_idle(pair[1]), 1);
    CHECK_EQ(weir_read(pair[1], &byte, 1), 1);
    CHECK_OK(weir_close(pair[0]));
    CHECK_OK(weir_close(pair[1]));
}
