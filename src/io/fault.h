/* fault.h -- a backend around a backend that makes things go wrong, by rule and by seed.
 *
 * Every misfortune it brings is one the kernel could have brought: a transfer shorter than asked,
 * an answer that comes late, a wait that returns for nothing, an error of the operation's own
 * list.  A failed operation has had no effect, except that a CLOSE has closed.  It carries
 * FAULT_MARK in its scratch word, so that a test tells an error it was dealt from a true one.  */
#ifndef WEIR_FAULT_H
#define WEIR_FAULT_H

#include "backend.h"

#define FAULT_MARK 0xfa017eddu

struct fault_plan {
    uint64_t seed;
    /* Chances, in a million. */
    uint32_t shorten;  /* a transfer on a stream: one byte, all but one, or something between */
    uint32_t delay;    /* the answer of an operation that may wait */
    uint32_t spurious; /* a wait that returns at once */
    uint32_t fail;     /* an operation of `kinds` */
    uint32_t kinds;    /* 1u << enum op_kind, or-ed together; 0: every kind that has errors */
    uint32_t delay_ms; /* the longest delay; 0: 20 */
    uint64_t first;    /* not by chance: the n-th operation of `kinds` fails, counted from 1 */
    bool lasting;      /* ... and every one after it */
    int error;         /* always this errno; 0: drawn from the kind's list */
};

/* How often each happened, so that a test can tell that it did. */
struct fault_counts {
    uint64_t operations; /* of `kinds` */
    uint64_t shortened, delayed, spurious, failed;
};

/* What instances of io_fault opened from now on wrap and do, each with numbers of its own drawn
 * from the seed.  It is not for several threads at once, nor while workers run.               */
void fault_prepare(const struct io_backend *inner, const struct fault_plan *plan);

/* Replaces the plan of a live instance; a plan of all zeros lifts the faults.  What is delayed
 * already stays so until its time.                                                            */
void fault_change(struct io *io, const struct fault_plan *plan);

struct fault_counts fault_counts(const struct io *io);

/* The errno values of a kind's list, ended by 0: plausible answers of the kernel's (socket(2),
 * connect(2), accept(2), recv(2), send(2), close(2)).                                         */
const int *fault_errors(enum op_kind kind);

extern const struct io_backend io_fault;

/* Misfortunes beneath a backend, at the system calls of op_try; each a chance in a million calls.
 * None may be seen above, except that a transfer is short.                                    */
struct fault_calls {
    uint64_t seed;
    uint32_t interrupt; /* EINTR */
    uint32_t abort;     /* an accept meets ECONNABORTED */
    uint32_t retract;   /* readiness was announced for nothing: EAGAIN */
    uint32_t trickle;   /* a stream transfers one byte */
};

/* Begins, or with NULL ends, trouble for all threads of the process; they are not to be in an
 * operation meanwhile.                                                                        */
void fault_beneath(const struct fault_calls *calls);

/* How many calls were troubled since the process began. */
uint64_t fault_beneath_count(void);

#endif
