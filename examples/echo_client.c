/* echo_client.c -- sends the lines you type, and prints the lines that come back.
 *
 * Traps of the plain-socket version that it avoids: taking one recv() for one line, when half of
 * it or two may have come; printing a buffer that nobody terminated; being killed by SIGPIPE when
 * the server is gone; and leaving without knowing whether the server has read everything.
 *
 *     ./echo_client [HOST:PORT]                                                                */
#include <stdio.h>
#include <string.h>
#include <weir.h>

static int ask(weir_conn *c, const char *line)
{
    char answer[1100];
    if (weir_printf(c, "%s\n", line) < 0 || weir_getline(c, answer, sizeof answer) < 0) {
        return -1;
    }
    puts(answer);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    char where[300], line[1024];
    snprintf(where, sizeof where, "tcp://%s", argc > 1 ? argv[1] : "127.0.0.1:3000");

    weir_conn *c = weir_dial(where, &(weir_opts){.read_stall = 30 * WEIR_SEC});
    if (!c) {
        weir_perror("cannot connect");
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (ask(c, line) < 0) {
            weir_perror("no answer");
            weir_abort(c);
            return 1;
        }
    }
    return weir_finish(c) == 0 ? 0 : 1;
}
