/* budget.h -- the descriptors weir holds, and those who wait for one. */
#ifndef WEIR_BUDGET_H
#define WEIR_BUDGET_H

#include "../runtime/runtime.h"

void budget_take(void); /* a descriptor became ours */
void budget_give(void); /* ... and is closed or given away */
/* Whether the configured number of descriptors is in use. */
bool budget_is_spent(void);
/* How often one was given back, to be asked for before looking for one. */
unsigned budget_given(void);
/* Waits until one more was given back than `given`, at most `at_most`: 0, or why the task must
 * stop. */
int budget_wait(unsigned given, int64_t at_most);

#endif
