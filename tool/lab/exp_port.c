/* exp_port.c -- experiments on ports: which there are, who chooses, and how far they go. */
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"
#include "sock.h"

/* A listener at a port of the experiment's choice, in a namespace of its own. */
static int listen_on(struct lab *lab, uint16_t port)
{
    int fd = tcp_socket(lab);
    must(lab, bind_host(fd, "0.0.0.0", port), "bind");
    must(lab, listen(fd, 1024), "listen");
    return fd;
}

static void reset_all(struct lab *lab, const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        reset_peer(lab, fds[i]);
}

/* ---- port-0: which ports there are ---- */

/* The right to low ports, taken from this process or given back. */
static void set_right(struct lab *lab, bool is_given)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    must(lab, syscall(SYS_capget, &header, data), "capget");
    data[0].effective &= ~(1U << CAP_NET_BIND_SERVICE);
    data[0].effective |= is_given ? 1U << CAP_NET_BIND_SERVICE : 0;
    must(lab, syscall(SYS_capset, &header, data), "capset");
}

static void try_port(struct lab *lab, const char *who, uint16_t port, int ends)
{
    int fd = tcp_socket(lab);
    int result = bind_host(fd, "127.0.0.1", port);
    observe_errno(lab, text("%s: port %d", who, port), result, ends);
    if (result == 0)
        observe_number(lab, "getsockname tells", local_port(lab, fd), port);
    CLOSE(fd);
}

static enum verdict low_ports(struct lab *lab)
{
    const char *sysctl = "net/ipv4/ip_unprivileged_port_start";
    observe_number(lab, sysctl, sysctl_number(sysctl), 1024);
    set_right(lab, false);
    try_port(lab, "without rights", 80, EACCES);
    try_port(lab, "without rights", 1023, EACCES);
    try_port(lab, "without rights", 1024, 0);
    sysctl_set(lab, sysctl, "80");
    try_port(lab, "without rights, the limit being 80", 80, 0);
    try_port(lab, "without rights, the limit being 80", 79, EACCES);
    set_right(lab, true);
    try_port(lab, "with CAP_NET_BIND_SERVICE", 79, 0);

    try_port(lab, "the highest", 65535, 0);
    observe_number(lab, "the highest, in a port of C's type short", (short)65535, -1);
    observe_bool(lab, "in_port_t is unsigned", (in_port_t)-1 > 0, true);
    int any = tcp_socket(lab);
    must(lab, bind_host(any, "127.0.0.1", 0), "bind to port 0");
    observe_range(lab, "bind to port 0 gives port", local_port(lab, any), 1, 65535, "");
    CLOSE(any);
    return conclude(lab, REFINED, "16 bits without a sign, so no short; 0 is not a port but asks "
                                  "for any; where the reserved ones end is a setting, and what "
                                  "they need is a capability, not root");
}

static const struct experiment port_0 = {
    .id = "port-0",
    .name = "low-ports",
    .question = "which ports are there, and who may bind those below 1024?",
    .source = "S2:30 S2:845 S3:32",
    .claims = "18",
    .original = "端口号是一个 C short 类型的值，其范围是0～65535",
    .claim = "a port is a C short from 0 to 65535; those below 1024 are reserved, and bind is "
             "EACCES there for all but root",
    .expectation = "EACCES up to the port before ip_unprivileged_port_start and without "
                   "CAP_NET_BIND_SERVICE, success otherwise; 65535 is a port, 0 is none",
    .reference = "ip(7) ip_unprivileged_port_start (Linux 4.11), capabilities(7)",
    .why = "The TCP header has 16 bits for a port, and in_port_t is unsigned; in a short the "
           "upper half would be negative. That low ports are for root dates from times when a "
           "host's administrator could be trusted. Today a service gets the one capability, or "
           "the limit is lowered; both belong to a network namespace.",
    .next = "weir lab port-choice",
    .needs = NEEDS_NET,
    .run = low_ports,
};

/* ---- port-1: the kernel's choice ---- */

enum { CHOICES = 8 };

static bool port_range(int *low, int *high)
{
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    bool is_read = file && fscanf(file, "%d %d", low, high) == 2;
    if (file)
        fclose(file);
    return is_read;
}

static int count_equal(const int *ports, int count)
{
    int pairs = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++)
            pairs += ports[i] == ports[j];
    return pairs;
}

static enum verdict port_choice(struct lab *lab)
{
    int clients[CHOICES], ports[CHOICES], low = 0, high = 0, inside = 0, even = 0;
    int server = tcp_listen(lab, CHOICES), listener = tcp_socket(lab);
    must(lab, port_range(&low, &high) ? 0 : -1, "ip_local_port_range");

    picture(lab, TABLE, 0, text("ports chosen from %d to %d", low, high), NULL, NULL);
    cell(lab, "connection", false);
    cell(lab, "port", false);
    cell(lab, "from the last", true);
    for (int i = 0; i < CHOICES; i++) {
        must(lab, tcp_connect(lab, local_address(lab, server), &clients[i]), "connect");
        ports[i] = local_port(lab, clients[i]);
        inside += ports[i] >= low && ports[i] <= high;
        even += (ports[i] - low) % 2 == 0;
        cell(lab, text("%d", i + 1), false);
        cell(lab, text("%d", ports[i]), false);
        cell(lab, i ? text("%+d", ports[i] - ports[i - 1]) : "", true);
    }
    must(lab, listen(listener, 1), "listen without bind");
    int chosen = local_port(lab, listener);

    observe_number(lab, "clients with a port of ip_local_port_range", inside, CHOICES);
    observe_number(lab, "pairs of clients with the same port", count_equal(ports, CHOICES), 0);
    observe_range(lab, "listen without bind: its port", chosen, low, high, "");
    if (kernel_since(4, 6)) {
        observe_number(lab, "clients' ports as even or odd as the range's first", even, CHOICES);
        observe_bool(lab, "the listener's is so", (chosen - low) % 2 == 0, false);
    }
    close_all(clients, CHOICES);
    CLOSE(server, listener);
    return conclude(lab, REFINED, "connect and listen do choose, but not at random from all: "
                                  "connect takes one half of the range, bind and listen the "
                                  "other, and the next connection a port close by");
}

static const struct experiment port_1 = {
    .id = "port-1",
    .name = "port-choice",
    .question = "which port does a socket get that never called bind?",
    .source = "S0:211 S0:236 S1:114 S2:845 S3:198 S4:78",
    .original = "系统会自动随机分配一个空闲的临时端口",
    .claim = "without bind, connect and listen are given a free port at random",
    .expectation = "different ports of ip_local_port_range; since Linux 4.6 connect prefers those "
                   "that are even or odd as its first is, bind and listen the others",
    .reference = "ip(7) ip_local_port_range, RFC 6056 section 3.3, __inet_hash_connect() and "
                 "inet_csk_find_open_port() in Linux",
    .why = "A port must be free for this destination only, so connect begins at a place that "
           "depends on a secret and on both addresses, and goes on from there: strangers cannot "
           "guess it, and none is used again soon. bind does not know the destination and "
           "needs a port for itself; the two halves keep it from finding all of them taken.",
    .next = "weir lab bind-zero",
    .run = port_choice,
};

/* ---- port-2: bind to port 0 ---- */

enum { PORTS = 10, FIRST_PORT = 40000, SERVERS = 2, FIRST_SERVER = 5001, TRIES = 4 * PORTS };
enum choice { NO_BIND, BIND_ZERO, BIND_ADDRESS };

/* A new connection, or -1 and errno; *call is what succeeded or failed last. */
static int dial(struct lab *lab, enum choice choice, uint16_t port, const char **call)
{
    int fd = tcp_socket(lab), result = 0;
    if (choice == BIND_ADDRESS)
        set_option(lab, fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    *call = "bind";
    if (choice != NO_BIND)
        result = bind_host(fd, "127.0.0.1", 0);
    if (result == 0) {
        *call = "connect";
        result = connect_host(fd, "127.0.0.1", port);
    }
    if (result == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct outcome {
    int count;        /* of connections */
    int even;         /* ports among the first half of the range's number */
    const char *call; /* that failed in the end */
    int error;        /* and how */
};

/* Connects to each server until that fails. */
static struct outcome exhaust(struct lab *lab, enum choice choice)
{
    int fds[TRIES], servers[SERVERS];
    struct outcome o = { .count = 0 };
    for (int i = 0; i < SERVERS; i++)
        servers[i] = listen_on(lab, (uint16_t)(FIRST_SERVER + i));
    for (int i = 0; i < SERVERS; i++) {
        uint16_t port = (uint16_t)(FIRST_SERVER + i);
        for (int fd; o.count < TRIES && (fd = dial(lab, choice, port, &o.call)) >= 0;) {
            o.even += o.count < PORTS / 2 && local_port(lab, fd) % 2 == 0;
            fds[o.count++] = fd;
        }
        o.error = errno;
    }
    reset_all(lab, fds, o.count);
    close_all(servers, SERVERS);
    return o;
}

static enum verdict bind_zero(struct lab *lab)
{
    static const struct {
        const char *words;
        enum choice choice;
        int count;
        const char *call;
        int error, even;
    } ways[] = {
        { "without bind", NO_BIND, SERVERS * PORTS, "connect", EADDRNOTAVAIL, PORTS / 2 },
        { "bind to port 0", BIND_ZERO, PORTS, "bind", EADDRINUSE, 0 },
        { "IP_BIND_ADDRESS_NO_PORT", BIND_ADDRESS, SERVERS * PORTS, "connect", EADDRNOTAVAIL,
          PORTS / 2 },
    };
    sysctl_set(lab, "net/ipv4/ip_local_port_range",
               text("%d %d", FIRST_PORT, FIRST_PORT + PORTS - 1));
    picture(lab, BARS, 0, text("connections to two servers with %d ports", PORTS), NULL, NULL);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const char *words = ways[i].words;
        struct outcome o = exhaust(lab, ways[i].choice);
        observe_number(lab, text("%s: connections", words), o.count, ways[i].count);
        observe_text(lab, text("%s: what fails then", words), o.call, ways[i].call);
        errno = o.error;
        observe_errno(lab, text("%s: with", words), -1, ways[i].error);
        if (kernel_since(4, 6))
            observe_number(lab, text("%s: even ports of the first %d", words, PORTS / 2), o.even,
                           ways[i].even);
        bar(lab, words, o.count, SERVERS * PORTS);
    }
    return conclude(lab, CONTRADICTED, "bind chooses before the destination is known, so it "
                                       "needs a port that nobody uses: they are used up after "
                                       "%d connections, not after %d to each server", PORTS,
                    PORTS);
}

static const struct experiment port_2 = {
    .id = "port-2",
    .name = "bind-zero",
    .question = "is bind to port 0 the same as no bind?",
    .source = "S2:1133",
    .claims = "17",
    .original = "也就是说绑定 **0** 号端口和没有绑定效果是一样的",
    .claim = "for a client, binding to port 0 has the same effect as not binding",
    .expectation = "with 10 ports and two servers 20 connections without bind, then connect is "
                   "EADDRNOTAVAIL; with bind to port 0 only 10, then bind is EADDRINUSE; with "
                   "IP_BIND_ADDRESS_NO_PORT 20 again",
    .reference = "ip(7) IP_BIND_ADDRESS_NO_PORT (Linux 4.2)",
    .why = "connect picks the port when both ends are known, and may use one that goes to "
           "another server already, for the connections differ. bind must find one that is "
           "free altogether. A client that only wants to choose its address sets "
           "IP_BIND_ADDRESS_NO_PORT, and the port is left to connect.",
    .next = "weir lab how-many-ports",
    .needs = NEEDS_NET,
    .run = bind_zero,
};

/* ---- port-3: how many connections ---- */

enum { SOURCES = 50, CONNECTIONS_MAX = SOURCES * PORTS + PORTS };

/* Connects from 127.0.0.(1 + `from`), NULL: whichever, until that fails; how many succeed. */
static int connect_all(struct lab *lab, const char *from, uint16_t port, int *fds)
{
    for (int count = 0;; count++) {
        int fd = tcp_socket(lab);
        set_option(lab, fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (count > PORTS || (from && bind_host(fd, from, 0) != 0) ||
            connect_host(fd, "127.0.0.1", port) != 0) {
            close(fd);
            return count;
        }
        fds[count] = fd;
    }
}

static enum verdict how_many_ports(struct lab *lab)
{
    static int fds[CONNECTIONS_MAX];
    struct rlimit limit;
    must(lab, getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    must(lab, setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    sysctl_set(lab, "net/core/somaxconn", "1024");
    sysctl_set(lab, "net/ipv4/ip_local_port_range",
               text("%d %d", FIRST_PORT, FIRST_PORT + PORTS - 1));
    int server = listen_on(lab, FIRST_SERVER), other = listen_on(lab, FIRST_SERVER + 1);

    int one = connect_all(lab, NULL, FIRST_SERVER, fds);
    int two = connect_all(lab, NULL, FIRST_SERVER + 1, fds + one);
    reset_all(lab, fds, one + two);
    int all = 0;
    for (int i = 0; i < SOURCES; i++)
        all += connect_all(lab, text("127.0.0.%d", 1 + i), FIRST_SERVER, fds + all);
    reset_all(lab, fds, all);

    observe_number(lab, "to one port of one server", one, PORTS);
    observe_number(lab, "to two of its ports", one + two, 2 * PORTS);
    observe_number(lab, text("to one port, from %d addresses", SOURCES), all, SOURCES * PORTS);
    picture(lab, BARS, 0, text("connections at a time, with %d ports", PORTS), NULL, NULL);
    bar(lab, "one source, one destination", one, 0);
    bar(lab, "one source, two destination ports", one + two, 0);
    bar(lab, text("%d sources, one destination", SOURCES), all, 0);
    CLOSE(server, other);
    return conclude(lab, CONTRADICTED, "ports limit the connections from one address to one "
                                       "address and port; each further source, destination or "
                                       "destination port allows as many again");
}

static const struct experiment port_3 = {
    .id = "port-3",
    .name = "how-many-ports",
    .question = "how many connections can one machine open?",
    .source = "S2:845",
    .claims = "16",
    .original = "压力测试程序理论上最多只能发起六万五千多个连接",
    .claim = "with one address of its network card a load generator can open 65 000 connections "
             "at most",
    .expectation = "ten ports are ten connections from one address to one server's port, twenty "
                   "to two ports, and 500 from fifty addresses",
    .reference = "RFC 9293 section 3.4 (connections are named by both sockets), ip(7)",
    .why = "A connection is named by four numbers, so a port may be used as often as one of the "
           "other three differs. Load generators use more addresses, or more ports of the "
           "server; the server itself has a single port and no such limit. What ends it are "
           "descriptors and memory.",
    .next = "weir lab bind-zero",
    .needs = NEEDS_NET,
    .run = how_many_ports,
};

const struct experiment *const port_experiments[] = { &port_0, &port_1, &port_2, &port_3, NULL };
