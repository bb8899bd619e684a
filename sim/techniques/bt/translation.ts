/**
 * What the translator makes of a few guest instructions: a unit's bytes, and all that a monitor must know about them.
 * Offsets count from the first byte of the unit; nothing in it depends on where it will be placed.
 */
import type { Points } from "./points.ts";

/** What the code of a unit depends on beside its bytes. */
export interface CodeContext {
  /** Base and limit of the guest's code segment, its default size, and that of its stack. */
  readonly codeBase: number;
  readonly limit: number;
  readonly bits: 16 | 32;
  readonly stackBits: 16 | 32;
  /** The guest's CPL. */
  readonly cpl: 0 | 3;
  /** In real-address or virtual-8086 mode. */
  readonly as8086: boolean;
}

export function sameContext(a: CodeContext, b: CodeContext): boolean {
  const segment = a.codeBase === b.codeBase && a.limit === b.limit && a.bits === b.bits;
  return segment && a.stackBits === b.stackBits && a.cpl === b.cpl && a.as8086 === b.as8086;
}

/** What a byte of the cache is charged as; index into CodeClasses.accounts. */
export const CODE_CLASSES = ["identical", "control-flow", "inline-emulation", "call-out"] as const;
export type CodeClass = (typeof CODE_CLASSES)[number];

/**
 * One step towards precise guest state from the state in the middle of a sequence; steps are done in order. `slot` is
 * an offset in the data page, `register` a general register's number.
 */
export type Repair =
  /** register <- slot */
  | { readonly kind: "load"; readonly register: number; readonly slot: number }
  /** slot <- register */
  | { readonly kind: "store"; readonly slot: number; readonly register: number }
  /** register <- register + delta, in its low 16 bits or in all. */
  | { readonly kind: "add"; readonly register: number; readonly delta: number; readonly bits: 16 | 32 }
  /** Status flags <- slot as LAHF (AH) and SETO (AL) left them. */
  | { readonly kind: "flags"; readonly slot: number };

/** Where the guest is when the processor is about to execute an instruction of the cache. */
export interface Point {
  /** Offset of the instruction in the unit. */
  readonly offset: number;
  /** The guest's EIP, once the repairs are done. */
  readonly eip: number;
  readonly repairs: readonly Repair[];
  /** The guest is right after STI: no interrupt may be delivered here. */
  readonly shadow: boolean;
  /** The instruction is the translator's own store to the data page. */
  readonly stores: boolean;
}

/** Why a unit calls the monitor. */
export type CallOutKind =
  /** Control goes on at an EIP that is not chained. */
  | "translate"
  /** An indirect branch whose target the tables do not have: the monitor executes it. */
  | "lookup"
  /** An instruction that the monitor executes. */
  | "instruction"
  /** The guest's IF has become 1 while an interrupt waits. */
  | "pending";

export interface CallOut {
  /** Offset of INT E0h, after which the return address of the frame points. */
  readonly offset: number;
  readonly kind: CallOutKind;
  /** Where the guest is: the instruction to execute, or that at which it goes on. */
  readonly eip: number;
  /** Bytes of the guest's instruction; 0 where there is none. */
  readonly length: number;
  /** The guest is right after STI. */
  readonly shadow: boolean;
  /** Offset at which the unit goes on behind the instruction; -1 when it ends with it. */
  resume: number;
  /** The instruction would not need the monitor, but keeps faulting (adaptation). */
  readonly adapted: boolean;
}

/** A direct branch out of the unit: JMP or Jcc with a 32-bit displacement at `patch`, which leads to a call-out at `stub`. */
export interface DirectExit {
  readonly target: number;
  readonly patch: number;
  readonly stub: number;
}

/** An operand that a unit takes to be the local APIC's task-priority register, if its offset is this one. */
export interface RegisterOperand {
  /** Segment register (SEG), and the offset in it. */
  readonly segment: number;
  readonly offset: number;
  readonly write: boolean;
  /** Linear address, and the guest-physical page that is the APIC's. */
  readonly linear: number;
  readonly page: number;
}

export interface Translation {
  readonly eip: number;
  readonly context: CodeContext;
  readonly bytes: Uint8Array;
  /** For each byte the index of its class. */
  readonly classes: Uint8Array;
  /** One for each instruction of the cache. */
  readonly points: Points;
  /** Linear address and length of the guest's instructions. */
  readonly source: readonly [linear: number, length: number];
  readonly exits: readonly DirectExit[];
  readonly callOuts: readonly CallOut[];
  /** Offset of the translation of what ends the unit, where guest state is precise; two bytes at least are its own. */
  readonly boundary: number;
  /** Beside its source: what the unit is good for as long as it is where it was. */
  readonly operands: readonly RegisterOperand[];
  /** Guest instructions by the class of most of what was made of them. */
  readonly instructions: Readonly<Record<CodeClass, number>>;
}

/** A processor's general registers and flags, and the data page, as repairs need them. */
export interface RepairTarget {
  register(n: number): number;
  setRegister(n: number, value: number): void;
  setStatusFlags(lahf: number, overflow: boolean): void;
  load(slot: number): number;
  store(slot: number, value: number): void;
}

export function repair(repairs: readonly Repair[], target: RepairTarget): void {
  for (const step of repairs) {
    switch (step.kind) {
      case "load":
        target.setRegister(step.register, target.load(step.slot));
        break;
      case "store":
        target.store(step.slot, target.register(step.register));
        break;
      case "add": {
        const old = target.register(step.register);
        const sum = old + step.delta;
        target.setRegister(step.register, step.bits === 32 ? sum >>> 0 : ((old & ~0xffff) | (sum & 0xffff)) >>> 0);
        break;
      }
      case "flags": {
        const image = target.load(step.slot);
        target.setStatusFlags((image >>> 8) & 0xff, (image & 0xff) !== 0);
      }
    }
  }
}
