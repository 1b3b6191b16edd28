/* lab.h -- what an experiment is written with.
 *
 * An experiment is a static function that sets up, acts and observes, in that order, and a static
 * const struct that says what it is about. The function runs in a process of its own, as a rule in
 * a network namespace of its own, so it may do as it likes; it closes what it opened, and the
 * runner checks that. sock.h has sockets to begin with; tcpinfo.h, diag.h and their like are the
 * instruments.
 */
#ifndef LAB_LAB_H
#define LAB_LAB_H

#include <stdbool.h>
#include <stdint.h>

enum verdict {
    SKIPPED,      /* it could not be tried here */
    FAILED,       /* an expectation of the lab did not hold */
    CONFIRMED,    /* the claim is right */
    REFINED,      /* right, under a condition that the claim leaves out */
    CONTRADICTED, /* wrong */
    CHANGED,      /* right once; `since` is the kernel that changed it */
    ADDED,        /* the notes say nothing about it */
};

/* What an experiment needs beyond sockets on the loopback; missing, it is skipped. */
enum need {
    NEEDS_NET = 1,     /* a network namespace of its own: sysctls, counters, every port */
    NEEDS_CAPTURE = 2, /* to see packets */
    NEEDS_FILTER = 4,  /* to drop packets with a socket filter */
    NEEDS_IPV6 = 8,
};

struct lab;

struct experiment {
    const char *id;          /* "q-1": its group, and its number there */
    const char *name;        /* "backlog": a word or words-with-hyphens to call it by */
    const char *question;    /* that it answers */
    const char *source;      /* where the notes claim it: "S3:77", or several: "S0:292 S4:50" */
    const char *claims;      /* the headline claims it covers: "3 19"; NULL for none */
    const char *original;    /* the claim word for word as the notes have it, short; or NULL */
    const char *claim;       /* the claim in English; NULL for what the notes leave out */
    const char *expectation; /* what the lab expects to see instead, or too */
    const char *reference;   /* manual page, RFC, kernel function or commit */
    const char *since;       /* the kernel version that changed it; for CHANGED only */
    const char *why;         /* one paragraph */
    const char *next;        /* what to try now */
    unsigned needs;          /* enum need */
    bool is_slow;            /* takes more than two seconds: runs with --slow, or when named */
    int seconds_max;         /* when it is ended as hanging; 0: 10 */
    enum verdict (*run)(struct lab *lab);
};

/* ---- observing (observe.c) -------------------------------------------------------------------
 * Each call is a row of the output: what was looked at, what was seen, and what the lab expects.
 * One that does not hold makes the verdict FAILED, whatever the function returns. */

void observe_number(struct lab *lab, const char *what, long long got, long long expected);

/* From low to high, both included; INFINITY for no bound. */
void observe_range(struct lab *lab, const char *what, double got, double low, double high,
                   const char *unit);

void observe_bool(struct lab *lab, const char *what, bool got, bool expected);
void observe_text(struct lab *lab, const char *what, const char *got, const char *expected);

/* How a call ended: `result` is what it returned, errno is still its own; `expected` is an errno,
 * or 0 for success. Shown by its name, as EINVAL. */
void observe_errno(struct lab *lab, const char *what, long long result, int expected);

/* Without an expectation, for what is worth seeing but differs from machine to machine. */
void note_number(struct lab *lab, const char *what, double value, const char *unit);
__attribute__((format(printf, 3, 4))) void note(struct lab *lab, const char *what,
                                                const char *format, ...);

/* The last line of an experiment: return conclude(lab, REFINED, "why, in one sentence"). */
__attribute__((format(printf, 3, 4))) enum verdict conclude(struct lab *lab, enum verdict verdict,
                                                            const char *format, ...);
__attribute__((format(printf, 3, 4))) enum verdict skip(struct lab *lab, const char *remedy,
                                                        const char *format, ...);

/* A step that the experiment cannot do without: gives `result` back, or ends the experiment's
 * process as FAILED with `what` and errno; as SKIPPED where too few descriptors are allowed. */
int must(struct lab *lab, long long result, const char *what);

/* printf into one of sixteen buffers that take turns: for the names of rows made in a loop. */
__attribute__((format(printf, 1, 2))) const char *text(const char *format, ...);

/* ---- pictures (observe.c records them, picture.c draws them) ----------------------------------
 * A picture is data: a kind, and items. It is drawn in Unicode or ASCII as wide as the screen. */

enum picture_kind {
    BARS,     /* label, x = value, y = what a full bar is (0: the longest of the picture) */
    TIMELINE, /* x = milliseconds, label = what happened */
    LADDER,   /* x = milliseconds, y = 0 for an arrow to the right and 1 to the left, label =
                 the segment, left and right = the state of each end then */
    BOXES,    /* label = the bytes in a box, y = row: 0 what was sent, 1 what was received */
    STRIP,    /* label = a piece of the stream, y = 1 for an urgent byte */
    PLOT,     /* label = the curve, x and y */
    STATES,   /* label = the TCP state that was seen, in order; left = whose */
    TABLE,    /* label = a cell, row by row; the first row is the heading; y = 1 ends a row */
    TANKS,    /* x and y = how much two vessels hold, label = at which moment */
};

struct item {
    double x, y;
    char label[48];
    char left[16], right[16];
};

enum {
    PICTURE_DETAIL = 1, /* only with --explain */
    PICTURE_LOG = 2,    /* PLOT: both axes logarithmic */
};

/* Begins a picture. `left` and `right` name the two ends of a LADDER, the axes of a PLOT (x, y),
 * the rows of BOXES, the vessels of TANKS; `left` the unit of BARS. NULL where there is nothing to
 * name. */
void picture(struct lab *lab, enum picture_kind kind, unsigned flags, const char *title,
             const char *left, const char *right);
void picture_item(struct lab *lab, struct item item);

void bar(struct lab *lab, const char *label, double value, double full);
void box(struct lab *lab, int row, const char *bytes);
void moment(struct lab *lab, double milliseconds, const char *what);
void point(struct lab *lab, const char *curve, double x, double y);
void cell(struct lab *lab, const char *words, bool ends_row);

/* ---- the world (world.c) --------------------------------------------------------------------- */

/* The running kernel is at least this one. */
bool kernel_since(int major, int minor);

/* A whole number from /proc/sys/`name` ("net/ipv4/tcp_syncookies"), or -1. Writing needs
 * NEEDS_NET: then the namespace is the experiment's alone. */
long long sysctl_number(const char *name);
void sysctl_set(struct lab *lab, const char *name, const char *value);

/* A path in a directory that is removed afterwards. */
const char *lab_path(struct lab *lab, const char *name);

/* A process that runs `act` and ends with what it returns; it does not outlive the experiment. */
int spawn(struct lab *lab, int (*act)(void *arg), void *arg);

/* Waits for a child; its exit status, or 128 plus the signal that ended it. */
int reap(struct lab *lab, int pid);

int64_t clock_ns(void);
double ms_since(int64_t begin_ns);
void pause_ms(double milliseconds);

/* Waits until the condition holds; whether it did within the time. For states that the kernel
 * announces to nobody: where there is an event, wait for that. */
#define WAIT_UNTIL(milliseconds, condition)                                  \
    ({                                                                       \
        int64_t until_ = clock_ns() + (int64_t)((milliseconds) * 1000000.0); \
        bool holds_;                                                         \
        while (!(holds_ = (condition)) && clock_ns() < until_)               \
            pause_ms(0.5);                                                   \
        holds_;                                                              \
    })

#endif
