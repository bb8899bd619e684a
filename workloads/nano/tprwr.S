#define LOOP_BEGIN movl $0xFEE00080, %edi; movl $0x20, %eax
#define OPERATION movl %eax, (%edi)
#include "loops.h"
