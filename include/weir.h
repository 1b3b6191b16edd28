/* weir.h -- straight-line sockets in C for Linux.
 *
 * Results.  int and ssize_t functions answer -1 and set errno when they fail, pointer functions
 * NULL; weir_error() tells the rest.  Where a function answers with what a callback returned, a
 * callback that returns -1 cannot be told from a failure.  errno after success means nothing,
 * except where a short count is documented.
 *
 * Handles.  weir_conn * and its like are names, never dereferenced by you or by weir: they hold a
 * slot number and a generation, so one that was closed answers EBADF, and NULL does too.  They may
 * be used from any fiber of any worker and from any thread.  weir_msg alone is a plain pointer.
 *
 * Waiting.  A function that "parks" may have to wait: in a fiber it lets others run meanwhile, in
 * a plain thread it blocks.  One that "never parks" does not.  Everything that parks may fail with
 *   ETIME      the ambient deadline passed (ETIMEDOUT is the network's own, or a stall limit's)
 *   EAGAIN     it would have to wait, within WEIR_TRY
 *   ECANCELED  the group of this fiber was cancelled; so it stays, for all that parks
 *   EBADF      the handle was closed, before the call or during it
 *   EDEADLK    it was called inside weir_native
 *   ENOMEM     memory ran out
 * and these are not repeated below.  When a call is over, neither weir nor the kernel holds on to
 * memory it was given; what was read or sent by then is reported before the error is.
 *
 * Ownership.  A function "takes" what it will release itself, "borrows" what it uses until it
 * returns, "gives" what the caller must release.  Arguments not mentioned are borrowed, and no
 * pointer may be NULL unless it is said.  Durations are in nanoseconds, sizes in bytes.          */
#ifndef WEIR_H
#define WEIR_H
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct weir_listener weir_listener; /* where streams are accepted */
typedef struct weir_conn weir_conn;         /* a byte stream: TCP or a Unix socket */
typedef struct weir_group weir_group;       /* a scope that owns fibers */
typedef struct weir_chan weir_chan;         /* a bounded queue between fibers and threads */
typedef struct weir_msg weir_msg;           /* bytes that do not change, with a count of owners */
typedef struct weir_outbox weir_outbox;     /* a bounded queue of messages to one conn */

/* ---- Time, deadlines, cancellation ---- */
/* A point in time or a duration: nanoseconds, by CLOCK_MONOTONIC (clock_gettime(2)). */
typedef int64_t weir_time;
#define WEIR_US INT64_C(1000)          /* a microsecond, in nanoseconds */
#define WEIR_MS INT64_C(1000000)       /* a millisecond */
#define WEIR_SEC INT64_C(1000000000)   /* a second */
#define WEIR_NEVER INT64_MAX           /* the deadline that does not come */

/* The present time.  Never parks, never fails. */
weir_time weir_now(void);

/* `ns` from now, perhaps negative; no later than WEIR_NEVER.  Never parks, never fails. */
weir_time weir_after(int64_t ns);

/* Waits for `ns`; not at all when that is 0 or less.  Returns 0.  Parks; when the deadline comes
 * first it waits until then and fails with ETIME. */
int weir_sleep(int64_t ns);

/* The ambient deadline of this fiber or thread: WEIR_NEVER when there is none, INT64_MIN within
 * WEIR_TRY.  Never parks, never fails. */
weir_time weir_deadline(void);

/* Makes the ambient deadline the earlier of itself and `t`, and returns what it was, to be given
 * to weir_deadline_restore.  For code that has no block to put WEIR_DEADLINE in.  Never parks. */
weir_time weir_deadline_set(weir_time t);

/* Makes `previous` the ambient deadline of this fiber or thread.  Never parks. */
void weir_deadline_restore(weir_time previous);

/* Whether this fiber has been told to stop: 0, ESHUTDOWN when its group drains, ECANCELED when it
 * is cancelled; 0 within WEIR_SHIELD.  For loops that compute.  Never parks, never fails. */
int weir_cancelled(void);

struct weir_guard_ { /* what the macros below are made of; not to be used by itself */
    weir_time prev;  /* the deadline before */
    int kind;        /* which of the macros; 0: none */
};
struct weir_guard_ weir_guard_push_(int kind, int64_t ns);
void weir_guard_pop_(struct weir_guard_ *g);
#define WEIR_CAT2_(a, b) a##b
#define WEIR_CAT_(a, b) WEIR_CAT2_(a, b)
#define WEIR_GUARD_(k, ns)                                                                         \
    struct weir_guard_ WEIR_CAT_(weir_guard_, __COUNTER__)                                         \
        __attribute__((cleanup(weir_guard_pop_), unused)) = weir_guard_push_((k), (ns))

/* Each is a declaration that holds to the end of its block, whichever way that is left except by
 * longjmp(3), for all that this fiber or thread calls there.  They nest.
 *
 * WEIR_DEADLINE: what parks fails with ETIME when `ns` have passed from now, or an outer deadline.
 * What has passed already still lets each call try once. */
#define WEIR_DEADLINE(ns) WEIR_GUARD_(1, (ns))
/* What would park fails with EAGAIN instead: the non-blocking mode. */
#define WEIR_TRY WEIR_GUARD_(2, 0)
/* For clean-up: hides cancellation, draining, outer deadlines and WEIR_TRY for at most `ns`. */
#define WEIR_SHIELD(ns) WEIR_GUARD_(3, (ns))

/* ---- Runtime, fibers, groups ---- */
/* How fibers wait.  WEIR_AUTO: what the environment variable WEIR_BACKEND names ("io_uring",
 * "epoll", "poll", "select", "auto"), else io_uring where a test run of it succeeds, else epoll.
 * WEIR_SELECT fails with ERANGE for descriptors from FD_SETSIZE on (select(2)). */
typedef enum { WEIR_AUTO, WEIR_IO_URING, WEIR_EPOLL, WEIR_POLL, WEIR_SELECT } weir_backend;

/* All zero is a good configuration. */
typedef struct {
    int workers;          /* threads that run fibers, at most 256; 0: one per usable processor */
    weir_backend backend;
    size_t stack_size;    /* of a fiber, virtual: 16 KiB to 1 GiB; 0: 256 KiB */
    int max_fds;          /* accepting pauses from so many on; 0: RLIMIT_NOFILE less 64, or half */
    int blocking_threads; /* for weir_blocking, and as many again to look names up; 0: 64 */
    int64_t stall_warn;   /* a worker held up so long is told of on stderr, or to the hook of
                             weir_trace; 0: 50 ms, < 0: never */
} weir_config;

/* Starts workers, runs fn(arg) in the first fiber, waits until it and all fibers of its group have
 * ended, and stops them again.  `cfg` may be NULL.  Returns what fn did.  Fails with EINVAL for a
 * configuration that cannot be, EBUSY when a runtime is running in the process, ENOMEM and what
 * else starting threads fails with.  Blocks the calling thread, which becomes the first worker and
 * has its signal mask back afterwards.  Called from a plain thread. */
int weir_run(const weir_config *cfg, int (*fn)(void *), void *arg);

/* Non-zero in a fiber, 0 in a plain thread.  Never parks, never fails. */
int weir_in_fiber(void);

/* Lets the other fibers of this worker that are ready run first.  Returns 0; fails with ECANCELED
 * only.  Never parks: WEIR_TRY allows it.  A plain thread and weir_native let no others run. */
int weir_yield(void);

/* Names this fiber or thread for weir_dump and other reports.  The text is formatted as by
 * printf(3) and copied; without memory for that the old name stays.  Never parks. */
void weir_name(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* All zero: no limit, and failures wait for weir_group_wait. */
typedef struct {
    int max_fibers; /* weir_go parks while so many are there; 0: no limit */
    bool fail_fast; /* the first result other than 0 cancels the rest */
} weir_group_opts;

/* All zero: what weir_go does. */
typedef struct {
    size_t stack_size; /* at least so much, guard included; 0: as configured.  Threads ignore it */
    int worker;        /* from 1 to weir_config.workers; 0: the caller's.  Threads ignore it */
    const char *name;  /* as by weir_name; copied; may be NULL */
} weir_fiber_opts;

/* Gives a group, a child of the caller's own: what stops the parent stops it.  weir_close(g)
 * cancels its fibers and waits for them; a fiber or thread that ends closes the groups it opened.
 * `o` may be NULL.  Fails with EINVAL for a negative limit, ENOMEM, ENFILE.  Never parks.  In a
 * program without weir_run the members are threads. */
weir_group *weir_group_open(const weir_group_opts *o);

/* Starts fn(arg) in a fiber on the caller's worker; NULL is the caller's own group.  `arg` must
 * live as long as the fiber uses it.  Returns 0.  Fails with EBADF, EINVAL (NULL in a plain
 * thread, which has no group), ENOMEM, and pthread_create(3)'s errors for a thread.  Parks only
 * while the group is full; ECANCELED also means that the group is cancelled. */
int weir_go(weir_group *g, int (*fn)(void *), void *arg);

/* The same, with the `n` bytes at `arg` copied to the top of the new stack, and fn given the copy;
 * with 0 the pointer itself is passed on.  A large copy makes the stack larger.  `o` may be NULL.
 * Fails also with EINVAL (no such worker) and ENOMEM (no such stack).  Parks as weir_go does. */
int weir_go_copy(weir_group *g, int (*fn)(void *), const void *arg, size_t n,
                 const weir_fiber_opts *o);

/* Waits until the group is empty: 0, or the first result of a fiber other than 0, which the group
 * keeps.  It stays open.  Not for its members, who would wait for themselves.  Parks. */
int weir_group_wait(weir_group *g);

/* Asks politely: from now on weir_accept and weir_idle fail with ESHUTDOWN in the group and in
 * those below it, and weir_serve ends in good order; everything else goes on.  For good.  Returns
 * 0; fails with EBADF.  Never parks. */
int weir_group_drain(weir_group *g);

/* Firmly: whatever parks fails with ECANCELED in the group and those below it, now and from now
 * on.  For good.  Returns 0; fails with EBADF.  Never parks. */
int weir_group_cancel(weir_group *g);

/* Runs fn(arg) on a helper thread and returns its result, errno included.  For code that blocks:
 * files, libraries.  Parks, whatever the deadline, WEIR_TRY even; a fiber that was cancelled before
 * gets ECANCELED and fn is not begun.  A plain thread and weir_native call fn themselves. */
int weir_blocking(int (*fn)(void *), void *arg);

/* Runs fn(arg) on the worker's own stack, which is as large as a thread's, and returns its result.
 * For foreign code that needs much stack.  What parks fails in it with EDEADLK, and no other fiber
 * of the worker runs meanwhile.  A plain thread just calls fn.  Never parks, never fails. */
int weir_native(int (*fn)(void *), void *arg);

/* ---- Addresses and names ---- */
/* A socket address as the kernel has it. */
typedef struct {
    socklen_t len; /* bytes of `u` that count; 0: no address */
    union {
        struct sockaddr sa;
        unsigned char b[124];
    } u;
} weir_addr;
#define WEIR_ADDRSTR 160 /* room for any address that weir_addr_str prints */

/* Looks a host's addresses up, for streams, by getaddrinfo(3) on a helper thread.  `service` is a
 * port, a name of services(5), or NULL for port 0.  Fills at most `max` (>= 1) of `out`; returns
 * how many.  An address in text is not looked up.  Fails with ENOENT (no such name), ETIMEDOUT
 * (servers do not answer), EPROTO (servers fail), EINVAL, ENAMETOOLONG (over 253 bytes),
 * EAFNOSUPPORT.  Parks; a lookup that is given up goes on alone and harms nobody. */
int weir_resolve(const char *host, const char *service, weir_addr *out, int max);

/* Reads "192.0.2.1:80", "[2001:db8::1%eth0]:80", ":80" (all interfaces), "/path", "unix:/path" or
 * "unix:@abstract" (unix(7)); looks nothing up.  Returns 0; on failure *a is as before.  Fails
 * with EINVAL, ENAMETOOLONG (a path over 107 bytes), ENODEV (no such interface).  Never parks. */
int weir_addr_parse(weir_addr *a, const char *text);

/* Prints an address to `buf` of `n` bytes, cut off if need be, and returns `buf`, which
 * weir_addr_parse reads back unless a byte is shown as '?' for a terminal's sake.  Never parks. */
char *weir_addr_str(const weir_addr *a, char *buf, size_t n);

/* The address at this end of a conn or listener (getsockname(2)); IPv4 in IPv6 is shown as IPv4.
 * Returns 0.  Fails with EBADF, EINVAL for a handle of another kind.  Never parks. */
int weir_local(void *h, weir_addr *a);

/* The address at the other end of a conn; an internet conn knows it even after a reset.  Returns
 * 0.  Fails with ENOTCONN (a listener's too), EBADF, EINVAL.  Never parks. */
int weir_peer(void *h, weir_addr *a);

/* ---- Streams ---- */
/* For weir_listen and weir_dial; a listener's are handed down to its conns.  All zero is good.
 * Unix sockets know only backlog, the buffers, the stall limits and unlink_on_close; a descriptor
 * ("fd:number") stays as it is.  Negative is EINVAL where nothing is said of it. */
typedef struct {
    const char *bind_to;  /* dial: from this address, perhaps with a port, or network device */
    int backlog;          /* listen(2); 0: SOMAXCONN */
    int family;           /* AF_INET or AF_INET6 only; 0: either */
    int rcvbuf, sndbuf;   /* SO_RCVBUF, SO_SNDBUF of socket(7); 0: the kernel sizes them */
    int64_t keepalive;    /* idle time before the peer is probed; 0: 60 s, < 0: never */
    int64_t user_timeout; /* data unacknowledged for so long ends it; 0: 30 s, < 0: the kernel's */
    int64_t read_stall, write_stall; /* a read or write that moves nothing for so long fails with
                                        ETIMEDOUT; 0: never */
    bool delay;           /* leave Nagle's algorithm on (RFC 9293, 3.7.4); weir turns it off */
    bool v6only;          /* listen: an IPv6 socket does not take IPv4 */
    bool fastopen;        /* data with the first segment (RFC 7413) */
    bool mptcp;           /* several paths (RFC 8684) where the kernel has them, else plain TCP */
    bool reuse_port;      /* listen: several sockets on one port, SO_REUSEPORT of socket(7) */
    bool unlink_on_close; /* listen: remove the Unix socket's file, if it still is this one */
    bool oob_inline;      /* urgent data stays in the stream, SO_OOBINLINE of socket(7) */
} weir_opts;

/* Gives a listener at "tcp://host:port", "tcp://:port" (every interface, both families),
 * "unix:/path", "unix:@abstract" or "fd:number" (weir_listener_fd).  Port 0 is one the kernel
 * chooses: weir_local.  A Unix socket file that no server answers at is replaced.  `o` may be
 * NULL.  Fails with EINVAL, EPROTONOSUPPORT (another scheme), EADDRINUSE, EACCES and what else
 * weir_resolve, socket(2), bind(2) and listen(2) say.  Parks only to look a name up. */
weir_listener *weir_listen(const char *where, const weir_opts *o);

/* Gives the next connection; *peer is its address, may be NULL.  Connections that failed in the
 * queue are passed over, and when descriptors run out it waits for one: EMFILE is not an answer.
 * Fails with ESHUTDOWN when the group drains.  Parks; several callers take turns. */
weir_conn *weir_accept(weir_listener *l, weir_addr *peer);

/* Gives a connection to "tcp://host:port", "tcp://:port" (this machine), "unix:/path",
 * "unix:@abstract" or "fd:number" (weir_conn_fd), trying the addresses of a name in turn, all
 * under one deadline, of which each attempt gets a share.  `o` may be NULL.  Fails with EINVAL,
 * EPROTONOSUPPORT, and what weir_resolve and connect(2) say: ECONNREFUSED, EHOSTUNREACH,
 * ETIMEDOUT...; weir_error()->text has a line for each address tried.  Parks. */
weir_conn *weir_dial(const char *where, const weir_opts *o);

/* Gives two conns, each the other's peer.  Returns 0.  Fails as socketpair(2).  Never parks. */
int weir_pair(weir_conn *c[2]);

/* Reads at least one byte, at most `n`; returns how many, 0 at the end of the stream or when n is
 * 0.  Fails with ECONNRESET, ETIMEDOUT and recv(2)'s errors.  Parks; several readers take turns in
 * the order they came, as do several writers, and a reader does not hinder a writer. */
ssize_t weir_read(weir_conn *c, void *buf, size_t n);

/* Reads `n` bytes.  Returns n; fewer when the stream ended (errno is 0) or something failed after
 * some bytes (errno says what, and the next call fails with it again); -1 when it failed before
 * the first.  Errors and parking as weir_read. */
ssize_t weir_readn(weir_conn *c, void *buf, size_t n);

/* Writes all `n` bytes.  Returns n; fewer when something failed after some were handed to the
 * kernel (errno says what); -1 when none were.  Fails with EPIPE (half-closed, or the peer is
 * gone), ECONNRESET, ETIMEDOUT and send(2)'s errors; never raises SIGPIPE.  Parks. */
ssize_t weir_write(weir_conn *c, const void *buf, size_t n);

/* As weir_read, into `nv` pieces in order (readv(2)); fills from the first 1024 at most.  Fails
 * also with EINVAL: nv is negative, or the sizes overflow. */
ssize_t weir_readv(weir_conn *c, const struct iovec *v, int nv);

/* As weir_write, from any number of pieces in order.  Fails also with EINVAL, as weir_readv. */
ssize_t weir_writev(weir_conn *c, const struct iovec *v, int nv);

/* As weir_read with flags of recv(2): MSG_PEEK leaves the bytes, MSG_DONTWAIT fails with EAGAIN
 * rather than parks, MSG_WAITALL is weir_readn, MSG_OOB takes the urgent byte (RFC 6093), or fails
 * with EINVAL when there is none. */
ssize_t weir_recv(weir_conn *c, void *buf, size_t n, int flags);

/* As weir_write with flags of send(2): MSG_OOB makes the last byte urgent, MSG_MORE announces
 * more.  With MSG_DONTWAIT it writes what fits now, or fails with EAGAIN. */
ssize_t weir_send(weir_conn *c, const void *buf, size_t n, int flags);

/* 1 when the next byte to read follows the urgent mark, else 0 (sockatmark(3)).  Fails with EBADF,
 * ENOTTY and the like where there is no such mark.  Never parks. */
int weir_atmark(weir_conn *c);

/* Waits between two messages: 1 when something can be read, 0 at the end of the stream.  Fails
 * with ESHUTDOWN when the group drains, unless bytes are buffered already, and as weir_read.
 * Parks, and from the first second on without the memory of its stack. */
int weir_idle(weir_conn *c);

/* SHUT_WR half-closes: the peer sees the end, reading goes on; again, it does nothing.  SHUT_RD
 * and SHUT_RDWR as shutdown(2).  Takes effect at once on calls in progress.  Returns 0.  Fails
 * with EBADF, EINVAL, ECONNRESET.  Never parks. */
int weir_shutdown(weir_conn *c, int how);

/* Half-closes, reads and drops what still comes up to its end, waits until all that was sent is
 * acknowledged, and closes.  Takes the conn, whatever it returns.  0: the peer has received
 * everything.  Fails as weir_read does.  Parks. */
int weir_finish(weir_conn *c);

/* Closes at once, TCP with a reset (RFC 9293, 3.10.5): for conversations that went wrong.  Takes
 * the conn.  Returns 0.  Fails with EBADF, and close(2)'s errors.  Parks as weir_close. */
int weir_abort(weir_conn *c);

/* Closes any handle, and takes it: whoever waits on it is told EBADF.  What a conn has sent is
 * still delivered; unread input does not turn that into a reset for up to 2 s.  A group is
 * cancelled and waited for; a channel or outbox drops what it holds.  Returns 0.  Fails with
 * EBADF, EDEADLK in weir_native, and close(2)'s errors.  Parks while calls in progress leave,
 * not for the network; only a plain thread spends those 2 s itself, within its deadline. */
int weir_close(void *h);

/* Buffers until at least `min` bytes (at most 64 KiB) are there.  *p borrows all that are, until
 * the next call that reads.  Returns how many; fewer than min when the stream ended (errno is 0)
 * or something failed (errno); -1 when it failed with none.  Fails with EMSGSIZE for a larger min,
 * and as weir_read.  With 0 it shows what is buffered.  Parks. */
ssize_t weir_peek(weir_conn *c, const void **p, size_t min);

/* Drops `n` buffered bytes.  Returns 0.  Fails with EINVAL.  Parks only behind another reader. */
int weir_skip(weir_conn *c, size_t n);

/* Reads a line, without its "\n" or "\r\n", and ends it with a zero byte.  Returns its length, at
 * most cap - 1.  Fails with EMSGSIZE (longer than that or 64 KiB; it stays unread), ENODATA (the
 * stream ended), EPROTO (it ended within a line), EINVAL (cap is 0), and as weir_read.  What came
 * of an unfinished line stays buffered for the next call.  Parks. */
ssize_t weir_getline(weir_conn *c, char *buf, size_t cap);

/* Reads a frame: a length of 1, 2, 4 or 8 bytes, big endian, and so many bytes.  Returns the
 * length, which may be 0.  Fails with EMSGSIZE (more than cap; it stays unread), ENODATA (the
 * stream ended), EPROTO (it ended within a frame), EINVAL, and as weir_read.  An interrupted call
 * is continued by the next, which must bring the same buffer.  Parks. */
ssize_t weir_getframe(weir_conn *c, void *buf, size_t cap, int hdr_bytes);

/* Writes such a frame, in one system call if it fits.  Returns 0.  Fails with EMSGSIZE (the header
 * cannot say n), EINVAL, as weir_write, and with EPROTO once an earlier frame or weir_printf went
 * out in part: what follows would be misread.  Parks. */
int weir_putframe(weir_conn *c, const void *buf, size_t n, int hdr_bytes);

/* Writes text formatted as by printf(3).  Returns its length.  Fails as weir_putframe.  Parks. */
int weir_printf(weir_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Limits of a relay, and what it did. */
typedef struct {
    int64_t idle;             /* nothing moves for so long: ETIMEDOUT; 0: no limit */
    int64_t half_closed_idle; /* the same once one direction has ended; 0: as idle */
    int64_t a_to_b, b_to_a;   /* set: bytes passed on */
} weir_relay_opts;

/* Copies both ways between two conns until both directions have ended, and passes each end on as a
 * half-close; what was buffered goes first.  `io` may be NULL, and its counts are set whatever
 * happens.  Returns 0.  Fails with EINVAL (a is b, a negative limit), ETIMEDOUT, and as weir_read
 * and weir_write.  Parks, and holds both sides of both conns.  Closes neither. */
int weir_relay(weir_conn *a, weir_conn *b, weir_relay_opts *io);

/* ---- Servers ---- */
/* Who holds a connection: a fiber each, inside weir_run; the acceptor itself, one after the other,
 * anywhere; and in a plain thread a process each by fork(2), a thread each, or processes started
 * in advance that each serve one after the other. */
typedef enum { WEIR_FIBER, WEIR_ITERATIVE, WEIR_PROCESS, WEIR_THREAD, WEIR_PREFORK } weir_model;

/* What a handler answers.  DONE: close in good order.  PARK: call me again when more has come, or
 * the end; till then a fiber and its stack are given up.  KEEP: the conn is the handler's now, as
 * is closing it.  Anything else, -1 by custom: weir_abort, lest half an answer be taken for all. */
enum { WEIR_DONE = 0, WEIR_PARK = 1, WEIR_KEEP = 2 };

/* All zero is good. */
typedef struct {
    weir_model model;
    int max_conns;     /* at one time, the rest queue; 0: as many as descriptors allow.  PREFORK:
                          processes; 0: one per processor */
    int64_t drain;     /* grace for conversations once told to stop; 0: 10 s, < 0: none */
    bool no_signals;   /* do not listen for SIGTERM, SIGINT, and SIGHUP if that is not ignored */
    bool fast_reject;  /* reset whom there is no room for, rather than let them wait */
    void (*on_open)(weir_conn *, void *arg);  /* before the handler's first call; may be NULL */
    void (*on_close)(weir_conn *, void *arg); /* before it closes, not for KEEP; may be NULL */
} weir_serve_opts;

/* Accepts and serves until a signal, a drained group, or weir_close(l) tells it to stop; then
 * serves who is in the queue, lets conversations end, and cancels those left after the grace, or
 * at a second signal.  `o` may be NULL.  Takes the listener, unless it fails at once.  Returns 0
 * when it was told to stop.  Fails at once with EBADF, EINVAL (a model that cannot work here, no
 * handler, a negative limit), later as weir_accept.  The handler borrows the conn.  Parks. */
int weir_serve(weir_listener *l, int (*handler)(weir_conn *, void *), void *arg,
               const weir_serve_opts *o);

/* Attaches a pointer to a conn, borrowed; on a closed one it does nothing.  Never parks. */
void weir_setdata(weir_conn *c, void *p);

/* That pointer; NULL: there is none, or EBADF (on_close after weir_close, too).  Never parks. */
void *weir_data(weir_conn *c);

/* ---- Options, interop, multi-wait ---- */

/* Options of sockets: socket(7), ip(7), tcp(7). */
typedef enum {
    WEIR_O_NODELAY = 1, WEIR_O_CORK, WEIR_O_RCVBUF, WEIR_O_SNDBUF, WEIR_O_RCVLOWAT,
    WEIR_O_NOTSENT_LOWAT, WEIR_O_KEEPALIVE, WEIR_O_USER_TIMEOUT, WEIR_O_LINGER, WEIR_O_TOS,
    WEIR_O_TTL, WEIR_O_PRIORITY, WEIR_O_MARK, WEIR_O_READ_STALL, WEIR_O_WRITE_STALL,
    WEIR_O_PACING = 24
} weir_opt;
/* NODELAY, CORK            0 or 1: Nagle's algorithm off; partial segments held back
 * RCVBUF, SNDBUF           bytes; the kernel doubles them and weir_get says so
 * RCVLOWAT, NOTSENT_LOWAT  bytes, from which on a socket counts as readable; below which, writable
 * KEEPALIVE, USER_TIMEOUT  ns, as in weir_opts; weir_get says -1 for never and the kernel's own
 * LINGER                   0: weir_close resets; < 0: it does not; > 0: EOPNOTSUPP, see weir_finish
 * TOS, TTL                 0 to 255, the header's field, in IPv6 the traffic class and hop limit
 * PRIORITY, MARK           SO_PRIORITY, SO_MARK (which needs CAP_NET_ADMIN)
 * READ_STALL, WRITE_STALL  ns as in weir_opts; 0: none
 * PACING                   bytes per second at most; 0: no limit */

/* Sets an option of a conn or listener.  Returns 0.  Fails with EBADF, EINVAL (no such option,
 * value or kind of handle), EOPNOTSUPP, and as setsockopt(2).  Never parks. */
int weir_set(void *h, weir_opt o, int64_t v);

/* Asks for one; *v is set on success only.  Returns 0.  Fails as weir_set does.  Never parks. */
int weir_get(void *h, weir_opt o, int64_t *v);

/* The descriptor of a conn or listener, to borrow: for setsockopt(2), say, not to read, close or
 * keep.  Fails with EBADF, EINVAL.  Never parks. */
int weir_fileno(void *h);

/* Gives the descriptor of a conn or listener, and takes the handle; it blocks again unless it came
 * non-blocking.  Fails with EBUSY (bytes are buffered, or another call is on it), EBADF, EINVAL;
 * then nothing has changed.  Never parks. */
int weir_detach(void *h);

/* Gives a conn for a connected stream socket, and takes the descriptor, unless it fails: ENOTSOCK,
 * EPROTOTYPE (no stream), EINVAL (it listens), ENOTCONN, EBADF, ENFILE.  O_NONBLOCK is set on its
 * open file, which other processes may share.  Never parks. */
weir_conn *weir_conn_fd(int fd);

/* The same for a listening stream socket; EINVAL when it does not listen.  Never parks. */
weir_listener *weir_listener_fd(int fd);

/* What weir_poll waits for. */
typedef struct {
    void *h;        /* a conn, listener or channel; NULL: the descriptor */
    int fd;         /* any descriptor; negative: this entry is passed over */
    short events;   /* POLLIN, POLLOUT, ... of poll(2) */
    short revents;  /* set: what has come true, POLLNVAL when the handle is or gets closed */
} weir_pollent;

/* Waits until one of `n` entries is ready; returns how many are, never 0.  Buffered bytes are
 * POLLIN; a channel is POLLIN for receivers, POLLOUT for senders, POLLHUP once done.  With n 0 it
 * waits for the deadline, and `e` may be NULL.  Fails with EINVAL, ENOMEM, ENOSPC (epoll(7)),
 * ERANGE (WEIR_SELECT).  Parks; a read may wait all the same, if another reader is faster. */
int weir_poll(weir_pollent *e, int n);

/* Waits for one of `n` (>= 1) signals sent to the process, and returns which.  Inside weir_run one
 * that was waited for before is kept for the next call instead of taking its usual effect.
 * Dispositions stay as they are.  Fails with EINVAL: none named, or one nobody can wait for
 * (SIGKILL, SIGSTOP, SIGSEGV and other faults).  Parks (sigtimedwait(2), signalfd(2)). */
int weir_signal(const int *signo, int n);

/* ---- Between fibers, workers, threads ---- */
/* Gives a channel for elements of `elem` bytes each, with room for `capacity`; with 0 a sender
 * waits for its receiver.  Fails with ENOMEM.  Never parks.  weir_close drops what is in it. */
weir_chan *weir_chan_open(size_t elem, size_t capacity);

/* Copies the element at `v` into the channel.  Returns 0.  Fails with EPIPE once it is done, too
 * for those that wait then.  Parks while it is full; waiting senders are served in order. */
int weir_chan_send(weir_chan *ch, const void *v);

/* Copies the oldest element to `v`.  Returns 1; 0 when the channel is done and empty.  Parks while
 * it is empty; waiting receivers are served in order. */
int weir_chan_recv(weir_chan *ch, void *v);

/* Says that nothing more will be sent; what is in the channel can still be received.  Returns 0.
 * Fails with EBADF.  Never parks. */
int weir_chan_done(weir_chan *ch);

/* A lock; all zero is unlocked, nothing needs release.  Its holder may park.  Not recursive. */
typedef struct { uint64_t _[3]; } weir_mutex;
/* A condition; all zero is ready, nothing needs release. */
typedef struct { uint64_t _[2]; } weir_cond;

/* Locks, in the order of asking; a free one even if cancelled or too late.  Returns 0.  Parks. */
int weir_lock(weir_mutex *m);

/* Unlocks, in any fiber or thread; one that is not locked traps.  Returns 0.  Never parks. */
int weir_unlock(weir_mutex *m);

/* Unlocks `m`, waits for a signal or broadcast, and locks it again, whatever it returns and
 * however long that takes.  Returns 0; look at your condition again then.  Parks. */
int weir_cond_wait(weir_cond *c, weir_mutex *m);

/* Wakes the one that has waited longest, if any.  Returns 0.  Never parks. */
int weir_cond_signal(weir_cond *c);

/* Wakes all that wait now.  Returns 0.  Never parks. */
int weir_cond_broadcast(weir_cond *c);

/* Gives a message with a copy of `n` bytes, and one reference to it.  `p` may be NULL when n is 0.
 * Fails with ENOMEM.  Never parks. */
weir_msg *weir_msg_new(const void *p, size_t n);

/* Gives another reference, and returns `m`.  Never parks, never fails. */
weir_msg *weir_msg_ref(weir_msg *m);

/* Takes a reference; with the last the message is gone.  NULL is nothing.  Never parks. */
void weir_msg_unref(weir_msg *m);

/* When a message does not fit: wait, drop it, drop the oldest not yet begun, or reset the conn. */
typedef enum { WEIR_WAIT, WEIR_DROP_NEW, WEIR_DROP_OLD, WEIR_DROP_CONN } weir_overflow;

/* All zero: 256 KiB, 4096 messages, WEIR_WAIT. */
typedef struct {
    size_t max_bytes; /* queued at most, all messages together; 0: 256 KiB */
    int max_msgs;     /* queued at most; 0: 4096 */
    weir_overflow overflow;
} weir_outbox_opts;

/* Gives an outbox for a conn, which it borrows until both are closed; from now on nobody else
 * should write to the conn.  A fiber beside it sends, and weir_run waits for that until the outbox
 * is closed; opened in a plain thread there is none, and putting and flushing send.  `o` may be
 * NULL.  Fails with EBADF, EINVAL, ENOMEM, ENFILE.  Never parks.  weir_close drops what was not
 * sent, and resets the conn amid a message: flush first. */
weir_outbox *weir_outbox_open(weir_conn *c, const weir_outbox_opts *o);

/* Queues a message, whole and in order, with a reference of its own.  Returns 1, or 0 when it was
 * dropped.  Fails with EMSGSIZE (larger than max_bytes), ECONNABORTED (WEIR_DROP_CONN has struck),
 * and with what ended the connection.  Parks only with WEIR_WAIT. */
int weir_outbox_put(weir_outbox *b, weir_msg *m);

/* Waits until the kernel has it all.  Returns 0.  Fails with what ended the conn.  Parks. */
int weir_outbox_flush(weir_outbox *b);

/* ---- Errors and observation ---- */
/* What failed. */
typedef struct {
    int code;              /* as errno was */
    const char *op;        /* "dial", "read", ...; static */
    const char *phase;     /* of op: "resolve", "connect", ...; static, may be NULL */
    weir_addr addr;        /* whose; len 0: nobody's, or not known */
    int64_t elapsed;       /* ns the call took; 0: too little, or not measured */
    char text[256];        /* all that in a line; for dial one for each address tried */
} weir_err;

/* What failed last in this fiber or thread; success changes nothing.  Borrowed until the next
 * failure or the fiber's end.  Never NULL; leaves errno alone.  Never parks, never fails. */
const weir_err *weir_error(void);

/* Prints `what`, unless it is NULL, and weir_error()->text to stderr (perror(3)).  Never parks. */
void weir_perror(const char *what);

/* What a connection has done.  Times are those of weir_now; the second half is TCP's (TCP_INFO of
 * tcp(7)), and 0 for a Unix socket or what the kernel does not know. */
typedef struct {
    uint64_t rx, tx;                 /* bytes received, sent */
    uint64_t reads, writes;          /* receives and sends that moved them */
    uint64_t rx_wait_ns, tx_wait_ns; /* time spent waiting in them */
    int64_t opened, last_rx, last_tx; /* when; last_*: 0 for never */
    uint32_t rtt_us, rttvar_us;      /* round-trip time and its variation, in microseconds */
    uint32_t cwnd, retrans, unacked; /* segments: the window, sent again, under way */
    uint32_t notsent;                /* bytes still in the send buffer */
    /* ms that sending was held up by the peer's window, by the size of the send buffer */
    uint32_t rwnd_limited_ms, sndbuf_limited_ms;
} weir_conn_info;

/* Fills *out.  Returns 0.  Fails with EBADF.  Never parks. */
int weir_info(weir_conn *c, weir_conn_info *out);

/* Writes to `f` what each worker and fiber does, what it waits for and since when.  A worker that
 * does not answer within 250 ms is described from outside.  Parks for so long at most. */
void weir_dump(FILE *f);

/* A hook: an event, the handle it is about or NULL, a number, and the hook's own argument.  Runs
 * in the thread of the event, and must neither park nor block.
 *   "accept", "dial"   the conn, its descriptor        "close"  NULL, the descriptor
 *   "accept waits for a descriptor"  NULL, the errno   "stall"  the fiber's function, ns so far */
typedef void weir_trace_fn(const char *event, const void *h, int64_t v, void *arg);

/* Sets the hook of the process; NULL takes it away.  Borrows `arg`; a thread may call the former
 * hook once more while it is being replaced.  Never parks, never fails. */
void weir_trace(weir_trace_fn *fn, void *arg);
#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
