#define OPERATION pushfl; popfl
#include "loops.h"
