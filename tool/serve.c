/* serve.c -- weir serve: the echo service, under any model and backend.
 *
 * The first line on stdout is the address, with the port that the kernel chose, for scripts; a
 * sentence about it for people goes to stderr. SIGTERM and Ctrl-C drain: new clients are refused,
 * those that are there may finish, and who has not when the grace is over is cut off.         */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <weir.h>

#include "commands.h"
#include "endpoint.h"
#include "report.h"

static struct {
    int64_t backend, model, workers, max_conns, park, drain, ready_fd;
} settings = { .drain = 10 * WEIR_SEC, .ready_fd = -1 };

static const struct option options[] = {
    { "model", 0, CHOICE, "fiber|iterative|process|thread|prefork",
      "who holds a connection", &settings.model, 0, 0 },
    { "backend", 0, CHOICE, "auto|io_uring|epoll|poll|select",
      "how fibers wait", &settings.backend, 0, 0 },
    { "workers", 0, NUMBER, "N", "threads that run fibers; 0 is one per processor",
      &settings.workers, 0, 256 },
    { "max-conns", 'm', NUMBER, "N", "connections at one time; 0 is as many as descriptors allow",
      &settings.max_conns, 0, 1 << 24 },
    { "park", 0, FLAG, NULL, "give an idle connection's fiber back between messages",
      &settings.park, 0, 0 },
    { "drain", 0, DURATION, "TIME", "how long connections may finish after SIGTERM or Ctrl-C",
      &settings.drain, 0, 86400 * WEIR_SEC },
    { "ready-fd", 0, NUMBER, "FD", "write the address to this descriptor and close it",
      &settings.ready_fd, 0, 1 << 20 },
    { .name = NULL },
};

static const char *const examples[] = {
    "weir serve echo :7000", "for this machine only, until Ctrl-C",
    "weir serve echo '*:7000'", "for everyone who can reach this machine",
    "weir serve echo :0", "a free port; the first line tells which",
    "weir serve echo /tmp/echo.sock --model prefork", "a Unix socket, processes started in advance",
    "weir serve echo :7000 --backend epoll", "without io_uring",
    NULL,
};

static const char notes[] =
    "models:\n"
    "  fiber      every connection in a fiber of its own, on all processors\n"
    "  iterative  one connection after the other\n"
    "  process    a process for each connection, by fork\n"
    "  thread     a kernel thread for each connection\n"
    "  prefork    processes started in advance, as many as --max-conns or processors; each\n"
    "             serves one connection after the other\n"
    "--backend is about the first two, --workers and --park about the first.\n";

/* ---- what the service does ---- */

/* Conversations cut off by the end of the grace period; children of fork count here too. */
static atomic_uint *cut_off;

static int broken(void)
{
    if (errno == ECANCELED)
        atomic_fetch_add(cut_off, 1);
    return -1;
}

/* Sends back what has come. Borrows the library's buffer: nothing is copied, and an idle
 * connection holds no memory. */
static int send_back(weir_conn *c, const void *bytes, ssize_t n)
{
    if (n > 0 && (weir_write(c, bytes, (size_t)n) != n || weir_skip(c, (size_t)n)))
        return -1;
    return n < 0 ? -1 : n > 0;
}

static int echo_once(weir_conn *c)
{
    const void *bytes;
    ssize_t n = weir_peek(c, &bytes, 1);
    return send_back(c, bytes, n);
}

/* What a client has said before the server was told to stop is still answered. */
static int echo_rest(weir_conn *c)
{
    const void *bytes;
    ssize_t n;
    int more;
    do {
        {
            WEIR_TRY;
            n = weir_peek(c, &bytes, 1);
        }
        if (n < 0 && errno == EAGAIN)
            return WEIR_DONE;
        more = send_back(c, bytes, n);
    } while (more > 0);
    return more < 0 ? broken() : WEIR_DONE;
}

static int echo(weir_conn *c, void *arg)
{
    int more;
    (void)arg;
    while ((more = weir_idle(c)) > 0) {
        if (echo_once(c) < 0)
            return broken();
    }
    if (more < 0 && errno == ESHUTDOWN)
        return echo_rest(c);
    return more < 0 ? broken() : WEIR_DONE;
}

static int echo_parked(weir_conn *c, void *arg)
{
    (void)arg;
    int more = echo_once(c);
    return more < 0 ? broken() : more ? WEIR_PARK : WEIR_DONE;
}

/* ---- saying where ---- */

static void print_ready(const char *address)
{
    int fd = (int)settings.ready_fd;
    char line[WEIR_ADDRSTR + 1];
    int len = snprintf(line, sizeof line, "%s\n", address);
    if (write(fd, line, (size_t)len) != len)
        complain(STATUS_LOCAL, "cannot write the address to descriptor %d: %s", fd,
                 strerror(errno));
    close(fd);
}

static void announce(weir_listener *l, const struct endpoint *e)
{
    weir_addr local;
    char address[WEIR_ADDRSTR], others[64] = "";
    if (weir_local(l, &local))
        return;
    weir_addr_str(&local, address, sizeof address);
    puts(address);
    fflush(stdout);
    if (settings.ready_fd >= 0)
        print_ready(address);
    if (e->local_only)
        snprintf(others, sizeof others, " (this machine only; use *%s for everyone)",
                 strrchr(address, ':'));
    fprintf(stderr, "weir: echo, listening on %s%s; Ctrl-C ends it\n", address, others);
}

/* ---- running it ---- */

/* From the first line on a script may send a signal. One that comes before weir_serve listens for
 * it is kept, instead of ending the process at once; true: one has come already. What weir_serve
 * will not listen for, because nohup has it ignored, is left out. */
static bool keep_signals(void)
{
    static const int stops[] = { SIGTERM, SIGINT, SIGHUP };
    struct sigaction hangup;
    int count = !sigaction(SIGHUP, NULL, &hangup) && hangup.sa_handler == SIG_IGN ? 2 : 3;
    if (weir_in_fiber()) {
        WEIR_TRY;
        return weir_signal(stops, count) > 0;
    }
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++)
        sigaddset(&set, stops[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return false;
}

static int serve(void *arg)
{
    const struct endpoint *e = arg;
    weir_listener *l = weir_listen(e->where, &(weir_opts){ .unlink_on_close = true });
    if (!l)
        return complain_listen(e->shown);
    if (keep_signals())
        return STATUS_OK;
    announce(l, e);
    weir_serve_opts o = { .model = (weir_model)settings.model,
                          .max_conns = (int)settings.max_conns,
                          .drain = settings.drain ? settings.drain : -1 };
    if (weir_serve(l, settings.park ? echo_parked : echo, NULL, &o))
        return complain(STATUS_LOCAL, "cannot go on serving %s: %s", e->shown, weir_error()->text);
    unsigned cut = atomic_load(cut_off);
    if (cut)
        return complain(STATUS_BROKEN, "%u connection%s cut off when the time to finish was over; "
                        "--drain gives more", cut, cut == 1 ? " was" : "s were");
    return STATUS_OK;
}

/* A server needs a descriptor per client; the soft limit is for programs that use select. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && settings.backend != WEIR_SELECT) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int check_settings(void)
{
    bool fibers = settings.model == WEIR_FIBER;
    bool runtime = fibers || settings.model == WEIR_ITERATIVE;
    if (!runtime && settings.backend != WEIR_AUTO)
        return complain(STATUS_USAGE, "serve: --backend is for fibers; where each connection has a "
                                      "thread or process, it waits in blocking system calls");
    if (settings.ready_fd >= 0 && fcntl((int)settings.ready_fd, F_GETFD) < 0)
        return complain(STATUS_USAGE, "serve: --ready-fd %d is not open", (int)settings.ready_fd);
    if (!fibers && settings.workers)
        return complain(STATUS_USAGE, "serve: --workers is for --model fiber");
    if (!fibers && settings.park)
        return complain(STATUS_USAGE, "serve: --park is for --model fiber: elsewhere there is no "
                                      "fiber to give back");
    return 0;
}

static int check_operands(char **operands, int count)
{
    static const char *const services[] = { "echo" };
    if (count == 0)
        return complain(STATUS_USAGE, "serve: serve what, and where? try: weir serve echo :7000");
    if (strcmp(operands[0], "echo") != 0) {
        const char *meant = nearest(operands[0], services, 1);
        return complain(STATUS_USAGE, "serve: no service '%s'; %s 'echo'%s", operands[0],
                        meant ? "did you mean" : "there is", meant ? "?" : "");
    }
    if (count == 1)
        return complain(STATUS_USAGE, "serve: where? try: weir serve echo :7000");
    if (count > 2)
        return complain(STATUS_USAGE, "serve: one endpoint at a time; '%s' is one too many",
                        operands[2]);
    return 0;
}

static int run(char **operands, int count)
{
    static struct endpoint e;
    int status = check_operands(operands, count);
    if (!status)
        status = check_settings();
    if (!status)
        status = endpoint_read(&e, operands[1], true);
    if (status)
        return status;
    cut_off =
        mmap(NULL, sizeof *cut_off, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (cut_off == MAP_FAILED)
        return complain(STATUS_LOCAL, "no memory: %s", strerror(errno));
    raise_descriptors();
    if (settings.model != WEIR_FIBER && settings.model != WEIR_ITERATIVE)
        return serve(&e);
    weir_config config = { .workers = (int)settings.workers,
                           .backend = (weir_backend)settings.backend };
    status = weir_run(&config, serve, &e);
    return status < 0 ? complain_run() : status;
}

const struct command serve_command = {
    .name = "serve",
    .summary = "a service at an endpoint: echo",
    .usage = "echo ENDPOINT [options]",
    .examples = examples,
    .notes = notes,
    .options = options,
    .run = run,
};
