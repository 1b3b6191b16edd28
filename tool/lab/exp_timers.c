/* exp_timers.c -- experiments on what TCP sends because time has passed: probes, repeats. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>

#include "capture.h"
#include "diag.h"
#include "filter.h"
#include "lab.h"
#include "sock.h"
#include "tcpinfo.h"

static struct capture capture;

/* Times of the segments from this port that carry `len` bytes, from the segment at `from` on, since
 * `begin_ms`; how many there are. */
static int times_of(int from, uint16_t port, uint32_t len, double begin_ms, double *ms, int max)
{
    int count = 0;
    for (int i = from; i < capture.count && count < max; i++) {
        const struct segment *s = &capture.segments[i];
        if (s->from_port == port && s->len == len)
            ms[count++] = s->ms - begin_ms;
    }
    return count;
}

/* ---- win-4: asking a shut window ---- */

enum { PROBES = 4, SMALL = 16 << 10, PATIENCE_MS = 9000 };

/* The first segment of the receiver at or after `from` that shuts or opens the window; or -1. */
static int find_window(int from, uint16_t receiver, bool is_open)
{
    for (int i = from; i < capture.count; i++) {
        const struct segment *s = &capture.segments[i];
        if (s->from_port == receiver && (s->window > 0) == is_open)
            return i;
    }
    return -1;
}

static int count_probes(struct lab *lab, uint16_t sender, uint16_t receiver, double *ms)
{
    capture_take(lab, &capture);
    int shut = find_window(0, receiver, false);
    return shut < 0 ? 0 : times_of(shut, sender, 0, capture.segments[shut].ms, ms, PROBES);
}

/* Reads all there is until the sender has nothing left; how much it was. */
static long long drain(struct lab *lab, int sender, int receiver)
{
    static char buf[65536];
    long long total = 0;
    while (bytes_out(sender) > 0 || bytes_in(receiver) > 0) {
        errno = ETIMEDOUT;
        must(lab, wait_events(receiver, POLLIN, PATIENCE_MS) ? 0 : -1, "nothing more came");
        total += must(lab, recv(receiver, buf, sizeof buf, 0), "recv");
    }
    return total;
}

static enum verdict window_probes(struct lab *lab)
{
    double ms[PROBES] = { 0 };
    struct tcp_pair pair = tcp_pair_receiving(lab, SMALL);
    uint16_t sender = local_port(lab, pair.client), receiver = local_port(lab, pair.server);
    set_option(lab, pair.client, SOL_SOCKET, SO_SNDBUF, 2 * SMALL);
    capture_begin(lab, &capture, receiver);

    long long sent = fill_buffers(lab, pair.client, SMALL / 4);
    WAIT_UNTIL(PATIENCE_MS, count_probes(lab, sender, receiver, ms) == PROBES);
    sent += fill_buffers(lab, pair.client, SMALL / 4);
    int silent = capture.count;
    capture_draw(lab, &capture, PICTURE_DETAIL, "nobody reads", sender, "sender", "receiver");
    struct diag_socket found = { .timer = -1 };
    diag_find(sender, receiver, &found);
    long long got = drain(lab, pair.client, pair.server);
    capture_take(lab, &capture);

    picture(lab, TIMELINE, 0, "since the window was shut", NULL, NULL);
    for (int i = 0; i < PROBES; i++)
        moment(lab, ms[i], text("probe %d", i + 1));
    observe_number(lab, "the timer that runs, as sock_diag has it", found.timer, DIAG_TIMER_PROBE);
    observe_range(lab, "the first probe after", ms[0], 150, 700, "ms");
    for (int i = 1; i < PROBES; i++)
        observe_range(lab, text("the wait before probe %d, in waits before", i + 1),
                      (ms[i] - ms[i - 1]) / (i > 1 ? ms[i - 1] - ms[i - 2] : ms[0]), 1.5, 2.8,
                      "times");
    observe_bool(lab, "after a read the receiver opens the window unasked",
                 find_window(silent, receiver, true) >= 0, true);
    observe_number(lab, "bytes that were read, of those sent", got, sent);
    CLOSE(pair.client, pair.server);
    capture_end(lab, &capture);
    return conclude(lab, CONFIRMED, "the sender asks again and again, each time after twice as "
                                    "long, and is told 0 until somebody reads");
}

static const struct experiment win_4 = {
    .id = "win-4",
    .name = "window-probes",
    .question = "how does a sender learn that a shut window is open again?",
    .source = "S2:478 S2:480 S2:488",
    .original = "ack 1395069621, win 0",
    .claim = "in the trace the receiver tells window 0, and the sender sends empty segments after "
             "0.23, 0.47, 0.94, 1.88, 3.77 and 7.5 s, all but one answered with window 0",
    .expectation = "empty segments whose distances double, and once somebody reads, a segment of "
                   "the receiver's own accord that opens the window; every byte arrives",
    .reference = "RFC 9293 section 3.8.6.1, tcp_send_probe0() in Linux",
    .why = "The segment that opens the window carries no data, so nobody repeats it when it is "
           "lost; without the probes both ends would then wait for ever. A probe repeats the last "
           "number already acknowledged, which forces an answer with the window of today; only one "
           "that comes within tcp_invalid_ratelimit, 0.5 s, of another has none. The distance "
           "doubles from one RTO up to two minutes, and as long as answers come a connection lives "
           "with a window of 0 for ever.",
    .next = "weir lab zero-window",
    .needs = NEEDS_CAPTURE,
    .is_slow = true,
    .seconds_max = 30,
    .run = window_probes,
};

/* ---- win-6: sending again ---- */

enum { SENDS = 5, TIMEOUT_MS = 1000 };

static int count_sends(struct lab *lab, uint16_t from, double *ms)
{
    capture_take(lab, &capture);
    return times_of(0, from, 5, 0, ms, SENDS);
}

/* A second connection that has set a limit; how long it takes until it gives up. */
static double give_up(struct lab *lab, struct tcp_pair pair)
{
    char byte;
    set_option(lab, pair.client, IPPROTO_TCP, TCP_USER_TIMEOUT, TIMEOUT_MS);
    drop_data(lab, pair.server);
    int64_t begin = clock_ns();
    send_text(lab, pair.client, "hello");
    wait_events(pair.client, POLLIN, PATIENCE_MS);
    double ms = ms_since(begin);
    observe_errno(lab, "recv with TCP_USER_TIMEOUT of 1 s", recv(pair.client, &byte, 1, 0),
                  ETIMEDOUT);
    return ms;
}

static enum verdict retransmission(struct lab *lab)
{
    char buf[16];
    double ms[SENDS + 1] = { 0 };
    struct tcp_pair pair = tcp_pair(lab), limited = tcp_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);
    capture_begin(lab, &capture, server);

    drop_data(lab, pair.server);
    send_text(lab, pair.client, "hello");
    double limited_ms = give_up(lab, limited);
    WAIT_UNTIL(PATIENCE_MS, count_sends(lab, client, ms) == SENDS);
    struct tcp_view look = tcp_look(pair.client);
    drop_nothing(lab, pair.server);
    wait_events(pair.server, POLLIN, PATIENCE_MS);

    observe_range(lab, "with TCP_USER_TIMEOUT it gave up after", limited_ms, 900, 3500, "ms");
    picture(lab, TIMELINE, 0, "the same five bytes", NULL, NULL);
    moment(lab, ms[0], "sent");
    observe_range(lab, "sent again after", ms[1] - ms[0], 5, 1000, "ms");
    for (int i = 1; i < SENDS; i++) {
        moment(lab, ms[i], text("sent again, %d", i));
        if (i > 2)
            observe_range(lab, text("wait before number %d, in waits before", i),
                          (ms[i] - ms[i - 1]) / (ms[i - 1] - ms[i - 2]), 1.5, 2.8, "times");
    }
    note_number(lab, "its RTO is then", look.rto_us / 1e3, "ms");
    observe_range(lab, "its backoff is then", look.backoff, 3, 5, "doublings");
    observe_text(lab, "with the wire mended, the server receives",
                 recv_text(lab, pair.server, buf, sizeof buf), "hello");
    capture_wait(lab, &capture, SENDS + 1, PATIENCE_MS);
    capture_draw(lab, &capture, PICTURE_DETAIL, "nobody acknowledges, for a while", client,
                 "client", "server");
    CLOSE(pair.client, pair.server, limited.client, limited.server);
    capture_end(lab, &capture);
    return conclude(lab, CONFIRMED, "what nobody acknowledges is sent again, each time after "
                                    "twice as long, and arrives as soon as it can");
}

static const struct experiment win_6 = {
    .id = "win-6",
    .name = "retransmission",
    .question = "when is data sent again that nobody acknowledges?",
    .source = "S0:99 S1:122",
    .original = "TCP automatically retransmit the data and waits for a longer period of time",
    .claim = "when no acknowledgement comes, TCP sends the data again and waits longer each time",
    .expectation = "the first time after about 0.2 s, or earlier as a probe of the tail; then each "
                   "wait is twice as long; TCP_USER_TIMEOUT ends it with ETIMEDOUT",
    .reference = "RFC 6298, RFC 8985 section 7 (tail loss probe), tcp_retransmit_timer() in Linux",
    .why = "The timer begins with the round-trip time and its variation, at least 200 ms, and "
           "doubles each time, up to two minutes. With tcp_retries2 = 15 that is a quarter of an "
           "hour before a program learns that its peer is gone; TCP_USER_TIMEOUT makes it "
           "shorter. Before the timer, Linux sends the last segment once as a probe, so two waits "
           "may be equal.",
    .next = "weir lab keepalive",
    .needs = NEEDS_CAPTURE | NEEDS_FILTER,
    .is_slow = true,
    .seconds_max = 30,
    .run = retransmission,
};

const struct experiment *const timers_experiments[] = { &win_4, &win_6, NULL };
