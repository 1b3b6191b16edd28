/* peer.h -- what every C echo server in this folder needs besides its own loop: a listening socket
   on 127.0.0.1 with its port on the first line of stdout, and bytes that wait for room in a
   socket. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_BUFFER_SIZE = 64 * 1024, PEER_FILES_MAX = 65536, PEER_BACKLOG = 4096 };

/* Prints `what` with errno's meaning and ends the program. */
_Noreturn void peer_fail(const char *what);

/* Raises the limit of open files as far as it goes, listens, prints the port. Port 0 means any.
   TCP_NODELAY is set on the listener; Linux hands it down to what is accepted. */
int peer_listen(const char *port, int type_flags);

/* The port of a socket that listens, on the first line of stdout. */
void peer_announce(int listener);
void peer_files_raise(void);

/* Bytes that did not fit into a socket, in the order of the stream. A connection that owes nothing
   owns no memory. */
struct backlog {
    char *bytes;
    size_t len;
    size_t sent;
};

/* Sends at once what fits, keeps the rest. Returns 0, or -errno if the connection is lost. */
int backlog_send(struct backlog *backlog, int fd, const char *bytes, size_t len);

/* Sends more of what is kept. The same answers. */
int backlog_flush(struct backlog *backlog, int fd);
void backlog_drop(struct backlog *backlog);

static inline bool backlog_empty(const struct backlog *backlog)
{
    return backlog->bytes == NULL;
}

#endif
