/* proxy.c -- passes bytes on, and the end of each direction for itself.
 *
 * usage: proxy [PORT [ENDPOINT]]      the first line of its output is the address
 *
 * Two fibers in a group, one for each direction. When one fails the group cancels the other; when
 * one comes to its end, it half-closes and the other goes on.                                   */
#include <stdio.h>
#include <weir.h>

struct leg {
    weir_conn *from, *to;
};

struct plan {
    char where[64];
    const char *upstream;
};

static int pump(void *arg)
{
    const struct leg *leg = arg;
    char bytes[16 << 10];
    ssize_t len;
    while ((len = weir_read(leg->from, bytes, sizeof bytes)) > 0)
        if (weir_write(leg->to, bytes, (size_t)len) != len)
            return -1;
    if (len < 0)
        return -1;
    return weir_shutdown(leg->to, SHUT_WR);
}

static int proxy(weir_conn *client, void *arg)
{
    const struct plan *plan = arg;
    weir_conn *server;
    {
        WEIR_DEADLINE(3 * WEIR_SEC);
        server = weir_dial(plan->upstream, NULL);
    }
    if (!server) {
        weir_abort(client);
        return -1;
    }
    weir_group *legs = weir_group_open(&(weir_group_opts){ .fail_fast = true });
    weir_go_copy(legs, pump, &(struct leg){ client, server }, sizeof(struct leg), NULL);
    weir_go_copy(legs, pump, &(struct leg){ server, client }, sizeof(struct leg), NULL);
    int failed = weir_group_wait(legs);
    weir_close(legs);
    if (failed) {
        weir_abort(server);
        return -1;
    }
    weir_close(server);
    return WEIR_DONE;
}

static int serve(void *arg)
{
    struct plan *plan = arg;
    weir_addr at;
    char text[WEIR_ADDRSTR];
    weir_listener *l = weir_listen(plan->where, &(weir_opts){ .read_stall = 300 * WEIR_SEC,
                                                              .write_stall = 60 * WEIR_SEC });
    if (!l || weir_local(l, &at) < 0) {
        weir_perror("proxy: listen");
        return 1;
    }
    puts(weir_addr_str(&at, text, sizeof text));
    fflush(stdout);
    return weir_serve(l, proxy, plan, &(weir_serve_opts){ .drain = 30 * WEIR_SEC });
}

int main(int argc, char **argv)
{
    struct plan plan = { .upstream = argc > 2 ? argv[2] : "tcp://localhost:7000" };
    snprintf(plan.where, sizeof plan.where, "tcp://127.0.0.1:%s", argc > 1 ? argv[1] : "7003");
    return weir_run(NULL, serve, &plan);
}
