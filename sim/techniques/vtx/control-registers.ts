/**
 * The guest's CR0, CR3 and CR4 and what the processor has in their place: the guest sees its own through the read
 * shadows; the processor runs with the bits that its VT-x demands, and with the root of a shadow page table in CR3.
 */
import { type CpuState, CR0, CR4 } from "../../cpu/state.ts";
import { FIELD } from "../../cpu/vmx/fields.ts";
import type { Shadow } from "../../memory/shadow.ts";
import { guestPaging } from "../guest-paging.ts";
import type { VmcsPort } from "./guest-registers.ts";

/**
 * CR0 with which the processor runs the guest: paging and write protection are the shadow tables', native x87 errors
 * are a demand of VT-x, all else is the guest's. PE is too: nothing can stand in for protected mode.
 */
export function processorCr0(guest: number): number {
  return guest | CR0.PG | CR0.NE | CR0.WP;
}

/**
 * PAE as the shadow tables' format has it, which is the guest's while it has paging on; they have 4 KB pages only; PGE is
 * of no use where every entry flushes; DE and TSD are the guest's.
 */
export function processorCr4(guest: number, pae: boolean): number {
  return (guest & ~(CR4.PAE | CR4.PGE | CR4.PSE)) | CR4.VMXE | (pae ? CR4.PAE : 0);
}

export interface SavedControlRegisters {
  /** CR0 and CR4 as the VMCS has them; null before they were written. */
  readonly cr0: number | null;
  readonly cr4: number | null;
  /** CR4.PAE of the processor. */
  readonly pae: boolean;
  readonly stale: boolean;
}

export class ControlRegisters {
  readonly #virtual: CpuState;
  readonly #shadow: Shadow;
  readonly #vmcs: VmcsPort;
  #writtenCr0: number | null = null;
  #writtenCr4: number | null = null;
  #writtenPae = false;
  /** The guest's translation changed while it was emulated: the shadow's root is another. */
  #stale = false;

  constructor(virtual: CpuState, shadow: Shadow, vmcs: VmcsPort) {
    this.#virtual = virtual;
    this.#shadow = shadow;
    this.#vmcs = vmcs;
  }

  /**
   * The guest's translation changed by CR0, CR3 or CR4: another root, or the same one looked at anew. The processor runs
   * with its address in CR3.
   */
  translationChanged(): void {
    this.#stale = false;
    this.#vmcs.write(FIELD.guestCr3, this.#shadow.activate(guestPaging(this.#virtual)));
  }

  /** The same, for a guest that is emulated and does not need the shadow now. */
  translationChangedLater(): void {
    this.#stale = true;
  }

  /** Before an entry after emulation: what was put off. */
  catchUp(): void {
    if (this.#stale) this.translationChanged();
  }

  /**
   * CR0 and CR4 as the guest wants them go into the read shadows, and with the bits that this hardware demands into the
   * registers that the processor runs with; only what changed is written.
   */
  write(): void {
    const { cr0, cr4 } = this.#virtual;
    if (cr0 !== this.#writtenCr0) {
      this.#writtenCr0 = cr0;
      this.#vmcs.write(FIELD.guestCr0, processorCr0(cr0));
      this.#vmcs.write(FIELD.cr0Shadow, cr0);
    }
    const pae = this.#shadow.usesPae;
    if (cr4 !== this.#writtenCr4 || pae !== this.#writtenPae) this.#vmcs.write(FIELD.guestCr4, processorCr4(cr4, pae));
    if (cr4 !== this.#writtenCr4) this.#vmcs.write(FIELD.cr4Shadow, cr4);
    this.#writtenCr4 = cr4;
    this.#writtenPae = pae;
  }

  save(): SavedControlRegisters {
    return { cr0: this.#writtenCr0, cr4: this.#writtenCr4, pae: this.#writtenPae, stale: this.#stale };
  }

  restore(saved: SavedControlRegisters): void {
    this.#writtenCr0 = saved.cr0;
    this.#writtenCr4 = saved.cr4;
    this.#writtenPae = saved.pae;
    this.#stale = saved.stale;
  }
}
