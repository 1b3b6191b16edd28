/* subject.h -- the calls that take any handle with a socket behind it. */
#ifndef WEIR_SUBJECT_H
#define WEIR_SUBJECT_H

#include "conn.h"
#include "listener.h"

/* A connection or a listener, entered. */
struct subject {
    void *name;
    struct conn *conn;         /* one of these two is NULL */
    struct listener *listener;
    int fd;
    int family;
};

/* 0, or -EBADF, -EINVAL for a handle of another kind. */
static inline int subject_enter(struct subject *s, void *name)
{
    *s = (struct subject){ .name = name };
    enum handle_kind kind = handle_kind(name);
    if (kind == HANDLE_CONN && (s->conn = handle_enter(name, kind))) {
        s->fd = s->conn->fd;
        s->family = s->conn->family;
    } else if (kind == HANDLE_LISTENER && (s->listener = handle_enter(name, kind))) {
        s->fd = s->listener->fd;
        s->family = s->listener->family;
    } else {
        return kind == HANDLE_GROUP || kind == HANDLE_CHAN || kind == HANDLE_OUTBOX ? -EINVAL
                                                                                   : -EBADF;
    }
    return 0;
}

static inline void subject_leave(struct subject *s)
{
    handle_leave(s->name);
}

#endif
