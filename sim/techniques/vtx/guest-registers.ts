/**
 * The guest's registers while the monitor has control: those that VM exits save are in the VMCS and are read, at
 * VMREAD's price, when a handler needs them; what a handler changed is written back, at VMWRITE's. General registers
 * but ESP, CR2, the debug registers but DR7 and the x87 are not in the VMCS: they stay in the processor.
 */
import {
  baseCell,
  CELL,
  type CpuState,
  GPR,
  limitCell,
  RIGHTS,
  rightsCell,
  SEG,
  SEGMENT_COUNT,
  selectorCell,
} from "../../cpu/state.ts";
import { FIELD, type VmcsField } from "../../cpu/vmx/fields.ts";
import type { Requirements } from "../emulate.ts";

/** VMREAD and VMWRITE as the monitor uses them; each pays. */
export interface VmcsPort {
  read(field: VmcsField): number;
  write(field: VmcsField, value: number): void;
}

/** A register of the virtual processor and the VMCS field that holds it. */
type Pair = readonly [cell: number, field: VmcsField];

/** Fields that the monitor reads at every exit. */
const SNAPSHOT: readonly Pair[] = [
  [CELL.rip, FIELD.guestRip],
  [GPR.esp, FIELD.guestRsp],
  [CELL.rflags, FIELD.guestRflags],
  [CELL.interruptibility, FIELD.guestInterruptibility],
];

/** Registers that are read only when everything is. */
const REST: readonly Pair[] = [
  [CELL.gdtrBase, FIELD.guestGdtrBase],
  [CELL.gdtrLimit, FIELD.guestGdtrLimit],
  [CELL.idtrBase, FIELD.guestIdtrBase],
  [CELL.idtrLimit, FIELD.guestIdtrLimit],
  [CELL.sysenterCs, FIELD.guestSysenterCs],
  [CELL.sysenterEsp, FIELD.guestSysenterEsp],
  [CELL.sysenterEip, FIELD.guestSysenterEip],
  [CELL.dr7, FIELD.guestDr7],
];

function segmentPairs(segment: number): readonly Pair[] {
  return [
    [selectorCell(segment), FIELD.guestSelectors[segment] as VmcsField],
    [baseCell(segment), FIELD.guestBases[segment] as VmcsField],
    [limitCell(segment), FIELD.guestLimits[segment] as VmcsField],
    [rightsCell(segment), FIELD.guestRights[segment] as VmcsField],
  ];
}

const SEGMENT_PAIRS: readonly (readonly Pair[])[] = Array.from({ length: SEGMENT_COUNT }, (_, n) => segmentPairs(n));
/** Stack rights tell the CPL (SDM vol. 3, 25.4.1: SS.DPL). */
const CPL_PAIR = (SEGMENT_PAIRS[SEG.ss] as readonly Pair[])[3] as Pair;

/** Read only when the guest is about to be emulated: handlers complete or deliver what may be pending. */
const PENDING_DEBUG: Pair = [CELL.pendingDebug, FIELD.guestPendingDebug];

const PAIR_OF_ENCODING = new Map(
  [...SNAPSHOT, ...REST, ...SEGMENT_PAIRS.flat(), PENDING_DEBUG].map((pair) => [pair[1].encoding, pair]),
);

/** Cell of the guest register that a field holds; undefined for fields that hold none, and for CR0, CR3 and CR4. */
export function cellOfField(field: VmcsField): number | undefined {
  return PAIR_OF_ENCODING.get(field.encoding)?.[0];
}
const PAIR_OF_CELL = new Map([...SNAPSHOT, ...REST].map((pair) => [pair[0], pair]));

/** Cells that stay in the processor across exits. */
const PROCESSOR_CELLS = [CELL.cr2, CELL.dr0, CELL.dr1, CELL.dr2, CELL.dr3, CELL.dr6];
const BREAKPOINT_ADDRESSES = [CELL.dr0, CELL.dr1, CELL.dr2, CELL.dr3];
/** General registers that an exit saves and an entry restores: all but ESP, which the VMCS holds. */
export const SAVED_REGISTERS: readonly number[] = [GPR.eax, GPR.ecx, GPR.edx, GPR.ebx, GPR.ebp, GPR.esi, GPR.edi];

/** What is known of the VMCS in an exit that is still being handled: encodings of fields and their values. */
export type SavedRegisters = readonly (readonly [encoding: number, value: number])[];

export class GuestRegisters {
  /** The virtual processor: control registers as the guest believes them, the rest as far as it has been read. */
  readonly state: CpuState;
  readonly #physical: CpuState;
  readonly #vmcs: VmcsPort;
  /** What each field that has been read in this exit held; a changed cell is written back. */
  readonly #known = new Map<Pair, number>();
  /** Everything has been read in this exit. */
  #complete = false;

  constructor(state: CpuState, physical: CpuState, vmcs: VmcsPort) {
    this.state = state;
    this.#physical = physical;
    this.#vmcs = vmcs;
  }

  /** After an exit: takes over what is in the processor, forgets what was known of the VMCS, reads the snapshot. */
  begin(): void {
    this.#known.clear();
    this.#complete = false;
    this.takeProcessorRegisters();
    for (const pair of SNAPSHOT) this.#fetch(pair);
    this.state.set(CELL.activity, 0);
    this.state.set(CELL.pendingDebug, 0);
  }

  /** Makes everything that `needs` names present in `state`. */
  require(needs: Requirements): void {
    if (needs.all) {
      this.#complete = true;
      for (const pairs of SEGMENT_PAIRS) for (const pair of pairs) this.#fetch(pair);
      for (const pair of REST) this.#fetch(pair);
    } else {
      for (let segment = 0; segment < SEGMENT_COUNT; segment++) {
        const pairs = SEGMENT_PAIRS[segment] as readonly Pair[];
        if ((needs.selectors & (1 << segment)) !== 0) this.#fetch(pairs[0] as Pair);
        if ((needs.segments & (1 << segment)) === 0) continue;
        for (let n = 1; n < pairs.length; n++) this.#fetch(pairs[n] as Pair);
      }
      this.#fetch(CPL_PAIR);
    }
    for (let segment = 0; segment < SEGMENT_COUNT; segment++) this.state.refreshSegment(segment);
    this.state.set(CELL.cpl, (this.state.segmentRights(SEG.ss) >>> RIGHTS.DPL_SHIFT) & 3);
  }

  /** Whether all of the guest's registers are here, and so may have been changed. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Makes pending debug exceptions present, for whoever emulates more than an instruction. */
  requirePendingDebug(): void {
    this.#fetch(PENDING_DEBUG);
  }

  /**
   * Makes DR7 present where breakpoints may be enabled, and says so. DR0 to DR3 are in the processor; while all of them
   * are 0 nothing is read: a guest without breakpoints pays no VMREAD for them. One at address 0 alone is not seen.
   */
  requireBreakpoints(): boolean {
    if (!BREAKPOINT_ADDRESSES.some((cell) => this.state.get(cell) !== 0)) return false;
    for (const pair of REST) if (pair[0] === CELL.dr7) this.#fetch(pair);
    return true;
  }

  /** SYSENTER registers, for the MSR instructions. */
  requireSysenter(): void {
    for (const pair of REST) if (pair[0] >= CELL.sysenterCs && pair[0] <= CELL.sysenterEip) this.#fetch(pair);
  }

  /** Writes back what was changed, and puts the processor's own registers back. */
  commit(): void {
    for (const [pair, value] of this.#known) {
      const now = this.state.get(pair[0]);
      if (now === value) continue;
      this.#vmcs.write(pair[1], now);
      this.#known.set(pair, now);
    }
    this.putProcessorRegisters();
  }

  /** A debugger gives a register that the VMCS holds another value, by a port that is free of charge. False for others. */
  change(cell: number, value: number, port: Pick<VmcsPort, "write">): boolean {
    const pair = PAIR_OF_CELL.get(cell);
    if (pair === undefined) return false;
    port.write(pair[1], value);
    this.state.set(cell, value);
    if (this.#known.has(pair)) this.#known.set(pair, value >>> 0);
    return true;
  }

  save(): SavedRegisters {
    return [...this.#known].map(([[, field], value]) => [field.encoding, value]);
  }

  restore(saved: SavedRegisters): void {
    this.#known.clear();
    for (const [encoding, value] of saved) this.#known.set(PAIR_OF_ENCODING.get(encoding) as Pair, value);
    this.#complete = saved.length >= PAIR_OF_ENCODING.size - 1;
  }

  /** What handlers have changed and nobody has written back yet, into a copy of the guest's registers. */
  overlay(copy: CpuState): void {
    for (const [cell] of this.#known.keys()) copy.set(cell, this.state.get(cell));
  }

  /** General registers, CR2, debug registers and the x87: from the processor. */
  takeProcessorRegisters(): void {
    for (const cell of SAVED_REGISTERS) this.state.set(cell, this.#physical.get(cell));
    for (const cell of PROCESSOR_CELLS) this.state.set(cell, this.#physical.get(cell));
    this.state.copyFloatingFrom(this.#physical);
  }

  /** The registers of a guest that runs, all of which are in the processor. */
  copyRunning(into: CpuState): void {
    const physical = this.#physical;
    for (const pairs of [SNAPSHOT, REST, ...SEGMENT_PAIRS, [PENDING_DEBUG]]) {
      for (const [cell] of pairs) into.setNumber(cell, physical.getNumber(cell));
    }
    for (const cell of [...SAVED_REGISTERS, ...PROCESSOR_CELLS, CELL.activity, CELL.repeating]) {
      into.set(cell, physical.get(cell));
    }
    into.copyFloatingFrom(physical);
    for (let segment = 0; segment < SEGMENT_COUNT; segment++) into.refreshSegment(segment);
    into.set(CELL.cpl, physical.get(CELL.cpl));
  }

  /** The same, into the processor. */
  putProcessorRegisters(): void {
    for (const cell of SAVED_REGISTERS) this.#physical.set(cell, this.state.get(cell));
    for (const cell of PROCESSOR_CELLS) this.#physical.set(cell, this.state.get(cell));
    this.#physical.copyFloatingFrom(this.state);
  }

  /** All fields that hold guest registers, for loading a whole guest; nothing is compared. */
  writeAll(): void {
    this.#known.clear();
    for (const pairs of [SNAPSHOT, REST, ...SEGMENT_PAIRS]) {
      for (const pair of pairs) {
        const value = this.state.get(pair[0]);
        this.#vmcs.write(pair[1], value);
        this.#known.set(pair, value);
      }
    }
    this.#complete = true;
  }

  /** Reads all of them by another port (free of charge, for export). */
  readAll(port: Pick<VmcsPort, "read">): void {
    for (const pairs of [SNAPSHOT, REST, ...SEGMENT_PAIRS]) {
      for (const [cell, field] of pairs) this.state.set(cell, port.read(field));
    }
    for (let segment = 0; segment < SEGMENT_COUNT; segment++) this.state.refreshSegment(segment);
    this.state.set(CELL.cpl, (this.state.segmentRights(SEG.ss) >>> RIGHTS.DPL_SHIFT) & 3);
  }

  #fetch(pair: Pair): void {
    if (this.#known.has(pair)) return;
    const value = this.#vmcs.read(pair[1]);
    this.state.set(pair[0], value);
    this.#known.set(pair, value);
  }
}
