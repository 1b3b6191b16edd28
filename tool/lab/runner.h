/* runner.h -- running experiments: their world, their limits, their list. */
#ifndef LAB_RUNNER_H
#define LAB_RUNNER_H

#include "record.h"

/* Whether experiments get a user and network namespace of their own here. */
struct world {
    bool is_private;
    char reason[160], remedy[160]; /* if not: why, and what to do about it */
};

/* Tries it out in a process of its own. */
void world_probe(struct world *world);

/* In the experiment's process: enters its namespaces, brings up the loopback, or says why not. */
void world_enter(struct world *world);

/* Whether what `needs` names can be had in the present process; if not, skips. */
bool world_has(struct lab *lab, const struct world *world, unsigned needs);

/* Runs it in a process of its own and records everything in *lab, which lies in shared memory. */
void experiment_run(const struct experiment *experiment, const struct world *world,
                    struct lab *lab);

/* Shared memory for a record; NULL without memory. */
struct lab *record_new(void);

struct group {
    const char *name, *title;
};

extern const struct group groups[]; /* the last has no name */

/* Every experiment, in the order of the groups: the index-th of them; NULL behind the last. */
const struct experiment *experiment_at(int index);

/* The group that an experiment belongs to: what its id says before the hyphen. */
bool is_in_group(const struct experiment *experiment, const char *group);

#endif
