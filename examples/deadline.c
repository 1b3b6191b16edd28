/* deadline.c -- a client that asks one question and does not wait for ever.
 *
 * The deadlines hold for everything in their block: the lookup of the name, every address that is
 * tried, every piece of the answer. Traps of the plain-socket version that it avoids: connect()
 * that waits for minutes; SO_RCVTIMEO that begins anew with each byte, so that a server which
 * drips holds the client for hours; alarm() and its handler; a socket made non-blocking for the
 * sake of connecting and forgotten in that state.
 *
 *     ./deadline [HOST:PORT [SECONDS]]                                                         */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

static weir_conn *connect_to(const char *endpoint)
{
    char where[300];
    WEIR_DEADLINE(2 * WEIR_SEC); /* for connecting alone; the whole has its own */
    snprintf(where, sizeof where, "tcp://%s", endpoint);
    return weir_dial(where, NULL);
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? atof(argv[2]) : 10;
    WEIR_DEADLINE((int64_t)(seconds * 1e9));

    weir_conn *c = connect_to(argc > 1 ? argv[1] : "127.0.0.1:3000");
    if (!c) {
        weir_perror("cannot connect");
        return 1;
    }
    char answer[512];
    if (weir_printf(c, "hello\n") < 0 || weir_getline(c, answer, sizeof answer) < 0) {
        if (errno == ETIME) {
            fprintf(stderr, "no answer within %g s\n", seconds);
        } else {
            weir_perror("no answer");
        }
        weir_abort(c);
        return 1;
    }
    puts(answer);
    return weir_finish(c) == 0 ? 0 : 1;
}
