/* list.c -- every experiment there is, group by group, in the order in which they are told.
 *
 * A file of experiments ends in a table of pointers; it is named here and nowhere else. A group
 * may have several of them.                                                                   */
#include <stddef.h>
#include <string.h>

#include "runner.h"

extern const struct experiment *const addr_experiments[];
extern const struct experiment *const addr_names_experiments[];
extern const struct experiment *const port_experiments[];
extern const struct experiment *const port_bind_experiments[];
extern const struct experiment *const handshake_experiments[];
extern const struct experiment *const syn_experiments[];
extern const struct experiment *const early_experiments[];
extern const struct experiment *const queue_experiments[];
extern const struct experiment *const listen_experiments[];
extern const struct experiment *const nonblock_experiments[];
extern const struct experiment *const io_experiments[];
extern const struct experiment *const io_wait_experiments[];
extern const struct experiment *const io_copy_experiments[];
extern const struct experiment *const oob_experiments[];
extern const struct experiment *const window_experiments[];
extern const struct experiment *const timers_experiments[];
extern const struct experiment *const close_experiments[];
extern const struct experiment *const broken_experiments[];
extern const struct experiment *const timewait_experiments[];
extern const struct experiment *const fd_experiments[];
extern const struct experiment *const mux_experiments[];
extern const struct experiment *const mux_cost_experiments[];
extern const struct experiment *const udp_experiments[];
extern const struct experiment *const udp_wire_experiments[];
extern const struct experiment *const seeds_code_experiments[];

static const struct experiment *const *const tables[] = {
    addr_experiments,
    addr_names_experiments,
    port_experiments,
    port_bind_experiments,
    handshake_experiments,
    syn_experiments,
    early_experiments,
    queue_experiments,
    listen_experiments,
    nonblock_experiments,
    io_experiments,
    io_wait_experiments,
    io_copy_experiments,
    window_experiments,
    timers_experiments,
    close_experiments,
    broken_experiments,
    timewait_experiments,
    oob_experiments,
    fd_experiments,
    mux_experiments,
    mux_cost_experiments,
    udp_experiments,
    udp_wire_experiments,
    seeds_code_experiments,
};

const struct group groups[] = {
    { "addr", "addresses, names and byte order" },
    { "port", "binding and ports" },
    { "hs", "the handshake" },
    { "q", "listening and its queues" },
    { "nb", "connecting without blocking" },
    { "io", "sending, receiving and framing" },
    { "win", "windows, buffers and retransmission" },
    { "cl", "closing" },
    { "tw", "TIME_WAIT" },
    { "oob", "urgent data" },
    { "fd", "descriptors and processes" },
    { "mux", "select, poll and epoll" },
    { "udp", "datagrams" },
    { "seeds-code", "programs that are wrong, and what happens" },
    { NULL, NULL },
};

const struct experiment *experiment_at(int index)
{
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (int i = 0; tables[t][i]; i++)
            if (index-- == 0)
                return tables[t][i];
    return NULL;
}

bool is_in_group(const struct experiment *experiment, const char *group)
{
    size_t len = strlen(group);
    return strncmp(experiment->id, group, len) == 0 && experiment->id[len] == '-';
}
