/* process_test.c -- what a server that forks promises to its program. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

enum { CHILDREN_MAX = 64 };

static struct plan forking(weir_model model, int (*handler)(weir_conn *, void *), void *arg)
{
    return (struct plan){
        .opts = { .model = model }, .handler = handler, .arg = arg, .plain = true
    };
}

/* Waits until the server has `count` children and tells who they are. */
static void await_children(pid_t pid, int count, pid_t *children)
{
    int64_t until = clock_ns() + 10 * WEIR_SEC * test_slowness();
    while (children_of(pid, children, CHILDREN_MAX) != count) {
        CHECK(clock_ns() < until);
        usleep(1000);
    }
}

/* ---- no traces ---- */

TEST(traceless, "a process for each connection leaves neither zombies nor descriptors")
{
    struct plan p = forking(WEIR_PROCESS, echo, NULL);
    struct server s;
    pid_t children[CHILDREN_MAX];
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_echo(fd, 1, 10);
    client_finish(fd);
    await_children(s.pid, 0, children);
    int before = count_fds(s.pid);
    for (unsigned i = 0; i < 100; i++) {
        fd = client_open(s.port);
        client_echo(fd, i, 100);
        client_finish(fd);
    }
    await_children(s.pid, 0, children);
    CHECK_EQ(count_fds(s.pid), before);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

/* ---- what a child finds ---- */

struct found {
    int fds;
    bool blocked, handled;
    int listeners;
};

static void handle(int signo)
{
    (void)signo;
}

static void set_handlers(void)
{
    CHECK(signal(SIGUSR1, handle) != SIG_ERR);
    CHECK(signal(SIGTERM, handle) != SIG_ERR);
}

/* Handlers of those report crashes, and are kept. */
static bool is_synchronous(int signo)
{
    return signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL ||
           signo == SIGTRAP || signo == SIGABRT || signo == SIGSYS;
}

static int look_around(weir_conn *c, void *arg)
{
    struct found *found = arg;
    sigset_t mask;
    struct sigaction action;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    for (int signo = 1; signo < NSIG; signo++) {
        found->blocked |= sigismember(&mask, signo) == 1;
        if (sigaction(signo, NULL, &action) == 0 && !is_synchronous(signo))
            found->handled |= action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
    }
    for (int fd = 0; fd < 1024; fd++) {
        int listens = 0;
        socklen_t len = sizeof listens;
        found->fds += fcntl(fd, F_GETFD) >= 0;
        if (!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len))
            found->listeners += listens;
    }
    return echo(c, NULL);
}

TEST(child_state, "a child has no handlers, the caller's signal mask, and no listening socket")
{
    struct found *found = shared(sizeof *found);
    struct plan p = forking(WEIR_PROCESS, look_around, found);
    struct server s;
    p.before = set_handlers;
    server_start(&s, &p);
    int firsts = 0, fds[5];
    for (int i = 0; i < 5; i++) {
        *found = (struct found){ 0 };
        fds[i] = client_open(s.port);
        client_echo(fds[i], 1, 10);
        CHECK(!found->blocked && !found->handled);
        CHECK_EQ(found->listeners, 0);
        firsts = firsts ? firsts : found->fds;
        CHECK(found->fds <= firsts + 1); /* nothing that its elders cost the parent */
    }
    for (int i = 0; i < 5; i++)
        client_finish(fds[i]);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

static pid_t own_child;

static int serve_beside_own_child(weir_listener *l)
{
    int status;
    struct sigaction before, after;
    own_child = CHECK_OK(fork());
    if (own_child == 0)
        _exit(7);
    CHECK_OK(sigaction(SIGCHLD, NULL, &before));
    int result = weir_serve(l, echo, NULL, &(weir_serve_opts){ .model = WEIR_PROCESS });
    CHECK_OK(sigaction(SIGCHLD, NULL, &after));
    CHECK(before.sa_handler == after.sa_handler);
    CHECK_EQ(waitpid(own_child, &status, 0), own_child);
    CHECK_EQ(WEXITSTATUS(status), 7);
    CHECK_EQ(waitpid(-1, &status, WNOHANG), -1);
    return result;
}

static void some_clients(int port)
{
    for (unsigned i = 0; i < 10; i++) {
        int fd = client_open(port);
        client_echo(fd, i, 100);
        client_finish(fd);
    }
}

TEST(own_children, "a server does not touch SIGCHLD or reap the program's own children")
{
    struct plan p = forking(WEIR_PROCESS, echo, NULL);
    struct server s;
    p.serve = serve_beside_own_child;
    server_start(&s, &p);
    some_clients(s.port);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

static void ignore_children(void)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
}

TEST(ignored, "a server works in a program that ignores SIGCHLD")
{
    struct plan p = forking(WEIR_PROCESS, echo, NULL);
    struct server s;
    p.before = ignore_children;
    p.opts.max_conns = 1;
    server_start(&s, &p);
    some_clients(s.port);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

/* ---- death ---- */

static int crash(weir_conn *c, void *arg)
{
    char byte;
    (void)arg;
    if (weir_read(c, &byte, 1) == 1 && byte == '!')
        kill(getpid(), SIGKILL);
    return weir_write(c, &byte, 1) == 1 ? WEIR_PARK : -1;
}

TEST(crash, "a connection whose process dies is the only one that suffers")
{
    struct plan p = forking(WEIR_PROCESS, crash, NULL);
    struct server s;
    server_start(&s, &p);
    int good = client_open(s.port), bad = client_open(s.port);
    client_echo(good, 1, 1);
    client_say(bad, "!", 1);
    CHECK_EQ(client_end(bad), 0);
    client_say(good, "y", 1);
    client_hear(good, "y", 1);
    int third = client_open(s.port);
    client_say(third, "z", 1);
    client_hear(third, "z", 1);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    CHECK_EQ(client_end(good), 0);
    CHECK_EQ(client_end(third), 0);
}

TEST(prefork_repair, "a worker that dies is replaced")
{
    struct plan p = forking(WEIR_PREFORK, echo, NULL);
    struct server s;
    pid_t before[CHILDREN_MAX], after[CHILDREN_MAX];
    p.opts.max_conns = 3;
    server_start(&s, &p);
    await_children(s.pid, 3, before);
    for (int i = 0; i < 3; i++)
        CHECK_OK(kill(before[i], SIGKILL));
    do
        await_children(s.pid, 3, after);
    while (kill(before[0], 0) == 0 || kill(before[1], 0) == 0 || kill(before[2], 0) == 0);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(s.port);
        client_echo(fds[i], 1, 1000);
    }
    for (int i = 0; i < 3; i++)
        client_finish(fds[i]);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

static int die(weir_conn *c, void *arg)
{
    (void)c;
    atomic_fetch_add((atomic_int *)arg, 1);
    kill(getpid(), SIGKILL);
    return 0;
}

/* The delays between births double from 10 ms: the sixth death in a row is followed by 320. */
TEST(prefork_back_off, "workers that die young are replaced ever less often")
{
    atomic_int *deaths = shared(sizeof *deaths);
    struct plan p = forking(WEIR_PREFORK, die, deaths);
    struct server s;
    p.opts.max_conns = 1;
    server_start(&s, &p);
    int64_t before = clock_ns();
    for (int i = 0; i < 6; i++)
        client_end(client_open(s.port));
    int64_t took = clock_ns() - before;
    CHECK_EQ(atomic_load(deaths), 6);
    CHECK(took >= (10 + 20 + 40 + 80 + 160) * WEIR_MS * 9 / 10);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
}

static void parent_killed(weir_model model)
{
    struct plan p = forking(model, echo, NULL);
    struct server s;
    p.opts.max_conns = 2;
    orphans_adopt();
    server_start(&s, &p);
    int fd = client_open(s.port);
    client_echo(fd, 1, 100);
    CHECK_EQ(server_stop(&s, SIGKILL), 128 + SIGKILL);
    CHECK_EQ(client_end(fd), 0);
    server_await_refusal(&s);
    orphans_join();
}

TEST(killed_process, "children of a server that was killed drain and end")
{
    parent_killed(WEIR_PROCESS);
}

TEST(killed_prefork, "workers of a server that was killed drain and end")
{
    parent_killed(WEIR_PREFORK);
}

/* Nothing but SIGKILL ends this one. */
static _Noreturn int spin(weir_conn *c, void *arg)
{
    (void)c;
    atomic_store((atomic_int *)arg, 1);
    for (;;)
        pause();
}

TEST(deaf, "a child that does not listen is killed after the grace period")
{
    atomic_int *spins = shared(sizeof *spins);
    struct plan p = forking(WEIR_PROCESS, spin, spins);
    struct server s;
    p.opts.drain = 100 * WEIR_MS;
    server_start(&s, &p);
    int fd = client_open(s.port);
    while (!atomic_load(spins))
        usleep(1000);
    CHECK_EQ(server_stop(&s, SIGTERM), 0);
    client_end(fd);
}
