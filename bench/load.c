/* load.c -- a load generator for echo servers, with nothing of weir in it. One thread, one
   edge-triggered epoll set, plain recv and send. Every byte that comes back is compared with the
   stream that was sent: connection number and position decide each byte, so a lost, doubled or
   misdirected one ends the run with an error. Three modes:

     pingpong  each connection keeps `depth` messages on their way and sends the next ones as
               answers come in
     churn     each slot connects, sends one message, reads the answer, closes, and begins again
     idle      opens the connections, says "open", answers the word "request" on stdin with one
               message on each, says "answered", and holds them until stdin ends

   Source addresses are spread over 127.0.0.2 to 127.0.0.251, so that closed connections in
   TIME_WAIT do not use up the ports; sockets are closed in the ordinary way, without SO_LINGER. */
#define _GNU_SOURCE
#include "meter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PATTERN_PERIOD = 65521, /* prime, so that no message size repeats the same bytes */
    CHUNK_SIZE = 128 * 1024,
    SOURCE_COUNT = 250,
    EVENT_COUNT = 1024,
    GRACE_SECONDS = 30, /* beyond warm-up and duration the run ends itself */
};

enum load_mode { PINGPONG, CHURN, IDLE };

struct options {
    enum load_mode mode;
    uint16_t port;
    unsigned connections;
    size_t size;
    unsigned depth;
    double seconds;
    double warmup;
    uint64_t requests; /* 0: for as long as `seconds` says */
};

struct conn {
    int fd;
    unsigned number;
    uint64_t sent;
    uint64_t goal; /* how far the stream is to be sent: a whole number of messages */
    uint64_t received;
    int64_t *sent_at; /* by message number modulo depth */
};

static struct options options = {
    .connections = 50, .size = 64, .depth = 1, .seconds = 1, .warmup = 0.2};
static struct meter meter;
static struct conn *conns;
static unsigned char pattern[PATTERN_PERIOD + CHUNK_SIZE];
static unsigned char incoming[CHUNK_SIZE];
static int epoll_fd;
static unsigned sockets_opened;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The server broke the one promise of an echo. */
static void accuse(const char *what)
{
    fprintf(stderr, "load: the server %s\n", what);
    exit(1);
}

static void pattern_fill(void)
{
    uint64_t state = 0x9e3779b97f4a7c15;

    for (size_t at = 0; at < PATTERN_PERIOD; at++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        pattern[at] = (unsigned char)(state >> 56);
    }
    for (size_t at = PATTERN_PERIOD; at < sizeof pattern; at++)
        pattern[at] = pattern[at - PATTERN_PERIOD];
}

/* The next CHUNK_SIZE bytes of a connection's stream, from `position` on. */
static const unsigned char *stream_at(const struct conn *conn, uint64_t position)
{
    return pattern + (position + (uint64_t)conn->number * 7919) % PATTERN_PERIOD;
}

static void conn_open(struct conn *conn)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(options.port)};
    int one = 1;

    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + sockets_opened++ % SOURCE_COUNT);
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        fail("socket");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* The port is chosen at connect, for the whole pair of addresses: ip(7). */
    setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(conn->fd, (struct sockaddr *)&source, sizeof source) != 0)
        fail("bind");
    if (connect(conn->fd, (struct sockaddr *)&target, sizeof target) != 0)
        fail("connect");
    conn->sent = conn->goal = conn->received = 0;
}

static void conn_watch(struct conn *conn)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn};

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) != 0)
        fail("epoll_ctl");
}

static void conn_flush(struct conn *conn)
{
    while (conn->sent < conn->goal) {
        uint64_t left = conn->goal - conn->sent;
        size_t len = left < CHUNK_SIZE ? (size_t)left : CHUNK_SIZE;
        ssize_t n = send(conn->fd, stream_at(conn, conn->sent), len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            fail("send");
        conn->sent += (uint64_t)n;
    }
}

static void conn_ask(struct conn *conn, unsigned count, int64_t now)
{
    uint64_t message = conn->goal / options.size;

    for (unsigned i = 0; i < count; i++)
        conn->sent_at[(message + i) % options.depth] = now;
    conn->goal += count * options.size;
    conn_flush(conn);
}

/* Judges what recv answered, and counts it. */
static void conn_check(struct conn *conn, ssize_t n)
{
    if (n < 0)
        fail("recv");
    if (n == 0)
        accuse("closed a connection");
    if (conn->received + (uint64_t)n > conn->sent)
        accuse("sent back more than it was sent");
    if (memcmp(incoming, stream_at(conn, conn->received), (size_t)n) != 0)
        accuse("sent back other bytes");
    conn->received += (uint64_t)n;
}

/* Takes what has come, checks it, and returns how many messages it completed. */
static unsigned conn_take(struct conn *conn, int64_t now)
{
    uint64_t before = conn->received / options.size;
    uint64_t after;
    ssize_t n;

    do {
        n = recv(conn->fd, incoming, sizeof incoming, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        conn_check(conn, n);
    } while (n == sizeof incoming);

    after = conn->received / options.size;
    for (uint64_t message = before; message < after; message++)
        meter_record(&meter, now - conn->sent_at[message % options.depth]);
    return (unsigned)(after - before);
}

static void slot_restart(struct conn *conn)
{
    int64_t now = clock_ns();

    if (conn->fd >= 0)
        close(conn->fd);
    conn_open(conn);
    conn_ask(conn, 1, now);
    conn_watch(conn);
}

static void conn_serve(struct conn *conn, uint32_t events)
{
    unsigned answers;

    if (conn->sent < conn->goal)
        conn_flush(conn);
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return;
    answers = conn_take(conn, clock_ns());
    if (answers == 0)
        return;
    if (options.mode == CHURN)
        slot_restart(conn);
    else
        conn_ask(conn, answers, clock_ns());
}

static bool window_over(int64_t now, int64_t warm_until)
{
    if (!meter.running) {
        if (now >= warm_until)
            meter_start(&meter);
        return false;
    }
    if (options.requests)
        return meter.requests >= options.requests;
    return (double)(now - meter.first.wall_ns) >= options.seconds * 1e9;
}

static void drive(void)
{
    static struct epoll_event events[EVENT_COUNT];
    int64_t warm_until = clock_ns() + (int64_t)(options.warmup * 1e9);

    while (!window_over(clock_ns(), warm_until)) {
        int count = epoll_wait(epoll_fd, events, EVENT_COUNT, -1);

        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++)
            conn_serve(events[i].data.ptr, events[i].events);
    }
    meter_finish(&meter);
    meter_print(&meter);
}

static void run_pingpong(void)
{
    for (unsigned i = 0; i < options.connections; i++) {
        conn_open(&conns[i]);
        conn_watch(&conns[i]);
    }
    for (unsigned i = 0; i < options.connections; i++)
        conn_ask(&conns[i], options.depth, clock_ns());
    drive();
}

static void run_churn(void)
{
    for (unsigned i = 0; i < options.connections; i++)
        slot_restart(&conns[i]);
    drive();
}

static void exchange_once(struct conn *conn)
{
    size_t done = 0;

    while (done < options.size) {
        ssize_t n = send(conn->fd, stream_at(conn, conn->sent), options.size - done, MSG_NOSIGNAL);

        if (n < 0)
            fail("send");
        conn->sent += (uint64_t)n;
        done += (size_t)n;
    }
    for (done = 0; done < options.size;) {
        ssize_t n = recv(conn->fd, incoming, options.size - done, 0);

        conn_check(conn, n);
        done += (size_t)n;
    }
}

static void run_idle(void)
{
    char line[64];

    alarm(0); /* whoever holds the other end of stdin decides how long */
    for (unsigned i = 0; i < options.connections; i++)
        conn_open(&conns[i]);
    printf("open %u\n", options.connections);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "request\n") != 0)
            continue;
        for (unsigned i = 0; i < options.connections; i++)
            exchange_once(&conns[i]);
        printf("answered %u\n", options.connections);
        fflush(stdout);
    }
}

static void usage(void)
{
    fputs("usage: load --port PORT [--mode pingpong|churn|idle] [--connections N] [--size BYTES]\n"
          "            [--depth N] [--seconds S | --requests N] [--warmup S] [--server-pid PID]\n",
          stderr);
    exit(2);
}

static enum load_mode mode_parse(const char *word)
{
    static const char *const words[] = {
        [PINGPONG] = "pingpong", [CHURN] = "churn", [IDLE] = "idle"};

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], word) == 0)
            return (enum load_mode)i;
    usage();
    return PINGPONG;
}

static void options_parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},        {"mode", required_argument, NULL, 'm'},
        {"connections", required_argument, NULL, 'c'}, {"size", required_argument, NULL, 'b'},
        {"depth", required_argument, NULL, 'd'},       {"seconds", required_argument, NULL, 's'},
        {"requests", required_argument, NULL, 'n'},    {"warmup", required_argument, NULL, 'w'},
        {"server-pid", required_argument, NULL, 'P'},  {NULL, 0, NULL, 0},
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 'p':
            options.port = (uint16_t)atoi(optarg);
            break;
        case 'm':
            options.mode = mode_parse(optarg);
            break;
        case 'c':
            options.connections = (unsigned)atoi(optarg);
            break;
        case 'b':
            options.size = (size_t)atol(optarg);
            break;
        case 'd':
            options.depth = (unsigned)atoi(optarg);
            break;
        case 's':
            options.seconds = atof(optarg);
            break;
        case 'n':
            options.requests = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            options.warmup = atof(optarg);
            break;
        case 'P':
            meter.server = (pid_t)atoi(optarg);
            break;
        default:
            usage();
        }
    }
    if (!options.port || !options.connections || !options.depth || !options.size ||
        options.size > CHUNK_SIZE || optind != argc)
        usage();
    if (options.mode == CHURN && options.depth != 1)
        usage();
}

static void files_raise(void)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void conns_new(void)
{
    int64_t *stamps = calloc((size_t)options.connections * options.depth, sizeof *stamps);

    conns = calloc(options.connections, sizeof *conns);
    if (!stamps || !conns)
        fail("calloc");
    for (unsigned i = 0; i < options.connections; i++) {
        conns[i].fd = -1;
        conns[i].number = i;
        conns[i].sent_at = stamps + (size_t)i * options.depth;
    }
}

int main(int argc, char **argv)
{
    options_parse(argc, argv);
    alarm((unsigned)(options.warmup + options.seconds) + GRACE_SECONDS);
    files_raise();
    pattern_fill();
    conns_new();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        fail("epoll_create1");
    switch (options.mode) {
    case PINGPONG:
        run_pingpong();
        break;
    case CHURN:
        run_churn();
        break;
    case IDLE:
        run_idle();
        break;
    }
    return 0;
}
