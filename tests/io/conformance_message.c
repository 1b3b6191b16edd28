/* conformance_message.c -- rows of the conformance table: messages in pieces, passed descriptors,
 * urgent data, and what is asked of a socket without moving bytes.                             */
#include "conformance.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Pieces ---------------------------------------------------------------------------------- */

static void gather(struct bench *b, struct pair p, __attribute__((unused)) enum net net)
{
    char a[] = "scattered ", c[] = "together", got[18];
    struct iovec iov[] = {{a, 10}, {NULL, 0}, {c, 8}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};
    int32_t n = ask(b, sendmsg_op(p.ours, &msg));
    CHECK(n > 0 && n <= 18);
    CHECK_EQ(iov[0].iov_len + iov[2].iov_len, 18);
    CHECK_EQ(msg.msg_iovlen, 3);
    peer_recv(p.peer, got, (size_t)n);
    CHECK_MEM(got, "scattered together", (size_t)n);
}

static void scatter(struct bench *b, struct pair p, __attribute__((unused)) enum net net)
{
    char a[4] = "", c[14] = "";
    struct iovec iov[] = {{a, 4}, {c, 14}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    struct op op = recvmsg_op(p.ours, &msg);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "halves of one", 13);
    int32_t n = finish(b, &op);
    CHECK(n > 0 && n <= 13);
    CHECK_MEM(a, "halv", n < 4 ? (size_t)n : 4);
    if (n > 4)
        CHECK_MEM(c, "es of one", (size_t)n - 4);
}

static void pieces(struct bench *b)
{
    each_stream(b, gather);
    each_stream(b, scatter);
}

/* ---- Passed descriptors ---------------------------------------------------------------------- */

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(4 * sizeof(int))]; /* more than any row needs */
};

static void put_descriptors(struct msghdr *msg, union control *control, const int *fds,
                            size_t count)
{
    memset(control, 0, sizeof *control);
    msg->msg_control = control;
    msg->msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS,
                          .cmsg_len = CMSG_LEN(count * sizeof(int))};
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
}

static bool is_same_file(int a, int c)
{
    struct stat sa, sc;
    CHECK_OK(fstat(a, &sa));
    CHECK_OK(fstat(c, &sc));
    return sa.st_dev == sc.st_dev && sa.st_ino == sc.st_ino;
}

static void descriptor_received_once(struct bench *b)
{
    struct pair p = pair_open(NET_UNIX);
    int file = CHECK_OK(open("/dev/null", O_RDWR | O_CLOEXEC)), got;
    char bytes[8];
    union control control = {0};
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    struct op op = recvmsg_op(p.ours, &msg);
    start(b, &op);
    check_pending(b, &op);
    union control sent;
    struct iovec piece = {(char[]){"filefile"}, 8};
    struct msghdr out = {.msg_iov = &piece, .msg_iovlen = 1};
    put_descriptors(&out, &sent, &file, 1);
    CHECK_EQ(CHECK_OK(sendmsg(p.peer, &out, 0)), 8);
    int32_t n = finish(b, &op);
    CHECK(n > 0 && n <= 8);
    CHECK_MEM(bytes, "filefile", (size_t)n);
    CHECK_EQ(msg.msg_controllen, CMSG_SPACE(sizeof(int)));
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    CHECK(c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)));
    memcpy(&got, CMSG_DATA(c), sizeof got);
    CHECK(is_same_file(got, file));
    int flags = CHECK_OK(fcntl(got, F_GETFD));
    CHECK(flags & FD_CLOEXEC);
    CHECK_OK(close(got));
    CHECK_OK(close(file));
    pair_close(b, p);
}

static void descriptors_sent(struct bench *b)
{
    struct pair p = pair_open(NET_UNIX);
    int files[2], got[2];
    CHECK_OK(pipe2(files, O_CLOEXEC));
    union control control, back = {0};
    struct iovec iov = {(char[]){"bearing"}, 7};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    put_descriptors(&msg, &control, files, 2);
    int32_t n = ask(b, sendmsg_op(p.ours, &msg));
    CHECK(n > 0 && n <= 7);
    char buf[8];
    struct iovec piece = {buf, sizeof buf};
    struct msghdr in = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &back, .msg_controllen = sizeof back};
    CHECK_EQ(CHECK_OK(recvmsg(p.peer, &in, MSG_CMSG_CLOEXEC)), n);
    memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&in)), sizeof got);
    for (int i = 0; i < 2; i++) {
        CHECK(is_same_file(got[i], files[i]));
        CHECK_OK(close(got[i]));
        CHECK_OK(close(files[i]));
    }
    pair_close(b, p);
}

static void descriptor_received(struct bench *b)
{
    for (int i = 0; i < 10; i++)
        descriptor_received_once(b);
}

/* With too little room the kernel closes what does not fit, and says so. */
static void descriptors_cut(struct bench *b)
{
    for (int i = 0; i < 10; i++) {
        struct pair p = pair_open(NET_UNIX);
        char bytes[8];
        union control sent;
        struct iovec piece = {(char[]){"filefile"}, 8}, iov = {bytes, sizeof bytes};
        struct msghdr out = {.msg_iov = &piece, .msg_iovlen = 1};
        put_descriptors(&out, &sent, &(int){p.peer}, 1);
        CHECK_EQ(CHECK_OK(sendmsg(p.peer, &out, 0)), 8);
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        CHECK(ask(b, recvmsg_op(p.ours, &msg)) > 0);
        CHECK(msg.msg_flags & MSG_CTRUNC);
        pair_close(b, p);
    }
}

/* ---- Urgent data ----------------------------------------------------------------------------- */

static void urgent_data(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    char buf[8] = "";
    struct op wait = poll_op(p.ours, POLLPRI);
    start(b, &wait);
    check_pending(b, &wait);
    peer_send(p.peer, "ab", 2);
    check_pending(b, &wait);
    CHECK_EQ(CHECK_OK(send(p.peer, "!", 1, MSG_OOB)), 1);
    CHECK(finish(b, &wait) & POLLPRI);
    struct op op = recv_op(p.ours, buf, 1);
    op.recv.flags = MSG_OOB;
    start(b, &op);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(buf[0], '!');
    /* Reads end in front of the mark, and the bytes behind it do not wait for an announcement. */
    peer_send(p.peer, "cd", 2);
    CHECK_EQ(ask(b, query_op(p.ours, SIOCATMARK)), 0);
    recv_all(b, p.ours, buf, 2);
    CHECK_MEM(buf, "ab", 2);
    CHECK_EQ(ask(b, query_op(p.ours, SIOCATMARK)), 1);
    recv_all(b, p.ours, buf, 2);
    CHECK_MEM(buf, "cd", 2);
    CHECK_EQ(ask(b, query_op(p.ours, SIOCATMARK)), 0);
    pair_close(b, p);
}

/* One large receive that stops at the mark is short although the socket is not empty. */
static void short_at_the_mark_of(struct bench *b, bool busy)
{
    struct pair p = pair_open(NET_TCP4);
    char buf[64];
    if (busy)
        make_busy(b, p);
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(CHECK_OK(send(p.peer, "ab!", 3, MSG_OOB)), 3);
    peer_send(p.peer, "cd", 2);
    size_t at = (size_t)finish(b, &op);
    CHECK(at >= 1);
    while (at < 4) {
        int32_t n = ask(b, recv_op(p.ours, buf + at, sizeof buf - at));
        CHECK(n > 0);
        at += (size_t)n;
    }
    CHECK_MEM(buf, "abcd", 4);
    pair_close(b, p);
}

static void short_at_the_mark(struct bench *b)
{
    short_at_the_mark_of(b, false);
    short_at_the_mark_of(b, true);
}

/* Its announcement was for a receive; the poll that comes too late for it is answered at once. */
static void urgent_unasked(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    char buf[8];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(CHECK_OK(send(p.peer, "a!", 2, MSG_OOB)), 2);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(buf[0], 'a');
    turn(b);
    CHECK_EQ(ask(b, poll_op(p.ours, POLLPRI)), POLLPRI);
    pair_close(b, p);
}

static void urgent_sent(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    struct op op = send_op(p.ours, "!", 1);
    char c = 0;
    op.send.flags = MSG_OOB;
    start(b, &op);
    CHECK_EQ(finish(b, &op), 1);
    struct pollfd entry = {.fd = p.peer, .events = POLLPRI};
    CHECK_EQ(CHECK_OK(poll(&entry, 1, 5000)), 1);
    CHECK_EQ(CHECK_OK(recv(p.peer, &c, 1, MSG_OOB)), 1);
    CHECK_EQ(c, '!');
    pair_close(b, p);
}

/* ---- Questions ------------------------------------------------------------------------------- */

static void options(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    int value = 1;
    socklen_t len = sizeof value;
    CHECK_EQ(ask(b, set_op(p.ours, SOL_SOCKET, SO_KEEPALIVE, &value, &len)), 0);
    value = 0;
    CHECK_EQ(ask(b, option_op(p.ours, SOL_SOCKET, SO_KEEPALIVE, &value, &len)), 0);
    CHECK_EQ(value, 1);
    CHECK_EQ(len, sizeof value);
    value = 0;
    CHECK_EQ(ask(b, set_op(p.ours, IPPROTO_TCP, TCP_NODELAY, &value, &len)), 0);
    value = 9;
    CHECK_EQ(ask(b, option_op(p.ours, IPPROTO_TCP, TCP_NODELAY, &value, &len)), 0);
    CHECK_EQ(value, 0);
    CHECK_EQ(ask(b, option_op(p.ours, SOL_SOCKET, 9999, &value, &len)), -ENOPROTOOPT);
    value = -1;
    CHECK_EQ(ask(b, set_op(p.ours, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len)), -EINVAL);
    pair_close(b, p);
}

static void names_body(struct bench *b, struct pair p, enum net net)
{
    struct address ours = {0}, theirs = {0};
    if (net == NET_UNIX)
        return;
    ours.len = theirs.len = sizeof ours.in6;
    CHECK_EQ(ask(b, name_op(p.ours, false, &ours.any, &ours.len)), 0);
    CHECK_EQ(ask(b, name_op(p.ours, true, &theirs.any, &theirs.len)), 0);
    struct address want = name_of(p.peer, true);
    CHECK_EQ(ours.len, want.len);
    CHECK_MEM(&ours.any, &want.any, want.len);
    want = name_of(p.peer, false);
    CHECK_EQ(theirs.len, want.len);
    CHECK_MEM(&theirs.any, &want.any, want.len);
}

static void names(struct bench *b)
{
    each_stream(b, names_body);
    struct address at = {.len = sizeof at.in};
    int fd = ask(b, socket_op(AF_INET, SOCK_STREAM));
    CHECK(fd >= 0);
    CHECK_EQ(ask(b, name_op(fd, true, &at.any, &at.len)), -ENOTCONN);
    shut(b, fd);
}

static void queues(struct bench *b)
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    CHECK_EQ(ask(b, query_op(p.ours, SIOCINQ)), 0);
    peer_send(p.peer, "0123456789", 10);
    CHECK_EQ(ask(b, query_op(p.ours, SIOCINQ)), 10);
    recv_all(b, p.ours, buf, 4);
    CHECK_EQ(ask(b, query_op(p.ours, SIOCINQ)), 6);
    CHECK_EQ(ask(b, query_op(p.ours, SIOCOUTQ)), 0);
    small_buffers(p);
    size_t sent = fill(b, p);
    int32_t left = ask(b, query_op(p.ours, SIOCOUTQ));
    CHECK(left > 0 && (size_t)left < sent);
    pair_close(b, p);
}

static void at_once(struct bench *b)
{
    struct address at = loopback(AF_INET);
    socklen_t len = sizeof(int);
    int value = 1;
    struct op op = socket_op(AF_INET, SOCK_STREAM);
    CHECK(b->backend->submit(b->io, &op) && op.result >= 0);
    int fd = op.result;
    struct op ops[] = {
        set_op(fd, SOL_SOCKET, SO_REUSEADDR, &value, &len),
        bind_op(fd, &at.any, at.len),
        listen_op(fd, 1),
        name_op(fd, false, &at.any, &at.len),
        option_op(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len),
        shutdown_op(fd, SHUT_RD),
    };
    for (size_t i = 0; i < ARRAY_COUNT(ops); i++) {
        CHECK(b->backend->submit(b->io, &ops[i]));
        CHECK_EQ(ops[i].result, 0);
        CHECK_EQ(ops[i].state, OP_DONE);
    }
    shut(b, fd);
}

/* ---- Lent buffers ---------------------------------------------------------------------------- */

static struct op lend_op(int fd, size_t len)
{
    struct op op = recv_op(fd, NULL, len);
    op.flags |= OP_LEND;
    return op;
}

static void give(struct bench *b, struct op *lent)
{
    struct op op = {.kind = OP_GIVE, .fd = lent->fd, .give = {lent->recv.buf}};
    CHECK_EQ(ask(b, op), 0);
}

static void lend_body(struct bench *b, struct pair p, __attribute__((unused)) enum net net)
{
    size_t lens[] = {1, LEND_SMALL, LEND_LARGE};
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        struct op op = lend_op(p.ours, lens[i]);
        start(b, &op);
        check_pending(b, &op);
        peer_send(p.peer, "l", 1);
        CHECK_EQ(finish(b, &op), 1);
        CHECK_EQ(*(char *)op.recv.buf, 'l');
        give(b, &op);
    }
    peer_send(p.peer, "there", 5);
    struct op op = lend_op(p.ours, LEND_SMALL);
    start(b, &op);
    int32_t n = finish(b, &op);
    CHECK(n > 0 && n <= 5);
    CHECK_MEM(op.recv.buf, "there", (size_t)n);
    give(b, &op);
}

static void lend(struct bench *b)
{
    each_stream(b, lend_body);
}

static void lend_ends_body(struct bench *b, struct pair p, __attribute__((unused)) enum net net)
{
    struct op op = lend_op(p.ours, LEND_SMALL);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    op = lend_op(p.ours, LEND_SMALL);
    start(b, &op);
    check_pending(b, &op);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    CHECK_EQ(finish(b, &op), 0);
}

static void lend_ends(struct bench *b)
{
    each_stream(b, lend_ends_body);
}

/* More at a time than any ring of buffers holds, and each its own memory. */
static void many_lent(struct bench *b)
{
    enum { PAIRS = 40, ROUNDS = 30 };
    static struct op ops[PAIRS * ROUNDS];
    struct pair pairs[PAIRS];
    for (int i = 0; i < PAIRS; i++)
        pairs[i] = pair_open(NET_UNIX);
    for (int i = 0; i < PAIRS * ROUNDS; i++) {
        struct pair p = pairs[i % PAIRS];
        ops[i] = lend_op(p.ours, 2);
        start(b, &ops[i]);
        uint16_t mark = (uint16_t)(i + 256);
        peer_send(p.peer, (char *)&mark + 1, 1);
        CHECK_EQ(finish(b, &ops[i]), 1);
        ((char *)ops[i].recv.buf)[1] = (char)i;
    }
    for (int i = 0; i < PAIRS * ROUNDS; i++) {
        CHECK_EQ(((char *)ops[i].recv.buf)[0], (char)((i + 256) >> 8));
        CHECK_EQ(((char *)ops[i].recv.buf)[1], (char)i);
    }
    for (int i = 0; i < PAIRS * ROUNDS; i++)
        give(b, &ops[i]);
    for (int i = 0; i < PAIRS; i++)
        pair_close(b, pairs[i]);
}

const struct row message_rows[] = {
    {.promise = "a message in pieces is gathered, and scattered", .fn = pieces},
    {.promise = "a descriptor is received with the bytes it came with, close-on-exec",
     .fn = descriptor_received},
    {.promise = "descriptors are sent with the first byte", .fn = descriptors_sent},
    {.promise = "descriptors without room for them are told to be cut off", .fn = descriptors_cut},
    {.promise = "urgent data is announced, read apart, and marked in the stream",
     .fn = urgent_data},
    {.promise = "a receive that stops at the urgent mark does not hide what is behind it",
     .fn = short_at_the_mark},
    {.promise = "urgent data that came before anyone asked is told to the next poll",
     .fn = urgent_unasked},
    {.promise = "urgent data is sent", .fn = urgent_sent},
    {.promise = "options are set, read and refused", .fn = options},
    {.promise = "both ends' names are told", .fn = names},
    {.promise = "bytes that wait in either queue are counted", .fn = queues},
    {.promise = "what needs no waiting completes in its submit", .fn = at_once, .flags = ROW_PLAIN},
    {.promise = "a receive is lent a buffer when bytes are there", .fn = lend},
    {.promise = "a lent receive that ends without bytes keeps no buffer", .fn = lend_ends},
    {.promise = "more than a thousand buffers are lent at a time, each for its own",
     .fn = many_lent,
     .flags = ROW_HEAVY},
    {.promise = NULL},
};
