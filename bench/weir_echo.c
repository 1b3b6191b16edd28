/* weir_echo.c -- the echo server that stands for weir in the comparison, on the public calls.
 *
 * --peek borrows the library's buffer, so an idle connection owns none; --read is the textbook's
 * loop with a buffer on the fiber's stack; --park gives the fiber back between messages.       */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

static int echo_peek(weir_conn *c, void *arg)
{
    (void)arg;
    const void *bytes;
    ssize_t n;
    while ((n = weir_peek(c, &bytes, 1)) > 0) {
        if (weir_write(c, bytes, (size_t)n) != n)
            return -1;
        weir_skip(c, (size_t)n);
    }
    return n < 0 ? -1 : WEIR_DONE;
}

static int echo_read(weir_conn *c, void *arg)
{
    (void)arg;
    char buf[64 << 10];
    ssize_t n;
    while ((n = weir_read(c, buf, sizeof buf)) > 0)
        if (weir_write(c, buf, (size_t)n) != n)
            return -1;
    return n < 0 ? -1 : WEIR_DONE;
}

static int echo_park(weir_conn *c, void *arg)
{
    (void)arg;
    const void *bytes;
    ssize_t n = weir_peek(c, &bytes, 1);
    if (n <= 0)
        return n < 0 ? -1 : WEIR_DONE;
    if (weir_write(c, bytes, (size_t)n) != n)
        return -1;
    weir_skip(c, (size_t)n);
    return WEIR_PARK;
}

struct server {
    const char *port;
    int (*handler)(weir_conn *, void *);
};

static int serve(void *arg)
{
    struct server *s = arg;
    char where[64], text[WEIR_ADDRSTR];
    weir_addr local;
    snprintf(where, sizeof where, "tcp://127.0.0.1:%s", s->port);
    weir_listener *l = weir_listen(where, NULL);
    if (!l || weir_local(l, &local)) {
        weir_perror("weir_echo");
        return 1;
    }
    printf("%s\n", strrchr(weir_addr_str(&local, text, sizeof text), ':') + 1);
    fflush(stdout);
    return weir_serve(l, s->handler, NULL, &(weir_serve_opts){ .max_conns = 1 << 20 });
}

static int usage(void)
{
    fputs("usage: weir_echo [--backend auto|io_uring|epoll|poll|select] [--workers N] "
          "[--peek|--read|--park] PORT\n", stderr);
    return 2;
}

static int find(const char *const *names, int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], word) == 0)
            return i;
    return -1;
}

int main(int argc, char **argv)
{
    static const char *const backends[] = { "auto", "io_uring", "epoll", "poll", "select" };
    static const char *const ways[] = { "--peek", "--read", "--park" };
    static int (*const handlers[])(weir_conn *, void *) = { echo_peek, echo_read, echo_park };
    weir_config config = { .workers = 1 };
    struct server server = { .handler = echo_peek };
    for (int i = 1; i < argc; i++) {
        int way = find(ways, 3, argv[i]);
        if (way >= 0) {
            server.handler = handlers[way];
        } else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc) {
            int backend = find(backends, 5, argv[++i]);
            if (backend < 0)
                return usage();
            config.backend = (weir_backend)backend;
        } else if (strcmp(argv[i], "--workers") == 0 && i + 1 < argc) {
            config.workers = atoi(argv[++i]);
        } else if (!server.port) {
            server.port = argv[i];
        } else {
            return usage();
        }
    }
    return server.port ? weir_run(&config, serve, &server) : usage();
}
