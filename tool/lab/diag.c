/* diag.c -- asking sock_diag for the TCP sockets of this network namespace. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "diag.h"

enum { ALL_STATES = 0xfff };

typedef void visitor(const struct inet_diag_msg *message, void *arg);

static int ask(int fd)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } question = {
        .header = { .nlmsg_len = sizeof question,
                    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
        .request = { .sdiag_family = AF_INET,
                     .sdiag_protocol = IPPROTO_TCP,
                     .idiag_states = ALL_STATES },
    };
    return send(fd, &question, sizeof question, 0) < 0 ? -1 : 0;
}

/* One datagram holds several messages. 1: that was the last of them; -1: errno. */
static int visit_messages(const struct nlmsghdr *at, ssize_t len, visitor *visit, void *arg)
{
    for (; NLMSG_OK(at, len); at = NLMSG_NEXT(at, len)) {
        if (at->nlmsg_type == NLMSG_DONE)
            return 1;
        if (at->nlmsg_type == NLMSG_ERROR) {
            errno = -((const struct nlmsgerr *)NLMSG_DATA(at))->error;
            return -1;
        }
        visit(NLMSG_DATA(at), arg);
    }
    return 0;
}

static int visit_all(visitor *visit, void *arg)
{
    _Alignas(struct nlmsghdr) static char buf[32768];
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    int done = fd < 0 ? -1 : ask(fd);
    while (done == 0) {
        ssize_t len = recv(fd, buf, sizeof buf, 0);
        done = len < 0 ? -1 : visit_messages((struct nlmsghdr *)buf, len, visit, arg);
    }
    if (fd >= 0) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return done < 0 ? -1 : 0;
}

struct list {
    uint16_t port;
    struct diag_socket *out;
    int count, max;
};

static void keep(const struct inet_diag_msg *m, void *arg)
{
    struct list *list = arg;
    uint16_t port = ntohs(m->id.idiag_sport);
    if (list->port && list->port != port)
        return;
    if (list->count++ >= list->max)
        return;
    list->out[list->count - 1] = (struct diag_socket){
        .state = m->idiag_state,
        .local_port = port,
        .remote_port = ntohs(m->id.idiag_dport),
        .local_host = ntohl(m->id.idiag_src[0]),
        .remote_host = ntohl(m->id.idiag_dst[0]),
        .receive_queue = m->idiag_rqueue,
        .send_queue = m->idiag_wqueue,
        .timer = m->idiag_timer,
        .timer_ms = m->idiag_expires,
        .retransmits = m->idiag_retrans,
        .inode = m->idiag_inode,
    };
}

int diag_list(uint16_t port, struct diag_socket *out, int max)
{
    struct list list = { .port = port, .out = out, .max = max };
    return visit_all(keep, &list) ? -1 : list.count;
}

struct tally {
    uint16_t port;
    int state, count;
};

static void tally(const struct inet_diag_msg *m, void *arg)
{
    struct tally *t = arg;
    t->count += ntohs(m->id.idiag_sport) == t->port && m->idiag_state == t->state;
}

int diag_count(uint16_t port, int state)
{
    struct tally t = { .port = port, .state = state };
    return visit_all(tally, &t) ? -1 : t.count;
}

struct wanted {
    uint16_t local_port, remote_port;
    struct diag_socket *out;
    bool found;
};

static void compare(const struct inet_diag_msg *m, void *arg)
{
    struct wanted *w = arg;
    struct list list = { .out = w->out, .max = 1 };
    if (ntohs(m->id.idiag_sport) != w->local_port || ntohs(m->id.idiag_dport) != w->remote_port)
        return;
    keep(m, &list);
    w->found = true;
}

bool diag_find(uint16_t local_port, uint16_t remote_port, struct diag_socket *out)
{
    struct wanted w = { .local_port = local_port, .remote_port = remote_port, .out = out };
    return visit_all(compare, &w) == 0 && w.found;
}

int diag_state(uint16_t local_port, uint16_t remote_port)
{
    struct diag_socket found;
    return diag_find(local_port, remote_port, &found) ? found.state : 0;
}
