/**
 * The monitor's VMCS: by VMREAD and VMWRITE, which the processor executes at their price; and, for those who look at a
 * guest that stands still, by way of memory, free of charge.
 */
import { type CpuState, FLAG } from "../../cpu/state.ts";
import type { VmcsField } from "../../cpu/vmx/fields.ts";
import { Vmcs } from "../../cpu/vmx/vmcs.ts";
import type { Vmx } from "../../cpu/vmx/vmx.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import type { VmcsPort } from "./guest-registers.ts";

export class VmcsAccess implements VmcsPort {
  readonly #vmx: Vmx;
  readonly #state: CpuState;
  readonly #memory: PhysicalMemory;
  readonly #address: number;

  /** `state` is the processor's; `address` the VMCS's in host-physical memory. */
  constructor(vmx: Vmx, state: CpuState, memory: PhysicalMemory, address: number) {
    this.#vmx = vmx;
    this.#state = state;
    this.#memory = memory;
    this.#address = address;
  }

  /** VMREAD. */
  read(field: VmcsField): number {
    const value = this.#vmx.vmread(field.encoding);
    if (value === null) throw new Error(`vtx monitor: VMREAD of ${field.name} failed`);
    return value;
  }

  /** VMWRITE. */
  write(field: VmcsField, value: number): void {
    this.#vmx.vmwrite(field.encoding, value >>> 0);
    if ((this.#state.flags & (FLAG.CF | FLAG.ZF)) === 0) return;
    throw new Error(`vtx monitor: VMWRITE of ${field.name} failed`);
  }

  /** The same VMCS by way of memory. */
  inMemory(): Vmcs {
    const vmcs = new Vmcs({
      read32: (address) => this.#memory.read32(address) >>> 0,
      write32: (address, value) => this.#memory.write32(address, value),
    });
    vmcs.pointer = this.#address;
    return vmcs;
  }
}
