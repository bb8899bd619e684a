/**
 * How the code of a de-privileged guest's kernel is run, where it does not run as it stands: by a translator, which makes
 * other code of it that the processor runs in the monitor's region. Without one, code runs in place at CPL 1 and all
 * depends on traps.
 */
import type { CpuState } from "../../cpu/state.ts";

/** What translated code wants of the monitor. */
export type CallOut =
  /** The guest's instruction at its present CS:EIP is to be emulated. */
  | { readonly kind: "instruction"; readonly cause: string }
  /** The guest is at another place, to which there is no way yet; or an interrupt may be taken here. */
  | { readonly kind: "resume"; readonly cause: string };

export interface Translator {
  /** Whether code at this CPL of the guest is translated. */
  runs(cpl: number): boolean;
  /**
   * Translates if need be, puts what translated code keeps in memory there; the EIP in the region at which the guest's
   * present CS:EIP goes on, or -1 where its code cannot be fetched. `pending`: an interrupt waits for IF.
   */
  enter(pending: boolean): number;
  /**
   * Makes `into` the guest's precise state where translated code is about to execute the instruction at `eip`, with the
   * processor's registers in `into`.
   */
  recover(eip: number, into: CpuState): void;
  /** What the call-out at `eip` wants; `recover` has been called. */
  callOut(eip: number): CallOut;
  /** Whether the guest takes the interrupt that waits; if not, translated code calls out when IF becomes 1. */
  takesInterrupt(): boolean;
  /** An interrupt is to be taken at the end of the unit that stands at `eip`; false if it can be taken at once. */
  postpone(eip: number): boolean;
  /** Bytes of guest-physical memory that is watched have been written. */
  wrote(address: number, bytes: number): void;
  /** INVLPG of a linear address. */
  invalidated(linear: number): void;
  /** The guest's paging, segments or code may be other ones than when units were made. */
  translationChanged(): void;
  /** Guest-physical pages may be other memory (gate A20). */
  memoryChanged(): void;
  /**
   * The instruction at the guest's CS:EIP faulted in translated code, and is about to be emulated for this cause; for a page
   * fault with the addresses that it was for.
   */
  faulted(cause: string, at?: { readonly linear: number; readonly physical: number }): void;
  /** The guest has left translated code: what it did to virtual devices there is made known to them. */
  left(): void;
  /** Virtual devices have been looked at: what translated code has of them is brought up to date. */
  devicesChanged(): void;
  /** Whether the instruction at a linear address was emitted to store in the data page; for observers. */
  emitsStore(address: number): boolean;
  counters(): Readonly<Record<string, number>>;
  save(): unknown;
  restore(saved: unknown): void;
}
