/* echo.c -- an echo server in the textbook's form: accept in a loop, a fiber for each client.
 *
 * usage: echo [PORT]      the first line of its output is the address                           */
#include <stdio.h>
#include <weir.h>

static int talk(void *arg)
{
    weir_conn *c = *(weir_conn **)arg;
    char bytes[4096];
    ssize_t len;
    while ((len = weir_read(c, bytes, sizeof bytes)) > 0)
        if (weir_write(c, bytes, (size_t)len) != len)
            break;
    weir_close(c);
    return 0;
}

static int server(void *where)
{
    weir_addr at;
    char text[WEIR_ADDRSTR];
    weir_listener *l = weir_listen(where, NULL);
    if (!l || weir_local(l, &at) < 0) {
        weir_perror("echo: listen");
        return 1;
    }
    puts(weir_addr_str(&at, text, sizeof text));
    fflush(stdout);
    weir_conn *c;
    while ((c = weir_accept(l, NULL)))
        if (weir_go_copy(NULL, talk, &c, sizeof c, NULL) < 0)
            weir_abort(c);
    return weir_close(l);
}

int main(int argc, char **argv)
{
    char where[64];
    snprintf(where, sizeof where, "tcp://127.0.0.1:%s", argc > 1 ? argv[1] : "7000");
    return weir_run(NULL, server, where);
}
