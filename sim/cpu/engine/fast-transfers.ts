/**
 * The common ways into a handler and back, in one piece each: delivery of an event through a 32-bit interrupt or trap
 * gate (system/delivery.ts), and IRET of 32 bits to the same level or an outer one (system/iret.ts), in protected mode
 * with flat 32-bit stacks, descriptors of the GDT whose accessed bit is set, and all that they touch in the MMU's fast
 * table. Everything is looked at first; with anything unusual nothing has been done, and the system helpers, which say
 * what these are, do it. The interpreter alone never comes here.
 */
import type { Account, Ledger } from "../../ledger.ts";
import { CODE_GRANULE_SHIFT, type PhysicalMemory, RAM_OFFSET, REASON } from "../../memory/physical.ts";
import type { Accounts } from "../accounts.ts";
import { ACCESS } from "../environment.ts";
import type { PhysicalEnvironment } from "../physical-environment.ts";
import { type CostName, type CostTicks, costTicks } from "../profiles/profile.ts";
import {
  ACTIVITY,
  BLOCKING,
  baseCell,
  CELL,
  type CpuState,
  CR0,
  FAST_READ,
  FAST_WRITE,
  FLAG,
  fastCell,
  GPR,
  NO_ERROR_CODE,
  RIGHTS,
  SEG,
  selectorCell,
  VECTOR,
} from "../state.ts";
import { type DeliveryEvent, flagsImage } from "../system/delivery.ts";
import { baseOf, limitOf, rightsOf } from "../system/descriptors.ts";
import { returnFlags } from "../system/flags.ts";
import { dropPrivilegedSegments } from "../system/segments.ts";
import type { EngineParts } from "./engine.ts";
import type { EngineLayout } from "./layout.ts";
import { CODE, EXPAND_DOWN, GATE, STACK } from "./usual-descriptors.ts";

/** Where what is delivered comes from. */
export const ORIGIN = { EXCEPTION: 0, SOFTWARE: 1, EXTERNAL: 2 } as const;

const PAGE_MASK = 0xfff;
/** Selectors of the GDT that are not null: bit 2 is clear, and some of the index is set. */
const isGlobal = (selector: number): boolean => (selector & 4) === 0 && (selector & 0xfff8) !== 0;

const dplOf = (high: number): number => (high >>> 13) & 3;

export class FastTransfers {
  readonly #state: CpuState;
  readonly #env: PhysicalEnvironment;
  readonly #memory: PhysicalMemory;
  readonly #words: Int32Array;
  readonly #granules: Uint8Array;
  readonly #tags: Int32Array;
  readonly #frames: Int32Array;
  readonly #bits: number;
  readonly #ledger: Ledger;
  readonly #accounts: Accounts;
  readonly #ticks: CostTicks;
  /** Deliveries and returns so far. */
  done = 0;

  constructor(parts: EngineParts, layout: EngineLayout) {
    const { memory } = parts;
    this.#state = parts.state;
    this.#env = parts.env;
    this.#memory = memory;
    this.#ledger = parts.ledger;
    this.#accounts = parts.accounts;
    this.#ticks = costTicks(parts.profile);
    this.#words = memory.i32;
    this.#granules = memory.codeGranules;
    const length = (ACCESS.USER | ACCESS.WRITE) + 1;
    this.#bits = layout.fastBits;
    this.#tags = new Int32Array(memory.buffer, layout.fastTags, length << layout.fastBits);
    this.#frames = new Int32Array(memory.buffer, layout.fastFrames, length << layout.fastBits);
  }

  #charge(account: Account, cost: CostName): void {
    this.#ledger.charge(account, this.#ticks[cost], cost);
  }

  /** Index of the word at an aligned linear address, of which `bytes` bytes lie in one page; -1: not here. */
  #word(linear: number, bytes: number, access: number): number {
    const page = linear >>> 12;
    const slot = (access << this.#bits) | (page & ((1 << this.#bits) - 1));
    const offset = linear & PAGE_MASK;
    if (this.#tags[slot] !== page << 12 || (linear & 3) !== 0 || offset + bytes > PAGE_MASK + 1) return -1;
    return ((this.#frames[slot] as number) + offset) >> 2;
  }

  /** Index of the first word of the descriptor that a selector names; -1: not here. */
  #descriptor(selector: number): number {
    const { i32 } = this.#state;
    if (!isGlobal(selector) || (selector | 7) > (i32[CELL.gdtrLimit] as number) >>> 0) return -1;
    return this.#word(((i32[CELL.gdtrBase] as number) + (selector & 0xfff8)) >>> 0, 8, ACCESS.READ);
  }

  /** Whether the bytes from a word on, at most a granule of them, are no code and nobody watches them. */
  #plain(word: number, bytes: number): boolean {
    const first = word * 4 - RAM_OFFSET;
    const granules = this.#granules;
    return granules[first >> CODE_GRANULE_SHIFT] === 0 && granules[(first + bytes - 1) >> CODE_GRANULE_SHIFT] === 0;
  }

  /** Nothing can fail any more: so many descriptors have been read. */
  #commit(count: number): void {
    this.done++;
    const { references } = this.#memory;
    references[REASON.descriptor] = (references[REASON.descriptor] as number) + count;
  }

  /** Delivers an event; false: nothing has been done. */
  deliver(event: DeliveryEvent): boolean {
    const { vector, kind } = event;
    if (vector === VECTOR.DB || kind === "nmi" || kind === "privileged-software") return false;
    const from = kind === "exception" ? ORIGIN.EXCEPTION : kind === "external" ? ORIGIN.EXTERNAL : ORIGIN.SOFTWARE;
    return this.enter(vector, from, event.errorCode, event.returnEip, flagsImage(this.#state, event));
  }

  /** Enters the handler of a vector (not #DB) with an error code or NO_ERROR_CODE; false: nothing has been done. */
  enter(vector: number, from: number, errorCode: number, returnEip: number, image: number): boolean {
    const state = this.#state;
    const { i32 } = state;
    const words = this.#words;
    if ((state.cr0 & CR0.PE) === 0 || (state.flags & FLAG.VM) !== 0) return false;
    if (vector * 8 + 7 > (i32[CELL.idtrLimit] as number) >>> 0) return false;
    const gate = this.#word(((i32[CELL.idtrBase] as number) + vector * 8) >>> 0, 8, ACCESS.READ);
    if (gate < 0) return false;
    const gateLow = words[gate] as number;
    const gateHigh = words[gate + 1] as number;
    const cpl = i32[CELL.cpl] as number;
    const software = from === ORIGIN.SOFTWARE;
    if ((gateHigh & GATE.mask) !== GATE.value || (software && dplOf(gateHigh) < cpl)) return false;

    const selector = gateLow >>> 16;
    const code = this.#descriptor(selector);
    if (code < 0) return false;
    const codeLow = words[code] as number;
    const codeHigh = words[code + 1] as number;
    const level = dplOf(codeHigh);
    const eip = ((gateHigh & 0xffff0000) | (gateLow & 0xffff)) >>> 0;
    if ((codeHigh & CODE.mask) !== CODE.value || level > cpl || eip > limitOf(codeLow, codeHigh)) return false;

    const returns = errorCode === NO_ERROR_CODE ? 3 : 4;
    const inner = level < cpl;
    const bytes = (inner ? returns + 2 : returns) * 4;
    let pointer = i32[GPR.esp] as number;
    let base = i32[baseCell(SEG.ss)] as number;
    let newSs = 0;
    let stackLow = 0;
    let stackHigh = 0;
    if (inner) {
      const at = level * 8 + 4;
      if ((state.segmentRights(SEG.tr) & 8) === 0 || at + 5 > state.segmentLimit(SEG.tr)) return false;
      const tss = this.#word(((i32[baseCell(SEG.tr)] as number) + at) >>> 0, 8, ACCESS.READ);
      if (tss < 0) return false;
      pointer = words[tss] as number;
      newSs = (words[tss + 1] as number) & 0xffff;
      const stack = this.#descriptor(newSs);
      if (stack < 0) return false;
      stackLow = words[stack] as number;
      stackHigh = words[stack + 1] as number;
      if ((stackHigh & (STACK.mask | EXPAND_DOWN)) !== STACK.value) return false;
      if ((newSs & 3) !== level || dplOf(stackHigh) !== level || limitOf(stackLow, stackHigh) !== 0xffffffff)
        return false;
      base = baseOf(stackLow, stackHigh) | 0;
    } else if (!this.#stackIsFlat(FAST_WRITE)) return false;
    const user = level === 3 ? ACCESS.USER : 0;
    const frame = this.#word((base + pointer - bytes) >>> 0, bytes, ACCESS.WRITE | user);
    if (frame < 0 || !this.#plain(frame, bytes)) return false;

    this.#commit(inner ? 5 : 2);
    let push = frame + (bytes >> 2);
    if (inner) {
      words[--push] = i32[selectorCell(SEG.ss)] as number;
      words[--push] = i32[GPR.esp] as number;
    }
    words[--push] = image;
    words[--push] = i32[selectorCell(SEG.cs)] as number;
    words[--push] = returnEip;
    if (push > frame) words[--push] = errorCode;
    state.set(GPR.esp, pointer - bytes);
    if (inner) state.setSegment(SEG.ss, newSs, baseOf(stackLow, stackHigh), 0xffffffff, rightsOf(stackHigh));
    const cs = (selector & 0xfffc) | level;
    state.setSegment(SEG.cs, cs, baseOf(codeLow, codeHigh), limitOf(codeLow, codeHigh), rightsOf(codeHigh));
    state.set(CELL.cpl, level);
    const cleared = FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM | ((gateHigh & 0x100) === 0 ? FLAG.IF : 0);
    state.flags &= ~cleared;
    state.eip = eip;
    state.set(CELL.interruptibility, state.get(CELL.interruptibility) & ~(BLOCKING.STI | BLOCKING.MOV_SS));
    state.set(CELL.activity, ACTIVITY.ACTIVE);
    const { delivery } = this.#accounts.current;
    if (software) this.#charge(delivery, inner ? "intInner" : "intSame");
    else if (from === ORIGIN.EXTERNAL) this.#charge(delivery, "interrupt");
    else this.#charge(delivery, vector === VECTOR.PF ? "pageFault" : "exception");
    return true;
  }

  /** Whether the current stack is flat and of 32 bits. */
  #stackIsFlat(access: number): boolean {
    const state = this.#state;
    if ((state.segmentRights(SEG.ss) & RIGHTS.DB) === 0) return false;
    return ((state.i32[fastCell(SEG.ss)] as number) & access) !== 0;
  }

  /** IRET of 32 bits with all its costs but the instruction's own; false: nothing has been done. */
  interruptReturn(): boolean {
    const state = this.#state;
    const { i32 } = state;
    const words = this.#words;
    if ((state.cr0 & CR0.PE) === 0 || (state.flags & (FLAG.VM | FLAG.NT)) !== 0) return false;
    if ((state.get(CELL.interruptibility) & BLOCKING.NMI) !== 0 || !this.#stackIsFlat(FAST_READ)) return false;
    const cpl = i32[CELL.cpl] as number;
    const user = cpl === 3 ? ACCESS.USER : 0;
    const pointer = i32[GPR.esp] as number;
    const linear = ((i32[baseCell(SEG.ss)] as number) + pointer) >>> 0;
    const frame = this.#word(linear, 12, ACCESS.READ | user);
    if (frame < 0) return false;
    const eip = (words[frame] as number) >>> 0;
    const cs = (words[frame + 1] as number) & 0xffff;
    const image = words[frame + 2] as number;
    const level = cs & 3;
    if (((image & FLAG.VM) !== 0 && cpl === 0) || level < cpl) return false;
    const code = this.#descriptor(cs);
    if (code < 0) return false;
    const codeLow = words[code] as number;
    const codeHigh = words[code + 1] as number;
    const limit = limitOf(codeLow, codeHigh);
    if ((codeHigh & CODE.mask) !== CODE.value || dplOf(codeHigh) !== level || eip > limit) return false;
    if (level === cpl) {
      this.#commit(1);
      state.set(GPR.esp, pointer + 12);
      state.setSegment(SEG.cs, cs, baseOf(codeLow, codeHigh), limit, rightsOf(codeHigh));
      state.eip = eip;
      returnFlags(state, this.#env, image, 32);
      this.#charge(this.#accounts.current.instructions, "iretSame");
      return true;
    }
    if (this.#word(linear, 20, ACCESS.READ | user) < 0) return false;
    const ss = (words[frame + 4] as number) & 0xffff;
    const stack = this.#descriptor(ss);
    if (stack < 0) return false;
    const stackLow = words[stack] as number;
    const stackHigh = words[stack + 1] as number;
    if ((stackHigh & STACK.mask) !== STACK.value) return false;
    if ((ss & 3) !== level || dplOf(stackHigh) !== level) return false;
    this.#commit(2);
    const outer = words[frame + 3] as number;
    returnFlags(state, this.#env, image, 32);
    state.setSegment(SEG.cs, cs, baseOf(codeLow, codeHigh), limit, rightsOf(codeHigh));
    state.setSegment(SEG.ss, ss, baseOf(stackLow, stackHigh), limitOf(stackLow, stackHigh), rightsOf(stackHigh));
    state.set(GPR.esp, outer);
    state.set(CELL.cpl, level);
    dropPrivilegedSegments(state);
    state.eip = eip;
    this.#charge(this.#accounts.current.instructions, "iretOuter");
    return true;
  }
}
