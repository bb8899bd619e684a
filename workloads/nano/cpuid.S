#define BEFORE movl $1, %eax
#define OPERATION cpuid
#include "loops.h"
