#define OPERATION rdtsc
#include "loops.h"
