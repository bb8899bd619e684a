/**
 * Whether a VM entry would take the guest as it is. The rows are the hardware's own checks of guest state
 * (cpu/vmx/guest-checks.ts), asked about the VMCS that the monitor would write; VT-x of the first generation fails
 * them in real-address mode (CR0.PE), and after a change of mode until stale segment registers have been loaded anew.
 *
 * Besides those: what the hardware would take, but not carry on as the guest's processor would.
 */
import type { VmxCapabilities } from "../../cpu/profiles/profile.ts";
import { BLOCKING, CELL, type CpuState } from "../../cpu/state.ts";
import type { CheckedFields, EntryContext } from "../../cpu/vmx/entry-checks.ts";
import { FIELD, type VmcsField } from "../../cpu/vmx/fields.ts";
import { GUEST_CHECKS } from "../../cpu/vmx/guest-checks.ts";
import { NO_POINTER } from "../../cpu/vmx/vmcs.ts";
import { DEBUG_TRAPS } from "../emulate.ts";
import type { RunConditions } from "../guest-emulation.ts";
import { processorCr0, processorCr4 } from "./control-registers.ts";
import { cellOfField } from "./guest-registers.ts";

interface Condition {
  readonly name: string;
  readonly holds: () => boolean;
}

export class EntryConditions implements RunConditions {
  /** No state is good enough. */
  readonly always: boolean;
  readonly #conditions: readonly Condition[];
  /** The condition that did not hold last time is the likeliest not to hold now. */
  #last: Condition | null = null;

  /** `always`: no state is good enough; for tests that run everything through the emulator. */
  constructor(virtual: CpuState, capabilities: VmxCapabilities, physicalAddressBits: number, always: boolean) {
    this.always = always;
    const context: EntryContext = {
      vmcs: new IntendedVmcs(virtual),
      state: virtual,
      capabilities,
      physicalAddressBits,
    };
    this.#conditions = [
      ...(always ? [{ name: "emulation of everything", holds: () => false }] : []),
      ...GUEST_CHECKS.map(({ name, passes }) => ({ name, holds: () => passes(context) })),
      { name: "a debug trap is pending", holds: () => (virtual.get(CELL.pendingDebug) & DEBUG_TRAPS) === 0 },
      {
        // Without virtual NMIs IRET would not end it (SDM vol. 3, 26.3).
        name: "blocking by NMI",
        holds: () => (virtual.get(CELL.interruptibility) & BLOCKING.NMI) === 0,
      },
    ];
  }

  /** Name of a condition that keeps VT-x from running the guest; null if none does. Free: callers charge a step. */
  obstacle(): string | null {
    if (this.#last !== null && !this.#last.holds()) return this.#last.name;
    this.#last = this.#conditions.find((condition) => !condition.holds()) ?? null;
    return this.#last?.name ?? null;
  }

  /** Name of the condition that is asked first. */
  save(): string | null {
    return this.#last?.name ?? null;
  }

  restore(name: string | null): void {
    this.#last = this.#conditions.find((condition) => condition.name === name) ?? null;
  }
}

/** Fields as the monitor would write them for the virtual processor. */
class IntendedVmcs implements CheckedFields {
  readonly pointer = NO_POINTER;
  /** Not looked at: the checks that read memory are of a link pointer, and of PDPTEs, which are the monitor's own. */
  readonly memory = { read32: (): number => 0 };
  readonly #virtual: CpuState;

  constructor(virtual: CpuState) {
    this.#virtual = virtual;
  }

  get(field: VmcsField): number {
    switch (field) {
      case FIELD.guestCr0:
        return processorCr0(this.#virtual.cr0) >>> 0;
      case FIELD.guestCr4:
        return processorCr4(this.#virtual.cr4, false) >>> 0;
      case FIELD.linkPointer:
        return 0xffffffff;
      default: {
        // What holds no guest register is zero in this monitor's VMCS: activity, debug control, no event.
        const cell = cellOfField(field);
        return cell === undefined ? 0 : this.#virtual.get(cell);
      }
    }
  }

  masked(field: VmcsField, mask: number): number {
    return this.get(field) & mask;
  }

  getHigh(field: VmcsField): number {
    return field === FIELD.linkPointer ? 0xffffffff : 0;
  }

  getAddress(field: VmcsField): number {
    return this.get(field);
  }
}
