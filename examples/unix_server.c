/* unix_server.c -- a server for programs on the same machine, on a Unix socket.
 *
 * It answers each line in capitals. Traps of the plain-socket version that it avoids: a path longer
 * than sun_path, cut short without a word; "address in use" because of the file that an earlier
 * run left behind, while a server that still runs is not driven out; the file that stays when
 * this one ends.
 *
 *     ./unix_server [PATH]        then:  ./unix_client                                         */
#include <ctype.h>
#include <stdio.h>
#include <weir.h>

static int capitals(weir_conn *c, void *arg)
{
    char line[1024];
    ssize_t n;
    (void)arg;
    while (weir_idle(c) > 0 && (n = weir_getline(c, line, sizeof line)) >= 0) {
        for (ssize_t i = 0; i < n; i++) {
            line[i] = (char)toupper((unsigned char)line[i]);
        }
        if (weir_printf(c, "%s\n", line) < 0) {
            return -1;
        }
    }
    return WEIR_DONE;
}

static int serve(void *arg)
{
    weir_listener *l = weir_listen(arg, &(weir_opts){.unlink_on_close = true});
    if (!l) {
        weir_perror("cannot listen");
        return 1;
    }
    printf("capitals at %s\n", (const char *)arg);
    fflush(stdout);
    return weir_serve(l, capitals, NULL, NULL);
}

int main(int argc, char **argv)
{
    char where[300];
    snprintf(where, sizeof where, "unix:%s", argc > 1 ? argv[1] : "./capitals.sock");
    return weir_run(NULL, serve, where) == 0 ? 0 : 1;
}
