/* What stage 2 leaves for the kernel, at address 600h. */
#ifndef LOADER_H
#define LOADER_H

#define HANDOVER 0x600
#define HANDOVER_DRIVE 0
#define HANDOVER_RANGES 4
#define HANDOVER_MAP 8

#endif
