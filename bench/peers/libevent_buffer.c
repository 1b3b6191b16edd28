/* libevent_buffer.c -- an echo server on libevent's buffered events: what has been read moves from
   the input to the output buffer without a copy, and libevent sends it. */
#include "peer.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

static void on_read(struct bufferevent *conn, void *context)
{
    (void)context;
    evbuffer_add_buffer(bufferevent_get_output(conn), bufferevent_get_input(conn));
}

static void on_drained(struct bufferevent *conn, void *context)
{
    (void)context;
    bufferevent_free(conn);
}

static void on_event(struct bufferevent *conn, short what, void *context)
{
    bool owed = evbuffer_get_length(bufferevent_get_output(conn)) > 0;

    if ((what & BEV_EVENT_EOF) && owed)
        bufferevent_setcb(conn, NULL, on_drained, on_event, context);
    else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        bufferevent_free(conn);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
                          struct sockaddr *address, int size, void *context)
{
    struct event_base *base = evconnlistener_get_base(listener);
    struct bufferevent *conn = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    int one = 1;

    (void)address;
    (void)size;
    (void)context;
    if (!conn)
        peer_fail("bufferevent_socket_new");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    bufferevent_setcb(conn, on_read, NULL, on_event, NULL);
    bufferevent_enable(conn, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct event_base *base = event_base_new();
    struct evconnlistener *listener;

    peer_files_raise();
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
    if (!base)
        peer_fail("event_base_new");
    listener = evconnlistener_new_bind(base, on_connection, NULL,
                                       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, PEER_BACKLOG,
                                       (struct sockaddr *)&address, sizeof address);
    if (!listener)
        peer_fail("evconnlistener_new_bind");
    peer_announce(evconnlistener_get_fd(listener));
    return event_base_dispatch(base);
}
