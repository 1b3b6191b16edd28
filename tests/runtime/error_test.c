/* error_test.c -- what weir_error remembers, and how it reads. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>

#include "capture.h"
#include "places.h"
#include "runtime/runtime.h"

static void nothing_yet(void)
{
    CHECK_EQ(weir_error()->code, 0);
    CHECK_STR(weir_error()->text, "nothing has failed");
}

static weir_addr loopback(uint16_t port)
{
    weir_addr a = { .len = sizeof(struct sockaddr_in) };
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    memcpy(&a.u, &in, sizeof in);
    return a;
}

static void facts_are_recorded(void)
{
    weir_addr a = loopback(1);
    CHECK_EQ(fail(-ECONNREFUSED, "dial", "connect", &a, weir_now() - 1500 * WEIR_MS), -1);
    CHECK_EQ(errno, ECONNREFUSED);
    const weir_err *e = weir_error();
    CHECK_EQ(errno, ECONNREFUSED);
    CHECK_EQ(e->code, ECONNREFUSED);
    CHECK_STR(e->op, "dial");
    CHECK_STR(e->phase, "connect");
    CHECK_EQ(e->addr.len, a.len);
    CHECK_MEM(&e->addr.u, &a.u, a.len);
    CHECK(e->elapsed >= 1500 * WEIR_MS && e->elapsed < 20 * WEIR_SEC);
    CHECK_EQ(strncmp(e->text, "dial connect 127.0.0.1:1: connection refused (", 46), 0);
    CHECK_STR(e->text + strlen(e->text) - 3, " s)");
}

static void check_text(int error, const char *op, const char *phase, const char *text)
{
    fail(error, op, phase, NULL, 0);
    CHECK_STR(weir_error()->text, text);
}

static void text_is_one_plain_line(void)
{
    check_text(-ECONNRESET, "read", "read", "read: connection reset by peer");
    check_text(-ECONNRESET, "read", NULL, "read: connection reset by peer");
    check_text(-EPIPE, "channel", "send", "channel send: broken pipe");
    check_text(-ETIME, "read", NULL, "read: the deadline passed");
    check_text(-ETIMEDOUT, "read", NULL, "read: connection timed out");
    check_text(-EAGAIN, "read", NULL, "read: it would have to wait");
    check_text(-ECANCELED, "read", NULL, "read: cancelled");
    check_text(-ESHUTDOWN, "accept", NULL, "accept: draining");
    check_text(-EBADF, "read", NULL, "read: the handle is closed");
    check_text(-EIO, "read", NULL, "read: input/output error");
    check_text(-EXDEV, "x", NULL, "x: invalid cross-device link");
    check_text(-3999, "x", NULL, "x: error 3999");
}

static void own_words(void)
{
    char want[256], long_one[400];
    CHECK_EQ(fail_text(-EINVAL, "listen", "parse", "%s has no port", "tcp://here"), -1);
    CHECK_EQ(errno, EINVAL);
    CHECK_STR(weir_error()->text, "listen: tcp://here has no port");
    CHECK_STR(weir_error()->phase, "parse");
    fail_text(-ECONNREFUSED, "dial", "connect", "dial tcp://x:1: all is lost");
    CHECK_STR(weir_error()->text, "dial tcp://x:1: all is lost");
    memset(long_one, 'y', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    fail_text(-EINVAL, "dial", NULL, "%s", long_one);
    snprintf(want, sizeof want, "dial: %.249s", long_one);
    CHECK_STR(weir_error()->text, want);
    check_text(-EIO, "read", NULL, "read: input/output error"); /* the words are forgotten */
}

/* ---- each task has its own ---- */

static int fail_and_look(void *arg)
{
    const int *code = arg;
    CHECK_EQ(weir_error()->code, 0);
    for (int i = 0; i < 50; i++) {
        fail(-*code, "test", NULL, NULL, 0);
        weir_yield();
        CHECK_EQ(errno, *code);
        CHECK_EQ(weir_error()->code, *code);
    }
    return 0;
}

static void each_task_has_its_own(void)
{
    static int codes[] = { EIO, EPERM, EPIPE, ETIME, ENOENT, EBUSY };
    weir_group *g = group();
    for (int i = 0; i < 6; i++)
        start(g, fail_and_look, &codes[i]);
    finish(g);
    CHECK_EQ(weir_error()->code, 0);
}

static void real_failures_are_recorded(void)
{
    weir_chan *ch = weir_chan_open(1, 0);
    char c = 0;
    {
        WEIR_TRY;
        CHECK_ERRNO(weir_chan_send(ch, &c), EAGAIN);
        CHECK_STR(weir_error()->text, "channel send: it would have to wait");
    }
    WEIR_DEADLINE(3 * WEIR_MS);
    CHECK_ERRNO(weir_chan_recv(ch, &c), ETIME);
    CHECK(weir_error()->elapsed >= 2 * WEIR_MS);
    CHECK_EQ(strncmp(weir_error()->text, "channel receive: the deadline passed (", 38), 0);
    CHECK_OK(weir_close(ch));
}

static void printed(void)
{
    char line[400];
    struct capture captured = capture_begin();
    fail(-EPIPE, "write", NULL, NULL, 0);
    weir_perror("report");
    CHECK_EQ(errno, EPIPE);
    capture_line(&captured, line, sizeof line);
    CHECK_STR(line, "report: write: broken pipe");
    weir_perror(NULL);
    capture_line(&captured, line, sizeof line);
    CHECK_STR(line, "write: broken pipe");
    CHECK(capture_is_empty(&captured));
    capture_end(&captured);
}

static void unnamed_address_is_left_out(void)
{
    char byte;
    weir_conn *c[2];
    CHECK_OK(weir_pair(c));
    CHECK_OK(weir_shutdown(c[0], SHUT_WR));
    CHECK_ERRNO(weir_write(c[0], "x", 1), EPIPE);
    CHECK_EQ(strncmp(weir_error()->text, "write: broken pipe", 18), 0); /* and perhaps the time */
    CHECK_EQ(weir_write(c[1], "x", 1), 1);
    CHECK_OK(weir_close(c[1]));
    CHECK_EQ(weir_read(c[0], &byte, 1), 1);
    CHECK_OK(weir_close(c[0]));
}

static weir_conn *kept[2];

static int make_kept(void *arg)
{
    (void)arg;
    return weir_pair(kept);
}

/* The thread that ran a worker owns what was made there, and has no worker's clock any more. */
TEST(after_run, "the time an error took is told by the clock of now, also after weir_run")
{
    char byte;
    CHECK_EQ(weir_run(&(weir_config){ .workers = 1 }, make_kept, NULL), 0);
    weir_time since = weir_now();
    while (weir_now() - since < 200 * WEIR_MS)
        CHECK_OK(weir_sleep(20 * WEIR_MS));
    {
        WEIR_DEADLINE(10 * WEIR_MS);
        CHECK_ERRNO(weir_read(kept[0], &byte, 1), ETIME);
    }
    since = weir_now() - since;
    CHECK(weir_error()->elapsed >= 10 * WEIR_MS);
    CHECK(weir_error()->elapsed <= since - 200 * WEIR_MS);
    CHECK_OK(weir_close(kept[0]));
    CHECK_OK(weir_close(kept[1]));
}

TEST_TABLE(errors)
{
    add_places(EVERYWHERE, "before anything failed, weir_error says so", nothing_yet);
    add_places(EVERYWHERE, "weir_error tells code, operation, phase, address and time",
               facts_are_recorded);
    add_places(EVERYWHERE, "an error reads as one plain line", text_is_one_plain_line);
    add_places(EVERYWHERE, "a failure may bring its own words", own_words);
    add_places(EVERYWHERE, "each task has its own last error", each_task_has_its_own);
    add_places(EVERYWHERE, "a call that failed is what weir_error describes",
               real_failures_are_recorded);
    add_places(EVERYWHERE, "the text leaves out an address that has no name",
               unnamed_address_is_left_out);
    add_places(EVERYWHERE, "weir_perror prints a line and keeps errno", printed);
}
