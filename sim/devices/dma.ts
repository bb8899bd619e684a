/**
 * How devices reach memory by themselves: the bus addresses that a driver gives them are guest-physical ones. Who
 * provides the port sees to it that code caches and shadow page tables hear of writes. Holes read as ones and lose
 * writes, as ROM does; gate A20 has no part in it.
 */

export interface DmaPort {
  /** Fills `into` from memory at `address`. */
  read(address: number, into: Uint8Array): void;
  write(address: number, bytes: Uint8Array): void;
}
