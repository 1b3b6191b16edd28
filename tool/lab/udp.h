/* udp.h -- what experiments on datagrams share. */
#ifndef LAB_UDP_H
#define LAB_UDP_H

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "lab.h"
#include "sock.h"

/* A datagram socket at 127.0.0.1 on a port of the kernel's choice, that is not connected. */
static inline int udp_bound(struct lab *lab)
{
    struct sockaddr_in own = address("127.0.0.1", 0);
    int fd = udp_socket(lab);
    must(lab, bind(fd, (struct sockaddr *)&own, sizeof own), "bind");
    return fd;
}

static inline void send_to(struct lab *lab, int fd, const struct sockaddr_in *to,
                           const char *words)
{
    must(lab, sendto(fd, words, strlen(words), 0, (const struct sockaddr *)to, sizeof *to),
         "sendto");
}

#endif
