/* pair.c -- two connections that are each other's peer, within the process. */
#include "conn.h"

int weir_pair(weir_conn *c[2])
{
    int fd[2], error = sock_pair(fd);
    if (error)
        return fail(error, "pair", "pair", NULL, 0);
    error = conn_new(&c[0], fd[0], AF_UNIX, NULL);
    if (!error) {
        error = conn_new(&c[1], fd[1], AF_UNIX, NULL);
        if (!error)
            return 0;
        handle_close(c[0]);
    } else {
        sock_close(fd[0]);
    }
    sock_close(fd[1]);
    return fail(error, "pair", "open", NULL, 0);
}
