/**
 * Address spaces. Addresses are JavaScript numbers (exact integers up to 2^53, non-negative, at most 2^48 or the
 * sign-extended upper half written as a positive number), branded so that a guest-physical address cannot be used
 * where a host-physical one is meant. Arithmetic on addresses above 2^32 must not use JavaScript's 32-bit operators:
 * `0x7ffffffff123 & ~0xfff` is -0x1000. These functions are the only place that does such arithmetic.
 * Masks of a result's low bits are right for any address, and many times faster than a remainder of large numbers.
 */

/** After segmentation, before paging (SDM vol. 3, 3.1). */
export type LinearAddress = number & { readonly brand: "linear" };
/** What a guest believes to be physical. */
export type GuestPhysical = number & { readonly brand: "guest-physical" };
/** What the simulated memory bus sees. */
export type HostPhysical = number & { readonly brand: "host-physical" };

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;

/** Powers of two by exponent, up to 2^52: looked up much faster than computed. */
const POWER = Float64Array.from({ length: 53 }, (_, bits) => 2 ** bits);

/** Offset within a 4 KB page. */
export function pageOffset(address: number): number {
  return address & (PAGE_SIZE - 1);
}

/** Address of the first byte of the 4 KB page. */
export function pageBase<A extends number>(address: A): A {
  return (address - (address & (PAGE_SIZE - 1))) as A;
}

/** Number of the 4 KB page (frame or virtual page). */
export function pageNumber(address: number): number {
  return Math.floor(address / PAGE_SIZE);
}

/** The `count` bits of `address` from bit `low`, as a page-table index. */
export function addressBits(address: number, low: number, count: number): number {
  return lowBits(pageNumberAt(address, low), count);
}

/** `address` with its low `bits` bits cleared. */
export function alignDown<A extends number>(address: A, bits: number): A {
  return (address - lowBits(address, bits)) as A;
}

/** The low `bits` bits of `address`: its offset within a page of 2^`bits` bytes. */
export function lowBits(address: number, bits: number): number {
  return bits < 32 ? (address & ((1 << bits) - 1)) >>> 0 : address % (POWER[bits] as number);
}

/** Number of the page of 2^`shift` bytes that holds `address`. */
export function pageNumberAt(address: number, shift: number): number {
  return Math.floor(address / (POWER[shift] as number));
}

/** Wraps to 32 bits, as linear addresses do outside 64-bit mode. */
export function wrap32(address: number): LinearAddress {
  return (address >>> 0) as LinearAddress;
}

/**
 * A 64-bit address, given as its two 32-bit halves, as a number: the low 48 bits when it is canonical (SDM vol. 1,
 * 3.3.7.1), -1 when it is not.
 */
export function linear64(low: number, high: number): number {
  const upper = high >> 15;
  if (upper !== 0 && upper !== -1) return -1;
  return (high & 0xffff) * 4294967296 + (low >>> 0);
}
