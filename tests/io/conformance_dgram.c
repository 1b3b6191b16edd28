/* conformance_dgram.c -- rows of the conformance table: datagrams. */
#include "conformance.h"

#include <string.h>
#include <unistd.h>

static const int families[] = {AF_UNIX, AF_INET, AF_INET6};

static void each_dgram(struct bench *b, void (*body)(struct bench *b, struct pair p))
{
    for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
        struct pair p = pair_dgram(families[i]);
        body(b, p);
        pair_close(b, p);
    }
}

#define ROW(name)                                                                                  \
    static void name##_body(struct bench *b, struct pair p);                                       \
    static void name(struct bench *b)                                                              \
    {                                                                                              \
        each_dgram(b, name##_body);                                                                \
    }                                                                                              \
    static void name##_body(struct bench *b, struct pair p)

ROW(kept_apart)
{
    char buf[64];
    peer_send(p.peer, "one", 3);
    peer_send(p.peer, "three", 5);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 3);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 5);
    CHECK_MEM(buf, "three", 5);
}

ROW(comes_later)
{
    char buf[64];
    for (int i = 0; i < 3; i++) {
        struct op op = recv_op(p.ours, buf, sizeof buf);
        start(b, &op);
        check_pending(b, &op);
        peer_send(p.peer, "late", 4);
        CHECK_EQ(finish(b, &op), 4);
        CHECK_MEM(buf, "late", 4);
    }
}

ROW(sends_whole)
{
    char buf[64];
    CHECK_EQ(ask(b, send_op(p.ours, "whole", 5)), 5);
    CHECK_EQ(CHECK_OK(recv(p.peer, buf, sizeof buf, 0)), 5);
    CHECK_MEM(buf, "whole", 5);
}

/* An empty packet is a packet and not an end. */
ROW(empty_packet)
{
    char buf[8];
    CHECK_OK(send(p.peer, "", 0, 0));
    peer_send(p.peer, "x", 1);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 0);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 1);
    CHECK_EQ(ask(b, send_op(p.ours, "", 0)), 0);
    CHECK_EQ(CHECK_OK(recv(p.peer, buf, sizeof buf, 0)), 0);
}

ROW(cut_short)
{
    char buf[4];
    peer_send(p.peer, "too long", 8);
    struct op op = recv_op(p.ours, buf, sizeof buf);
    op.recv.flags = MSG_TRUNC;
    start(b, &op);
    CHECK_EQ(finish(b, &op), 8);
    CHECK_MEM(buf, "too ", 4);

    struct iovec iov = {buf, sizeof buf};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    peer_send(p.peer, "cut here", 8);
    CHECK_EQ(ask(b, recvmsg_op(p.ours, &msg)), 4);
    CHECK(msg.msg_flags & MSG_TRUNC);
    CHECK_MEM(buf, "cut ", 4);
}

static void sender_told(struct bench *b)
{
    for (size_t i = 1; i < ARRAY_COUNT(families); i++) {
        struct pair p = pair_dgram(families[i]);
        char buf[8];
        struct address from = {0}, want = name_of(p.peer, false);
        struct iovec iov = {buf, sizeof buf};
        struct msghdr msg = {.msg_name = &from.any,
                             .msg_namelen = sizeof from.in6,
                             .msg_iov = &iov,
                             .msg_iovlen = 1};
        struct op op = recvmsg_op(p.ours, &msg);
        start(b, &op);
        check_pending(b, &op);
        peer_send(p.peer, "who", 3);
        CHECK_EQ(finish(b, &op), 3);
        CHECK_EQ(msg.msg_namelen, want.len);
        CHECK_MEM(&from.any, &want.any, want.len);
        pair_close(b, p);
    }
}

static void sent_to_address(struct bench *b)
{
    for (size_t i = 1; i < ARRAY_COUNT(families); i++) {
        struct pair p = pair_dgram(families[i]);
        struct address to = loopback(families[i]);
        char buf[8];
        int receiver = CHECK_OK(socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0));
        int sender = ask(b, socket_op(families[i], SOCK_DGRAM));
        CHECK(sender >= 0);
        CHECK_OK(bind(receiver, &to.any, to.len));
        to = name_of(receiver, false);
        struct iovec iov = {(char[]){"letter"}, 6};
        struct msghdr msg = {
            .msg_name = &to.any, .msg_namelen = to.len, .msg_iov = &iov, .msg_iovlen = 1};
        CHECK_EQ(ask(b, sendmsg_op(sender, &msg)), 6);
        CHECK_EQ(CHECK_OK(recv(receiver, buf, sizeof buf, 0)), 6);
        CHECK_MEM(buf, "letter", 6);
        CHECK_OK(close(receiver));
        shut(b, sender);
        pair_close(b, p);
    }
}

/* The answer to a packet for a port where nobody listens is told once, to a pending receive. */
static void nobody_listens(struct bench *b)
{
    for (size_t i = 1; i < ARRAY_COUNT(families); i++) {
        struct pair p = pair_dgram(families[i]);
        char buf[8];
        struct op op = recv_op(p.ours, buf, sizeof buf);
        start(b, &op);
        check_pending(b, &op);
        CHECK_OK(close(p.peer));
        CHECK_EQ(ask(b, send_op(p.ours, "x", 1)), 1);
        CHECK_EQ(finish(b, &op), -ECONNREFUSED);
        op = recv_op(p.ours, buf, sizeof buf);
        start(b, &op);
        check_pending(b, &op);
        CHECK_EQ(cancel(b, &op), -ECANCELED);
        shut(b, p.ours);
    }
}

/* A socket that keeps its errors, with one in the queue: the sender's own answer is taken, so
 * poll(2) tells of an error that no receive will give. */
static struct pair pair_with_error(struct bench *b)
{
    struct pair p = pair_dgram(AF_INET);
    struct address at = name_of(p.peer, false);
    char c;
    CHECK_OK(setsockopt(p.ours, IPPROTO_IP, IP_RECVERR, &(int){1}, sizeof(int)));
    CHECK_OK(close(p.peer));
    CHECK_EQ(ask(b, send_op(p.ours, "x", 1)), 1);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), -ECONNREFUSED);
    p.peer = CHECK_OK(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK_OK(bind(p.peer, &at.any, at.len));
    at = name_of(p.ours, false);
    CHECK_OK(connect(p.peer, &at.any, at.len));
    return p;
}

static struct op error_op(int fd, struct msghdr *msg)
{
    struct op op = recvmsg_op(fd, msg);
    op.recvmsg.flags = MSG_ERRQUEUE;
    return op;
}

static void beside_queued_error(struct bench *b)
{
    struct pair p = pair_with_error(b);
    char c, control[512];
    struct iovec iov = {&c, 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct op op = recv_op(p.ours, &c, 1), error = error_op(p.ours, &msg);
    start(b, &op);
    check_pending(b, &op);
    check_calm(b, &op);
    peer_send(p.peer, "y", 1);
    CHECK_EQ(finish(b, &op), 1);
    start(b, &error);
    CHECK_EQ(finish(b, &error), 1);
    CHECK(msg.msg_flags & MSG_ERRQUEUE);
    pair_close(b, p);
}

static void error_queue_apart(struct bench *b)
{
    struct pair p = pair_dgram(AF_INET);
    char c = 0;
    struct iovec iov = {&c, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct op op = recv_op(p.ours, &c, 1);
    start(b, &op);
    check_pending(b, &op);
    peer_send(p.peer, "1", 1);
    CHECK_EQ(finish(b, &op), 1);
    peer_send(p.peer, "2", 1);
    turn(b);
    op = error_op(p.ours, &msg);
    start(b, &op);
    check_pending(b, &op);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_EQ(ask(b, recv_op(p.ours, &c, 1)), 1);
    CHECK_EQ(c, '2');
    pair_close(b, p);
}

static void too_large(struct bench *b)
{
    static char packet[70000];
    struct pair p = pair_dgram(AF_INET);
    CHECK_EQ(ask(b, send_op(p.ours, packet, sizeof packet)), -EMSGSIZE);
    CHECK_EQ(ask(b, send_op(p.ours, packet, 60000)), 60000);
    pair_close(b, p);
}

/* The receiver's queue is limited to net.unix.max_dgram_qlen packets, the sender's memory by
 * SO_SNDBUF; poll(2) calls it writable again when three quarters of that are free. */
static void full_queue(struct bench *b)
{
    struct pair p = pair_dgram(AF_UNIX);
    char c;
    int queued = 0;
    while (send(p.ours, "q", 1, MSG_DONTWAIT) == 1)
        queued++;
    CHECK_EQ(errno, EAGAIN);
    struct op op = send_op(p.ours, "w", 1);
    start(b, &op);
    check_pending(b, &op);
    while (queued--) {
        peer_recv(p.peer, &c, 1);
        CHECK_EQ(c, 'q');
    }
    CHECK_EQ(finish(b, &op), 1);
    peer_recv(p.peer, &c, 1);
    CHECK_EQ(c, 'w');
    pair_close(b, p);
}

/* An unconnected sender is called writable although the one receiver it means is full, and hears
 * nothing when that has room again: its packets were another's. */
static void full_destination(struct bench *b)
{
    struct address to = unix_abstract("mailbox");
    char c;
    int receiver = CHECK_OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int others = CHECK_OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int sender = ask(b, socket_op(AF_UNIX, SOCK_DGRAM));
    CHECK(sender >= 0);
    CHECK_OK(setsockopt(others, SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int)));
    CHECK_OK(bind(receiver, &to.any, to.len));
    while (sendto(others, "q", 1, MSG_DONTWAIT, &to.any, to.len) == 1)
        ;
    CHECK_EQ(errno, EAGAIN);
    struct iovec iov = {&(char){'w'}, 1};
    struct msghdr msg = {
        .msg_name = &to.any, .msg_namelen = to.len, .msg_iov = &iov, .msg_iovlen = 1};
    struct op op = sendmsg_op(sender, &msg);
    start(b, &op);
    check_pending(b, &op);
    check_calm(b, &op);
    CHECK_EQ(CHECK_OK(recv(receiver, &c, 1, 0)), 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_OK(close(others));
    CHECK_OK(close(receiver));
    shut(b, sender);
}

const struct row dgram_rows[] = {
    {.promise = "packets are kept apart", .fn = kept_apart},
    {.promise = "a receive gets a packet that comes later", .fn = comes_later},
    {.promise = "a packet is sent whole", .fn = sends_whole},
    {.promise = "an empty packet is received as 0, and the next one after it", .fn = empty_packet},
    {.promise = "a packet cut short is told to be", .fn = cut_short},
    {.promise = "a receive tells the sender's address", .fn = sender_told},
    {.promise = "a packet goes to the address it names", .fn = sent_to_address},
    {.promise = "a port where nobody listens is told to a pending receive, once",
     .fn = nobody_listens},
    {.promise = "a receive waits calmly beside a queued error", .fn = beside_queued_error},
    {.promise = "an empty error queue says nothing of packets", .fn = error_queue_apart},
    {.promise = "a packet too large is refused", .fn = too_large},
    {.promise = "a send waits for a full receiver, and goes on", .fn = full_queue},
    {.promise = "a send to one full receiver of many waits for that one", .fn = full_destination},
    {.promise = NULL},
};
