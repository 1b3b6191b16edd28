/* model_test.c -- what every model of a server promises, and where each is possible. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"

enum { CLIENTS = 50, ROUNDS = 4, ROUND_BYTES = 10000 };

struct model {
    const char *name;
    weir_model model;
    bool plain;
    weir_backend backend;
    int at_once; /* connections that have to be served at the same time for a test to go on */
};

static const struct model models[] = {
    { "fibers on epoll", WEIR_FIBER, false, WEIR_EPOLL, 3 },
    { "fibers on io_uring", WEIR_FIBER, false, WEIR_IO_URING, 3 },
    { "fibers on poll", WEIR_FIBER, false, WEIR_POLL, 3 },
    { "one at a time in a fiber", WEIR_ITERATIVE, false, WEIR_AUTO, 1 },
    { "one at a time in a thread", WEIR_ITERATIVE, true, WEIR_AUTO, 1 },
    { "a thread for each", WEIR_THREAD, true, WEIR_AUTO, 3 },
    { "a process for each", WEIR_PROCESS, true, WEIR_AUTO, 3 },
    { "processes in stock", WEIR_PREFORK, true, WEIR_AUTO, 3 },
};

enum { MODELS = sizeof models / sizeof models[0] };

static struct plan plan_of(const struct model *m, int (*handler)(weir_conn *, void *), void *arg)
{
    return (struct plan){ .opts = { .model = m->model },
                          .handler = handler,
                          .arg = arg,
                          .plain = m->plain,
                          .config = { .backend = m->backend } };
}

static void add(const char *promise, void (*fn)(const void *))
{
    char words[256];
    for (int i = 0; i < MODELS; i++) {
        snprintf(words, sizeof words, "%s (%s)", promise, models[i].name);
        test_register(words, fn, &models[i]);
    }
}

/* ---- many clients ---- */

struct client {
    pthread_t thread;
    int port;
    unsigned seed;
};

static void *client_main(void *arg)
{
    struct client *c = arg;
    int fd = client_open(c->port);
    for (unsigned round = 0; round < ROUNDS; round++)
        client_echo(fd, c->seed + round, ROUND_BYTES);
    client_finish(fd);
    return NULL;
}

static void fifty_clients(int port)
{
    struct client clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].port = port;
        clients[i].seed = i * 7919;
        CHECK_EQ(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        CHECK_EQ(pthread_join(clients[i].thread, NULL), 0);
}

static void echoes(const struct model *m, int (*handler)(weir_conn *, void *))
{
    struct plan p = plan_of(m, handler, NULL);
    struct server s;
    server_start(&s, &p);
    fifty_clients(s.port);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

static void echoes_looping(const void *m)
{
    echoes(m, echo);
}

static void echoes_parking(const void *m)
{
    echoes(m, echo_parked);
}

/* ---- how many at once ---- */

struct crowd {
    atomic_int now, most, total, opened, closed;
};

static int crowd_handler(weir_conn *c, void *arg)
{
    struct crowd *crowd = arg;
    int now = atomic_fetch_add(&crowd->now, 1) + 1, most = atomic_load(&crowd->most);
    while (now > most && !atomic_compare_exchange_weak(&crowd->most, &most, now)) {
    }
    atomic_fetch_add(&crowd->total, 1);
    int result = echo(c, NULL);
    atomic_fetch_sub(&crowd->now, 1);
    return result;
}

static void limits(const void *arg)
{
    const struct model *m = arg;
    struct crowd *crowd = shared(sizeof *crowd);
    struct plan p = plan_of(m, crowd_handler, crowd);
    struct server s;
    int fd[3];
    p.opts.max_conns = 3;
    server_start(&s, &p);
    for (int i = 0; i < m->at_once; i++) {
        fd[i] = client_open(s.port);
        client_echo(fd[i], 1, 1); /* it is being served */
    }
    for (int i = 0; i < m->at_once; i++)
        client_finish(fd[i]);
    fifty_clients(s.port);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    CHECK_EQ(atomic_load(&crowd->total), CLIENTS + m->at_once);
    CHECK_EQ(atomic_load(&crowd->most), m->at_once);
}

/* ---- callbacks ---- */

static void opened(weir_conn *c, void *arg)
{
    struct crowd *crowd = arg;
    weir_setdata(c, crowd);
    atomic_fetch_add(&crowd->opened, 1);
}

static void closed(weir_conn *c, void *arg)
{
    struct crowd *crowd = arg;
    if (weir_data(c) == crowd)
        atomic_fetch_add(&crowd->closed, 1);
}

static void calls_back(const void *arg)
{
    struct crowd *crowd = shared(sizeof *crowd);
    struct plan p = plan_of(arg, echo_parked, crowd);
    struct server s;
    p.opts.on_open = opened;
    p.opts.on_close = closed;
    server_start(&s, &p);
    fifty_clients(s.port);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    CHECK_EQ(atomic_load(&crowd->opened), CLIENTS);
    CHECK_EQ(atomic_load(&crowd->closed), CLIENTS);
}

/* ---- what the handler's result means ---- */

static int answer_and(weir_conn *c, void *arg)
{
    char word[2];
    if (weir_readn(c, word, 2) != 2 || weir_write(c, "answer", 6) != 6)
        return -1;
    (void)arg;
    return word[0] == 'd' ? WEIR_DONE : -1;
}

static void results(const void *arg)
{
    struct plan p = plan_of(arg, answer_and, NULL);
    struct server s;
    server_start(&s, &p);
    int done = client_open(s.port);
    client_say(done, "d. and more than the server reads", 33);
    client_hear(done, "answer", 6);
    CHECK_EQ(client_end(done), 0);
    int failed = client_open(s.port);
    client_say(failed, "f.", 2);
    client_hear(failed, "answer", 6);
    CHECK_EQ(client_end(failed), ECONNRESET);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

TEST_TABLE(models)
{
    add("one echo handler serves 50 clients at once and gets every byte right", echoes_looping);
    add("a handler that parks after each piece serves 50 clients right", echoes_parking);
    add("max_conns clients are served at once, never more, the others in their turn", limits);
    add("on_open and on_close are called once for each connection", calls_back);
    add("WEIR_DONE delivers what was written and ends cleanly, -1 resets", results);
}

/* ---- keeping a connection ---- */

static int keep(weir_conn *c, void *arg)
{
    weir_chan *kept = arg;
    return weir_chan_send(kept, &c) ? -1 : WEIR_KEEP;
}

static atomic_int closed_count;

static void count_closed(weir_conn *c, void *arg)
{
    (void)c, (void)arg;
    atomic_fetch_add(&closed_count, 1);
}

struct keeping {
    weir_listener *l;
    weir_chan *kept;
};

static int serve_keeping(void *arg)
{
    struct keeping *k = arg;
    return weir_serve(k->l, keep, k->kept,
                      &(weir_serve_opts){ .no_signals = true, .on_close = count_closed });
}

static int keep_and_use(void *arg)
{
    weir_addr a;
    char text[WEIR_ADDRSTR], where[WEIR_ADDRSTR + 8], word[5];
    struct keeping k = { weir_listen("tcp://127.0.0.1:0", NULL),
                         weir_chan_open(sizeof(weir_conn *), 1) };
    weir_group *g = weir_group_open(NULL);
    weir_conn *server_side;
    (void)arg;
    CHECK_OK(weir_local(k.l, &a));
    snprintf(where, sizeof where, "tcp://%s", weir_addr_str(&a, text, sizeof text));
    CHECK_OK(weir_go_copy(g, serve_keeping, &k, sizeof k, NULL));
    weir_conn *client_side = weir_dial(where, NULL);
    CHECK_EQ(weir_chan_recv(k.kept, &server_side), 1);
    CHECK_OK(weir_group_drain(g));
    CHECK_EQ(weir_group_wait(g), 0);
    CHECK_EQ(weir_write(server_side, "still", 5), 5);
    CHECK_EQ(weir_readn(client_side, word, 5), 5);
    CHECK_MEM(word, "still", 5);
    CHECK_EQ(atomic_load(&closed_count), 0);
    CHECK_OK(weir_close(server_side));
    CHECK_OK(weir_close(client_side));
    CHECK_OK(weir_close(g));
    CHECK_OK(weir_close(k.kept));
    return 0;
}

TEST(keep, "a connection whose handler keeps it outlives the server")
{
    CHECK_EQ(weir_run(&(weir_config){ .workers = 2 }, keep_and_use, NULL), 0);
}

/* ---- all workers serve ---- */

static int tell_thread(weir_conn *c, void *arg)
{
    pid_t thread = gettid();
    (void)arg;
    if (weir_write(c, &thread, sizeof thread) != sizeof thread)
        return -1;
    return weir_idle(c) < 0 ? -1 : WEIR_DONE;
}

TEST(spread, "connections that stay are spread over the workers")
{
    struct plan p = { .handler = tell_thread };
    struct server s;
    int fd[60], first_count = 0;
    pid_t first = 0;
    server_start(&s, &p);
    for (int i = 0; i < 60; i++) {
        pid_t thread;
        fd[i] = client_open(s.port);
        CHECK_EQ(recv(fd[i], &thread, sizeof thread, MSG_WAITALL), sizeof thread);
        first = first ? first : thread;
        first_count += thread == first;
    }
    CHECK(first_count >= 15 && first_count <= 45);
    for (int i = 0; i < 60; i++)
        client_finish(fd[i]);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

/* ---- two servers ---- */

static weir_listener *second;
static int *second_port;

static void listen_second(void)
{
    weir_addr a;
    second = weir_listen("tcp://127.0.0.1:0", NULL);
    CHECK_OK(weir_local(second, &a));
    *second_port = a.u.b[2] << 8 | a.u.b[3];
}

static int serve_listener(void *l)
{
    return weir_serve(l, echo_parked, NULL, NULL);
}

static int serve_both(weir_listener *first)
{
    weir_group *g = weir_group_open(NULL);
    CHECK_OK(weir_go(g, serve_listener, second));
    int result = weir_serve(first, echo, NULL, NULL);
    result = result ? result : weir_group_wait(g);
    weir_close(g);
    return result;
}

static void *thread_main(void *l)
{
    CHECK_EQ(weir_serve(l, echo, NULL, &(weir_serve_opts){ .model = WEIR_THREAD }), 0);
    return NULL;
}

static int serve_both_plain(weir_listener *first)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, thread_main, second), 0);
    int result = weir_serve(first, echo, NULL, &(weir_serve_opts){ .model = WEIR_THREAD });
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return result;
}

/* Waiting for the thread, it would be the one to die of the signal. */
static void block_and_listen(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    listen_second();
}

static void two_servers(struct plan p)
{
    struct server s;
    second_port = shared(sizeof *second_port);
    server_start(&s, &p);
    int a = client_open(s.port), b = client_open(*second_port);
    client_echo(a, 1, 5000);
    client_echo(b, 2, 5000);
    client_echo(a, 3, 5000);
    client_finish(a);
    client_finish(b);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

TEST(two, "two servers in one program serve at once, and one signal ends both")
{
    two_servers((struct plan){ .before = listen_second, .serve = serve_both });
}

TEST(two_plain, "so do two in plain threads")
{
    two_servers((struct plan){
        .before = block_and_listen, .serve = serve_both_plain, .plain = true });
}

/* ---- where a model is impossible ---- */

static weir_listener *listen_somewhere(void)
{
    weir_listener *l = weir_listen("tcp://127.0.0.1:0", NULL);
    CHECK(l != NULL);
    return l;
}

/* The listener is still there afterwards. */
static void refused(weir_model model, const char *advice)
{
    weir_listener *l = listen_somewhere();
    CHECK_ERRNO(weir_serve(l, echo, NULL, &(weir_serve_opts){ .model = model }), EINVAL);
    CHECK(strstr(weir_error()->text, advice) != NULL);
    CHECK_OK(weir_close(l));
}

static int refused_in_fiber(void *arg)
{
    (void)arg;
    refused(WEIR_PROCESS, "outside weir_run");
    refused(WEIR_PREFORK, "outside weir_run");
    refused(WEIR_THREAD, "WEIR_FIBER");
    return 0;
}

TEST(wrong_place, "a model that cannot work where it is asked for is refused with advice")
{
    refused(WEIR_FIBER, "inside");
    refused((weir_model)99, "weir_model");
    CHECK_EQ(weir_run(NULL, refused_in_fiber, NULL), 0);
}

static void *thread_with_weir(void *arg)
{
    int *pipes = arg;
    char byte;
    weir_now();
    CHECK_EQ(write(pipes[1], "", 1), 1);
    CHECK_EQ(read(pipes[2], &byte, 1), 1);
    return NULL;
}

TEST(not_alone, "a process in which other threads use weir is not forked")
{
    int pipes[4];
    char byte;
    pthread_t thread;
    CHECK_OK(pipe(pipes));
    CHECK_OK(pipe(pipes + 2));
    CHECK_EQ(pthread_create(&thread, NULL, thread_with_weir, pipes), 0);
    CHECK_EQ(read(pipes[0], &byte, 1), 1);
    refused(WEIR_PROCESS, "WEIR_THREAD");
    CHECK_EQ(write(pipes[3], "", 1), 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 4; i++)
        close(pipes[i]);
}

TEST(wrong_arguments, "a closed listener, no handler and a negative limit are refused")
{
    weir_listener *l = listen_somewhere();
    weir_serve_opts iterative = { .model = WEIR_ITERATIVE, .max_conns = -1 };
    CHECK_ERRNO(weir_serve(l, echo, NULL, &iterative), EINVAL);
    iterative.max_conns = 0;
    CHECK_ERRNO(weir_serve(l, NULL, NULL, &iterative), EINVAL);
    CHECK_OK(weir_close(l));
    CHECK_ERRNO(weir_serve(l, echo, NULL, &iterative), EBADF);
    CHECK_ERRNO(weir_serve(NULL, echo, NULL, &iterative), EBADF);
}
