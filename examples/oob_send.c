/* oob_send.c -- sends three ordinary bytes, three urgent ones, and three ordinary ones.
 *
 * Only the last byte of a send with MSG_OOB is urgent. Traps of the plain-socket version that it
 * avoids: sending the next urgent byte before the first was read, for there is room for one; and
 * closing at once, which may cost the peer what it has not read yet.
 *
 *     ./oob_send [HOST:PORT]                                                                   */
#include <stdio.h>
#include <weir.h>

int main(int argc, char **argv)
{
    char where[300];
    snprintf(where, sizeof where, "tcp://%s", argc > 1 ? argv[1] : "127.0.0.1:5000");
    WEIR_DEADLINE(10 * WEIR_SEC);

    weir_conn *c = weir_dial(where, NULL);
    if (!c) {
        weir_perror("cannot connect");
        return 1;
    }
    if (weir_send(c, "123", 3, 0) != 3 || weir_send(c, "abc", 3, MSG_OOB) != 3 ||
        weir_send(c, "123", 3, 0) != 3) {
        weir_perror("cannot send");
        weir_abort(c);
        return 1;
    }
    return weir_finish(c) == 0 ? 0 : 1; /* 0: the peer has read all of it */
}
