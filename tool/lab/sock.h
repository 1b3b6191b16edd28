/* sock.h -- the beginnings that experiments share: sockets on the loopback, connected or not.
 *
 * They are plain system calls with the checks an experiment would repeat. What an experiment is
 * about it does itself. All end the experiment as FAILED when they fail.                      */
#ifndef LAB_SOCK_H
#define LAB_SOCK_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct lab;
struct sockaddr_un;

/* 127.0.0.1 and the like, and a port, as a socket address. */
struct sockaddr_in address(const char *host, uint16_t port);

/* What getsockname and getpeername say. */
struct sockaddr_in local_address(struct lab *lab, int fd);
struct sockaddr_in peer_address(struct lab *lab, int fd);
uint16_t local_port(struct lab *lab, int fd);

/* bind(2) and connect(2) to such an address; what they return, and errno. */
int bind_host(int fd, const char *host, uint16_t port);
int connect_host(int fd, const char *host, uint16_t port);

int tcp_socket(struct lab *lab);
int udp_socket(struct lab *lab);

/* A socket that listens at 127.0.0.1 on a port of the kernel's choice. */
int tcp_listen(struct lab *lab, int backlog);

/* A stream socket of AF_UNIX that listens in the experiment's directory; *at is where. */
int unix_listen(struct lab *lab, int backlog, struct sockaddr_un *at);

/* A new socket and what connecting it to `to` returned, errno included: *fd, then the result. */
int tcp_connect(struct lab *lab, struct sockaddr_in to, int *fd);

/* A new non-blocking socket that has begun to connect to where `listener` listens. */
int tcp_connect_begin(struct lab *lab, int listener);

/* Both ends of an established connection. */
struct tcp_pair {
    int client, server;
};
struct tcp_pair tcp_pair(struct lab *lab);

/* The same with an SO_RCVBUF of this size at the server; 0: the kernel's own. */
struct tcp_pair tcp_pair_receiving(struct lab *lab, int size);

/* Two datagram sockets at 127.0.0.1, connected to each other. */
struct udp_pair {
    int a, b;
};
struct udp_pair udp_pair(struct lab *lab);

void set_option(struct lab *lab, int fd, int level, int name, int value);
int get_option(struct lab *lab, int fd, int level, int name);
void set_nonblocking(struct lab *lab, int fd);

void send_text(struct lab *lab, int fd, const char *words);

/* What is there to be received now or comes within a second, as text; "" at the end of the
 * stream. Its length is the number of bytes that one recv gave. */
const char *recv_text(struct lab *lab, int fd, char *buf, size_t size);

/* Waits for POLLIN and the like; the events that poll(2) reported, 0 for none in time. */
int wait_events(int fd, int events, int milliseconds);

/* The events of poll(2) by name: "IN|OUT|HUP"; "none" for 0. */
const char *poll_words(int events);

/* A port of 127.0.0.1 at which nobody listens. */
uint16_t unused_port(struct lab *lab);

/* Closes a TCP socket so that its peer is sent a reset: SO_LINGER with no time. */
void reset_peer(struct lab *lab, int fd);

/* Sends pieces of this size, without waiting, until no more fits: how many bytes went in. */
long long fill_buffers(struct lab *lab, int fd, size_t piece);

/* The same, until no acknowledgement is on its way that would make room again: this takes as long
 * as the peer may delay one. */
long long fill_for_good(struct lab *lab, int fd);

/* Closes every descriptor that is named; those below 0 are passed over. */
#define CLOSE(...) close_all((const int[]){ __VA_ARGS__ }, \
                             (int)(sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int)))
void close_all(const int *fds, int count);

#endif
