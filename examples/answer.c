/* answer.c -- a server that answers "server-" and what it was sent.
 *
 * Traps of the plain-socket version that it avoids: sending the answer in two pieces, of which a
 * client that reads once sees only the first, so both leave in one weir_writev; building it in a
 * string, which ends at the first zero byte; and a client that opens a connection and forgets it,
 * which here ends after a minute. One trap is left on purpose, for it lies in the protocol: what
 * one read brings is taken for one message. That is true of a person who types, and of nothing
 * else; ends of lines (weir_getline) or lengths (weir_getframe) tell messages apart.
 *
 *     ./answer [PORT]             then:  nc 127.0.0.1 8080                                     */
#include <stdio.h>
#include <weir.h>

static int answer(weir_conn *c, void *arg)
{
    static char prefix[] = "server-";
    char buf[4096];
    ssize_t n;
    (void)arg;
    while ((n = weir_read(c, buf, sizeof buf)) > 0) {
        struct iovec parts[] = {{prefix, sizeof prefix - 1}, {buf, (size_t)n}};
        if (weir_writev(c, parts, 2) < 0) {
            return -1;
        }
    }
    return n < 0 ? -1 : WEIR_DONE;
}

static int serve(void *arg)
{
    char name[WEIR_ADDRSTR];
    weir_addr address;
    weir_listener *l = weir_listen(arg, &(weir_opts){.read_stall = 60 * WEIR_SEC});
    if (!l || weir_local(l, &address) < 0) {
        weir_perror("cannot listen");
        return 1;
    }
    printf("answering at %s\n", weir_addr_str(&address, name, sizeof name));
    fflush(stdout);
    return weir_serve(l, answer, NULL, NULL);
}

int main(int argc, char **argv)
{
    char where[64];
    snprintf(where, sizeof where, "tcp://127.0.0.1:%s", argc > 1 ? argv[1] : "8080");
    return weir_run(NULL, serve, where) == 0 ? 0 : 1;
}
