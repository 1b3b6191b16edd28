/* msg.c -- immutable bytes with a count of owners: one copy for any number of receivers. */
#include <string.h>

#include "msg.h"

weir_msg *weir_msg_new(const void *p, size_t n)
{
    weir_msg *m = n <= SIZE_MAX - sizeof *m ? malloc(sizeof *m + n) : NULL;
    if (!m)
        return fail(-ENOMEM, "msg", "new", NULL, 0), NULL;
    atomic_init(&m->refs, 1);
    m->len = n;
    if (n)
        memcpy(m->bytes, p, n);
    return m;
}

weir_msg *weir_msg_ref(weir_msg *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void weir_msg_unref(weir_msg *m)
{
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        free(m);
}
