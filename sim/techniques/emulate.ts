/**
 * Executing single instructions for a guest: fetched through the guest's own tables and decoded, or given as
 * micro-ops where the exit already says what the instruction is. The interpreter is the core's.
 */
import { InstructionDecoder, MAX_INSTRUCTION_BYTES } from "../cpu/decode.ts";
import { ACCESS } from "../cpu/environment.ts";
import { HELPER_NAMES } from "../cpu/helpers.ts";
import { execute } from "../cpu/interpreter.ts";
import { type Lifted, lift } from "../cpu/lift/lift.ts";
import { endShadow, type Rule } from "../cpu/lift/rule.ts";
import { type MicroOp, OP } from "../cpu/micro-ops.ts";
import { costTicks, type Profile } from "../cpu/profiles/profile.ts";
import {
  BLOCKING,
  CELL,
  type CpuState,
  FLAG,
  modeName,
  NO_ERROR_CODE,
  RIGHTS,
  raise,
  SEG,
  SEGMENT_COUNT,
  selectorCell,
  unmodelled,
  VECTOR,
} from "../cpu/state.ts";
import { ENABLED_BREAKPOINT } from "../cpu/system/breakpoints.ts";
import { DR6_BT } from "../cpu/system/tasks.ts";
import type { Ledger } from "../ledger.ts";
import { PAGE_SIZE, pageOffset } from "../memory/address.ts";
import { causeOf } from "./causes.ts";
import type { VirtualEnvironment } from "./virtual-environment.ts";

/** DR6.BS: the trap of single step; in the same place in pending debug exceptions. */
export const SINGLE_STEP = 1 << 14;
/** Pending debug exceptions that are a trap (SDM vol. 3, 25.4.2). */
export const DEBUG_TRAPS = SINGLE_STEP | ENABLED_BREAKPOINT | DR6_BT;

/** What of the state before an instruction decides what comes after it. */
export interface Before {
  flags: number;
  /** The interrupt shadow of the instruction before. */
  blocking: number;
}

export function beforeInstruction(state: CpuState, before: Before): void {
  before.flags = state.flags;
  before.blocking = state.get(CELL.interruptibility) & (BLOCKING.STI | BLOCKING.MOV_SS);
  if ((before.flags & FLAG.RF) !== 0) state.set(CELL.resumeLoaded, 0);
}

/**
 * After an instruction that did not signal, or an iteration of a string instruction: the interrupt shadow and RF end,
 * and the trap of TF is pending (cpu/core.ts does the same).
 */
export function afterInstruction(state: CpuState, before: Before, rule: Partial<Rule>): void {
  if (before.blocking !== 0) endShadow(state, before.blocking, rule);
  const loaded = rule.loadsRf === true || state.get(CELL.resumeLoaded) !== 0;
  // RF lasts until the last iteration of a string instruction.
  const ended = !loaded && state.get(CELL.repeating) === 0;
  if ((before.flags & FLAG.RF) !== 0 && ended) state.flags &= ~FLAG.RF;
  if ((before.flags & FLAG.TF) !== 0) state.set(CELL.pendingDebug, state.get(CELL.pendingDebug) | SINGLE_STEP);
}

/**
 * After the only instruction that is executed for a guest: the same, and breakpoints that it met are pending. What is left of a
 * string instruction begins again, with RF = 1 for the trap between two iterations (SDM vol. 3, 17.3.1.1).
 */
export function completeInstruction(state: CpuState, before: Before, rule: Partial<Rule>): void {
  afterInstruction(state, before, rule);
  const met = state.get(CELL.breakpointsMet);
  if (met !== 0) state.set(CELL.pendingDebug, state.get(CELL.pendingDebug) | met | ENABLED_BREAKPOINT);
  if (state.get(CELL.repeating) !== 0) state.flags |= FLAG.RF;
  state.set(CELL.repeating, 0);
}

/** Slots of the cache of decoded instructions, which is mapped directly. */
const DECODED_SLOTS = 4096;

const RECENT_SLOTS = 1024;

/** A decoded instruction: where its first byte is in guest-physical space, and for which mode. */
interface Decoded {
  readonly address: number;
  readonly mode: number;
  readonly bytes: Uint8Array;
  lifted: Lifted | null;
}

/** The cache as plain data. */
export type SavedDecoded = readonly {
  readonly address: number;
  readonly mode: number;
  readonly bytes: readonly number[];
}[];

export class Emulator {
  /** Whether `next` found the instruction decoded already. */
  found = false;
  /** Instructions that exit handlers have begun to execute, which are nowhere counted as the guest's. */
  handled = 0;
  readonly #state: CpuState;
  readonly #env: VirtualEnvironment;
  readonly #ledger: Ledger;
  readonly #decoder: InstructionDecoder;
  readonly #profile: Profile;
  /** What was lifted lately, by its bytes: for the simulator's speed, nothing that the monitor has or pays for. */
  readonly #recent: ({ mode: number; bytes: Uint8Array; lifted: Lifted } | undefined)[] = new Array(RECENT_SLOTS);
  readonly #decoded: (Decoded | null)[] = new Array(DECODED_SLOTS).fill(null);
  readonly #causes = new WeakMap<Lifted, string | null>();
  #occupied = 0;

  constructor(state: CpuState, env: VirtualEnvironment, ledger: Ledger) {
    this.#state = state;
    this.#env = env;
    this.#ledger = ledger;
    this.#profile = env.profile;
    this.#decoder = new InstructionDecoder(env.profile);
  }

  /** Fetches and decodes the instruction at CS:EIP; null with a fault, or `unmodelled`, signalled. */
  fetch(): Lifted | null {
    const linear = this.#linear();
    if (linear < 0) return null;
    const physical = this.#env.translate(linear, this.#access());
    return physical < 0 ? null : this.#decode(linear, physical);
  }

  /**
   * The same for one instruction after another: what was decoded before is not decoded again, as long as its bytes are
   * still there. Instructions that cross a page are decoded each time.
   */
  next(): Lifted | null {
    this.found = false;
    const linear = this.#linear();
    if (linear < 0) return null;
    const physical = this.#env.translate(linear, this.#access());
    if (physical < 0) return null;
    const mode = this.#mode();
    const slot = (physical ^ (mode << 10)) & (DECODED_SLOTS - 1);
    const known = this.#decoded[slot] as Decoded | null;
    if (known !== null && known.address === physical && known.mode === mode && this.#env.holds(physical, known.bytes)) {
      this.found = true;
      known.lifted ??= this.#lift(known.bytes);
      return known.lifted !== null && this.#inside(known.bytes.length) ? known.lifted : null;
    }
    const lifted = this.#decode(linear, physical);
    if (lifted === null || lifted.length > PAGE_SIZE - pageOffset(linear)) return lifted;
    if (known === null) this.#occupied++;
    this.#decoded[slot] = { address: physical, mode, bytes: this.#bytes.slice(0, lifted.length), lifted };
    return lifted;
  }

  /** Forgets what was decoded: the guest is about to run where nobody sees what it writes. */
  forget(): void {
    if (this.#occupied !== 0) this.#decoded.fill(null);
    this.#occupied = 0;
  }

  /** The technique-neutral cause that a fetched instruction is; null for one that is none. */
  cause(lifted: Lifted): string | null {
    return this.#causes.get(lifted) ?? null;
  }

  save(): SavedDecoded {
    return this.#decoded
      .filter((one) => one !== null)
      .map(({ address, mode, bytes }) => ({ address, mode, bytes: [...bytes] }));
  }

  restore(saved: SavedDecoded): void {
    this.#decoded.fill(null);
    this.#occupied = saved.length;
    for (const { address, mode, bytes } of saved) {
      const slot = (address ^ (mode << 10)) & (DECODED_SLOTS - 1);
      this.#decoded[slot] = { address, mode, bytes: Uint8Array.from(bytes), lifted: null };
    }
  }

  /** Runs micro-ops over the virtual processor; what they signal is in its state. */
  run(ops: readonly MicroOp[]): void {
    execute(ops, 0, null, this.#state, this.#env, this.#ledger);
  }

  /** Linear address of CS:EIP, or -1 with #GP signalled because it is outside of the segment. */
  #linear(): number {
    const state = this.#state;
    if (state.eip > state.segmentLimit(SEG.cs)) {
      raise(state, VECTOR.GP, 0);
      return -1;
    }
    return (state.segmentBase(SEG.cs) + state.eip) >>> 0;
  }

  /** Whether all bytes of the instruction are inside of the code segment; else #GP(0). */
  #inside(length: number): boolean {
    const state = this.#state;
    if (state.eip + length - 1 <= state.segmentLimit(SEG.cs)) return true;
    raise(state, VECTOR.GP, 0);
    return false;
  }

  #access(): number {
    return ACCESS.FETCH | (this.#state.cpl === 3 ? ACCESS.USER : 0);
  }

  /** Code and stack size as a number: part of a decoded instruction's identity. */
  #mode(): number {
    const state = this.#state;
    const big = (state.segmentRights(SEG.cs) & RIGHTS.DB) !== 0 ? 1 : 0;
    return big | ((state.segmentRights(SEG.ss) & RIGHTS.DB) !== 0 ? 2 : 0);
  }

  /** What the bytes that `#decode` has read are, if they were lifted lately for the same mode; null: not known. */
  #recall(): Lifted | null {
    const known = this.#recent[this.#recentSlot()];
    if (known === undefined || known.mode !== this.#mode() || known.bytes.length > this.#bytes.length) return null;
    for (let i = 0; i < known.bytes.length; i++) if (known.bytes[i] !== this.#bytes[i]) return null;
    return known.lifted;
  }

  #recentSlot(): number {
    const [first = 0, second = 0, third = 0] = this.#bytes;
    return (first ^ (second << 2) ^ (third << 4)) & (RECENT_SLOTS - 1);
  }

  /** Bytes that `#decode` has read. */
  #bytes: Uint8Array = new Uint8Array();

  /** In the processor's order: the segment's limit and page faults of each page's bytes, the limit of all of them, then what they are. */
  #decode(linear: number, physical: number): Lifted | null {
    const state = this.#state;
    const bits = (this.#mode() & 1) !== 0 ? 32 : 16;
    const room = PAGE_SIZE - pageOffset(linear);
    this.#bytes = this.#env.fetchBytes(physical, Math.min(room, MAX_INSTRUCTION_BYTES));
    const known = this.#recall();
    if (known !== null) return this.#inside(known.length) ? known : null;
    let outcome = this.#decoder.decode(this.#bytes, bits);
    if (outcome === "truncated" && room < MAX_INSTRUCTION_BYTES) {
      // Bytes beyond the segment are not fetched: #GP comes before what their page would raise.
      if (!this.#inside(room + 1)) return null;
      const second = this.#env.translate((linear + room) >>> 0, this.#access());
      if (second < 0) return null;
      const rest = this.#env.fetchBytes(second, MAX_INSTRUCTION_BYTES - room);
      this.#bytes = Uint8Array.from([...this.#bytes, ...rest]);
      outcome = this.#decoder.decode(this.#bytes, bits);
    }
    const length = outcome === "truncated" ? MAX_INSTRUCTION_BYTES : this.#decoder.instruction.length;
    if (!this.#inside(length)) return null;
    if (outcome === "decoded") {
      const lifted = this.#lifted(length);
      if (lifted !== null)
        this.#recent[this.#recentSlot()] = { mode: this.#mode(), bytes: this.#bytes.slice(0, length), lifted };
      return lifted;
    }
    raise(state, outcome === "undefined" ? VECTOR.UD : VECTOR.GP, outcome === "undefined" ? NO_ERROR_CODE : 0);
    return null;
  }

  /** Lifts bytes that were decoded before. */
  #lift(bytes: Uint8Array): Lifted | null {
    this.#bytes = bytes;
    this.#decoder.decode(bytes, (this.#mode() & 1) !== 0 ? 32 : 16);
    return this.#lifted(bytes.length);
  }

  #lifted(length: number): Lifted | null {
    const mode = this.#mode();
    const bits = (mode & 1) !== 0 ? 32 : 16;
    const stackBits = (mode & 2) !== 0 ? 32 : 16;
    const lifted = lift(this.#decoder.instruction, { bits, stackBits }, costTicks(this.#profile));
    if (lifted !== null) this.#causes.set(lifted, causeOf(this.#decoder.instruction));
    else {
      const state = this.#state;
      const text = Array.from(this.#bytes.subarray(0, length), (b) => digits(b, 2)).join(" ");
      const where = `${digits(state.selector(SEG.cs), 4)}:${digits(state.eip, 8)}`;
      unmodelled(state, `instruction ${text} (${modeName(state)}, CPL ${state.cpl}) at ${where}, emulated`);
    }
    return lifted;
  }
}

function digits(value: number, count: number): string {
  return value.toString(16).padStart(count, "0");
}

/** Parts of a processor's state that an instruction may touch beyond the general registers, EIP and EFLAGS. */
export interface Requirements {
  /** Bit n: base, limit and rights of segment register n of state.ts SEG: an access through it. */
  readonly segments: number;
  /** Bit n: the selector of segment register n. */
  readonly selectors: number;
  /** Everything, descriptor tables and control registers included. */
  readonly all: boolean;
}

/** All of the guest's state. */
export const EVERYTHING: Requirements = { segments: 0xff, selectors: 0xff, all: true };

/** Helpers that need no more than the segments of their own operands and CPL. */
const PLAIN_HELPERS: readonly string[] = [
  "decimal",
  "salc",
  "bound",
  "compareExchange8",
  "cpuid",
  "rdtsc",
  "rdmsr",
  "invlpg",
  "invd",
  "wbinvd",
  "hlt",
  "pause",
  "readCr",
  "clts",
  "cli",
  "sti",
  "flagsForPush",
  "popFlags",
  "smsw",
];
const STACK_HELPERS: readonly string[] = ["pushAll", "popAll", "enter"];

/** What micro-ops will read or write, so that a monitor fetches no more of the guest's state than it must. */
export function requirements(ops: readonly MicroOp[]): Requirements {
  let segments = 1 << SEG.cs;
  let selectors = 0;
  let all = false;
  for (const u of ops) {
    switch (u.op) {
      case OP.LOAD:
      case OP.LOAD_UPDATE:
      case OP.STORE:
        segments |= 1 << u.x;
        break;
      case OP.MOV:
        for (let n = 0; n < SEGMENT_COUNT; n++) if (u.a === selectorCell(n)) selectors |= 1 << n;
        break;
      case OP.STRING:
        segments |= (1 << u.a) | (1 << SEG.es);
        break;
      case OP.HELPER: {
        const name = HELPER_NAMES[u.imm] as string;
        if (STACK_HELPERS.includes(name)) segments |= 1 << SEG.ss;
        else if (name === "compareExchange8") segments |= 1 << u.x;
        else if (!PLAIN_HELPERS.includes(name)) all = true;
        break;
      }
      default:
    }
  }
  return { segments, selectors, all };
}
