/* bench_client.c -- one connection of the load: asks, and checks each byte of the answers.
 *
 * What a connection sends is one endless stream, decided by its number and the position, so a byte
 * that is lost, doubled, changed or sent to somebody else is found where it happens. Nothing is
 * copied: requests are written from the table of the stream, and answers are compared with it
 * where the library received them.
 *
 * At most WINDOW bytes are on their way to the server and back at any time. Both would otherwise
 * wait for each other to read, once all buffers between them are full.                         */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "report.h"

enum {
    PERIOD = 65521, /* of the stream; prime, so that requests of any size begin differently */
    WINDOW = 64 << 10,
    SOURCES = 250, /* local addresses 127.0.0.2 to 127.0.0.251 */
};

static unsigned char stream[PERIOD + WINDOW];

struct talk {
    struct bench *bench;
    struct lane *lane;
    weir_conn *conn;
    int64_t number;
    uint64_t sent, goal, received; /* positions in the stream */
    uint64_t answers;
    weir_time *asked_at;           /* by request, modulo depth */
    char source[24];
};

void stream_prepare(void)
{
    uint64_t state = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < PERIOD; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        stream[i] = (unsigned char)(state >> 56);
    }
    for (size_t i = PERIOD; i < sizeof stream; i++)
        stream[i] = stream[i - PERIOD];
}

/* The next WINDOW bytes from `position` on. */
static const unsigned char *stream_at(const struct talk *t, uint64_t position)
{
    return stream + (position + (uint64_t)t->number * 7919) % PERIOD;
}

/* ---- what can go wrong ---- */

static int fail_conn(struct talk *t, const char *did)
{
    const struct plan *p = &t->bench->plan;
    int code = errno;
    if (code == ECANCELED)
        return STATUS_BROKEN; /* another connection failed first */
    if (status_of_conn(code) == STATUS_TIMEOUT)
        return bench_fail(t->bench, STATUS_TIMEOUT,
                          "%s has not answered connection %" PRId64 " for %.3g s, after %" PRIu64
                          " bytes - %s", p->to.shown, t->number, (double)p->timeout / WEIR_SEC,
                          t->received,
                          p->connections > 1 ? "it may serve fewer connections at a time; try: -c 1"
                                             : "is it an echo server?");
    return bench_fail(t->bench, STATUS_BROKEN, "%s: %s connection %" PRId64 " after %" PRIu64
                      " bytes: %s", p->to.shown, did, t->number, t->received, strerror(code));
}

static int fail_early_end(struct talk *t)
{
    return bench_fail(t->bench, STATUS_BROKEN,
                      "%s closed connection %" PRId64 " and owes %" PRIu64 " of %" PRIu64 " bytes",
                      t->bench->plan.to.shown, t->number, t->sent - t->received, t->sent);
}

static int fail_mismatch(struct talk *t, const unsigned char *got, const unsigned char *want)
{
    uint64_t at = 0;
    while (got[at] == want[at])
        at++;
    return bench_fail(t->bench, STATUS_BROKEN,
                      "%s sent other bytes back: at offset %" PRIu64 " of connection %" PRId64
                      " came 0x%02x, not 0x%02x - is it an echo server?", t->bench->plan.to.shown,
                      t->received + at, t->number, got[at], want[at]);
}

static int fail_surplus(struct talk *t)
{
    return bench_fail(t->bench, STATUS_BROKEN,
                      "%s sent more back than it was sent: %" PRIu64 " bytes on connection %" PRId64
                      " - is it an echo server?", t->bench->plan.to.shown, t->sent, t->number);
}

/* ---- asking and being answered ---- */

static void ask(struct talk *t, uint64_t count, weir_time now)
{
    uint64_t size = (uint64_t)t->bench->plan.size, depth = (uint64_t)t->bench->plan.depth;
    uint64_t next = t->goal / size;
    for (uint64_t i = 0; i < count; i++)
        t->asked_at[(next + i) % depth] = now;
    t->goal += count * size;
}

static int send_some(struct talk *t)
{
    while (t->sent < t->goal && t->sent - t->received < WINDOW) {
        uint64_t room = WINDOW - (t->sent - t->received), left = t->goal - t->sent;
        size_t len = (size_t)(left < room ? left : room);
        ssize_t n = weir_write(t->conn, stream_at(t, t->sent), len);
        if (n > 0)
            t->sent += (uint64_t)n;
        if (n != (ssize_t)len)
            return fail_conn(t, "writing to");
    }
    return 0;
}

static int check(struct talk *t, const unsigned char *bytes, size_t len)
{
    if (t->received + len > t->sent)
        return fail_surplus(t);
    const unsigned char *want = stream_at(t, t->received);
    if (memcmp(bytes, want, len) != 0)
        return fail_mismatch(t, bytes, want);
    t->received += len;
    return 0;
}

/* Counts one answer; the last one that --requests allows ends the measurement. */
static void count_answer(struct talk *t, int64_t latency)
{
    struct bench *b = t->bench;
    uint64_t limit = (uint64_t)b->plan.requests;
    if (atomic_load_explicit(&b->phase, memory_order_relaxed) != MEASURING)
        return;
    uint64_t before = limit ? atomic_fetch_add(&b->answered, 1) : 0;
    if (limit && before >= limit)
        return;
    histogram_add(&t->lane->latency, latency);
    t->lane->bytes += (uint64_t)b->plan.size;
    if (limit && before == limit - 1)
        bench_stop(b);
}

/* Takes what has come: the number of requests it completed, or -1. */
static int64_t receive(struct talk *t)
{
    const void *bytes;
    uint64_t size = (uint64_t)t->bench->plan.size, depth = (uint64_t)t->bench->plan.depth;
    uint64_t before = t->received / size;
    ssize_t n = weir_peek(t->conn, &bytes, 1);
    if (n < 0)
        return fail_conn(t, "reading from"), -1;
    if (n == 0)
        return fail_early_end(t), -1;
    if (check(t, bytes, (size_t)n) || weir_skip(t->conn, (size_t)n))
        return -1;
    uint64_t after = t->received / size;
    weir_time now = weir_now();
    for (uint64_t request = before; request < after; request++)
        count_answer(t, now - t->asked_at[request % depth]);
    t->answers += after - before;
    return (int64_t)(after - before);
}

static bool is_over(const struct talk *t)
{
    return atomic_load_explicit(&t->bench->phase, memory_order_relaxed) == OVER;
}

/* ---- a connection's life ---- */

/* On the loopback network the source may be any address of 127.0.0.0/8; using many of them keeps
 * closed connections, which hold their ports for a minute, from using up all there are. */
static void choose_source(struct talk *t, uint64_t attempt)
{
    const struct plan *p = &t->bench->plan;
    bool many = p->churn || p->connections > 20000;
    t->source[0] = '\0';
    if (many && strncmp(p->to.where, "tcp://127.", 10) == 0)
        snprintf(t->source, sizeof t->source, "127.0.0.%" PRIu64, 2 + attempt % SOURCES);
}

static int dial(struct talk *t, uint64_t attempt)
{
    const struct plan *p = &t->bench->plan;
    char text[sizeof t->bench->failure];
    choose_source(t, attempt);
    weir_opts o = { .bind_to = t->source[0] ? t->source : NULL,
                    .read_stall = p->timeout,
                    .write_stall = p->timeout };
    WEIR_DEADLINE(p->timeout);
    t->conn = weir_dial(p->to.where, &o);
    if (t->conn)
        return 0;
    if (errno == ECANCELED)
        return STATUS_BROKEN;
    int status = describe_dial(p->to.shown, text, sizeof text);
    return bench_fail(t->bench, status, "%s", text);
}

static void say_connected(struct bench *b)
{
    weir_lock(&b->lock);
    b->connected++;
    weir_cond_signal(&b->changed);
    weir_unlock(&b->lock);
}

/* Half-closes and waits for the server to do the same; one byte more would be one too many. */
static int hang_up(struct talk *t)
{
    const void *bytes;
    WEIR_DEADLINE(t->bench->plan.timeout);
    ssize_t n = weir_shutdown(t->conn, SHUT_WR) ? -1 : weir_peek(t->conn, &bytes, 1);
    if (n > 0)
        return fail_surplus(t);
    if (n < 0 && errno != ECANCELED)
        atomic_fetch_add(&t->bench->unclosed, 1);
    return 0;
}

static int converse(struct talk *t)
{
    ask(t, (uint64_t)t->bench->plan.depth, weir_now());
    while (t->received < t->goal) {
        int status = send_some(t);
        int64_t answers = status ? -1 : receive(t);
        if (answers < 0)
            return STATUS_BROKEN; /* the right one is in the bench */
        if (answers > 0 && !is_over(t))
            ask(t, (uint64_t)answers, weir_now());
    }
    return hang_up(t);
}

static void account(struct talk *t)
{
    atomic_fetch_add(&t->bench->verified, t->answers);
    atomic_fetch_add(&t->bench->verified_bytes, t->received);
    t->answers = 0;
}

static int talk_steadily(struct talk *t)
{
    int status = dial(t, (uint64_t)t->number);
    if (status)
        return status;
    say_connected(t->bench);
    status = converse(t);
    account(t);
    return status ? (weir_abort(t->conn), status) : (weir_close(t->conn), 0);
}

/* Connect, one request, its answer, close: the latency is that of all but the close. */
static int visit(struct talk *t, uint64_t attempt)
{
    weir_time start = weir_now();
    int status = dial(t, attempt);
    if (status)
        return status;
    t->sent = t->goal = t->received = 0;
    ask(t, 1, start);
    while (t->received < t->goal && !status)
        status = send_some(t) || receive(t) < 0 ? STATUS_BROKEN : 0;
    account(t);
    return status ? (weir_abort(t->conn), status) : (weir_close(t->conn), 0);
}

static int talk_briefly(struct talk *t)
{
    uint64_t attempt = (uint64_t)t->number;
    int status = visit(t, attempt);
    if (!status)
        say_connected(t->bench);
    while (!status && !is_over(t))
        status = visit(t, attempt += (uint64_t)t->bench->plan.connections);
    return status;
}

int client_run(void *arg)
{
    const struct client *c = arg;
    struct bench *b = c->bench;
    struct talk t = { .bench = b, .number = c->number };
    t.lane = &b->lanes[c->number % b->plan.workers];
    t.asked_at = calloc((size_t)b->plan.depth, sizeof *t.asked_at);
    int status = STATUS_LOCAL;
    if (!t.asked_at)
        bench_fail(b, status, "out of memory");
    else
        status = b->plan.churn ? talk_briefly(&t) : talk_steadily(&t);
    free(t.asked_at);
    weir_lock(&b->lock);
    b->clients--;
    weir_cond_signal(&b->changed);
    weir_unlock(&b->lock);
    return status;
}
