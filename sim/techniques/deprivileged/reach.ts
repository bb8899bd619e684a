/**
 * How a de-privileged monitor reaches memory. Its linear space is its guest's, so host-physical memory comes through
 * windows of the region, whose translations it keeps in the TLB: a reference costs a load or a store and no walk.
 *
 * Simplified: how windows are moved is part of a step's instruction count, and moving one flushes nothing.
 */
import type { Bus } from "../../cpu/bus.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import type { MemoryReach } from "../monitor-memory.ts";

export function throughWindows(memory: PhysicalMemory, bus: Bus): MemoryReach {
  return {
    load(address, bytes) {
      if (!memory.contains(address, bytes)) return bus.readMemory(address, bytes);
      if (bytes === 4) return memory.read32(address);
      return bytes === 2 ? memory.read16(address) : memory.read8(address);
    },
    store(address, bytes, value) {
      if (!memory.contains(address, bytes)) bus.writeMemory(address, bytes, value >>> 0);
      else if (bytes === 4) memory.write32(address, value);
      else if (bytes === 2) memory.write16(address, value);
      else memory.write8(address, value);
    },
  };
}
