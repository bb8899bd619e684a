/**
 * The core's view of everything that is not RAM: ports, memory-mapped devices and the interrupt pins. Devices sit
 * behind it; the core never knows which. An access charges its own time (`device-wait`) to whoever makes it.
 */

export interface Bus {
  /** Reads 1, 2 or 4 bytes from a port; absent ports float to all ones. Unsigned result. */
  readPort(port: number, bytes: number): number;
  writePort(port: number, bytes: number, value: number): void;
  /** Reads 1, 2 or 4 bytes of physical address space that is not RAM; unclaimed addresses read all ones. */
  readMemory(address: number, bytes: number): number;
  /** Writes to physical address space that is not RAM; unclaimed writes vanish. */
  writeMemory(address: number, bytes: number, value: number): void;
  /** Whether an unmasked interrupt is waiting (the INTR input as the local APIC and the 8259s drive it). */
  readonly interruptLine: boolean;
  /** Interrupt acknowledge: the vector, which is in service from now on. */
  acknowledgeInterrupt(): number;
  /** An edge on NMI has been latched. */
  readonly nmiLine: boolean;
  acknowledgeNmi(): void;
  /** FERR# goes to this level (x87 errors while CR0.NE is clear); whether IGNNE# is asserted. Without it nobody hears. */
  numericError?(active: boolean): boolean;
}

/** Who pays for a bus access, and how much; the core and the monitors' device router implement it. */
export interface BusCharge {
  /** Charges `ticks` of waiting for a device to whoever made the access; `cost` is its name in the board file. */
  deviceWait(ticks: number, cost: string): void;
}
