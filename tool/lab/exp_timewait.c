/* exp_timewait.c -- experiments on TIME_WAIT, the state of the side that closed first. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#include "diag.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- tw-1: how long ---- */

enum { PATIENCE_MS = 90000, STEP_MS = 50 };

static enum verdict two_msl(struct lab *lab)
{
    struct tcp_pair pair = tcp_pair(lab);
    struct diag_socket found = { .timer_ms = 0 };
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);

    CLOSE(pair.client);
    CLOSE(pair.server);
    int64_t begin = clock_ns();

    observe_bool(lab, "the server's end is gone", diag_state(server, client) == 0, true);
    observe_bool(lab, "the client's end is found", diag_find(client, server, &found), true);
    observe_text(lab, "in state", tcp_state_name(found.state), "TIME_WAIT");
    note_number(lab, "its timer says", found.timer_ms / 1e3, "s");
    while (diag_state(client, server) && ms_since(begin) < PATIENCE_MS)
        pause_ms(STEP_MS);
    observe_range(lab, "it lasted", ms_since(begin) / 1e3, 59, 64, "s");
    note_number(lab, "twice the MSL of RFC 9293 would be", 240, "s");
    return conclude(lab, REFINED, "it is a constant of the kernel, 60 s, whatever a segment's "
                                  "lifetime may be on the way there");
}

static const struct experiment tw_1 = {
    .id = "tw-1",
    .name = "two-msl",
    .question = "how long does TIME_WAIT last?",
    .source = "S1:97",
    .claims = "20",
    .original = "客户端经过 `2MSL` 时间之后，也进入 CLOSE 状态",
    .claim = "after 2 MSL the client, too, enters CLOSE",
    .expectation = "60 seconds, and up to a few more, since the timer is coarse",
    .reference = "TCP_TIMEWAIT_LEN in include/net/tcp.h, RFC 9293 section 3.4.2 (MSL: 2 minutes)",
    .why = "The RFC guesses two minutes for the longest life of a segment, so 2 MSL would be four. "
           "Linux has the constant TCP_TIMEWAIT_LEN instead, 60 s, with no sysctl for it: "
           "tcp_fin_timeout is about FIN_WAIT2. Only the side that closed first goes through it; "
           "the other is gone when its FIN is acknowledged.",
    .next = "weir lab tw",
    .is_slow = true,
    .seconds_max = 100,
    .run = two_msl,
};

/* ---- tw-2: a server that starts again ---- */

static int try_bind(struct lab *lab, uint16_t port, bool is_reusing)
{
    struct sockaddr_in a = address("127.0.0.1", port);
    int fd = tcp_socket(lab);
    set_option(lab, fd, SOL_SOCKET, SO_REUSEADDR, is_reusing);
    int result = bind(fd, (struct sockaddr *)&a, sizeof a), error = errno;
    CLOSE(fd);
    errno = error;
    return result;
}

/* A server that served one client and is gone. Gives the port that it had. */
static uint16_t old_server(struct lab *lab, bool is_reusing, bool closes_first)
{
    struct sockaddr_in any = address("127.0.0.1", 0);
    int client, listener = tcp_socket(lab);
    set_option(lab, listener, SOL_SOCKET, SO_REUSEADDR, is_reusing);
    must(lab, bind(listener, (struct sockaddr *)&any, sizeof any), "bind");
    must(lab, listen(listener, 1), "listen");
    must(lab, tcp_connect(lab, local_address(lab, listener), &client), "connect");
    int server = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    uint16_t port = local_port(lab, listener), other = local_port(lab, client);

    CLOSE(closes_first ? server : client);
    CLOSE(closes_first ? client : server);
    CLOSE(listener);
    int state = closes_first ? TCP_TIME_WAIT : 0;
    WAIT_UNTIL(1000, diag_state(port, other) == state);
    observe_text(lab, text("the server's end, %s having closed first",
                           closes_first ? "itself" : "the client"),
                 tcp_state_name(diag_state(port, other)), tcp_state_name(state));
    return port;
}

static enum verdict time_wait_bind(struct lab *lab)
{
    picture(lab, TABLE, 0, "SO_REUSEADDR", NULL, NULL);
    cell(lab, "old server", false);
    cell(lab, "new server", false);
    cell(lab, "bind", true);
    for (int i = 0; i < 4; i++) {
        bool old = i / 2, new = i % 2;
        uint16_t port = old_server(lab, old, true);
        int result = try_bind(lab, port, new);
        observe_errno(lab, text("bind, SO_REUSEADDR at the old %d, at the new %d", old, new),
                      result, old && new ? 0 : EADDRINUSE);
        cell(lab, old ? "yes" : "no", false);
        cell(lab, new ? "yes" : "no", false);
        cell(lab, result == 0 ? "works" : "EADDRINUSE", true);
    }
    observe_errno(lab, "bind without it, when the client had closed first",
                  try_bind(lab, old_server(lab, false, false), false), 0);
    return conclude(lab, REFINED, "only who closed first has TIME_WAIT; and SO_REUSEADDR helps "
                                  "only if the old socket had it, too");
}

static const struct experiment tw_2 = {
    .id = "tw-2",
    .name = "time-wait-bind",
    .question = "when does TIME_WAIT keep a server from starting again?",
    .source = "S3:33",
    .claims = "19",
    .original = "比如讲socket绑定到一个处于TIME_WAIT状态的地址",
    .claim = "EADDRINUSE: the address is in use, for example in TIME_WAIT",
    .expectation = "EADDRINUSE unless both the old and the new socket have SO_REUSEADDR; and none "
                   "at all when the client closed first",
    .reference = "socket(7) on SO_REUSEADDR, inet_bind_conflict() in Linux",
    .why = "What is in TIME_WAIT keeps its place at the port, with the options of its socket, "
           "which an accepted socket has from its listener. The kernel asks whether both agree to "
           "share. So a server sets the option each time, before bind, and then it works from the "
           "second start on. A protocol in which the client closes first has no such trouble.",
    .next = "weir lab same-port-again two-msl",
    .run = time_wait_bind,
};

/* ---- tw-3: a client that comes again from the same port ---- */

static int connect_from(struct lab *lab, uint16_t port, int listener, int *fd)
{
    struct sockaddr_in from = address("127.0.0.1", port), to = local_address(lab, listener);
    *fd = tcp_socket(lab);
    set_option(lab, *fd, SOL_SOCKET, SO_REUSEADDR, 1);
    must(lab, bind(*fd, (struct sockaddr *)&from, sizeof from), "bind to the same port");
    return connect(*fd, (struct sockaddr *)&to, sizeof to);
}

/* Connects, closes first, and comes again while the old connection is in TIME_WAIT. */
static void come_again(struct lab *lab, const char *how, int expected)
{
    int first, second, listener = tcp_listen(lab, 2);
    must(lab, connect_from(lab, 0, listener, &first), "connect");
    int server = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    uint16_t client_port = local_port(lab, first), server_port = local_port(lab, listener);
    CLOSE(first);
    CLOSE(server);
    WAIT_UNTIL(1000, diag_state(server_port, client_port) == 0);
    observe_text(lab, text("%s: the old connection", how),
                 tcp_state_name(diag_state(client_port, server_port)), "TIME_WAIT");

    observe_errno(lab, text("%s: connect again", how),
                  connect_from(lab, client_port, listener, &second), expected);
    CLOSE(second, listener);
}

static enum verdict same_port_again(struct lab *lab)
{
    static const char *const choices[] = { "0", "2" };
    sysctl_set(lab, "net/ipv4/tcp_timestamps", "1");
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        sysctl_set(lab, "net/ipv4/tcp_tw_reuse", choices[i]);
        come_again(lab, text("tcp_tw_reuse %s", choices[i]), 0);
    }
    sysctl_set(lab, "net/ipv4/tcp_timestamps", "0");
    come_again(lab, "without timestamps", EADDRNOTAVAIL);
    return conclude(lab, ADDED, "a client that names its port may use it again at once, as long as "
                                "segments have timestamps; tcp_tw_reuse has no part in it");
}

static const struct experiment tw_3 = {
    .id = "tw-3",
    .name = "same-port-again",
    .question = "may a client with a port of its own choice reconnect at once?",
    .expectation = "bind needs SO_REUSEADDR; then connect succeeds while the old connection is in "
                   "TIME_WAIT, whatever tcp_tw_reuse says; EADDRNOTAVAIL without timestamps",
    .reference = "RFC 6191, tcp_twsk_unique() in Linux",
    .why = "TIME_WAIT keeps old segments from being taken for new ones. With timestamps the kernel "
           "can tell them apart, and begins the new connection's numbers beyond the old one's, so "
           "it gives the place away. tcp_tw_reuse is asked only when the kernel chooses the port.",
    .next = "weir lab time-wait-bind",
    .needs = NEEDS_NET,
    .run = same_port_again,
};

const struct experiment *const timewait_experiments[] = { &tw_1, &tw_2, &tw_3, NULL };
