/* Breakpoints and single step, as far as QEMU agrees with the manual. */
#include "debug.h"

void program_main(void) {
    debug_tests();
    groups_end();
}
