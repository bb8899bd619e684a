/**
 * Executing single instructions for a guest: fetched through the guest's own tables and decoded, or given as
 * micro-ops where the exit already says what the instruction is. The interpreter is the core's.
 */
import { InstructionDecoder, MAX_INSTRUCTION_BYTES } from "../cpu/decode.ts";
import { ACCESS } from "../cpu/environment.ts";
import { HELPER_NAMES } from "../cpu/helpers.ts";
import { execute } from "../cpu/interpreter.ts";
import { type Lifted, lift } from "../cpu/lift/lift.ts";
import { type MicroOp, OP } from "../cpu/micro-ops.ts";
import { costTicks, type Profile } from "../cpu/profiles/profile.ts";
import {
  type CpuState,
  OUTCOME,
  RIGHTS,
  raise,
  SEG,
  SEGMENT_COUNT,
  selectorCell,
  unmodelled,
  VECTOR,
} from "../cpu/state.ts";
import type { Ledger } from "../ledger.ts";
import { PAGE_SIZE, pageOffset } from "../memory/address.ts";
import type { VirtualEnvironment } from "./virtual-environment.ts";

export class Emulator {
  readonly #state: CpuState;
  readonly #env: VirtualEnvironment;
  readonly #ledger: Ledger;
  readonly #decoder: InstructionDecoder;
  readonly #profile: Profile;

  constructor(state: CpuState, env: VirtualEnvironment, ledger: Ledger) {
    this.#state = state;
    this.#env = env;
    this.#ledger = ledger;
    this.#profile = env.profile;
    this.#decoder = new InstructionDecoder(env.profile);
  }

  /** Fetches and decodes the instruction at CS:EIP; null with a fault, or `unmodelled`, signalled. */
  fetch(): Lifted | null {
    const state = this.#state;
    const linear = (state.segmentBase(SEG.cs) + state.eip) >>> 0;
    const access = ACCESS.FETCH | (state.cpl === 3 ? ACCESS.USER : 0);
    const bits = (state.segmentRights(SEG.cs) & RIGHTS.DB) !== 0 ? 32 : 16;
    const stackBits = (state.segmentRights(SEG.ss) & RIGHTS.DB) !== 0 ? 32 : 16;
    const room = PAGE_SIZE - pageOffset(linear);
    let bytes = this.#read(linear, Math.min(room, MAX_INSTRUCTION_BYTES), access);
    if (bytes === null) return null;
    let outcome = this.#decoder.decode(bytes, bits);
    if (outcome === "truncated" && room < MAX_INSTRUCTION_BYTES) {
      const rest = this.#read((linear + room) >>> 0, MAX_INSTRUCTION_BYTES - room, access);
      if (rest === null) return null;
      bytes = Uint8Array.from([...bytes, ...rest]);
      outcome = this.#decoder.decode(bytes, bits);
    }
    if (outcome !== "decoded") {
      raise(state, outcome === "undefined" ? VECTOR.UD : VECTOR.GP, outcome === "undefined" ? -1 : 0);
      return null;
    }
    const lifted = lift(this.#decoder.instruction, { bits, stackBits }, costTicks(this.#profile));
    if (lifted === null) {
      unmodelled(state, `emulated instruction ${Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ")}`);
    }
    return lifted;
  }

  /** Runs micro-ops over the virtual processor; what they signal is in its state. */
  run(ops: readonly MicroOp[]): void {
    execute(ops, 0, null, this.#state, this.#env, this.#ledger);
  }

  #read(linear: number, length: number, access: number): Uint8Array | null {
    const physical = this.#env.translate(linear, access);
    if (physical < 0 || this.#state.signal.outcome !== OUTCOME.NONE) return null;
    return this.#env.fetchBytes(physical, length);
  }
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
