#define LOOP_BEGIN movl $0x40000000, %edi /* WINDOW */
#define OPERATION invlpg (%edi)
#include "loops.h"
