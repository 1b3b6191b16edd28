/* filter.h -- losing segments on purpose, to the packet. Needs NEEDS_FILTER.
 *
 * A filter belongs to the socket that receives. What it drops was sent, and acknowledged by nobody,
 * as if a wire had lost it. On a listener it sees SYNs and the third segments of handshakes, and
 * each accepted socket inherits it.                                                           */
#ifndef LAB_FILTER_H
#define LAB_FILTER_H

struct lab;

void drop_all(struct lab *lab, int fd);

/* TCP segments whose flags, of those in `mask`, are exactly `value`: (TH_SYN | TH_ACK, TH_SYN) is
 * the first SYN; (TH_FIN, TH_FIN) is every FIN. */
void drop_flags(struct lab *lab, int fd, unsigned mask, unsigned value);

/* TCP segments that carry data. */
void drop_data(struct lab *lab, int fd);

void drop_nothing(struct lab *lab, int fd);

/* How many packets this socket has dropped until now, by a filter or for another reason. */
unsigned drop_count(int fd);

#endif
