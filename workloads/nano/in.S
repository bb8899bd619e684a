#define OPERATION inb $0x80, %al
#include "loops.h"
