/* oob_receive.c -- shows where in the stream of bytes an urgent one stands.
 *
 * Ordinary bytes are printed as they are, urgent ones in angle brackets; oob_send makes it print
 * 123ab<c>123. TCP has one urgent byte at a time: of three sent with MSG_OOB, two are ordinary.
 * Traps of the plain-socket version that it avoids: asking for the urgent byte before the ordinary
 * ones in front of it are read, and so losing its place; waiting for ordinary bytes alone, and
 * passing over an urgent one that came by itself; a signal handler for SIGURG.
 *
 *     ./oob_receive [PORT]        then:  ./oob_send                                            */
#include <stdio.h>
#include <weir.h>

static int print_urgent(weir_conn *c)
{
    char byte;
    if (weir_recv(c, &byte, 1, MSG_OOB) != 1) {
        return -1;
    }
    printf("<%c>", byte);
    return 1;
}

static int print_ordinary(weir_conn *c)
{
    char buf[4096];
    ssize_t n = weir_read(c, buf, sizeof buf); /* stops in front of an urgent byte */
    if (n > 0) {
        fwrite(buf, 1, (size_t)n, stdout);
    }
    return n > 0 ? 1 : (int)n;
}

static int print_all(weir_conn *c)
{
    int more = 1;
    while (more > 0) {
        weir_pollent ready = {.h = c, .events = POLLIN | POLLPRI};
        if (weir_poll(&ready, 1) < 0) {
            return -1;
        }
        bool urgent = (ready.revents & POLLPRI) && weir_atmark(c) == 1;
        more = urgent ? print_urgent(c) : print_ordinary(c);
    }
    puts("");
    fflush(stdout);
    return more;
}

int main(int argc, char **argv)
{
    char where[64], name[WEIR_ADDRSTR];
    weir_addr address;
    snprintf(where, sizeof where, "tcp://127.0.0.1:%s", argc > 1 ? argv[1] : "5000");

    weir_listener *l = weir_listen(where, NULL);
    if (!l || weir_local(l, &address) < 0) {
        weir_perror("cannot listen");
        return 1;
    }
    printf("waiting for one client at %s\n", weir_addr_str(&address, name, sizeof name));
    fflush(stdout);
    weir_conn *c = weir_accept(l, NULL);
    if (!c || print_all(c) < 0) {
        weir_perror("cannot receive");
        return 1;
    }
    weir_close(c);
    return weir_close(l) == 0 ? 0 : 1;
}
