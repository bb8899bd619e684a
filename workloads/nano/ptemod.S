/* Each iteration stores to the next PTE; stepping on is in both loops. */
#define LOOP_BEGIN movl ptemod_ptes, %edi; movl ptemod_value, %eax
#define OPERATION movl %eax, (%edi)
#define AFTER addl $4, %edi; addl $0x1000, %eax
#include "loops.h"
