/* exhaustion_test.c -- a server without descriptors: calm, harmless, and back at once. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server.h"

enum { NOFILE = 64, CLIENTS = 100 };

struct model {
    const char *name;
    weir_model model;
    bool plain;
    weir_backend backend;
    int max_fds; /* of weir_config: beyond the limit of the process, the kernel says no itself */
};

static const struct model models[] = {
    { "fibers on epoll", WEIR_FIBER, false, WEIR_EPOLL, 1000 },
    { "fibers on io_uring", WEIR_FIBER, false, WEIR_IO_URING, 1000 },
    { "fibers within weir's own budget", WEIR_FIBER, false, WEIR_AUTO, 0 },
    { "a thread for each", WEIR_THREAD, true, WEIR_AUTO, 0 },
    { "a process for each", WEIR_PROCESS, true, WEIR_AUTO, 0 },
};

enum { MODELS = sizeof models / sizeof models[0] };

static struct plan plan_of(const struct model *m)
{
    return (struct plan){ .opts = { .model = m->model },
                          .handler = echo,
                          .plain = m->plain,
                          .nofile = NOFILE,
                          .config = { .backend = m->backend, .max_fds = m->max_fds } };
}

/* ---- clients who may have to wait ---- */

struct crowd {
    int fds[CLIENTS];
    bool answered[CLIENTS];
    bool was_told[CLIENTS]; /* of a reset, when it sent */
    int answers;
};

static void crowd_open(struct crowd *c, int port)
{
    *c = (struct crowd){ 0 };
    for (int i = 0; i < CLIENTS; i++) {
        do /* one that is reset while it connects does not count */
            c->fds[i] = client_try(port);
        while (c->fds[i] < 0 && errno == ECONNRESET);
        CHECK(c->fds[i] >= 0);
        c->was_told[i] = send(c->fds[i], "x", 1, MSG_NOSIGNAL) < 0;
        if (c->was_told[i])
            CHECK(errno == ECONNRESET || errno == EPIPE);
    }
}

static bool answer_arrived(int fd, int ms)
{
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    return CHECK_OK(poll(&entry, 1, ms)) == 1;
}

/* Takes the answers that have come: how many new ones. */
static int crowd_hear(struct crowd *c)
{
    int news = 0;
    for (int i = 0; i < CLIENTS; i++)
        if (!c->answered[i] && answer_arrived(c->fds[i], 0)) {
            client_hear(c->fds[i], "x", 1);
            c->answered[i] = true;
            news++;
        }
    c->answers += news;
    return news;
}

/* Until nobody has been answered for a while: the server is full. */
static void crowd_await_full(struct crowd *c)
{
    struct pollfd none = { .fd = -1 };
    for (int quiet = 0; quiet < 10;) {
        quiet = crowd_hear(c) ? 0 : quiet + 1;
        poll(&none, 1, 20);
    }
    CHECK(c->answers > 5 && c->answers < NOFILE);
}

static int crowd_close_answered(struct crowd *c, int count)
{
    int closed = 0;
    for (int i = 0; i < CLIENTS && closed < count; i++)
        if (c->answered[i] && c->fds[i] >= 0) {
            close(c->fds[i]);
            c->fds[i] = -1;
            closed++;
        }
    return closed;
}

/* ---- promises ---- */

static int first_waiting(const struct crowd *c)
{
    int at = 0;
    while (c->answered[at])
        at++;
    return at;
}

static int64_t cpu_of_all(pid_t pid)
{
    pid_t children[NOFILE];
    int count = children_of(pid, children, NOFILE);
    int64_t sum = cpu_ns(pid);
    for (int i = 0; i < count; i++)
        sum += cpu_ns(children[i]);
    return sum;
}

static void exhausts(const void *arg)
{
    static struct crowd c;
    struct plan p = plan_of(arg);
    struct pollfd none = { .fd = -1 };
    struct server s;
    server_start(&s, &p);
    int live = client_open(s.port);
    client_echo(live, 1, 100);
    crowd_open(&c, s.port);
    crowd_await_full(&c);
    int64_t cpu = cpu_of_all(s.pid), since = clock_ns();
    poll(&none, 1, 1000);
    int64_t used = cpu_of_all(s.pid) - cpu, took = clock_ns() - since;
    if (used * 50 > took * test_slowness())
        FAIL("it used %d us in %d ms", (int)(used / 1000), (int)(took / 1000000));
    client_echo(live, 2, 5000);
    CHECK(crowd_hear(&c) == 0);
    CHECK_EQ(crowd_close_answered(&c, 3), 3);
    CHECK(answer_arrived(c.fds[first_waiting(&c)], 200 * test_slowness()));
    while (c.answers < CLIENTS) {
        crowd_hear(&c);
        crowd_close_answered(&c, CLIENTS);
        poll(&none, 1, 1);
    }
    client_finish(live);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    crowd_close_answered(&c, CLIENTS);
}

/* Every client beyond what there is room for is turned away, while the others go on. */
static void rejects(struct plan p)
{
    static struct crowd c;
    struct server s;
    int reset = 0, kept = 0;
    p.opts.fast_reject = true;
    server_start(&s, &p);
    int live = client_open(s.port);
    client_echo(live, 1, 100);
    crowd_open(&c, s.port);
    for (int i = 0; i < CLIENTS; i++) {
        char byte;
        ssize_t n = recv(c.fds[i], &byte, 1, 0);
        if (n < 0)
            CHECK_EQ(errno, ECONNRESET);
        if (n == 0)
            CHECK(c.was_told[i]); /* a reset is told once */
        reset += n <= 0;
        c.answered[i] = n == 1;
    }
    CHECK(reset > CLIENTS / 3 && reset < CLIENTS);
    client_echo(live, 2, 5000);
    for (int i = 0; i < CLIENTS; i++)
        if (c.answered[i]) {
            client_echo(c.fds[i], 3, 10);
            kept++;
        }
    CHECK_EQ(kept + reset, CLIENTS);
    CHECK(kept > 2);
    for (int i = 0; i < CLIENTS; i++)
        close(c.fds[i]);
    client_finish(live);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

static void rejects_without_fds(const void *arg)
{
    rejects(plan_of(arg));
}

static void rejects_at_limit(const void *arg)
{
    struct plan p = plan_of(arg);
    p.nofile = 0;
    p.opts.max_conns = 20;
    rejects(p);
}

static void add(const char *promise, void (*fn)(const void *))
{
    char words[256];
    for (int i = 0; i < MODELS; i++) {
        snprintf(words, sizeof words, "%s (%s)", promise, models[i].name);
        test_register(words, fn, &models[i]);
    }
}

TEST_TABLE(models)
{
    add("without descriptors a server is idle, live connections go on, and it accepts again "
        "within 200 ms", exhausts);
    add("with fast_reject clients for whom there is no descriptor are reset", rejects_without_fds);
    add("with fast_reject clients beyond max_conns are reset", rejects_at_limit);
}
