/* conformance.h -- what the rows of the conformance table are written in.
 *
 * A row is a promise about a backend, in plain words, and a function that drives one instance of
 * it by hand.  The same row runs over every backend, and over each with several kinds of trouble
 * brought into it by io/fault.h.  Rows therefore never lean on a full transfer, and need not look
 * for injected errors: an operation that was failed by rule has had no effect, and the bench
 * below submits it again on its own, after checking that its error is one of its kind's.
 *
 * The bench counts: an operation that completes twice, or never, fails the row wherever it is.  */
#ifndef WEIR_CONFORMANCE_H
#define WEIR_CONFORMANCE_H

#include <netinet/in.h>
#include <sys/un.h>

#include "io/backend.h"
#include "io/fault.h"
#include "test.h"

/* What trouble a row meets. */
struct mix {
    const char *name;
    struct fault_plan plan;   /* all zeros: the bare backend */
    struct fault_calls calls; /* all zeros: untroubled */
    bool fails;
};

struct bench {
    const struct io_backend *backend; /* what the row talks to: the bare one, or io_fault */
    const struct io_backend *bare;
    const struct mix *mix;
    struct io *io;
    struct list done;
    int pending;
    const struct op *before_close; /* must be complete before a CLOSE of their descriptor is */
    size_t before_close_count;
};

struct row {
    const char *promise;
    void (*fn)(struct bench *b);
    unsigned flags;
};

enum {
    ROW_PLAIN = 1, /* counts or times what faults would disturb: only without them */
    ROW_HEAVY = 2, /* long: without faults, and under all of them together */
};

/* Each file of rows, ended by a row without a promise. */
extern const struct row accept_rows[], cancel_rows[], close_rows[], connect_rows[], dgram_rows[],
    fault_rows[], message_rows[], poll_rows[], scale_rows[], stream_rows[], wait_rows[];

/* ---- Operations ------------------------------------------------------------------------------ */

struct op socket_op(int family, int type);
struct op bind_op(int fd, const void *addr, socklen_t len);
struct op listen_op(int fd, int backlog);
struct op name_op(int fd, bool peer, void *addr, socklen_t *len);
struct op option_op(int fd, int level, int name, int *value, socklen_t *len);
struct op set_op(int fd, int level, int name, int *value, socklen_t *len);
struct op query_op(int fd, unsigned long request);
struct op shutdown_op(int fd, int how);
struct op accept_op(int fd);
struct op connect_op(int fd, const void *addr, socklen_t len);
struct op recv_op(int fd, void *buf, size_t len);
struct op send_op(int fd, const void *buf, size_t len);
struct op recvmsg_op(int fd, struct msghdr *msg);
struct op sendmsg_op(int fd, const struct msghdr *msg);
struct op poll_op(int fd, short events);
struct op close_op(int fd);

/* ---- Driving --------------------------------------------------------------------------------- */

void bench_open(struct bench *b, const struct io_backend *bare, const struct mix *mix);
void bench_close(struct bench *b);
void first_sleep(struct bench *b);

/* Submits.  The operation may be complete afterwards. */
void start(struct bench *b, struct op *op);

/* Waits, within a bound, until the operation is complete, and gives its result. */
int32_t finish(struct bench *b, struct op *op);

/* start and finish of a copy. */
int32_t ask(struct bench *b, struct op op);

/* Without another try: an error dealt by rule is the answer. */
void start_once(struct bench *b, struct op *op);
int32_t ask_once(struct bench *b, struct op *op);

/* True for an error that was dealt by rule; it must be one that the kernel could have given. */
bool failed_by_rule(const struct bench *b, const struct op *op);

/* Lets the backend see what is there, without waiting. */
void turn(struct bench *b);
void turn_until(struct bench *b, weir_time until); /* as far as one wait goes */

bool is_done(const struct op *op);

/* The operation must not complete for what has happened so far. */
void check_pending(struct bench *b, struct op *op);

/* Nor may waiting for it be busy: some 20 ms must pass in few waits.  Only asked without faults. */
void check_calm(struct bench *b, struct op *op);

/* From here on the operation shall end and not be submitted again: for one that is about to be
 * cancelled, or closed. */
void give_up(struct bench *b, struct op *op);

/* give_up, cancel and wait.  What a rule has failed counts as cancelled, for it had no effect. */
int32_t cancel(struct bench *b, struct op *op);

/* Waits for the end of an operation that was given up. */
int32_t ended(struct bench *b, struct op *op);

/* Closes by an operation; it must succeed. */
void shut(struct bench *b, int fd);

/* ---- Descriptors ----------------------------------------------------------------------------- */

/* `ours` is for operations: non-blocking.  `peer` is for plain calls, which give up after some
 * seconds.  Both are close-on-exec. */
struct pair {
    int ours, peer;
};

enum net { NET_UNIX, NET_TCP4, NET_TCP6, NETS };

struct pair pair_open(enum net net);
struct pair pair_dgram(int family); /* AF_UNIX, AF_INET or AF_INET6 */

/* Some bytes to and fro: a backend may treat a descriptor in another way once it is busy. */
void make_busy(struct bench *b, struct pair p);

/* Closes both ends. */
void pair_close(struct bench *b, struct pair p);

/* Runs `body` for each kind of stream, and for TCP also on a busy one. */
void each_stream(struct bench *b, void (*body)(struct bench *b, struct pair p, enum net net));

/* A loopback address; port 0 binds anywhere. */
struct address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

struct address loopback(int family);
struct address unix_abstract(const char *name); /* made unlike others' by the process number */
struct address name_of(int fd, bool peer);

/* A listening socket, made by operations, and its address. */
int listener_open(struct bench *b, enum net net, int backlog, struct address *at);

/* A plain blocking connection, as a client elsewhere would make it. */
int dial_plain(const struct address *at);

/* A descriptor made by a plain call becomes one for operations. */
int adopt(int fd);

/* A peer's calls.  They wait, and fail the row if nothing happens in time. */
void peer_send(int fd, const void *buf, size_t len);
void peer_recv(int fd, void *buf, size_t len); /* exactly */
void peer_skip(int fd, size_t len);
void peer_sees_end(int fd);
void peer_sees_end_now(int fd); /* on a Unix socket nothing may delay it */

/* Whole transfers of several operations. */
void send_all(struct bench *b, int fd, const void *buf, size_t len);
void recv_all(struct bench *b, int fd, void *buf, size_t len);

/* Makes the pair's buffers small, then fills the way from ours to the peer until a send waits.
 * Returns how many bytes went; byte i is pattern(i). */
size_t fill(struct bench *b, struct pair p);
void small_buffers(struct pair p);
uint8_t pattern(size_t at);

/* Reads everything until the end; the bytes must be pattern(0), pattern(1)... Returns how many. */
size_t peer_drain(int fd);

/* Sends the reset instead of the end. */
void peer_reset(int fd);

bool is_open(int fd);

#endif
