/**
 * The I/O port space of a PC: 65 536 byte-wide locations. Devices claim ranges; nothing answers elsewhere, reads
 * there float to all ones and writes vanish. A 16- or 32-bit access to byte-wide devices becomes one bus cycle for
 * each byte at consecutive ports, least significant byte first, as the south bridge splits it.
 */

/** A device on the port space. The router hands a byte-wide device single bytes only. */
export interface PortDevice {
  /** Widest access in bytes that the device takes as a single cycle. */
  readonly width: 1 | 4;
  /** Reads `bytes` bytes (1 for byte-wide devices) at a port; unsigned. */
  readPort(port: number, bytes: number): number;
  writePort(port: number, bytes: number, value: number): void;
}

/** Which bus a port is reached over; the board file gives each one's time. */
export const PORT_BUSES = ["slow", "chipset", "northBridge"] as const;
export type PortBus = (typeof PORT_BUSES)[number];

/** Ports `first` to `last`, both included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
  readonly bus: PortBus;
  /** Null where the board decodes the ports but nothing answers. */
  readonly device: PortDevice | null;
}

/** Value of `bytes` bytes on which nothing answers. */
export function allOnes(bytes: number): number {
  return bytes === 4 ? 0xffffffff : bytes === 2 ? 0xffff : 0xff;
}

/** The ranges that devices have claimed. */
export class PortMap {
  readonly #ranges: PortRange[] = [];
  /** Ranges that software places, by their device. */
  readonly #placed = new Map<PortDevice, PortRange>();

  /** Claims a range; two claims may not overlap. */
  claim(range: PortRange): void {
    for (const other of this.#ranges) {
      if (range.first <= other.last && other.first <= range.last) {
        throw new Error(`ports ${range.first.toString(16)}h-${range.last.toString(16)}h are claimed twice`);
      }
    }
    this.#ranges.push(range);
  }

  /** Puts a device where software wants it, or nowhere. Where it meets fixed devices, those answer. */
  place(device: PortDevice, range: Omit<PortRange, "device"> | null): void {
    if (range === null) this.#placed.delete(device);
    else this.#placed.set(device, { ...range, device });
  }

  /** Who answers at a port; undefined for an absent one. */
  find(port: number): PortRange | undefined {
    for (const range of this.#ranges) if (port >= range.first && port <= range.last) return range;
    for (const range of this.#placed.values()) if (port >= range.first && port <= range.last) return range;
    return undefined;
  }

  /**
   * Whether an access is one cycle: a single byte anywhere, or a naturally aligned access within a range that takes it
   * at this width. What is decoded without a device behind it (the north bridge's ports) takes any width.
   */
  takesWhole(port: number, bytes: number): boolean {
    if (bytes === 1) return true;
    const range = this.find(port);
    if (range === undefined || (range.device !== null && range.device.width < bytes)) return false;
    return port % bytes === 0 && port + bytes - 1 <= range.last;
  }
}
