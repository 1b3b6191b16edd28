/* readiness_test.c -- what the readiness backends know of a descriptor, and when they must not.
 *
 * The conformance table asks whether an operation ends as it must.  Here the system calls are
 * counted as well, and the orders of events are forced in which an edge could be missed: the end
 * or an urgent mark behind data, an error in the queue, an answer that was not the kernel's.  */
#include <string.h>
#include <unistd.h>

#include "io/readiness.h"
#include "promise.h"

/* ---- knowledge ---- */

PROMISE(short_read, knowing, "after a short read the next one parks without asking the kernel")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(finish(b, &op), 3);
    spy_on();
    op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK(!is_done(&op));
    CHECK_EQ(spy.calls, 0);
    peer_send(p.peer, "de", 2);
    CHECK_EQ(finish(b, &op), 2);
    CHECK_EQ(spy.calls, 1);
    struct op poll = poll_op(p.ours, POLLIN | POLLOUT);
    start(b, &poll);
    CHECK(is_done(&poll));
    CHECK_EQ(poll.result, POLLOUT);
    pair_close(b, p);
}

PROMISE(whole_write, knowing, "after a write that was taken whole the next one asks at once")
{
    struct pair p = pair_open(NET_TCP4);
    for (int i = 0; i < 2; i++) {
        struct op op = send_op(p.ours, "abc", 3);
        start(b, &op);
        CHECK(is_done(&op));
        CHECK_EQ(op.result, 3);
    }
    pair_close(b, p);
}

PROMISE(full_read, knowing, "after a read that filled its buffer the next one asks at once")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[2];
    peer_send(p.peer, "abcd", 4);
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK_EQ(op.result, 2);
    op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK(is_done(&op));
    CHECK_EQ(op.result, 2);
    pair_close(b, p);
}

PROMISE(eager, knowing, "an eager read asks the kernel even after a short read")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 3);
    peer_send(p.peer, "de", 2);
    struct op op = recv_op(p.ours, buf, sizeof buf);
    op.flags |= OP_EAGER;
    start(b, &op);
    CHECK(is_done(&op));
    CHECK_EQ(op.result, 2);
    pair_close(b, p);
}

PROMISE(merged_end, all_backends,
        "the end of a stream that arrived together with data is not missed")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "last words", 10);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    CHECK_EQ(finish(b, &op), 10);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 0);
    pair_close(b, p);
}

PROMISE(unwatched_end, all_backends,
        "the end behind data is not missed on a descriptor never waited on")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    peer_send(p.peer, "last words", 10);
    CHECK_OK(shutdown(p.peer, SHUT_WR));
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 10);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 0);
    pair_close(b, p);
}

PROMISE(urgent_mark, all_backends,
        "data behind an urgent mark is not missed after a read that ends there")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "ab", 2);
    CHECK_EQ(send(p.peer, "!", 1, MSG_OOB), 1);
    peer_send(p.peer, "cd", 2);
    CHECK_EQ(finish(b, &op), 2);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 2);
    CHECK_MEM(buf, "cd", 2);
    pair_close(b, p);
}

PROMISE(urgent_taken, all_backends, "nor when the urgent byte was taken before its event was seen")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16], urgent;
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "x", 1);
    CHECK_EQ(finish(b, &op), 1);
    peer_send(p.peer, "ab", 2);
    CHECK_EQ(send(p.peer, "!", 1, MSG_OOB), 1);
    peer_send(p.peer, "cd", 2);
    op = recv_op(p.ours, &urgent, 1);
    op.recv.flags = MSG_OOB;
    CHECK_EQ(ask(b, op), 1);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 2);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 2);
    CHECK_MEM(buf, "cd", 2);
    pair_close(b, p);
}

PROMISE(urgent_later, all_backends,
        "urgent data is taken at once, though other data is known to be read")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16], urgent;
    peer_send(p.peer, "abc", 3);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 3);
    CHECK_EQ(send(p.peer, "!", 1, MSG_OOB), 1);
    struct op op = recv_op(p.ours, &urgent, 1);
    op.recv.flags = MSG_OOB;
    start(b, &op);
    CHECK(is_done(&op));
    CHECK_EQ(op.result, 1);
    CHECK_EQ(urgent, '!');
    pair_close(b, p);
}

PROMISE(peek_offset, all_backends, "a peek that waits behind data does not hide the data, nor spin")
{
    struct pair p = pair_open(NET_UNIX);
    char buf[16];
    CHECK_OK(setsockopt(p.ours, SOL_SOCKET, SO_PEEK_OFF, &(int){0}, sizeof(int)));
    peer_send(p.peer, "abc", 3);
    struct op op = recv_op(p.ours, buf, sizeof buf);
    op.recv.flags = MSG_PEEK;
    CHECK_EQ(ask(b, op), 3);
    start(b, &op);
    CHECK(!is_done(&op));
    CHECK(rounds_of_nothing(b) <= 100);
    peer_send(p.peer, "d", 1);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(buf[0], 'd');
    start(b, &op);
    turn(b);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 4);
    pair_close(b, p);
}

/* The error of a packet that nobody received, as IP_RECVERR queues it. */
PROMISE(queued_error, all_backends,
        "an error in the queue is fetched at once, and does not spin a read")
{
    struct pair p = pair_dgram(AF_INET);
    char buf[64], control[512];
    struct iovec part = {buf, sizeof buf};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    CHECK_OK(setsockopt(p.ours, IPPROTO_IP, IP_RECVERR, &(int){1}, sizeof(int)));
    struct address at = name_of(p.peer, false);
    CHECK_OK(close(p.peer));
    CHECK_EQ(ask(b, send_op(p.ours, "x", 1)), 1);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), -ECONNREFUSED);
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK(rounds_of_nothing(b) <= 100);
    CHECK(!is_done(&op));
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    CHECK_EQ(ask(b, poll_op(p.ours, POLLIN)), POLLERR);
    op = recvmsg_op(p.ours, &message);
    op.recvmsg.flags = MSG_ERRQUEUE;
    CHECK_EQ(ask(b, op), 1);
    /* The next one is waited for, and comes with the next refusal. */
    message.msg_controllen = sizeof control;
    start(b, &op);
    CHECK(rounds_of_nothing(b) <= 100);
    CHECK(!is_done(&op));
    CHECK_EQ(ask(b, send_op(p.ours, "x", 1)), 1);
    CHECK_EQ(finish(b, &op), 1);
    /* Nor does a packet that nobody reads disturb it. */
    p.peer = CHECK_OK(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK_OK(bind(p.peer, &at.any, at.len));
    at = name_of(p.ours, false);
    CHECK_EQ(sendto(p.peer, "x", 1, 0, &at.any, at.len), 1);
    message.msg_controllen = sizeof control;
    start(b, &op);
    CHECK(rounds_of_nothing(b) <= 100);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    pair_close(b, p);
}

PROMISE(packets, all_backends, "a second packet is not missed after a short read of the first")
{
    struct pair p = pair_dgram(AF_INET);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK_EQ(send(p.peer, "one", 3, 0), 3);
    CHECK_EQ(send(p.peer, "three", 5, 0), 5);
    CHECK_EQ(finish(b, &op), 3);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 5);
    pair_close(b, p);
}

PROMISE(passed_descriptor, all_backends, "data behind a passed descriptor is not missed")
{
    struct pair p = pair_open(NET_UNIX);
    char buf[16], control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {buf, 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &p.peer, sizeof(int));
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    CHECK_EQ(sendmsg(p.peer, &message, 0), 1);
    peer_send(p.peer, "behind", 6);
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 6);
    pair_close(b, p);
}

PROMISE(short_write, knowing, "after a short write the next one parks without asking the kernel")
{
    static char much[8 << 20];
    struct pair p = pair_open(NET_TCP4);
    small_buffers(p);
    int32_t sent = ask(b, send_op(p.ours, much, sizeof much));
    CHECK(sent > 0 && sent < (int32_t)sizeof much);
    spy_on();
    struct op op = send_op(p.ours, much, sizeof much);
    start(b, &op);
    CHECK(!is_done(&op));
    CHECK_EQ(spy.calls, 0);
    CHECK_EQ(cancel(b, &op), -ECANCELED);
    struct address at = name_of(p.ours, true);
    struct op again = connect_op(p.ours, &at.any, at.len);
    start(b, &again);
    CHECK(is_done(&again));
    CHECK_EQ(again.result, -EISCONN);
    op = send_op(p.ours, much, sizeof much);
    start(b, &op);
    peer_skip(p.peer, (size_t)sent);
    CHECK(finish(b, &op) > 0);
    pair_close(b, p);
}

PROMISE(room_seen, knowing, "room that a poll has told of is used by the next write")
{
    static char much[8 << 20];
    struct pair p = pair_open(NET_TCP4);
    small_buffers(p);
    int32_t sent = ask(b, send_op(p.ours, much, sizeof much));
    struct op poll = poll_op(p.ours, POLLOUT);
    start(b, &poll);
    CHECK(!is_done(&poll));
    peer_skip(p.peer, (size_t)sent);
    peer_send(p.peer, "x", 1); /* so that the same event tells of input */
    CHECK_EQ(finish(b, &poll), POLLOUT);
    CHECK(ask(b, send_op(p.ours, much, sizeof much)) > 0);
    pair_close(b, p);
}

PROMISE(rests, all_backends, "once a write is done, a read that still waits costs nothing")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    small_buffers(p);
    size_t len = fill(b, p);
    struct op in = recv_op(p.ours, buf, sizeof buf), out = send_op(p.ours, "x", 1);
    start(b, &in);
    start(b, &out);
    check_pending(b, &out);
    peer_skip(p.peer, len);
    CHECK_EQ(finish(b, &out), 1);
    CHECK(rounds_of_nothing(b) <= 5);
    CHECK_EQ(cancel(b, &in), -ECANCELED);
    pair_close(b, p);
}

PROMISE(neighbours, all_backends,
        "whichever of many descriptors is left first, the others are still heard")
{
    enum { MANY = 12 };
    struct pair pairs[MANY];
    struct op ops[MANY];
    char buf[MANY];
    for (int i = 0; i < MANY; i++) {
        pairs[i] = pair_open(NET_UNIX);
        ops[i] = recv_op(pairs[i].ours, &buf[i], 1);
        start(b, &ops[i]);
    }
    for (int i = 0; i < MANY; i += 3)
        CHECK_EQ(cancel(b, &ops[i]), -ECANCELED);
    for (int i = MANY - 1; i > 0; i -= 3) {
        peer_send(pairs[i].peer, "x", 1);
        CHECK_EQ(finish(b, &ops[i]), 1);
    }
    for (int i = 1; i < MANY; i += 3) {
        peer_send(pairs[i].peer, "x", 1);
        CHECK_EQ(finish(b, &ops[i]), 1);
    }
    for (int i = 0; i < MANY; i++)
        pair_close(b, pairs[i]);
}

/* ---- answers that were not the kernel's ---- */

PROMISE(faked_empty, all_backends,
        "a read that was told there is nothing, falsely, still gets the data")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "abc", 3);
    spy_on();
    spy.fake = -EAGAIN;
    CHECK_EQ(finish(b, &op), 3);
    CHECK(spy.calls >= 2);
    peer_send(p.peer, "de", 2);
    turn(b);
    spy.fake = -EAGAIN;
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 2);
    pair_close(b, p);
}

PROMISE(faked_short, all_backends,
        "a read that was cut short by a fault is not taken for all there is")
{
    struct pair p = pair_open(NET_TCP4);
    char buf[16];
    struct op op = recv_op(p.ours, buf, sizeof buf);
    start(b, &op);
    peer_send(p.peer, "abc", 3);
    spy_on();
    spy.shorten = 1;
    CHECK_EQ(finish(b, &op), 1);
    CHECK_EQ(op.recv.len, sizeof buf);
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 1);
    spy.shorten = 0;
    CHECK_EQ(ask(b, recv_op(p.ours, buf, sizeof buf)), 1);
    CHECK_EQ(buf[0], 'c');
    pair_close(b, p);
}
