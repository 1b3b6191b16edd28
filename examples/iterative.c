/* iterative.c -- a server that prints what its clients send, one client after the other.
 *
 * This is the textbook's first server: listen, accept, read until the client closes, close. It
 * needs no runtime; in a plain program the calls simply block. Traps of the plain-socket version
 * that it avoids: a message that comes in several pieces is read to its end instead of being cut
 * at the first; bytes are printed by their count, so no terminator is written behind a full
 * buffer; and since everybody waits while one client is served, one who falls silent is given up
 * after ten seconds instead of blocking all others for ever.
 *
 *     ./iterative [PORT]          then:  echo hello | nc -N 127.0.0.1 6666                     */
#include <stdio.h>
#include <weir.h>

static void print_message(weir_conn *c, const weir_addr *peer)
{
    char name[WEIR_ADDRSTR], buf[4096];
    ssize_t n;
    printf("message from %s:\n", weir_addr_str(peer, name, sizeof name));
    while ((n = weir_read(c, buf, sizeof buf)) > 0) {
        fwrite(buf, 1, (size_t)n, stdout);
    }
    puts("");
    if (n < 0) {
        weir_perror("the message is not complete");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char where[64], name[WEIR_ADDRSTR];
    weir_addr address;
    snprintf(where, sizeof where, "tcp://127.0.0.1:%s", argc > 1 ? argv[1] : "6666");

    weir_listener *l = weir_listen(where, &(weir_opts){.read_stall = 10 * WEIR_SEC});
    if (!l || weir_local(l, &address) < 0) {
        weir_perror("cannot listen");
        return 1;
    }
    printf("waiting for clients at %s\n", weir_addr_str(&address, name, sizeof name));
    fflush(stdout);

    weir_conn *c;
    while ((c = weir_accept(l, &address)) != NULL) {
        print_message(c, &address);
        weir_close(c);
    }
    weir_perror("cannot accept");
    return 1;
}
