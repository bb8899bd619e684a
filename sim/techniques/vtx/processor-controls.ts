/**
 * The processor-based controls that change while a guest runs: the interrupt window, and the offset of its time-stamp
 * counter, which a guest gets that writes IA32_TIME_STAMP_COUNTER (SDM vol. 3, 25.6.5).
 */
import { CELL, type CpuState } from "../../cpu/state.ts";
import { PROCESSOR_BASED } from "../../cpu/vmx/controls.ts";
import { FIELD } from "../../cpu/vmx/fields.ts";
import type { VmcsPort } from "./guest-registers.ts";

export interface SavedProcessorControls {
  readonly value: number;
  readonly tscOffset: readonly [low: number, high: number];
}

export class ProcessorControls {
  readonly #vmcs: VmcsPort;
  readonly #virtual: CpuState;
  /** The controls as the VMCS has them. */
  #value = 0;
  #tscOffset: readonly [low: number, high: number] = [0, 0];

  constructor(vmcs: VmcsPort, virtual: CpuState) {
    this.#vmcs = vmcs;
    this.#virtual = virtual;
  }

  /** The VMCS is new and has these. */
  begin(value: number): void {
    this.#value = value;
  }

  /** Sets or clears a control; whether that changed anything. */
  set(control: number, on: boolean): boolean {
    const wanted = on ? this.#value | control : this.#value & ~control;
    if (wanted === this.#value) return false;
    this.#value = wanted;
    this.#vmcs.write(FIELD.processorBased, wanted);
    return true;
  }

  /** Before an entry: the guest's counter goes on as it has set it. */
  writeTscOffset(): void {
    const { i32 } = this.#virtual;
    const low = i32[CELL.tscOffset] as number;
    const high = i32[CELL.tscOffset + 1] as number;
    if (low === this.#tscOffset[0] && high === this.#tscOffset[1]) return;
    this.#tscOffset = [low, high];
    this.#vmcs.write(FIELD.tscOffset, low);
    this.#vmcs.write({ ...FIELD.tscOffset, encoding: FIELD.tscOffset.encoding | 1 }, high);
    this.set(PROCESSOR_BASED.useTscOffsetting, low !== 0 || high !== 0);
  }

  save(): SavedProcessorControls {
    return { value: this.#value, tscOffset: this.#tscOffset };
  }

  restore(saved: SavedProcessorControls): void {
    this.#value = saved.value;
    this.#tscOffset = saved.tscOffset;
  }
}
