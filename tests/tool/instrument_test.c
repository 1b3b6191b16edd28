/* instrument_test.c -- the lab's instruments, tried on connections whose state is known. */
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tool/lab/capture.h"
#include "../../tool/lab/counters.h"
#include "../../tool/lab/diag.h"
#include "../../tool/lab/filter.h"
#include "../../tool/lab/runner.h"
#include "../../tool/lab/sock.h"
#include "../../tool/lab/tcpinfo.h"
#include "test.h"

static struct capture capture;

/* A record to work with, in a network namespace where nobody else is. */
static struct lab *enter(void)
{
    struct world world;
    world_probe(&world);
    if (!world.is_private) {
        static char reason[340];
        snprintf(reason, sizeof reason, "no network namespace: %s", world.reason);
        SKIP(reason);
    }
    world_enter(&world);
    if (!world.is_private)
        SKIP("only root may give a single thread a network of its own");
    struct lab *lab = record_new();
    CHECK(lab);
    lab->is_own_net = true;
    return lab;
}

TEST(capture_handshake, "a capture sees each segment of a handshake once, in order")
{
    struct lab *lab = enter();
    int client, listener = tcp_listen(lab, 1);
    uint16_t port = local_port(lab, listener);
    capture_begin(lab, &capture, port);
    CHECK_OK(tcp_connect(lab, local_address(lab, listener), &client));
    CHECK(capture_wait(lab, &capture, 3, 1000));
    CHECK_EQ(capture.count, 3);
    CHECK_EQ(capture.segments[0].flags, TH_SYN);
    CHECK_EQ(capture.segments[1].flags, TH_SYN | TH_ACK);
    CHECK_EQ(capture.segments[2].flags, TH_ACK);
    CHECK_EQ(capture.segments[1].from_port, port);
    CHECK_EQ(capture.segments[1].ack, 1);
    CHECK_EQ(capture.segments[2].seq, 1);
    CHECK_EQ(capture_count(&capture, TH_SYN, 0), 2);
    CHECK_EQ(capture_count(&capture, TH_SYN, port), 1);
    CHECK_EQ(capture_find(&capture, 1, TH_ACK, 0), 1);
    CHECK_EQ(capture_find(&capture, 0, TH_RST, 0), -1);
    CLOSE(client, listener);
    capture_end(lab, &capture);
}

TEST(capture_one_port, "a capture of one port leaves other connections out")
{
    struct lab *lab = enter();
    struct tcp_pair pair = tcp_pair(lab);
    capture_begin(lab, &capture, local_port(lab, pair.client));
    struct tcp_pair other = tcp_pair(lab);
    send_text(lab, other.client, "not this");
    send_text(lab, pair.client, "this");
    CHECK(capture_wait(lab, &capture, 1, 1000));
    CHECK_EQ(capture.segments[0].len, 4);
    CHECK_EQ(capture.segments[0].from_port, local_port(lab, pair.client));
    CHECK_EQ(capture_count(&capture, TH_SYN, 0), 0);
    CLOSE(pair.client, pair.server, other.client, other.server);
    capture_end(lab, &capture);
}

TEST(capture_states, "a ladder has each segment, and the states of both ends where one looked")
{
    struct lab *lab = enter();
    struct tcp_pair pair = tcp_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);
    capture_begin(lab, &capture, 0);
    shutdown(pair.client, SHUT_WR);
    CHECK(WAIT_UNTIL(1000, tcp_state(pair.client) == TCP_FIN_WAIT2));
    capture_states(lab, &capture, client, server);
    CHECK_STR(capture.segments[capture.count - 1].left, "FIN_WAIT2");
    CHECK_STR(capture.segments[capture.count - 1].right, "CLOSE_WAIT");
    capture_draw(lab, &capture, 0, "half-closed", client, "client", "server");
    CHECK_EQ(lab->picture_count, 1);
    CHECK_EQ(lab->pictures[0].count, capture.count);
    CHECK_EQ(lab->items[0].y, 0);
    CHECK_STR(lab->items[capture.count - 1].right, "CLOSE_WAIT");
    CLOSE(pair.client, pair.server);
    capture_end(lab, &capture);
}

TEST(capture_times, "a segment's time is when it was sent, whenever the capture is read")
{
    struct lab *lab = enter();
    struct tcp_pair pair = tcp_pair(lab);
    capture_begin(lab, &capture, local_port(lab, pair.client));
    int64_t begin = clock_ns();
    send_text(lab, pair.client, "early");
    CHECK(wait_events(pair.server, POLLIN, 1000));
    pause_ms(20);
    send_text(lab, pair.server, "late");
    CHECK(wait_events(pair.client, POLLIN, 1000));
    double most = ms_since(begin);
    capture_take(lab, &capture);
    int late = capture_find(&capture, 0, TH_PUSH, local_port(lab, pair.server));
    CHECK(late > 0);
    CHECK(capture.segments[late].ms >= 20 && capture.segments[late].ms <= most);
    CLOSE(pair.client, pair.server);
    capture_end(lab, &capture);
}

TEST(capture_full, "a capture keeps the first segments, and counts those it has no room for")
{
    char buf[16];
    struct lab *lab = enter();
    struct tcp_pair pair = tcp_pair(lab);
    capture_begin(lab, &capture, 0);
    for (int i = 0; i < SEGMENTS_MAX / 2 + 1; i++) {
        send_text(lab, pair.client, "ping");
        CHECK_STR(recv_text(lab, pair.server, buf, sizeof buf), "ping");
        send_text(lab, pair.server, "pong");
        CHECK_STR(recv_text(lab, pair.client, buf, sizeof buf), "pong");
    }
    capture_take(lab, &capture);
    CHECK_EQ(capture.count, SEGMENTS_MAX);
    CHECK(capture.lost >= 2);
    CLOSE(pair.client, pair.server);
    capture_end(lab, &capture);
}

TEST(filter_syn, "a filter that drops SYNs keeps a client in SYN_SENT, until it is taken off")
{
    struct lab *lab = enter();
    int listener = tcp_listen(lab, 1);
    capture_begin(lab, &capture, local_port(lab, listener));
    drop_flags(lab, listener, TH_SYN | TH_ACK, TH_SYN);
    int client = tcp_connect_begin(lab, listener);
    CHECK(capture_wait(lab, &capture, 1, 1000));
    CHECK_EQ(tcp_state(client), TCP_SYN_SENT);
    drop_nothing(lab, listener);
    CHECK(wait_events(client, POLLOUT, 5000));
    CHECK_EQ(tcp_state(client), TCP_ESTABLISHED);
    CHECK_EQ(capture_count(&capture, TH_SYN, local_port(lab, client)), 1);
    capture_take(lab, &capture);
    CHECK_EQ(capture_count(&capture, TH_SYN, local_port(lab, client)), 2);
    CLOSE(client, listener);
    capture_end(lab, &capture);
}

TEST(filter_third, "a filter that drops the third segment leaves the server in SYN_RECV")
{
    struct lab *lab = enter();
    int listener = tcp_listen(lab, 1);
    drop_flags(lab, listener, TH_SYN | TH_ACK, TH_ACK);
    int client = tcp_connect_begin(lab, listener);
    CHECK(wait_events(client, POLLOUT, 1000));
    CHECK_EQ(tcp_state(client), TCP_ESTABLISHED);
    CHECK_EQ(diag_count(local_port(lab, listener), TCP_SYN_RECV), 1);
    CHECK_EQ(diag_state(local_port(lab, listener), local_port(lab, client)), TCP_SYN_RECV);
    CHECK_EQ(diag_count(local_port(lab, listener), TCP_ESTABLISHED), 0);
    CLOSE(client, listener);
}

TEST(filter_data, "a filter that drops data lets everything else through")
{
    struct lab *lab = enter();
    struct tcp_pair pair = tcp_pair(lab);
    drop_data(lab, pair.server);
    send_text(lab, pair.client, "lost");
    CHECK(!wait_events(pair.server, POLLIN, 50));
    CHECK_EQ(bytes_in(pair.server), 0);
    CHECK_EQ(bytes_out(pair.client), 4);
    CHECK_EQ(tcp_look(pair.client).unacked, 1);
    send_text(lab, pair.server, "acknowledged");
    CHECK(wait_events(pair.client, POLLIN, 1000));
    CHECK(WAIT_UNTIL(1000, bytes_out(pair.server) == 0)); /* an ACK without data came through */
    drop_nothing(lab, pair.server);
    CHECK(wait_events(pair.server, POLLIN, 5000));
    CHECK_EQ(bytes_in(pair.server), 4);
    CHECK(tcp_look(pair.client).total_retransmits >= 1);
    CLOSE(pair.client, pair.server);
}

TEST(filter_all, "a filter that drops all hides even the end of a connection")
{
    struct lab *lab = enter();
    struct tcp_pair pair = tcp_pair(lab);
    drop_all(lab, pair.server);
    CLOSE(pair.client);
    CHECK(!wait_events(pair.server, POLLIN, 50));
    CHECK_EQ(tcp_state(pair.server), TCP_ESTABLISHED);
    CLOSE(pair.server);
}

TEST(tcp_info, "TCP_INFO tells a listener's queue, and a connection's bytes and windows")
{
    struct lab *lab = enter();
    int client, listener = tcp_listen(lab, 7);
    CHECK_OK(tcp_connect(lab, local_address(lab, listener), &client));
    CHECK_EQ(tcp_look(listener).state, TCP_LISTEN);
    CHECK_EQ(tcp_look(listener).unacked, 1);
    CHECK_EQ(tcp_look(listener).sacked, 7);
    send_text(lab, client, "12345");
    CHECK(WAIT_UNTIL(1000, tcp_look(client).bytes_acked == 6)); /* the SYN counts as one */
    CHECK_EQ(tcp_look(client).bytes_sent, 5);
    CHECK(tcp_look(client).snd_wnd > 0);
    if (kernel_since(6, 2))
        CHECK(tcp_look(client).rcv_wnd > 0);
    CHECK_EQ(tcp_look(STDIN_FILENO).state, 0);
    CHECK_STR(tcp_state_name(tcp_state(client)), "ESTABLISHED");
    CLOSE(client, listener);
}

TEST(diag_orphan, "sock_diag finds what has no descriptor: a waiting connection, TIME_WAIT")
{
    struct lab *lab = enter();
    struct diag_socket found;
    struct tcp_pair pair = tcp_pair(lab);
    uint16_t client = local_port(lab, pair.client), server = local_port(lab, pair.server);
    send_text(lab, pair.client, "12345");
    CHECK(diag_find(server, client, &found));
    CHECK_EQ(found.state, TCP_ESTABLISHED);
    CHECK_EQ(found.receive_queue, 5);
    CHECK_EQ(found.local_host, INADDR_LOOPBACK);
    CHECK(found.inode != 0);
    char buf[16];
    CHECK_STR(recv_text(lab, pair.server, buf, sizeof buf), "12345");
    CLOSE(pair.client);
    CLOSE(pair.server);
    CHECK(diag_find(client, server, &found));
    CHECK_EQ(found.state, TCP_TIME_WAIT);
    CHECK_EQ(found.timer, DIAG_TIMER_TIME_WAIT);
    CHECK(found.timer_ms > 50000);
    CHECK_EQ(diag_state(server, client), 0);
    struct diag_socket listed[4];
    CHECK_EQ(diag_list(0, listed, 4), 1);
    CHECK_EQ(listed[0].local_port, client);
    CHECK_EQ(diag_list(server, listed, 4), 0);
}

TEST(sock_ends, "a reset is seen as one, an unused port refuses, and full buffers are full")
{
    struct lab *lab = enter();
    struct tcp_pair pair = tcp_pair(lab);
    char byte;
    long long sent = fill_buffers(lab, pair.client, 1 << 16);
    /* Until it is acknowledged, what has arrived is in both. */
    CHECK(WAIT_UNTIL(1000, bytes_in(pair.server) + bytes_out(pair.client) == sent));
    CHECK_EQ(wait_events(pair.client, POLLOUT, 0), 0);
    CHECK_STR(poll_words(wait_events(pair.server, POLLIN | POLLOUT, 0)), "IN|OUT");
    reset_peer(lab, pair.server);
    CHECK(wait_events(pair.client, POLLIN, 1000));
    CHECK_STR(poll_words(wait_events(pair.client, POLLIN, 0)), "IN|ERR|HUP");
    CHECK_ERRNO(recv(pair.client, &byte, 1, 0), ECONNRESET);
    int refused;
    CHECK_ERRNO(tcp_connect(lab, address("127.0.0.1", unused_port(lab)), &refused), ECONNREFUSED);
    CHECK_STR(poll_words(0), "none");
    CLOSE(pair.client, refused, -1);
}

TEST(counters, "a counter counts what happens, and an unknown one is told as unknown")
{
    struct lab *lab = enter();
    long long before = counter("TcpExt", "ListenOverflows");
    long long opened = counter("Tcp", "ActiveOpens");
    int clients[3], listener = tcp_listen(lab, 0);
    for (int i = 0; i < 3; i++)
        clients[i] = tcp_connect_begin(lab, listener);
    CHECK(before >= 0 && opened >= 0);
    CHECK(WAIT_UNTIL(500, counter("TcpExt", "ListenOverflows") - before == 2));
    CHECK_EQ(counter("Tcp", "ActiveOpens") - opened, 3);
    CHECK_EQ(counter("TcpExt", "NoSuchCounter"), -1);
    CHECK_EQ(counter("NoSuchTable", "ListenOverflows"), -1);
    close_all(clients, 3);
    CLOSE(listener);
}

TEST(clocks, "waiting costs a switch and no processor time; a clock goes on")
{
    int ends[2];
    CHECK_OK(pipe(ends));
    long switches = voluntary_switches();
    int64_t used = processor_ns(), begin = clock_ns();
    for (int i = 0; i < 5; i++)
        CHECK_EQ(wait_events(ends[0], POLLIN, 10), 0);
    CHECK(voluntary_switches() - switches >= 5);
    CHECK(ms_since(begin) >= 50);
    CHECK(processor_ns() - used < 25000000LL * test_slowness());
    CLOSE(ends[0], ends[1]);
}

static int read_byte(void *arg)
{
    char byte;
    return read(*(int *)arg, &byte, 1) == 1 ? 0 : 1;
}

TEST(asleep, "a process that waits is seen to sleep, one that is gone is not")
{
    struct lab *lab = enter();
    int ends[2];
    CHECK_OK(pipe(ends));
    int child = spawn(lab, read_byte, &ends[0]);
    CHECK(WAIT_UNTIL(1000, is_asleep(child)));
    CHECK_EQ(write(ends[1], "x", 1), 1);
    CHECK_EQ(reap(lab, child), 0);
    CHECK(!is_asleep(child));
    CLOSE(ends[0], ends[1]);
}

TEST(small_receiver, "a connection with a small receive buffer offers a small window")
{
    struct lab *lab = enter();
    struct tcp_pair normal = tcp_pair(lab), small = tcp_pair_receiving(lab, 10000);
    CHECK_EQ(get_option(lab, small.server, SOL_SOCKET, SO_RCVBUF), 20000);
    CHECK(tcp_look(small.client).snd_wnd <= 20000);
    CHECK(tcp_look(normal.client).snd_wnd > 20000);
    CLOSE(normal.client, normal.server, small.client, small.server);
}
