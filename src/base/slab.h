/* slab.h -- objects of one size, many thousand of them, without a byte between them.
 *
 * malloc keeps a header for each object, and to align one on a cache line it leaves holes: about
 * a hundred bytes for each connection.  Here objects lie side by side in blocks of 256 KiB that
 * are aligned to their size, so that an object's address tells its block.  A block whose objects
 * are all free goes back to malloc, except the last.                                          */
#ifndef WEIR_SLAB_H
#define WEIR_SLAB_H

#include "base.h"
#include "list.h"
#include "spin.h"

struct slab {
    struct spin lock;
    struct list partial; /* blocks with a free object */
    uint32_t size;       /* of an object; a multiple of 8, at most SLAB_OBJECT_MAX */
};

enum { SLAB_OBJECT_MAX = 1024 };

#define SLAB_INIT(slab, object_size) { .partial = LIST_INIT((slab).partial), .size = (object_size) }

/* Any thread.  An object whose content is whatever its last user left, or NULL.  When the size is a
 * multiple of the cache line, it begins on one. */
void *slab_take(struct slab *s);
/* Any thread.  NULL is allowed. */
void slab_give(struct slab *s, void *object);

#endif
