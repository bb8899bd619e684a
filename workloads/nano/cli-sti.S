/* In this order the loop begins and ends with interrupts off. */
#define OPERATION sti; cli
#include "loops.h"
