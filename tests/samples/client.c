/* client.c -- a client with two deadlines, in a plain program without weir_run.
 *
 * usage: client [ENDPOINT [SECONDS]]
 *
 * Connecting has a limit of its own within that of the whole conversation.                      */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir.h>

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "tcp://localhost:7000";
    WEIR_DEADLINE((argc > 2 ? atoi(argv[2]) : 10) * WEIR_SEC);
    weir_conn *c;
    {
        WEIR_DEADLINE(2 * WEIR_SEC);
        c = weir_dial(where, NULL);
    }
    if (!c) {
        weir_perror("client: dial");
        return 1;
    }
    char answer[512];
    if (weir_printf(c, "hello\n") < 0 || weir_getline(c, answer, sizeof answer) < 0) {
        if (errno == ETIME)
            fprintf(stderr, "client: too slow: %s\n", weir_error()->text);
        else
            weir_perror("client: talk");
        weir_abort(c);
        return 1;
    }
    puts(answer);
    return weir_finish(c) == 0 ? 0 : 1;
}
