/* echo2.c -- an echo server in the library's form: one handler, several ways to run it.
 *
 * usage: echo2 [PORT [fiber|park|fork]]      the first line of its output is the address
 *
 * With "fork" there is no runtime: each client has a process, which simply blocks. With "park" an
 * idle client costs no stack, because the handler returns between two messages.                 */
#include <stdio.h>
#include <string.h>
#include <weir.h>

struct choice {
    char where[64];
    const char *way;
};

static int echo(weir_conn *c, void *arg)
{
    (void)arg;
    char bytes[4096];
    ssize_t len;
    while ((len = weir_read(c, bytes, sizeof bytes)) > 0)
        if (weir_write(c, bytes, (size_t)len) != len)
            return -1;
    return len < 0 ? -1 : WEIR_DONE;
}

static int echo_once(weir_conn *c, void *arg)
{
    (void)arg;
    char bytes[4096];
    ssize_t len = weir_read(c, bytes, sizeof bytes);
    if (len <= 0)
        return len < 0 ? -1 : WEIR_DONE;
    return weir_write(c, bytes, (size_t)len) == len ? WEIR_PARK : -1;
}

static int server(void *arg)
{
    const struct choice *choice = arg;
    bool forks = strcmp(choice->way, "fork") == 0, parks = strcmp(choice->way, "park") == 0;
    weir_addr at;
    char text[WEIR_ADDRSTR];
    weir_listener *l = weir_listen(choice->where, NULL);
    if (!l || weir_local(l, &at) < 0) {
        weir_perror("echo2: listen");
        return 1;
    }
    puts(weir_addr_str(&at, text, sizeof text));
    fflush(stdout);
    return weir_serve(l, parks ? echo_once : echo, NULL,
                      &(weir_serve_opts){ .model = forks ? WEIR_PROCESS : WEIR_FIBER,
                                          .max_conns = 100000,
                                          .drain = 10 * WEIR_SEC });
}

int main(int argc, char **argv)
{
    struct choice choice = { .way = argc > 2 ? argv[2] : "fiber" };
    snprintf(choice.where, sizeof choice.where, "tcp://127.0.0.1:%s",
             argc > 1 ? argv[1] : "7000");
    if (strcmp(choice.way, "fork") == 0)
        return server(&choice);
    return weir_run(NULL, server, &choice);
}
