/* exp_queue.c -- experiments on listening and its two queues: how long they are. */
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "counters.h"
#include "diag.h"
#include "filter.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

/* ---- q-1: how many finished connections wait ---- */

enum { MORE_THAN_FIT = 4, CLIENTS_MAX = 32 };

static int count_in_state(const int *fds, int count, int state)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        found += tcp_state(fds[i]) == state;
    return found;
}

/* Clients call one after the other, so that whoever comes later finds the queue as full as it gets:
 * SYNs that come before the queue has filled are answered. */
static void call(struct lab *lab, int listener, int *clients, int count, int places)
{
    for (int i = 0; i < count; i++) {
        clients[i] = tcp_connect_begin(lab, listener);
        if (i < places)
            WAIT_UNTIL(500, (int)tcp_look(listener).unacked == i + 1);
    }
}

/* A listener that never accepts, and a few more clients than it has room for. */
static void fill_queue(struct lab *lab, int backlog)
{
    int clients[CLIENTS_MAX], count = backlog + MORE_THAN_FIT;
    int listener = tcp_listen(lab, backlog);
    uint16_t port = local_port(lab, listener);

    call(lab, listener, clients, count, backlog + 1);

    int established = diag_count(port, TCP_ESTABLISHED);
    observe_number(lab, text("backlog %d: server ESTABLISHED", backlog), established, backlog + 1);
    observe_number(lab, text("backlog %d: server SYN_RECV", backlog),
                   diag_count(port, TCP_SYN_RECV), 0);
    observe_number(lab, text("backlog %d: clients SYN_SENT", backlog),
                   count_in_state(clients, count, TCP_SYN_SENT), count - backlog - 1);
    bar(lab, text("listen(%d), server ESTABLISHED", backlog), established, 0);
    bar(lab, "clients left in SYN_SENT", count_in_state(clients, count, TCP_SYN_SENT), 0);
    close_all(clients, count);
    CLOSE(listener);
}

/* Who waits outside gets in once there is room, when its SYN is sent again: after a second. */
static void let_one_in(struct lab *lab)
{
    int clients[2], listener = tcp_listen(lab, 0);
    call(lab, listener, clients, 2, 1);
    int64_t begin = clock_ns();
    int accepted = must(lab, accept(listener, NULL, NULL), "accept");
    WAIT_UNTIL(3000, count_in_state(clients, 2, TCP_ESTABLISHED) == 2);
    observe_range(lab, "after one accept, the client outside gets in", ms_since(begin), 500, 2500,
                  "ms");
    CLOSE(accepted, clients[0], clients[1], listener);
}

static enum verdict backlog(struct lab *lab)
{
    static const int backlogs[] = { 0, 1, 5, 20 };
    picture(lab, BARS, 0, "four clients too many, nobody accepts", NULL, NULL);
    for (size_t i = 0; i < sizeof backlogs / sizeof *backlogs; i++)
        fill_queue(lab, backlogs[i]);
    let_one_in(lab);
    return conclude(lab, REFINED, "backlog+1 is right; but since the queue is full the SYNs of "
                                  "the others are dropped, not queued: they are SYN_SENT, and "
                                  "the server knows nothing of them");
}

static const struct experiment q_1 = {
    .id = "q-1",
    .name = "backlog",
    .question = "how many finished connections wait for accept?",
    .source = "S3:75 S3:77",
    .claims = "4",
    .original = "8个连接中有6个处于ESTABLISHED状态，两个处于SYN_RECV状态",
    .claim = "of 8 connections to listen(5), 6 are ESTABLISHED and two SYN_RECV: at most "
             "backlog+1 are ESTABLISHED",
    .expectation = "backlog+1 are ESTABLISHED at the server, none is SYN_RECV, and the other "
                   "clients stay SYN_SENT until a place is free and their SYN is sent again",
    .reference = "listen(2), tcp_conn_request() and sk_acceptq_is_full() in Linux",
    .why = "sk_acceptq_is_full() asks whether the queue is longer than the backlog, not as long, "
           "hence +1. While it is full, tcp_conn_request() drops each SYN that comes and counts "
           "it in ListenOverflows; the client takes silence for loss and tries again after a "
           "second.",
    .next = "weir lab q",
    .is_slow = false,
    .run = backlog,
};

/* ---- q-2: how many clients at once ---- */

enum { AT_ONCE = 200 };

static enum verdict simultaneous(struct lab *lab)
{
    char buf[8];
    int clients[AT_ONCE], accepted[AT_ONCE];
    unsigned longest = 0;
    int listener = tcp_listen(lab, 1);
    struct sockaddr_in to = local_address(lab, listener);

    for (int i = 0; i < AT_ONCE; i++) {
        must(lab, tcp_connect(lab, to, &clients[i]), "connect");
        unsigned waiting = tcp_look(listener).unacked;
        longest = waiting > longest ? waiting : longest;
        accepted[i] = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    }
    int open = diag_count(local_port(lab, listener), TCP_ESTABLISHED);
    send_text(lab, clients[0], "first");
    send_text(lab, clients[AT_ONCE - 1], "last");

    observe_number(lab, "listen(1): connections open at once", open, AT_ONCE);
    observe_range(lab, "the most that waited for accept", longest, 1, 2, "clients");
    observe_text(lab, "the first client is still served", recv_text(lab, accepted[0], buf, 8),
                 "first");
    observe_text(lab, "and so is the last", recv_text(lab, accepted[AT_ONCE - 1], buf, 8), "last");
    picture(lab, BARS, 0, "listen(1) and an accept for each client", NULL, NULL);
    bar(lab, "backlog", 1, 0);
    bar(lab, "the most that waited", longest, 0);
    bar(lab, "open at once", open, 0);
    close_all(clients, AT_ONCE);
    close_all(accepted, AT_ONCE);
    CLOSE(listener);
    return conclude(lab, CONTRADICTED, "listen(1) served %d clients at once: the backlog is the "
                                       "length of the queue before accept, and what is accepted "
                                       "is in no queue", open);
}

static const struct experiment q_2 = {
    .id = "q-2",
    .name = "simultaneous",
    .question = "does the backlog limit how many clients are served at once?",
    .source = "S0:292 S0:601 S4:50",
    .claims = "2",
    .original = "设置server可以同时接收的最大链接数",
    .claim = "backlog is the greatest number of connections that the server can have at once",
    .expectation = "listen(1) and 200 clients that are accepted one after the other: 200 "
                   "connections are open, and never more than the queue's two waited",
    .reference = "listen(2), inet_csk_accept() in Linux",
    .why = "accept takes a connection out of the queue; from then on it costs the listener "
           "nothing. How many there can be is a matter of descriptors and memory. The backlog "
           "only says how many may be finished and not yet accepted, so it needs to be as long "
           "as the server may be busy with something else.",
    .next = "weir lab backlog",
    .run = simultaneous,
};

/* ---- q-3: what happens when the queue is full ---- */

enum { BACKLOG = 4, PLACES = BACKLOG + 1, OUTSIDE = 3 };

struct crowd {
    int listener;
    int inside[PLACES];
    int late; /* its third segment was lost, and when it comes again the queue is full */
};

static struct crowd crowd_gather(struct lab *lab)
{
    struct crowd crowd = { .listener = tcp_listen(lab, BACKLOG) };
    struct sockaddr_in to = local_address(lab, crowd.listener);

    drop_flags(lab, crowd.listener, TH_SYN | TH_ACK, TH_ACK);
    must(lab, tcp_connect(lab, to, &crowd.late), "connect");
    errno = ETIMEDOUT;
    must(lab, WAIT_UNTIL(900, drop_count(crowd.listener) > 0) ? 0 : -1, "no segment was lost");
    drop_nothing(lab, crowd.listener);
    for (int i = 0; i < PLACES; i++)
        must(lab, tcp_connect(lab, to, &crowd.inside[i]), "connect");
    WAIT_UNTIL(900, tcp_look(crowd.listener).unacked == PLACES);
    return crowd;
}

static long long overflows(void)
{
    return counter("TcpExt", "ListenOverflows");
}

static void overflow(struct lab *lab, bool aborts)
{
    char buf[8];
    int outside[OUTSIDE];
    sysctl_set(lab, "net/ipv4/tcp_abort_on_overflow", aborts ? "1" : "0");
    struct crowd crowd = crowd_gather(lab);
    long long before = overflows();

    for (int i = 0; i < OUTSIDE; i++)
        outside[i] = tcp_connect_begin(lab, crowd.listener);
    WAIT_UNTIL(900, overflows() - before >= OUTSIDE);
    observe_range(lab, text("abort_on_overflow=%d: %d SYNs come, ListenOverflows rises", aborts,
                            OUTSIDE),
                  (double)(overflows() - before), OUTSIDE, INFINITY, "SYNs");
    observe_number(lab, text("abort_on_overflow=%d: clients left in SYN_SENT", aborts),
                   count_in_state(outside, OUTSIDE, TCP_SYN_SENT), OUTSIDE);

    send_text(lab, crowd.late, "hello");
    wait_events(crowd.late, POLLIN, aborts ? 1000 : 50);
    ssize_t got = recv(crowd.late, buf, sizeof buf, MSG_DONTWAIT);
    const char *error = got < 0 ? strerrorname_np(errno) : "success";
    observe_text(lab, text("abort_on_overflow=%d: a third segment comes, its client's recv",
                           aborts),
                 error, aborts ? "ECONNRESET" : "EAGAIN");
    cell(lab, aborts ? "1" : "0", false);
    cell(lab, tcp_state_name(tcp_state(outside[0])), false);
    cell(lab, error, true);
    close_all(outside, OUTSIDE);
    close_all(crowd.inside, PLACES);
    CLOSE(crowd.late, crowd.listener);
}

static void overflow_unix(struct lab *lab)
{
    static const int expected[] = { 0, 0, EAGAIN };
    struct sockaddr_un to;
    int clients[3], listener = unix_listen(lab, 1, &to);
    for (int i = 0; i < 3; i++) {
        clients[i] = must(lab, socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                          "socket");
        observe_errno(lab, text("AF_UNIX, listen(1): client %d", i + 1),
                      connect(clients[i], (struct sockaddr *)&to, sizeof to), expected[i]);
    }
    close_all(clients, 3);
    CLOSE(listener);
}

static enum verdict queue_full(struct lab *lab)
{
    picture(lab, TABLE, 0, "what becomes of who comes to a full queue", NULL, NULL);
    cell(lab, "tcp_abort_on_overflow", false);
    cell(lab, "after its SYN", false);
    cell(lab, "recv, after its third segment", true);
    overflow(lab, false);
    overflow(lab, true);
    overflow_unix(lab);
    return conclude(lab, REFINED, "SYNs are dropped, and no client is refused: it keeps trying. "
                                  "tcp_abort_on_overflow resets who comes with the third "
                                  "segment, and then it is ECONNRESET; AF_UNIX says EAGAIN");
}

static const struct experiment q_3 = {
    .id = "q-3",
    .name = "queue-full",
    .question = "what happens to who comes when the queue is full?",
    .source = "S0:295",
    .claims = "3",
    .original = "如果queue满了，server端可以丢弃新到的connection或者回复客户端`ECONNREFUSED`",
    .claim = "if the queue is full the server may drop the new connection or answer ECONNREFUSED",
    .expectation = "each SYN is dropped and counted, with tcp_abort_on_overflow too: that acts "
                   "only on who had its SYN answered before the queue was full. A UNIX socket's "
                   "connect gives EAGAIN",
    .reference = "listen(2), tcp(7) on tcp_abort_on_overflow, tcp_conn_request() and "
                 "tcp_check_req() in Linux",
    .why = "A refusal would end the attempt, silence makes the client try again a second later, "
           "when there may be room. The sysctl is for those that believe they are connected, "
           "because they have seen the SYN ACK: without it their ACK is dropped and they send on "
           "into the void. A UNIX socket's connect has nothing to send again, so it waits, or "
           "says EAGAIN.",
    .next = "weir lab half-open",
    .needs = NEEDS_NET | NEEDS_FILTER,
    .run = queue_full,
};

/* ---- q-4: how many half-open connections ---- */

enum { MANY = 80, FEW = 3 };

static const char *const max_syn = "net/ipv4/tcp_max_syn_backlog";

/* Clients whose third segments are all lost. */
static int begin_half_open(struct lab *lab, int backlog, int *clients, int count)
{
    int listener = tcp_listen(lab, backlog);
    drop_flags(lab, listener, TH_SYN | TH_ACK, TH_ACK);
    for (int i = 0; i < count; i++)
        clients[i] = tcp_connect_begin(lab, listener);
    return listener;
}

static void count_half_open(struct lab *lab, int backlog, bool cookies, int low, int high)
{
    int clients[MANY];
    sysctl_set(lab, "net/ipv4/tcp_syncookies", cookies ? "1" : "0");
    int listener = begin_half_open(lab, backlog, clients, MANY);
    uint16_t port = local_port(lab, listener);

    WAIT_UNTIL(500, diag_count(port, TCP_SYN_RECV) == high &&
                        count_in_state(clients, MANY, TCP_ESTABLISHED) == (cookies ? MANY : high));
    int known = diag_count(port, TCP_SYN_RECV);
    int believing = count_in_state(clients, MANY, TCP_ESTABLISHED);
    const char *how = text("backlog %d, max_syn %lld, cookies %s", backlog,
                           sysctl_number(max_syn), cookies ? "on" : "off");
    if (low == high)
        observe_number(lab, text("%s: server SYN_RECV", how), known, high);
    else
        observe_range(lab, text("%s: server SYN_RECV", how), known, low, high, "clients");
    observe_number(lab, text("%s: clients ESTABLISHED", how), believing, cookies ? MANY : known);
    bar(lab, how, known, MANY);
    bar(lab, "  and that believe they are connected", believing, MANY);
    close_all(clients, MANY);
    CLOSE(listener);
}

/* The sysctl is looked at where there are no cookies, and the last quarter of it is kept free for
 * peers that have been talked to before. */
static void count_with_sysctl(struct lab *lab)
{
    const char *before = text("%lld", sysctl_number(max_syn));
    sysctl_set(lab, max_syn, "16");
    count_half_open(lab, 64, false, 13, 13);
    sysctl_set(lab, max_syn, before);
}

static void overtake(struct lab *lab)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    int clients[FEW], listener = begin_half_open(lab, BACKLOG, clients, FEW);
    uint16_t port = local_port(lab, listener);

    WAIT_UNTIL(500, diag_count(port, TCP_SYN_RECV) == FEW && drop_count(listener) == FEW);
    observe_number(lab, "half-open", diag_count(port, TCP_SYN_RECV), FEW);
    observe_number(lab, "in the accept queue", tcp_look(listener).unacked, 0);
    drop_nothing(lab, listener);
    send_text(lab, clients[FEW - 1], "me first");
    int accepted = must(lab, accept(listener, (struct sockaddr *)&from, &len), "accept");
    observe_bool(lab, "the last SYN can be the first that is accepted",
                 from.sin_port == local_address(lab, clients[FEW - 1]).sin_port, true);
    close_all(clients, FEW);
    CLOSE(accepted, listener);
}

static enum verdict half_open(struct lab *lab)
{
    /* Since 6.14 one more, as in the accept queue; some older kernels have taken that over. */
    int more = kernel_since(6, 14) ? 1 : 0;
    if (sysctl_number("net/ipv4/tcp_syncookies") < 0)
        return skip(lab, "a kernel with CONFIG_SYN_COOKIES", "this kernel has no SYN cookies");
    note(lab, "max_syn", "the sysctl tcp_max_syn_backlog");
    picture(lab, BARS, 0, text("of %d clients, all third segments lost, the server knows", MANY),
            NULL, NULL);
    count_with_sysctl(lab);
    count_half_open(lab, 5, false, 5 + more, 6);
    count_half_open(lab, 64, false, 64 + more, 65);
    count_half_open(lab, 5, true, 5 + more, 6);
    overtake(lab);
    return conclude(lab, CONTRADICTED, "the backlog limits them, the sysctl only where there are "
                                       "no cookies; with cookies there are clients that believe "
                                       "they are connected and of which the server knows "
                                       "nothing. They stand in no queue: only accept's is one");
}

static const struct experiment q_4 = {
    .id = "q-4",
    .name = "half-open",
    .question = "how many connections can be half open, and where are they kept?",
    .source = "S3:59 S1:110",
    .claims = "5 37",
    .original = "处于半连接状态的socket上限由/proc/sys/net/ipv4/tcp_max_syn_backlog内核参数定义",
    .claim = "listen makes a half-open queue, and tcp_max_syn_backlog says how many may be in it",
    .expectation = "the backlog's number (one more since Linux 6.14) and not the sysctl's 128 or "
                   "more; three quarters of the sysctl where that is less and cookies are off; "
                   "with cookies every client is answered and the server remembers no more",
    .reference = "tcp_conn_request() and inet_csk_reqsk_queue_is_full() in Linux, commits "
                 "079096f103fa (4.4) and 3479c7549fb1 (6.14), RFC 4987",
    .why = "Since Linux 4.4 a half-open connection is a small request in the hash table of all "
           "connections, where its ACK finds it whatever came before or after; the listener only "
           "counts them. Beyond the limit a SYN cookie puts what must be remembered into the "
           "number K of the SYN ACK, and the server learns of the client from the ACK, if that "
           "arrives.",
    .next = "weir lab queue-full",
    .needs = NEEDS_NET | NEEDS_FILTER,
    .run = half_open,
};

/* ---- q-5: what limits the backlog ---- */

enum { LITTLE = 3, TRYING = 6 };

static unsigned limit_after(struct lab *lab, int listener, int backlog)
{
    must(lab, listen(listener, backlog), "listen");
    return tcp_look(listener).sacked;
}

static enum verdict somaxconn(struct lab *lab)
{
    int clients[TRYING], listener = tcp_listen(lab, 1);
    long long most = sysctl_number("net/core/somaxconn");
    uint16_t port = local_port(lab, listener);

    note_number(lab, "net.core.somaxconn", (double)most, "");
    observe_number(lab, "listen(10000000): limit", limit_after(lab, listener, 10000000), most);
    observe_number(lab, "listen(7) on the same socket", limit_after(lab, listener, 7), 7);
    observe_number(lab, "listen(-1)", limit_after(lab, listener, -1), most);
    sysctl_set(lab, "net/core/somaxconn", text("%d", LITTLE));
    observe_number(lab, text("somaxconn is made %d; limit now", LITTLE),
                   tcp_look(listener).sacked, most);
    observe_number(lab, "listen(7) once more", limit_after(lab, listener, 7), LITTLE);

    call(lab, listener, clients, TRYING, LITTLE + 1);
    observe_number(lab, text("%d clients come: server ESTABLISHED", TRYING),
                   diag_count(port, TCP_ESTABLISHED), LITTLE + 1);
    close_all(clients, TRYING);
    CLOSE(listener);
    return conclude(lab, REFINED, "one more than the backlog, but net.core.somaxconn limits the "
                                  "backlog and nobody says so; ss -l or TCP_INFO tells");
}

static const struct experiment q_5 = {
    .id = "q-5",
    .name = "somaxconn",
    .question = "does listen get the backlog that it asks for?",
    .source = "S3:79",
    .original = "一般完整连接数都略大于backlog的值",
    .claim = "the number of finished connections is as a rule a little more than the backlog "
             "(to be verified)",
    .expectation = "the limit is the smaller of the backlog and net.core.somaxconn at the time of "
                   "listen; a second listen changes it; a negative backlog is a huge one",
    .reference = "listen(2), __sys_listen() in Linux, which compares without a sign",
    .why = "listen stores min(backlog, somaxconn) in the socket, and returns 0 either way; later "
           "changes of the sysctl do not reach sockets that listen already. The default was 128 "
           "until Linux 5.4, when it became 4096, so servers that ask for more must raise it.",
    .next = "weir lab backlog",
    .needs = NEEDS_NET,
    .run = somaxconn,
};

const struct experiment *const queue_experiments[] = { &q_1, &q_2, &q_3, &q_4, &q_5, NULL };
