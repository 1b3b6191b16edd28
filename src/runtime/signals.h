/* signals.h -- how the steward's thread takes signals: signals.c's face to steward.c. */
#ifndef WEIR_SIGNALS_H
#define WEIR_SIGNALS_H

/* Begins: 0 or -errno.  `poke` is called, from any thread, when the set to take has grown. */
int signals_open(void (*poke)(void));
/* A descriptor that is readable while there is something to take. */
int signals_fd(void);
/* Looks at the set again. */
void signals_update(void);
/* Takes all there are: gives each to those who wait for it, keeps it for who will, or lets it
 * have its usual effect on the calling thread. */
void signals_take(void);
/* Ends: who still waits goes on by itself, what was kept is pending again. */
void signals_close(void);

#endif
