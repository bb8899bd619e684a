/**
 * A VMCS region in simulated memory: reading and writing fields (SDM vol. 3, 25.2, 25.11). All accesses go through
 * the memory port, so that a VMCS is bytes that save/restore and a physical-reference trace see like any others.
 *
 * Simplified: nothing of a VMCS is cached in the processor beyond what non-root operation reads at VM entry; a real
 * one may keep any part of the active VMCS on chip until VMCLEAR.
 */
import type { CpuState } from "../state.ts";
import { REGION, type VmcsField } from "./fields.ts";

/** Physical memory as the VMX hardware sees it: aligned 32-bit words, unsigned. */
export interface PhysicalMemory {
  read32(address: number): number;
  write32(address: number, value: number): void;
}

/** The same, where references are counted. */
export interface CountedMemory extends PhysicalMemory {
  /** References so far. */
  references: number;
  /** The memory itself, seen without any reference to it: `words` words from an address; null where there is none. */
  view(address: number, words: number): Int32Array | null;
}

/** "No VMCS": all ones in the SDM; not exact as a JavaScript number, so -1 here. */
export const NO_POINTER = -1;

/** Values of the hidden launch state. */
export const LAUNCH_STATE = { clear: 0, launched: 1 } as const;

const TWO_32 = 0x100000000;

export class Vmcs {
  readonly memory: PhysicalMemory;
  /** Physical address of the current VMCS, or NO_POINTER. */
  pointer: number = NO_POINTER;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** Low 32 bits of a field, unsigned. */
  get(field: VmcsField): number {
    const value = this.memory.read32(this.pointer + field.offset) >>> 0;
    return field.width === "16-bit" ? value & 0xffff : value;
  }

  /** Some bits of the low 32 of a field. */
  masked(field: VmcsField, mask: number): number {
    return this.memory.read32(this.pointer + field.offset) & mask;
  }

  /** Bits 63:32 of a field, unsigned; 0 for 16-bit and 32-bit fields. */
  getHigh(field: VmcsField): number {
    if (field.width === "16-bit" || field.width === "32-bit") return 0;
    return this.memory.read32(this.pointer + field.offset + 4) >>> 0;
  }

  /** A 64-bit field as a number; exact for addresses. */
  getAddress(field: VmcsField): number {
    return this.getHigh(field) * TWO_32 + this.get(field);
  }

  /** Writes a field; bits 63:32 of wider fields are cleared, as VMWRITE outside 64-bit mode does. */
  set(field: VmcsField, value: number): void {
    this.memory.write32(this.pointer + field.offset, field.width === "16-bit" ? value & 0xffff : value >>> 0);
    if (field.width === "64-bit" || field.width === "natural") {
      this.memory.write32(this.pointer + field.offset + 4, 0);
    }
  }

  /** Writes bits 63:32 of a 64-bit field and leaves the rest. */
  setHigh(field: VmcsField, value: number): void {
    this.memory.write32(this.pointer + field.offset + 4, value >>> 0);
  }

  /** Copies a state cell to a natural-width field, all 64 bits. */
  saveCell(field: VmcsField, state: CpuState, cell: number): void {
    this.set(field, state.get(cell));
    if (field.width === "natural") this.setHigh(field, state.get(cell + 1));
  }

  /** Copies a field to a state cell, all 64 bits. */
  loadCell(field: VmcsField, state: CpuState, cell: number): void {
    state.i32[cell] = this.get(field) | 0;
    state.i32[cell + 1] = this.getHigh(field) | 0;
  }

  get launchState(): number {
    return this.memory.read32(this.pointer + REGION.launchState);
  }

  set launchState(value: number) {
    this.memory.write32(this.pointer + REGION.launchState, value);
  }

  /** VMX-abort indicator (28.7). */
  set abort(indicator: number) {
    this.memory.write32(this.pointer + REGION.abort, indicator);
  }
}
