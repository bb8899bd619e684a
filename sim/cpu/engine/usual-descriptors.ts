/**
 * What is usual among descriptors, as bits of their upper words (SDM vol. 3, 3.4.5 and 6.11): what the engine loads and goes
 * through by itself. Anything else is for system/.
 */
interface Kind {
  readonly value: number;
  readonly mask: number;
}

/** Code that does not conform, accessed and present. */
export const CODE: Kind = { value: 0x9900, mask: 0x9d00 };
const BIG = 1 << 22;
/** Writable data, accessed and present, of 32 bits. */
export const STACK: Kind = { value: 0x9300 | BIG, mask: 0x9b00 | BIG };
/** An interrupt or trap gate of 32 bits, present; GATE_TRAPS tells them apart. */
export const GATE: Kind = { value: 0x8e00, mask: 0x9e00 };
export const GATE_TRAPS = 1 << 8;
/** Of data; of code, that it conforms. */
export const EXPAND_DOWN = 1 << 10;
export const GRANULARITY = 1 << 23;
