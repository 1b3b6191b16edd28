/* exp_mux_cost.c -- experiments on what waiting costs: time for each socket, and wake-ups. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"
#include "numbers.h"
#include "ring.h"
#include "sock.h"

/* ---- mux-5: one socket in a crowd is readable ---- */

enum { CROWD_MAX = 9000, CROWD_MIN = 1000, SPARE = 64, ROUNDS_MIN = 5, ROUNDS_MAX = 200,
       BUDGET_MS = 15 };

struct crowd {
    int count, highest, poller;
    int fds[CROWD_MAX];
    struct pollfd polled[CROWD_MAX];
    struct numbers wanted;
    struct ring ring;
};

static struct crowd crowd;

static void crowd_add(struct lab *lab, struct crowd *c, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    must(lab, epoll_ctl(c->poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    numbers_add(&c->wanted, fd);
    c->polled[c->count] = (struct pollfd){ .fd = fd, .events = POLLIN };
    c->fds[c->count++] = fd;
    c->highest = fd > c->highest ? fd : c->highest;
}

/* Each waits once and then finds out who it is, as a server would; it gives the descriptor. */

static int wait_with_select(struct crowd *c)
{
    int found = -1;
    struct numbers ready = c->wanted;
    struct timeval second = { .tv_sec = 1 };
    if (select(c->highest + 1, (fd_set *)&ready, NULL, NULL, &second) != 1)
        return -1;
    for (int i = 0; i < c->count; i++)
        if (numbers_have(&ready, c->fds[i]))
            found = c->fds[i];
    return found;
}

static int wait_with_poll(struct crowd *c)
{
    int found = -1;
    if (poll(c->polled, (nfds_t)c->count, 1000) != 1)
        return -1;
    for (int i = 0; i < c->count; i++)
        if (c->polled[i].revents)
            found = c->fds[i];
    return found;
}

static int wait_with_epoll(struct crowd *c)
{
    struct epoll_event event = { .data.fd = -1 };
    return epoll_wait(c->poller, &event, 1, 1000) == 1 ? event.data.fd : -1;
}

static int wait_with_ring(struct crowd *c)
{
    return ring_wait(&c->ring);
}

static const struct way {
    const char *name;
    int (*wait)(struct crowd *c);
} ways[] = { { "select", wait_with_select }, { "poll", wait_with_poll },
             { "epoll", wait_with_epoll }, { "io_uring", wait_with_ring } };

enum { SELECT, POLL, EPOLL, RING, WAYS };

/* A datagram is sent, waited for and received. The shortest of a number of such rounds, for the
 * others were disturbed. */
static double best_round_us(struct lab *lab, const struct way *way, struct crowd *c, int sender)
{
    char byte;
    double best = INFINITY;
    int64_t begin = clock_ns();
    for (int i = 0; i < ROUNDS_MIN || (i < ROUNDS_MAX && ms_since(begin) < BUDGET_MS); i++) {
        int64_t start = clock_ns();
        must(lab, send(sender, "x", 1, 0), "send");
        int found = way->wait(c);
        must(lab, found == c->fds[0] ? 0 : -1, way->name);
        must(lab, recv(found, &byte, 1, 0), "recv");
        double us = ms_since(start) * 1e3;
        best = us < best ? us : best;
    }
    return best;
}

/* The same with a ring that watches the crowd for that time only, since a ring is told of what
 * comes whoever waits for it. 0 where there is no ring. */
static double best_ring_round_us(struct lab *lab, struct crowd *c, int sender)
{
    if (ring_open(lab, &c->ring) < 0) {
        if (c->count == 1)
            note(lab, "io_uring", "refused: %s", strerrorname_np(errno));
        return 0;
    }
    for (int i = 0; i < c->count; i++)
        ring_watch(lab, &c->ring, c->fds[i]);
    double best = best_round_us(lab, &ways[RING], c, sender);
    ring_close(&c->ring);
    return best;
}

/* Each way to wait for one of the crowd, as it is now. */
static void try_ways(struct lab *lab, struct crowd *c, int sender, double *us)
{
    for (int w = 0; w < WAYS; w++) {
        us[w] = w == RING ? best_ring_round_us(lab, c, sender)
                          : best_round_us(lab, &ways[w], c, sender);
        if (us[w] == 0)
            continue;
        note_number(lab, text("%s, of %d", ways[w].name, c->count), us[w], "us");
        point(lab, ways[w].name, c->count, us[w]);
    }
}

static void compare_ways(struct lab *lab, int reached, const double *us, const double *alone)
{
    observe_range(lab, text("of %d: select takes as long as epoll", reached),
                  us[SELECT] / us[EPOLL], 5, INFINITY, "times");
    observe_range(lab, text("of %d: poll takes as long as epoll", reached),
                  us[POLL] / us[EPOLL], 5, INFINITY, "times");
    observe_range(lab, text("epoll of %d takes as long as of one", reached),
                  us[EPOLL] / alone[EPOLL], 0, 10, "times");
    observe_range(lab, "of 1: select takes as long as epoll", alone[SELECT] / alone[EPOLL],
                  0.1, 10, "times");
    if (us[RING] > 0)
        observe_range(lab, text("of %d: io_uring takes as long as epoll", reached),
                      us[RING] / us[EPOLL], 0.1, 10, "times");
}

static enum verdict rounds(struct lab *lab)
{
    static const int sizes[] = { 1, 10, 100, CROWD_MIN, CROWD_MAX };
    double us[WAYS], alone[WAYS];
    int most = numbers_room(lab) - SPARE;
    if (most < CROWD_MIN)
        return skip(lab, "raise the limit: ulimit -Hn 10000, as root",
                    "only %d descriptors may be had here", most + SPARE);
    struct udp_pair active = udp_pair(lab);
    crowd.poller = must(lab, epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    crowd_add(lab, &crowd, active.b);

    picture(lab, PLOT, PICTURE_LOG, "one of them receives a datagram", "sockets", "us/round");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && sizes[i] <= most; i++) {
        while (crowd.count < sizes[i])
            crowd_add(lab, &crowd, udp_socket(lab));
        try_ways(lab, &crowd, active.a, i == 0 ? alone : us);
    }
    compare_ways(lab, crowd.count, us, alone);
    close_all(crowd.fds, crowd.count);
    CLOSE(active.a, crowd.poller);
    return conclude(lab, REFINED, "select and poll cost more with each socket that is only "
                                  "watched, %s not; of few sockets all cost about the same",
                    us[RING] > 0 ? "epoll and io_uring do" : "epoll does");
}

static const struct experiment mux_5 = {
    .id = "mux-5",
    .name = "rounds",
    .question = "what does it cost to wait for one socket of many?",
    .source = "S0:804",
    .original = "有人说在少量sockets，比如10多个以内，select要有优势，我没有验证过",
    .claim = "epoll is more efficient above all with many sockets; some say that below ten or so "
             "select has the advantage, which is not verified",
    .expectation = "select and poll grow with the number of sockets, epoll and io_uring stay as "
                   "they are; with one socket they differ by less than an order of magnitude",
    .reference = "do_select(), do_poll() and ep_poll() in Linux; epoll(7), io_uring_enter(2), "
                 "IORING_POLL_ADD_MULTI (Linux 5.13)",
    .why = "select and poll bring the whole list at every call, and the kernel asks each socket "
           "on it and, where it has to wait, enters itself with each and leaves again. epoll "
           "enters once, at EPOLL_CTL_ADD; a socket that becomes ready puts itself into a list, "
           "and epoll_wait looks at nothing else. A ring's poll of many shots is entered once as "
           "well; what comes is written where the program reads it without a call. A round is "
           "sending, waiting and receiving, so with few sockets it is mostly the other two.",
    .next = "weir lab select-1024",
    .run = rounds,
};

/* ---- mux-6: many processes wait for the same listener ---- */

enum { HERD = 8, CONNECTIONS = 10 };

struct herd {
    int listener, stop, ready;
    int poller; /* one for all of them; -1: each has its own */
    uint32_t events;
};

static int poller_of(const struct herd *herd)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event client = { .events = EPOLLIN | herd->events };
    struct epoll_event stop = { .events = EPOLLIN, .data.fd = herd->stop };
    epoll_ctl(poller, EPOLL_CTL_ADD, herd->listener, &client);
    epoll_ctl(poller, EPOLL_CTL_ADD, herd->stop, &stop);
    return poller;
}

/* One of the processes: greets whom it can accept, until there is something to read from stop. */
static int greet_clients(void *arg)
{
    const struct herd *herd = arg;
    struct epoll_event event = { .data.fd = 0 };
    int poller = herd->poller >= 0 ? herd->poller : poller_of(herd);
    if (write(herd->ready, "x", 1) != 1)
        return 1;
    while (epoll_wait(poller, &event, 1, -1) == 1 && event.data.fd != herd->stop) {
        int conn = accept4(herd->listener, NULL, NULL, SOCK_CLOEXEC);
        if (conn >= 0 && send(conn, "x", 1, MSG_NOSIGNAL) == 1)
            close(conn);
    }
    return 0;
}

/* How often a process has gone to sleep; *is_asleep: it sleeps now. */
static long sleeps_of(int pid, bool *is_asleep)
{
    char line[128], state = '?';
    long sleeps = 0;
    FILE *status = fopen(text("/proc/%d/status", pid), "re");
    while (status && fgets(line, sizeof line, status)) {
        sscanf(line, "State: %c", &state);
        sscanf(line, "voluntary_ctxt_switches: %ld", &sleeps);
    }
    if (status)
        fclose(status);
    *is_asleep = state == 'S';
    return sleeps;
}

static bool all_asleep(const int *pids)
{
    bool is_asleep = true;
    for (int i = 0; i < HERD && is_asleep; i++)
        sleeps_of(pids[i], &is_asleep);
    return is_asleep;
}

static long sleeps_of_all(const int *pids)
{
    bool is_asleep;
    long sum = 0;
    for (int i = 0; i < HERD; i++)
        sum += sleeps_of(pids[i], &is_asleep);
    return sum;
}

/* Ten clients, one after the other: who has been awakened has gone to sleep again. */
static long wake_ups(struct lab *lab, const struct herd *herd, const int *pids)
{
    WAIT_UNTIL(1000, all_asleep(pids));
    long before = sleeps_of_all(pids);
    for (int i = 0; i < CONNECTIONS; i++) {
        int client;
        must(lab, tcp_connect(lab, local_address(lab, herd->listener), &client), "connect");
        must(lab, wait_events(client, POLLIN, 1000) ? 0 : -1, "no greeting");
        WAIT_UNTIL(1000, all_asleep(pids));
        CLOSE(client);
    }
    return sleeps_of_all(pids) - before;
}

static long run_herd(struct lab *lab, uint32_t events, bool shares_poller)
{
    char bytes[HERD];
    int pids[HERD], stop[2], ready[2];
    must(lab, pipe2(stop, O_CLOEXEC), "pipe2");
    must(lab, pipe2(ready, O_CLOEXEC), "pipe2");
    struct herd herd = { .listener = tcp_listen(lab, CONNECTIONS), .stop = stop[0],
                         .ready = ready[1], .poller = -1, .events = events };
    set_nonblocking(lab, herd.listener);
    herd.poller = shares_poller ? poller_of(&herd) : -1;
    for (int i = 0; i < HERD; i++)
        pids[i] = spawn(lab, greet_clients, &herd);
    for (int i = 0; i < HERD; i++)
        must(lab, read(ready[0], bytes, 1), "read");

    long wakes = wake_ups(lab, &herd, pids);

    must(lab, write(stop[1], "x", 1), "write");
    for (int i = 0; i < HERD; i++)
        must(lab, reap(lab, pids[i]) == 0 ? 0 : -1, "a process of the herd");
    CLOSE(herd.poller, herd.listener, stop[0], stop[1], ready[0], ready[1]);
    return wakes;
}

static enum verdict herd(struct lab *lab)
{
    long all = run_herd(lab, 0, false);
    long exclusive = run_herd(lab, EPOLLEXCLUSIVE, false);
    long shared = run_herd(lab, 0, true);
    picture(lab, BARS, 0, "8 processes wait, 10 clients come: wake-ups", NULL, NULL);
    bar(lab, "an epoll each", (double)all, 0);
    bar(lab, "an epoll each, EPOLLEXCLUSIVE", (double)exclusive, 0);
    bar(lab, "one epoll for all", (double)shared, 0);
    observe_range(lab, "an epoll each", (double)all, HERD * CONNECTIONS,
                  2 * HERD * CONNECTIONS, "wake-ups");
    observe_range(lab, "an epoll each, EPOLLEXCLUSIVE", (double)exclusive, CONNECTIONS,
                  3 * CONNECTIONS, "wake-ups");
    note_number(lab, "one epoll for all", (double)shared, "wake-ups");
    return conclude(lab, ADDED, "each client wakes all of the processes, though one of them can "
                                "accept it; with EPOLLEXCLUSIVE it wakes one");
}

static const struct experiment mux_6 = {
    .id = "mux-6",
    .name = "herd",
    .question = "how many of the processes that wait for a listener does one client wake?",
    .expectation = "all of them, if each has an epoll of its own; about one with EPOLLEXCLUSIVE",
    .reference = "epoll_ctl(2), EPOLLEXCLUSIVE (since Linux 4.5); __wake_up_common() in Linux",
    .why = "An epoll enters itself among those that a socket wakes. Each of eight epolls is an "
           "entry of its own, and a wake-up goes to all entries that are not exclusive. One "
           "process gets the connection, the others find nothing and sleep again; many do not "
           "even see it in epoll_wait, which looks before it returns. It is counted in how often "
           "they slept. SO_REUSEPORT goes further: a queue for each.",
    .next = "weir lab rounds",
    .run = herd,
};

const struct experiment *const mux_cost_experiments[] = { &mux_5, &mux_6, NULL };
