/* unix_client.c -- asks unix_server for its words in capitals.
 *
 * Nothing in it but the endpoint tells that the socket is a Unix one. Trap of the plain-socket
 * version that it avoids: connect() that fails with EAGAIN because many clients come at once, which
 * happens on Unix sockets alone; weir_dial tries again within its deadline.
 *
 *     ./unix_client [PATH [WORD...]]                                                           */
#include <stdio.h>
#include <weir.h>

static int ask(weir_conn *c, const char *word)
{
    char answer[1024];
    if (weir_printf(c, "%s\n", word) < 0 || weir_getline(c, answer, sizeof answer) < 0) {
        weir_perror("no answer");
        return -1;
    }
    puts(answer);
    return 0;
}

int main(int argc, char **argv)
{
    char where[300];
    snprintf(where, sizeof where, "unix:%s", argc > 1 ? argv[1] : "./capitals.sock");
    WEIR_DEADLINE(10 * WEIR_SEC);

    weir_conn *c = weir_dial(where, NULL);
    if (!c) {
        weir_perror("cannot connect");
        return 1;
    }
    int result = argc > 2 ? 0 : ask(c, "hello");
    for (int i = 2; i < argc && result == 0; i++) {
        result = ask(c, argv[i]);
    }
    return weir_finish(c) == 0 && result == 0 ? 0 : 1;
}
