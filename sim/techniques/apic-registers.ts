/** Offsets of the local APIC registers that the monitor itself uses (SDM vol. 3, table 11-1). */
export const APIC_REGISTER = {
  eoi: 0xb0,
  svr: 0xf0,
  lvtTimer: 0x320,
  initialCount: 0x380,
  divide: 0x3e0,
} as const;
