/* echo.c -- a server that sends back what it receives, to many clients at once.
 *
 * Each connection runs echo() in a fiber of its own, from its first line to its last. Traps of the
 * plain-socket version that it avoids: write() that takes only a part, fork() without waiting for
 * the children, descriptors left open in them, accept() that fails when descriptors run out, a
 * client that vanishes killing the server by SIGPIPE. SIGTERM and Ctrl-C let the conversations
 * end. To have the textbook's process for each client, leave weir_run out, call serve from main,
 * and give weir_serve &(weir_serve_opts){.model = WEIR_PROCESS}.
 *
 *     ./echo [PORT]               then:  ./echo_client, or:  nc 127.0.0.1 3000                 */
#include <stdio.h>
#include <weir.h>

static int echo(weir_conn *c, void *arg)
{
    char buf[4096];
    ssize_t n;
    (void)arg;
    while ((n = weir_read(c, buf, sizeof buf)) > 0) {
        if (weir_write(c, buf, (size_t)n) != n) {
            return -1;
        }
    }
    return n < 0 ? -1 : WEIR_DONE;
}

static int serve(void *arg)
{
    char name[WEIR_ADDRSTR];
    weir_addr address;
    weir_listener *l = weir_listen(arg, NULL);
    if (!l || weir_local(l, &address) < 0) {
        weir_perror("cannot listen");
        return 1;
    }
    printf("echo at %s\n", weir_addr_str(&address, name, sizeof name));
    fflush(stdout);
    return weir_serve(l, echo, NULL, NULL);
}

int main(int argc, char **argv)
{
    char where[64];
    snprintf(where, sizeof where, "tcp://127.0.0.1:%s", argc > 1 ? argv[1] : "3000");
    return weir_run(NULL, serve, where) == 0 ? 0 : 1;
}
