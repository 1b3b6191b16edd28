/* group.h -- what a group is made of, for the files that implement groups. */
#ifndef WEIR_GROUP_H
#define WEIR_GROUP_H

#include "../base/bias.h"
#include "handle.h"

struct group {
    struct bias lock;     /* its home worker is the owner, as long as nobody else comes */
    void *name;           /* its handle, under the lock; NULL: the root, or not in use */
    unsigned count;       /* members, and starts under way */
    unsigned stops;       /* STOP_* that reached this group */
    int result;           /* first non-zero result of a member */
    weir_group_opts opts;
    struct list members;  /* struct task, by member */
    struct list children; /* struct group, by sibling */
    struct list joiners, starters; /* struct waiter */
    struct group *parent;
    struct list sibling;  /* in parent->children, under the parent's lock */
    struct list opened;   /* in the opener's task->opened, */
    void *opened_as;      /* ... under this name */
    struct worker *home;  /* where tasks that have no worker of their own start fibers */
};

extern const struct handle_type group_type;
/* Puts it on the calling task's list of groups to close when it ends. */
void group_opened(struct group *g, struct task *t, void *name);

#endif
