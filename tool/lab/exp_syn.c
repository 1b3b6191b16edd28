/* exp_syn.c -- experiments on connect: what it returns, and what it does when nobody answers. */
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "capture.h"
#include "diag.h"
#include "filter.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

static struct capture capture;

static int connect_to(struct lab *lab, int fd, int listener)
{
    struct sockaddr_in to = local_address(lab, listener);
    return connect(fd, (struct sockaddr *)&to, sizeof to);
}

/* ---- hs-4, hs-8: SYNs that nobody answers ---- */

enum { SYNS_MAX = 64 };

/* Some SYNs come a second apart, then the pause doubles each time. */
struct plan {
    int count;
    double at_s[SYNS_MAX]; /* each SYN */
    double end_s;          /* when connect gives up */
};

static struct plan plan_make(int linear, int retries)
{
    struct plan plan = { .count = 1 };
    double pause = 1, now = 0;
    for (int i = 1; i <= linear + retries && plan.count < SYNS_MAX; i++) {
        now += pause;
        plan.at_s[plan.count++] = now;
        if (i > linear)
            pause *= 2;
    }
    plan.end_s = now + pause;
    return plan;
}

/* Timers come late, the longer they run the more: the kernel's wheel has coarser slots for them. */
static void observe_time(struct lab *lab, const char *what, double seconds, double planned)
{
    observe_range(lab, what, seconds, planned * 0.95, planned * 1.12 + 0.3, "s");
}

/* Connects to where every SYN is lost. How many a second apart there were planned. */
static int watch_syns(struct lab *lab, int retries)
{
    int linear = (int)sysctl_number("net/ipv4/tcp_syn_linear_timeouts");
    linear = linear < 0 ? 0 : linear;
    struct plan plan = plan_make(linear, retries);
    int client = tcp_socket(lab), listener = tcp_listen(lab, 1);
    drop_flags(lab, listener, TH_SYN | TH_ACK, TH_SYN);
    set_option(lab, client, IPPROTO_TCP, TCP_SYNCNT, retries);
    capture_begin(lab, &capture, local_port(lab, listener));

    int64_t begin = clock_ns();
    observe_errno(lab, "connect", connect_to(lab, client, listener), ETIMEDOUT);
    double end_s = ms_since(begin) / 1e3;

    note_number(lab, "tcp_syn_linear_timeouts", linear, "");
    note_number(lab, "retries beyond these", retries, "");
    observe_number(lab, "SYNs", capture_take(lab, &capture), plan.count);
    picture(lab, TIMELINE, 0, "since connect was called", NULL, NULL);
    for (int i = 0; i < capture.count && i < plan.count; i++) {
        observe_time(lab, text("SYN %d after", i + 1), capture.segments[i].ms / 1e3,
                     plan.at_s[i]);
        moment(lab, capture.segments[i].ms, text("SYN %d", i + 1));
    }
    observe_time(lab, "it gave up after", end_s, plan.end_s);
    moment(lab, end_s * 1e3, "ETIMEDOUT");
    CLOSE(client, listener);
    capture_end(lab, &capture);
    return linear;
}

static enum verdict syn_retries(struct lab *lab)
{
    int linear = watch_syns(lab, 3);
    if (linear == 0)
        return conclude(lab, CONFIRMED, "it sends the SYN again, and waits twice as long each "
                                        "time");
    return conclude(lab, CHANGED, "it sends the SYN again, but the first %d times after a second: "
                                  "only then does each pause double", linear + 1);
}

static const struct experiment hs_4 = {
    .id = "hs-4",
    .name = "syn-retries",
    .question = "when is a SYN sent again?",
    .source = "S1:114 S0:99",
    .claims = "34",
    .original = "同时自己还开了个定时器，如果逾期收不到反馈会重试",
    .claim = "connect sets a timer and tries again when nothing comes back, and waits longer each "
             "time",
    .expectation = "since Linux 6.5 as many SYNs as tcp_syn_linear_timeouts says follow a second "
                   "apart, and then each pause is twice the one before; until 6.4 it doubled from "
                   "the beginning",
    .reference = "commit ccce324dabfe (tcp: make the first N SYN RTO backoffs linear), "
                 "tcp_retransmit_timer() in Linux, RFC 6298",
    .since = "6.5",
    .why = "Of all segments a SYN is the one whose loss costs most: nothing is known of the way, "
           "so the first time-out is a whole second, and doubling makes an unlucky client wait "
           "for 3 or 7. A few SYNs more do no harm. Here TCP_SYNCNT allows three retries more, "
           "so that the end can be seen.",
    .next = "weir lab syn-patience",
    .needs = NEEDS_CAPTURE | NEEDS_FILTER,
    .is_slow = true,
    .seconds_max = 60,
    .run = syn_retries,
};

static enum verdict syn_patience(struct lab *lab)
{
    watch_syns(lab, (int)sysctl_number("net/ipv4/tcp_syn_retries"));
    return conclude(lab, REFINED, "true, but after %d SYNs and about two minutes: a program that "
                                  "cannot wait that long needs a time limit of its own",
                    capture.count);
}

static const struct experiment hs_8 = {
    .id = "hs-8",
    .name = "syn-patience",
    .question = "how long does connect try?",
    .source = "S3:209",
    .claims = "34",
    .original = "ETIMEOUT:连接超时",
    .claim = "connect fails with ETIMEDOUT when the connection times out",
    .expectation = "after the SYNs that tcp_syn_linear_timeouts and tcp_syn_retries allow, 10 "
                   "after the first by default, and a pause after the last: a little over 130 "
                   "seconds",
    .reference = "tcp(7) on tcp_syn_retries, tcp_write_timeout() in Linux",
    .why = "Six retries with doubled pauses were 127 s; the four that came with Linux 6.5 add four "
           "seconds, and each timer is a little late. Nobody answers, so nobody can say that it "
           "is in vain: only patience ends it. TCP_SYNCNT and TCP_USER_TIMEOUT shorten it for "
           "one socket.",
    .next = "weir lab syn-retries",
    .needs = NEEDS_CAPTURE | NEEDS_FILTER,
    .is_slow = true,
    .seconds_max = 240,
    .run = syn_patience,
};

/* ---- hs-5: each of the three segments lost once ---- */

struct attempt {
    const char *lost; /* which segment */
    int filtered;     /* the socket that loses it */
    int client, listener;
};

static struct attempt attempt_begin(struct lab *lab, const char *lost, bool at_client,
                                    unsigned flags)
{
    struct attempt a = { .lost = lost, .client = tcp_socket(lab), .listener = tcp_listen(lab, 1) };
    a.filtered = at_client ? a.client : a.listener;
    set_nonblocking(lab, a.client);
    drop_flags(lab, a.filtered, TH_SYN | TH_ACK, flags);
    observe_errno(lab, text("%s lost: connect", lost), connect_to(lab, a.client, a.listener),
                  EINPROGRESS);
    return a;
}

/* Looks at both ends, when they are as expected or have had the time to be. */
static void attempt_look(struct lab *lab, const struct attempt *a, const char *when, int client,
                         int server)
{
    uint16_t own = local_port(lab, a->client), port = local_port(lab, a->listener);
    WAIT_UNTIL(3000, tcp_state(a->client) == client && diag_state(port, own) == server);
    const char *client_is = tcp_state_name(tcp_state(a->client));
    const char *server_is = tcp_state_name(diag_state(port, own));
    observe_text(lab, text("%s lost, %s: the client is", a->lost, when), client_is,
                 tcp_state_name(client));
    observe_text(lab, text("%s lost, %s: the server is", a->lost, when), server_is,
                 tcp_state_name(server));
    cell(lab, text("%s lost, %s", a->lost, when), false);
    cell(lab, client_is, false);
    cell(lab, server_is, true);
}

static enum verdict three_segments(struct lab *lab)
{
    static const int clients[] = { TCP_SYN_SENT, TCP_SYN_SENT, TCP_ESTABLISHED };
    static const int servers[] = { 0, TCP_SYN_RECV, TCP_SYN_RECV };
    struct attempt attempts[3];
    attempts[0] = attempt_begin(lab, "SYN", false, TH_SYN);
    attempts[1] = attempt_begin(lab, "SYN ACK", true, TH_SYN | TH_ACK);
    attempts[2] = attempt_begin(lab, "ACK", false, TH_ACK);

    picture(lab, TABLE, 0, "one segment is lost once", NULL, NULL);
    cell(lab, "", false), cell(lab, "client", false), cell(lab, "server", true);
    for (int i = 0; i < 3; i++) {
        WAIT_UNTIL(900, drop_count(attempts[i].filtered) > 0);
        attempt_look(lab, &attempts[i], "at first", clients[i], servers[i]);
        drop_nothing(lab, attempts[i].filtered);
    }
    for (int i = 0; i < 3; i++) {
        attempt_look(lab, &attempts[i], "a second later", TCP_ESTABLISHED, TCP_ESTABLISHED);
        CLOSE(attempts[i].client, attempts[i].listener);
    }
    return conclude(lab, CONFIRMED, "each end believes it when it has been answered, and whatever "
                                    "is lost is sent again by who waits for the answer");
}

static const struct experiment hs_5 = {
    .id = "hs-5",
    .name = "three-segments",
    .question = "why are there three segments?",
    .source = "S4:88",
    .original = "TCP连接需要建立三次握手，是因为信道是不可靠的",
    .claim = "three segments are needed since the channel is unreliable: both ends must know that "
             "they can send and receive",
    .expectation = "without the SYN the server knows nothing; without the SYN ACK neither is "
                   "sure; without the ACK the client is and the server is not; each is repaired "
                   "by a repetition",
    .reference = "RFC 9293 section 3.5",
    .why = "Each end is sure when something it sent has been answered, so two answers are needed, "
           "and the first travels with the second question: three segments. The last is not "
           "answered; whether it came the client learns from what the server does then. That the "
           "server does not trust a SYN also protects it from old ones and forged ones.",
    .next = "weir lab third-segment",
    .needs = NEEDS_FILTER,
    .run = three_segments,
};

/* ---- hs-6: the errors of connect ---- */

static enum verdict refused_or_silent(struct lab *lab)
{
    int refused, unreachable, silent = tcp_socket(lab), listener = tcp_listen(lab, 1);
    struct timeval soon = { .tv_usec = 50000 };
    int impatient = tcp_socket(lab);
    drop_flags(lab, listener, TH_SYN, TH_SYN);
    set_option(lab, silent, IPPROTO_TCP, TCP_USER_TIMEOUT, 100);
    must(lab, setsockopt(impatient, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), "SO_SNDTIMEO");

    struct sockaddr_in closed = address("127.0.0.1", unused_port(lab));
    int64_t begin = clock_ns();
    observe_errno(lab, "connect to a port where nobody listens",
                  tcp_connect(lab, closed, &refused), ECONNREFUSED);
    note_number(lab, "after", ms_since(begin), "ms");
    observe_errno(lab, "connect to where there is no route",
                  tcp_connect(lab, address("192.0.2.1", 80), &unreachable), ENETUNREACH);
    observe_errno(lab, "connect, SYNs lost, SO_SNDTIMEO 50 ms",
                  connect_to(lab, impatient, listener), EINPROGRESS);
    begin = clock_ns();
    observe_errno(lab, "connect, SYNs lost, TCP_USER_TIMEOUT 100 ms",
                  connect_to(lab, silent, listener), ETIMEDOUT);
    observe_range(lab, "after the first SYN's time-out", ms_since(begin), 900, INFINITY, "ms");
    CLOSE(refused, unreachable, silent, impatient, listener);
    return conclude(lab, CONFIRMED, "a refusal comes at once from the other kernel, a time-out "
                                    "from one's own; its name is ETIMEDOUT");
}

static const struct experiment hs_6 = {
    .id = "hs-6",
    .name = "refused-or-silent",
    .question = "how does connect fail?",
    .source = "S3:208 S3:209",
    .original = "ECONNREFUSED:目标端口不存在，连接被拒绝",
    .claim = "connect fails with ECONNREFUSED where no such port is, with ETIMEDOUT in time",
    .expectation = "ECONNREFUSED at once, ENETUNREACH without a route, ETIMEDOUT when the SYNs' "
                   "time-outs are used up; a time-out of the call gives EINPROGRESS",
    .reference = "connect(2), tcp(7), RFC 9293 section 3.10.7.1",
    .why = "To a SYN for a port where nobody listens the other kernel answers RST: a sure and "
           "quick no. Silence may be a full queue, a firewall or a dead machine, and is only a "
           "failure when one stops waiting. SO_SNDTIMEO ends the call and not the attempt, hence "
           "EINPROGRESS; TCP_USER_TIMEOUT ends the attempt, when its timer next runs.",
    .next = "weir lab syn-patience",
    .needs = NEEDS_NET | NEEDS_FILTER,
    .run = refused_or_silent,
};

/* ---- hs-7: what connect returns ---- */

static enum verdict connect_result(struct lab *lab)
{
    char buf[16];
    int client, listener = tcp_listen(lab, 1);
    int result = tcp_connect(lab, local_address(lab, listener), &client);
    int accepted = must(lab, accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    send_text(lab, client, "hello");

    observe_number(lab, "connect returns", result, 0);
    observe_text(lab, "the socket it was given is", tcp_state_name(tcp_state(client)),
                 "ESTABLISHED");
    observe_text(lab, "what is sent there arrives", recv_text(lab, accepted, buf, sizeof buf),
                 "hello");
    observe_bool(lab, "accept returns a descriptor, another than the listener's",
                 accepted > 0 && accepted != listener, true);
    CLOSE(client, accepted, listener);
    return conclude(lab, CONTRADICTED, "it returns 0, and the socket that it was given is the one "
                                       "to talk through; taken for a descriptor, 0 would be "
                                       "standard input");
}

static const struct experiment hs_7 = {
    .id = "hs-7",
    .name = "connect-result",
    .question = "does connect return a socket?",
    .source = "S3:206",
    .claims = "23",
    .original = "成功返回通信的socket",
    .claim = "on success connect returns the socket for communication",
    .expectation = "0; the socket it was given becomes ESTABLISHED. It is accept that returns one",
    .reference = "connect(2), accept(2)",
    .why = "A client has one conversation, and its socket becomes the end of it. A server has "
           "many, so accept makes an end for each, and the listener stays what it is.",
    .next = "weir lab hs",
    .run = connect_result,
};

const struct experiment *const syn_experiments[] = { &hs_4, &hs_5, &hs_6, &hs_7, &hs_8, NULL };
