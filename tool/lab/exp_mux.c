/* exp_mux.c -- experiments on waiting for many sockets: select, poll and epoll. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counters.h"
#include "lab.h"
#include "numbers.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- mux-1: select and 1024 ---- */

enum { HIGH_NUMBER = 9000, CARELESS_NUMBER = 1500 };

/* As <sys/select.h> was told when this file was compiled. */
#if defined __USE_FORTIFY_LEVEL && __USE_FORTIFY_LEVEL > 0
enum { IS_FORTIFIED = 1 };
#else
enum { IS_FORTIFIED = 0 };
#endif

/* FD_SET with a number that an fd_set has no bit for: 1 if it has written behind the set. */
__attribute__((no_sanitize("undefined"))) static int set_careless_bit(void *arg)
{
    const struct rlimit no_core = { 0 };
    union {
        fd_set set;
        struct numbers around;
    } memory;
    volatile int number = *(const int *)arg;
    /* The C library says on stderr what it dies of; that belongs to this experiment alone. */
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(quiet, STDERR_FILENO);
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL);
    memset(&memory, 0, sizeof memory);
    FD_SET(number, &memory.set);
    return numbers_have(&memory.around, number);
}

static enum verdict select_1024(struct lab *lab)
{
    struct numbers set = { 0 };
    struct timeval second = { .tv_sec = 1 };
    struct pollfd watched = { .events = POLLIN };
    int most = numbers_room(lab), careless = CARELESS_NUMBER;
    if (most <= FD_SETSIZE + 1)
        return skip(lab, "raise the limit: ulimit -Hn 16384, as root",
                    "no descriptor above %d may be had here", FD_SETSIZE);
    struct tcp_pair pair = tcp_pair(lab);
    int wanted = most > HIGH_NUMBER ? HIGH_NUMBER : most - 1;
    int high = must(lab, fcntl(pair.server, F_DUPFD_CLOEXEC, wanted), "dup");
    send_text(lab, pair.client, "x");

    observe_number(lab, "bits of an fd_set, which the C library chose", FD_SETSIZE, 1024);
    note_number(lab, "a descriptor beyond them", high, "");
    numbers_add(&set, high);
    observe_number(lab, "select on it, with a larger set of one's own, gives",
                   select(high + 1, (fd_set *)&set, NULL, NULL, &second), 1);
    observe_bool(lab, "and its bit is set", numbers_have(&set, high), true);
    watched.fd = high;
    observe_number(lab, "poll, which has no sets, gives", poll(&watched, 1, 1000), 1);

    int end = reap(lab, spawn(lab, set_careless_bit, &careless));
    note(lab, "this program was built", "%s _FORTIFY_SOURCE", IS_FORTIFIED ? "with" : "without");
    if (IS_FORTIFIED)
        observe_number(lab, "FD_SET(1500) on an fd_set: 128 + the signal that ended it", end,
                       128 + SIGABRT);
    else
        observe_number(lab, "FD_SET(1500) on an fd_set wrote behind it, silently", end, 1);
    CLOSE(high, pair.server, pair.client);
    return conclude(lab, CONTRADICTED, "the kernel takes sets of any size; it is the fd_set of "
                                       "the C library that has 1024 bits, and FD_SET beyond them "
                                       "%s", IS_FORTIFIED ? "ends the program" :
                                       "writes into other memory");
}

static const struct experiment mux_1 = {
    .id = "mux-1",
    .name = "select-1024",
    .question = "is it the kernel that limits select to 1024 descriptors?",
    .source = "S0:800",
    .claims = "6",
    .original = "select内核限定了1024最大的filehandle数，如果要修改需要编译内核",
    .claim = "the kernel limits select to 1024 descriptors; to change that it has to be compiled "
             "again",
    .expectation = "select on a descriptor beyond 1024 works with a larger set; FD_SET beyond 1024 "
                   "on an fd_set is a fault of the program, which is ended if it was built with "
                   "_FORTIFY_SOURCE and else overwrites its own memory",
    .reference = "select(2), BUGS and NOTES; core_sys_select() in Linux",
    .why = "core_sys_select() takes three bitmaps as long as nfds says, and nfds may be as large "
           "as the table of descriptors. fd_set is a type of the C library with 1024 bits, and "
           "FD_SET computes an address without knowing how large the set is. A server with more "
           "descriptors than that is better off with poll or epoll.",
    .next = "weir lab rounds",
    .run = select_1024,
};

/* ---- mux-2: what select reports ---- */

enum { LOOKS = 5 };

static int select_now(int count, fd_set *readable, fd_set *writable)
{
    struct timeval none = { 0 };
    return select(count, readable, writable, NULL, &none);
}

/* The same bytes lie there unread; how often they are reported. */
static int look_again(int fd)
{
    int reports = 0;
    for (int i = 0; i < LOOKS; i++) {
        fd_set readable;
        FD_ZERO(&readable);
        FD_SET(fd, &readable);
        reports += select_now(fd + 1, &readable, NULL);
    }
    return reports;
}

/* One socket of two has data, and one of them is in two sets: the count, and what the sets say. */
static void count_ready(struct lab *lab, int with_data, int without)
{
    fd_set readable, writable;
    int most = with_data > without ? with_data : without;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(with_data, &readable);
    FD_SET(with_data, &writable);
    FD_SET(without, &readable);
    observe_number(lab, "one socket, readable and writable: select gives",
                   select_now(most + 1, &readable, &writable), 2);
    observe_bool(lab, "the sets say which: the readable one is left in",
                 FD_ISSET(with_data, &readable), true);
    observe_bool(lab, "and the other was taken out", !FD_ISSET(without, &readable), true);
}

/* In a process of its own: sends when the parent sleeps. */
static int send_to_sleeper(void *arg)
{
    return !WAIT_UNTIL(4000, is_asleep(getppid())) ||
           send(*(const int *)arg, "x", 1, MSG_NOSIGNAL) != 1;
}

/* What is left of five seconds when data comes much earlier. */
static void rest_of_timeout(struct lab *lab, int from, int to)
{
    struct timeval timeout = { .tv_sec = 5 };
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(to, &readable);
    int child = spawn(lab, send_to_sleeper, &from);
    observe_number(lab, "select with a timeout of 5 s", select(to + 1, &readable, NULL, NULL,
                                                               &timeout), 1);
    double left = (double)timeout.tv_sec * 1e3 + (double)timeout.tv_usec / 1e3;
    observe_range(lab, "what it left of the timeout", left, 0, 4999.999, "ms");
    reap(lab, child);
}

static enum verdict select_levels(struct lab *lab)
{
    char byte;
    struct tcp_pair pair = tcp_pair(lab), idle = tcp_pair(lab);
    send_text(lab, pair.client, "x");
    wait_events(pair.server, POLLIN, 1000);
    observe_number(lab, "one byte unread, five calls: reports", look_again(pair.server), LOOKS);
    count_ready(lab, pair.server, idle.server);
    must(lab, recv(pair.server, &byte, 1, 0), "recv");
    observe_number(lab, "the byte is read, five calls: reports", look_again(pair.server), 0);
    rest_of_timeout(lab, pair.client, pair.server);
    CLOSE(pair.client, pair.server, idle.client, idle.server);
    return conclude(lab, CONTRADICTED, "it reports what is, not what changes: as long as a byte is "
                                       "unread every call says so. Its count is of bits, not of "
                                       "sockets, and Linux leaves the rest of the timeout behind");
}

static const struct experiment mux_2 = {
    .id = "mux-2",
    .name = "select-levels",
    .question = "does select report a change, or a state?",
    .source = "S0:726 S0:728",
    .claims = "7",
    .original = "状态跳变，不可读变可读 or 不可写变可写 or exception发生",
    .claim = "select returns when a socket becomes ready, from not readable to readable; what it "
             "returns is the number of sockets that are ready",
    .expectation = "with unread data each call returns at once; a socket that is readable and "
                   "writable counts twice; the timeout is overwritten with what is left of it",
    .reference = "select(2), do_select() and poll_select_finish() in Linux",
    .why = "do_select() asks each socket for its state before it sleeps, so a state is enough; "
           "only epoll with EPOLLET has to do with changes. The sets are both question and "
           "answer, so that they are filled again for each call, and so is the timeout: POSIX "
           "lets a system change it, and Linux does.",
    .next = "weir lab edges",
    .run = select_levels,
};

/* ---- mux-3: levels and edges ---- */

static int poller_for(struct lab *lab, int fd, uint32_t events)
{
    int poller = must(lab, epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    struct epoll_event event = { .events = events };
    must(lab, epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
    return poller;
}

static int reports_of(int poller)
{
    struct epoll_event event;
    int reports = 0;
    for (int i = 0; i < LOOKS; i++)
        reports += epoll_wait(poller, &event, 1, 0);
    return reports;
}

struct edges {
    const char *name;
    uint32_t events;
    int unread, partly_read, more, armed; /* reports of five waits that are expected then */
};

static void watch_edges(struct lab *lab, const struct edges *e)
{
    char buf[4];
    struct tcp_pair pair = tcp_pair(lab);
    int poller = poller_for(lab, pair.server, EPOLLIN | e->events);
    send_text(lab, pair.client, "0123456789");
    wait_events(pair.server, POLLIN, 1000);

    int unread = reports_of(poller);
    must(lab, recv(pair.server, buf, sizeof buf, 0), "recv");
    int partly_read = reports_of(poller);
    send_text(lab, pair.client, "x");
    WAIT_UNTIL(1000, bytes_in(pair.server) == 7);
    int more = reports_of(poller);
    struct epoll_event event = { .events = EPOLLIN | e->events };
    must(lab, epoll_ctl(poller, EPOLL_CTL_MOD, pair.server, &event), "epoll_ctl");
    int armed = reports_of(poller);

    observe_number(lab, text("%s: 10 bytes unread", e->name), unread, e->unread);
    observe_number(lab, text("%s: 4 of them read", e->name), partly_read, e->partly_read);
    observe_number(lab, text("%s: 1 more has come", e->name), more, e->more);
    observe_number(lab, text("%s: after EPOLL_CTL_MOD", e->name), armed, e->armed);
    cell(lab, e->name, false);
    cell(lab, text("%d", unread), false);
    cell(lab, text("%d", partly_read), false);
    cell(lab, text("%d", more), false);
    cell(lab, text("%d", armed), true);
    CLOSE(poller, pair.client, pair.server);
}

static enum verdict edges(struct lab *lab)
{
    static const struct edges kinds[] = {
        { "level", 0, LOOKS, LOOKS, LOOKS, LOOKS },
        { "EPOLLET", EPOLLET, 1, 0, 1, 1 },
        { "EPOLLONESHOT", EPOLLONESHOT, 1, 0, 0, 1 },
    };
    picture(lab, TABLE, 0, "reports of five epoll_wait", NULL, NULL);
    cell(lab, "", false);
    cell(lab, "unread", false);
    cell(lab, "4 read", false);
    cell(lab, "1 more", false);
    cell(lab, "after MOD", true);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        watch_edges(lab, &kinds[i]);
    return conclude(lab, ADDED, "by level epoll reports as long as there is something; by edge "
                                "once for each arrival, so who leaves bytes behind hears nothing "
                                "of them until more come");
}

static const struct experiment mux_3 = {
    .id = "mux-3",
    .name = "edges",
    .question = "how often does epoll report the same bytes?",
    .expectation = "five times in five waits by level; once with EPOLLET, and not after a partial "
                   "read until more comes; once with EPOLLONESHOT until it is armed again",
    .reference = "epoll(7), level-triggered and edge-triggered; ep_send_events() in Linux",
    .why = "After it has reported a descriptor by level, ep_send_events() puts it back into the "
           "list of the ready ones, to ask it again at the next wait. With EPOLLET it does not: "
           "only the next arrival puts it there. So read until EAGAIN before you wait again. "
           "EPOLL_CTL_MOD asks anew, which is how to arm it by hand.",
    .next = "weir lab select-levels",
    .run = edges,
};

/* ---- mux-4: what epoll_create and epoll_ctl take ---- */

static int add_to(int poller, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };
    return epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void with_file(struct lab *lab, int poller)
{
    int file = must(lab, open(lab_path(lab, "file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open");
    observe_errno(lab, "adding a regular file", add_to(poller, file), EPERM);
    observe_text(lab, "poll of the empty file",
                 poll_words(wait_events(file, POLLIN | POLLOUT, 0)), "IN|OUT");
    CLOSE(file);
}

static enum verdict epoll_limits(struct lab *lab)
{
    int one = epoll_create(1), thousand = epoll_create(1000), fd = tcp_listen(lab, 1);
    observe_errno(lab, "epoll_create(1)", one, 0);
    observe_errno(lab, "epoll_create(1000)", thousand, 0);
    observe_errno(lab, "epoll_create(0)", epoll_create(0), EINVAL);
    observe_errno(lab, "epoll_create(-1)", epoll_create(-1), EINVAL);
    observe_errno(lab, "adding a socket", add_to(one, fd), 0);
    observe_errno(lab, "adding it again", add_to(one, fd), EEXIST);
    observe_errno(lab, "adding the epoll to itself", add_to(one, one), EINVAL);
    with_file(lab, one);
    observe_range(lab, "fs.epoll.max_user_watches, of all epolls of a user",
                  (double)sysctl_number("fs/epoll/max_user_watches"), 1, INFINITY, "watches");
    CLOSE(one, thousand, fd);
    return conclude(lab, REFINED, "the size is ignored, but it must be greater than 0; what limits "
                                  "epoll is fs.epoll.max_user_watches; and not every file will do");
}

static const struct experiment mux_4 = {
    .id = "mux-4",
    .name = "epoll-limits",
    .question = "what does epoll take, and how many?",
    .source = "S0:738 S0:802",
    .original = "随便给个>0的数值，现在系统不care了",
    .claim = "the size given to epoll_create is ignored as long as it is greater than 0; epoll has "
             "no limit but that of descriptors",
    .expectation = "0 and -1 are EINVAL, all other sizes the same; a regular file is EPERM; each "
                   "user has a number of watches",
    .reference = "epoll_create(2), epoll_ctl(2), proc_sys_fs(5); since Linux 2.6.8 size is ignored",
    .why = "Once size was how many descriptors to make room for; now a tree grows as needed and "
           "epoll_create1 asks for no size. A watch costs kernel memory, hence the limit for each "
           "user, a share of the low memory. A regular file is always ready, for poll and "
           "select; epoll refuses it instead of reporting it for ever.",
    .next = "weir lab edges",
    .run = epoll_limits,
};

const struct experiment *const mux_experiments[] = { &mux_1, &mux_2, &mux_3, &mux_4, NULL };
