/* serve.h -- what a server is made of, for the files that implement serving.
 *
 * One handler, five models.  In weir_run a server has a station on each worker (fibers.c, guest.c);
 * in a plain thread it is that thread (plain.c), with threads or processes for the connections
 * (process.c), and a stopper that hears of signals in between (stop.c).                       */
#ifndef WEIR_SERVE_H
#define WEIR_SERVE_H

#include "../net/park.h"

/* Something to wait for under a lock, by any task. */
struct bell {
    struct spin lock;
    struct list waiters;
};
void bell_init(struct bell *b);
/* Call with the lock held; returns without: 0 when it rang, or why the task must stop. */
int bell_wait(struct bell *b, const char *what, unsigned how);
void bell_ring(struct bell *b); /* for all who wait now */
/* The same with a moment at which it rings by itself. */
int bell_wait_until(struct bell *b, const char *what, unsigned how, weir_time until);

struct station;

struct server {
    weir_listener *listener;
    int (*handler)(weir_conn *, void *);
    void *arg;
    weir_serve_opts opts;      /* `drain` completed */
    unsigned limit;            /* of connections at one time */
    struct group *group;       /* above everything the server starts */
    struct bell changed;       /* for the task that called weir_serve */
    struct bell room;          /* for the one that would accept */
    atomic_bool waits_for_room;
    atomic_uint live;          /* connections; in weir_run each station counts its own */

    /* in weir_run */
    struct station *stations;
    int station_count;
    atomic_int holder;         /* the station that accepts */
    struct group *keepers;     /* acceptors and keepers */
    struct group *watch;
    atomic_uint accepting;     /* acceptors that have not given up */
    atomic_uint signals;
    atomic_int error;          /* why accepting failed; 0 */
    bool serial;               /* ITERATIVE */
};

/* The part of a server that lives on one worker. */
struct station {
    struct server *server;
    struct worker *worker;
    struct group *group;       /* of its handlers */
    atomic_uint live;
    struct bell turn;          /* the right to accept has come */
    struct bell keep;          /* the keeper has something to do */
    struct list parked, timed; /* guests; timed: in the order of `until` */
    struct list spoken;        /* guests whose handler is due */
    bool on_the_way;           /* a fiber to serve them, not yet running */
    bool closing;              /* nobody parks here any more */
    unsigned row;              /* accepted in a row, without a wait */
    uint_fast64_t turns;       /* the worker's, when it last accepted */
} __attribute__((aligned(CACHE_LINE)));

enum {
    LATE_MAX = 4096, /* clients that a server takes from the queue once it was told to stop */
};
#define RETRY_DELAY (10 * WEIR_MS)

/* ---- serve.c ---- */
enum { SERVE_SIGNALS = 3 };
/* The signals that tell a server to stop: how many they are. */
int serve_signals(int signals[SERVE_SIGNALS]);
/* The end of a conversation with this result of the handler. */
void serve_settle(struct server *s, weir_conn *c, int result);
/* A whole conversation in the calling task: the handler's last result. */
int serve_through(struct server *s, weir_conn *c, bool late);
/* A client who was in the queue when the server was told to stop is heard once: waits for its
 * first words, because a handler that begins with weir_idle would only learn of the end. */
void serve_listen_late(weir_conn *c);
/* Waits until fewer than `limit` are there, or resets those who come: 0, or why to stop. */
int serve_make_room(struct server *s, unsigned (*count)(const struct server *));
/* One of them has left, and is counted out already. */
void serve_left(struct server *s);
/* A client who waits in the queue of a server that stops, once there is room for it; NULL: none
 * does, or the task was cancelled. */
weir_conn *serve_accept_late(struct server *s, unsigned (*count)(const struct server *));
/* Whether weir_accept failed for lack of something that will be there again; waits a moment. */
bool serve_retries(int error);

/* ---- the models: 0, or a negative errno ---- */
int serve_fibers(struct server *s);
int serve_iterative(struct server *s, int life_fd);
int serve_threads(struct server *s);
int serve_processes(struct server *s);
int serve_prefork(struct server *s);

/* ---- guest.c: connections at a station ---- */
int station_admit(struct station *st, weir_conn *c, bool late);
int station_keeper(void *arg); /* struct station **; a fiber's main function */

/* ---- stop.c: how a plain thread hears that it should stop ---- */
struct post {
    struct op op;
    struct mail mail;
    void (*came)(struct post *); /* not by post_end */
    bool pending;
};
/* `came` is called, once and outside tasks, when poll(2) would report `fd`; perhaps at once. */
void post_begin(struct post *p, int fd, short events, void (*came)(struct post *));
void post_end(struct post *p);

enum { GO_ON, DRAINING, CANCELLED };

struct stopper {
    struct post signal, clock, life;
    struct server *server;
    struct task *task;     /* whose waits it ends */
    int level;             /* GO_ON, ... */
    struct list link;      /* one of all in the process */
    struct mail mail;
    atomic_bool mailed;
    bool life_byte;        /* the parent has said to drain */
    atomic_uint heard;     /* signals, by whoever of them took them */
    sigset_t mask;         /* the thread's own */
    int signal_fd, clock_fd;
};

/* For the calling thread.  `life_fd`, when not -1, is the read end of a pipe: a byte in it or its
 * end means to drain, and its end after that to cancel.  0, or -errno. */
int stopper_open(struct stopper *b, struct server *s, int life_fd);
/* Accepting has ended with `error`: tells the server's tasks, and begins the grace period unless
 * it has begun.  0 when it was asked to end, else `error`. */
int stopper_conclude(struct stopper *b, int error);
/* A child of fork(2) that goes its own way closes its copy of the parent's. */
void stopper_close(struct stopper *b);

#endif
