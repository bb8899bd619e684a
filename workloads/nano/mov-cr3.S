/* Both loops read one word in each of 16 pages that are not global. */
    .macro TOUCH_16_PAGES
    .set page, 0
    .rept 16
    movl page * 0x1000(%edi), %eax
    .set page, page + 1
    .endr
    .endm

#define LOOP_BEGIN movl $0x40000000, %edi; movl $page_directory, %ebx
#define BEFORE TOUCH_16_PAGES
#define OPERATION movl %ebx, %cr3
#include "loops.h"
