import { describe, expect, it } from "vitest";
import { STATE_BYTES } from "../../sim/cpu/state.ts";
import { TIME_AREA_CELLS } from "../../sim/ledger.ts";
import {
  CORE_STATE_BYTES,
  MAX_CORES,
  PhysicalMemory,
  RAM_OFFSET,
  REASON,
  TIME_AREA_OFFSET,
} from "../../sim/memory/physical.ts";

describe("physical memory", () => {
  it("has a control area with room for every processor's state and the time area before RAM", () => {
    expect(CORE_STATE_BYTES).toBe(STATE_BYTES);
    const memory = new PhysicalMemory(0x10000);
    expect(memory.stateOffset(0)).toBe(0);
    expect(memory.stateOffset(MAX_CORES - 1) + STATE_BYTES).toBeLessThanOrEqual(TIME_AREA_OFFSET);
    expect(TIME_AREA_OFFSET + TIME_AREA_CELLS * 8).toBeLessThanOrEqual(RAM_OFFSET);
    expect(memory.timeCells.byteOffset).toBe(TIME_AREA_OFFSET);
    expect(() => memory.stateOffset(MAX_CORES)).toThrow("at most 16");
  });

  it("cannot grow, so that views stay valid", () => {
    const memory = new PhysicalMemory(0x20000);
    expect(() => memory.wasm.grow(1)).toThrow();
    expect(memory.buffer.byteLength).toBeGreaterThanOrEqual(RAM_OFFSET + 0x20000);
  });

  it("refuses a RAM size that is not whole pages", () => {
    expect(() => new PhysicalMemory(0x10001)).toThrow("multiple of 4096");
  });

  it("reads and writes little-endian values at any alignment", () => {
    const memory = new PhysicalMemory(0x10000);
    memory.write32(0x101, 0x89abcdef);
    expect(memory.read32(0x101)).toBe(0x89abcdef | 0);
    expect(memory.read16(0x101)).toBe(0xcdef);
    expect(memory.read8(0x104)).toBe(0x89);
    memory.write16(0x103, 0x1234);
    memory.write8(0x101, 0x56);
    expect(memory.copyOut(0x100, 6)).toEqual(Uint8Array.of(0, 0x56, 0xcd, 0x34, 0x12, 0));
    const words = Int32Array.of(0, -2, 3);
    memory.write64(0x205, words, 1);
    const read = new Int32Array(2);
    memory.read64(0x205, read, 0);
    expect(Array.from(read)).toEqual([-2, 3]);
  });

  it("tells about every kind of write that touches a marked granule, and about no other", () => {
    const memory = new PhysicalMemory(0x10000);
    const told: [number, number][] = [];
    memory.onCodeWrite = (address, bytes) => told.push([address, bytes]);
    memory.codeGranules[0x40 >> 6] = 1;
    memory.write8(0x3f, 1);
    memory.write8(0x80, 1);
    memory.write32(0x3c, 1);
    memory.copyIn(0x80, Uint8Array.of(1, 2, 3));
    expect(told).toEqual([]);
    memory.write8(0x40, 1);
    memory.write16(0x3f, 1);
    memory.write32(0x7f, 1);
    memory.write64(0x39, Int32Array.of(1, 2), 0);
    memory.copyIn(0x00, new Uint8Array(0x1000));
    memory.fill(0x7f, 1);
    expect(told).toEqual([
      [0x40, 1],
      [0x3f, 2],
      [0x7f, 4],
      [0x39, 8],
      [0x00, 0x1000],
      [0x7f, 1],
    ]);
  });

  it("tells a watcher of every store to its range and of no other, whether code is cached there or not", () => {
    const memory = new PhysicalMemory(0x10000);
    const told: [number, number][] = [];
    const code: number[] = [];
    memory.onCodeWrite = (address) => code.push(address);
    memory.watchStores(0x1000, 0x2000, (address, bytes) => told.push([address, bytes]));
    memory.write8(0xfff, 1);
    memory.write32(0xffe, 1);
    memory.write32(0x1ffc, 1);
    memory.write8(0x2000, 1);
    memory.unmarkCode();
    memory.write8(0x1800, 1);
    expect(told).toEqual([
      [0xffe, 4],
      [0x1ffc, 4],
      [0x1800, 1],
    ]);
    expect(code).toEqual([0xffe, 0x1ffc, 0x1800]);
  });

  it("rejects copies outside RAM with a message", () => {
    const memory = new PhysicalMemory(0x10000);
    expect(() => memory.copyIn(0xffff, new Uint8Array(2))).toThrow("outside RAM");
    expect(() => memory.copyOut(0xffff, 2)).toThrow("outside RAM");
  });

  it("restores RAM and reference counts as saved", () => {
    const memory = new PhysicalMemory(0x10000);
    memory.write32(0x5004, 77);
    memory.countReference(REASON.vmcs);
    const saved = memory.save();
    expect(saved.pages.length).toBe(1);
    memory.write32(0x5004, 78);
    memory.write32(0x6004, 79);
    memory.countReference(REASON.vmcs);
    memory.codeGranules[3] = 1;
    memory.restore(saved);
    expect([memory.read32(0x5004), memory.read32(0x6004)]).toEqual([77, 0]);
    expect(memory.counters()["references.vmcs"]).toBe(1);
    expect(memory.codeGranules[3]).toBe(0);
    expect(() => new PhysicalMemory(0x20000).restore(saved)).toThrow("65536");
  });
});
