/* chat.c -- what one says, all others hear; who does not listen is put out.
 *
 * usage: chat [PORT]      the first line of its output is the address
 *
 * A line is stored once, however many it goes to. Nobody waits for a slow reader: its outbox takes
 * 256 KiB, and the message that does not fit any more costs it the connection.                  */
#include <stdio.h>
#include <weir.h>

enum { SEATS = 4096 };

struct room {
    const char *where;
    weir_mutex lock;
    weir_outbox *seats[SEATS];
    int taken;
};

static void enter(struct room *r, weir_outbox *b)
{
    weir_lock(&r->lock);
    if (r->taken < SEATS)
        r->seats[r->taken++] = b;
    weir_unlock(&r->lock);
}

static void leave(struct room *r, weir_outbox *b)
{
    weir_lock(&r->lock);
    for (int i = 0; i < r->taken; i++) {
        if (r->seats[i] == b) {
            r->seats[i] = r->seats[--r->taken];
            break;
        }
    }
    weir_unlock(&r->lock);
}

static void tell_others(struct room *r, weir_outbox *speaker, const char *line, size_t len)
{
    weir_msg *m = weir_msg_new(line, len);
    if (!m)
        return;
    weir_lock(&r->lock);
    for (int i = 0; i < r->taken; i++)
        if (r->seats[i] != speaker)
            weir_outbox_put(r->seats[i], m);
    weir_unlock(&r->lock);
    weir_msg_unref(m);
}

static int member(weir_conn *c, void *arg)
{
    struct room *r = arg;
    weir_outbox *mine = weir_outbox_open(
        c, &(weir_outbox_opts){ .max_bytes = 256 << 10, .overflow = WEIR_DROP_CONN });
    if (!mine)
        return -1;
    enter(r, mine);
    char line[1024];
    ssize_t len;
    while (weir_idle(c) > 0 && (len = weir_getline(c, line, sizeof line - 1)) >= 0) {
        line[len++] = '\n';
        tell_others(r, mine, line, (size_t)len);
    }
    leave(r, mine);
    {
        WEIR_SHIELD(2 * WEIR_SEC);
        weir_outbox_flush(mine);
    }
    weir_close(mine);
    return WEIR_DONE;
}

static int server(void *arg)
{
    struct room *r = arg;
    weir_addr at;
    char text[WEIR_ADDRSTR];
    weir_listener *l = weir_listen(r->where, &(weir_opts){ .write_stall = 20 * WEIR_SEC });
    if (!l || weir_local(l, &at) < 0) {
        weir_perror("chat: listen");
        return 1;
    }
    puts(weir_addr_str(&at, text, sizeof text));
    fflush(stdout);
    return weir_serve(l, member, r, &(weir_serve_opts){ .drain = 5 * WEIR_SEC });
}

int main(int argc, char **argv)
{
    static struct room room;
    char where[64];
    snprintf(where, sizeof where, "tcp://127.0.0.1:%s", argc > 1 ? argv[1] : "7001");
    room.where = where;
    return weir_run(NULL, server, &room);
}
