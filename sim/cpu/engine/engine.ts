/**
 * The engine: decides which code is compiled, when, and keeps what was compiled. It changes the speed of the simulator
 * and nothing else: with and without it every run is the same to the tick.
 *
 * A block that the interpreter has run often becomes the entry of a region (region.ts); regions that are wanted are
 * compiled together, so that modules are few. A region lives until a byte that it was made from is written.
 */
import type { Account, Ledger } from "../../ledger.ts";
import { type PhysicalMemory, RAM_OFFSET, REASON } from "../../memory/physical.ts";
import type { Accounts } from "../accounts.ts";
import type { Block, BlockMode, CodeCache } from "../code-cache.ts";
import { ACCESS } from "../environment.ts";
import { HELPER_NUMBER, HELPERS, type Helper } from "../helpers.ts";
import { execute } from "../interpreter.ts";
import type { Lifted } from "../lift/lift.ts";
import { endShadow, type Rule } from "../lift/rule.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import type { Mmu } from "../mmu.ts";
import type { PhysicalEnvironment } from "../physical-environment.ts";
import { costTicks, type Profile } from "../profiles/profile.ts";
import { BLOCKING, CELL, type CpuState, fastCell, OUTCOME } from "../state.ts";
import { compileRegion } from "./compile.ts";
import { FUNCTION_TYPE, INTERPRETED, LATER_ACCESS, TRANSLATE, transferMode } from "./contract.ts";
import { FastTransfers } from "./fast-transfers.ts";
import { type EngineLayout, TRANSFER_BYTES, TRANSFER_SLOTS, transferSlot } from "./layout.ts";
import { buildRegion, type Region, type RegionInstruction } from "./region.ts";
import { FUNCTION_TYPES, runtimeFunctions } from "./runtime.ts";
import type { SegmentNow } from "./segments-code.ts";
import { encodeModule, type FunctionBody } from "./wasm.ts";

/** When code is compiled. Never changes a result. */
export interface EnginePolicy {
  /** Times that a block is interpreted before it is wanted as the entry of a region. */
  readonly hot: number;
  /** Regions that are wanted before they are compiled together. */
  readonly batch: number;
  /** Blocks that run before fewer are compiled. */
  readonly patience: number;
}

export const DEFAULT_POLICY: EnginePolicy = { hot: 40, batch: 12, patience: 4000 };
/** Compiles whatever runs twice, at once: for tests. */
export const EAGER_POLICY: EnginePolicy = { hot: 2, batch: 1, patience: 1 };
/** Regions at the most; then all are dropped, and what is hot comes back. */
const CAPACITY = 1024;
const TABLE_SIZE = CAPACITY + 1;

/** A compiled region, as the code cache and the core know it. */
export interface CompiledRegion {
  readonly entry: () => number;
  readonly ranges: readonly (readonly [physical: number, length: number])[];
  /** The code cache calls it when bytes of the region are written. */
  drop(): void;
}

interface Wanted {
  readonly block: Block;
  readonly mode: BlockMode;
  readonly user: boolean;
  readonly linear: number;
}

export interface EngineParts {
  readonly memory: PhysicalMemory;
  readonly state: CpuState;
  readonly stateOffset: number;
  readonly env: PhysicalEnvironment;
  readonly mmu: Mmu;
  readonly ledger: Ledger;
  readonly accounts: Accounts;
  readonly code: CodeCache;
  readonly profile: Profile;
  readonly policy: EnginePolicy;
  readonly boundaries: Boundaries;
}

/** The core's part between instructions. */
export interface Boundaries {
  /**
   * Does what is due at a boundary. The index of the mode of the code that is next, or TO_THE_CORE when the core's loop
   * must look at it.
   */
  next(): number;
  /** Acts on the signal of an instruction that is charged to `account`, then as `next`. */
  signalled(account: Account): number;
  /** Has the interpreter run what compiled code does not (`why`: EXIT), then as `next`. */
  interpret(why: number): number;
  /** The fetch of what is at EIP, whose page the fast table does not have; then as `next`, `mode` being the mode. */
  fetch(mode: number): number;
  /** Whether a boundary before the deadline has nothing to do while STI blocks interrupts. */
  quietUnderSti(): boolean;
}

export class Engine {
  readonly #parts: EngineParts;
  readonly #layout: EngineLayout;
  readonly #table = new WebAssembly.Table({ element: "anyfunc", initial: TABLE_SIZE });
  readonly #transfers: Int32Array;
  readonly #freeEntries: number[] = [];
  readonly #regions = new Set<CompiledRegion>();
  /** Interpreted instructions of regions, by number. */
  readonly #instructions: (Interpreted | undefined)[] = [];
  readonly #freeInstructions: number[] = [];
  /** Blocks whose region met segments that it was not compiled for. */
  readonly #unfit = new WeakSet<Block>();
  /** Deliveries and returns in one piece. */
  readonly transfers: FastTransfers;
  #wanted: Wanted[] = [];
  #waited = 0;
  /** Modules, regions and instructions compiled so far, and regions dropped. */
  modules = 0;
  slowTranslations = 0;
  interpreted = 0;
  compiled = 0;
  dropped = 0;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    const { memory, mmu, env, profile } = parts;
    this.#layout = {
      state: parts.stateOffset,
      time: parts.ledger.cells.byteOffset,
      granules: memory.codeGranules.byteOffset,
      ...mmu.fastTables(),
      ...env.predictor.layout(),
      transfers: memory.engineArea.transfers,
      descriptorReferences: memory.references.byteOffset + REASON.descriptor * 8,
      mispredict: costTicks(profile).mispredict,
    };
    this.transfers = new FastTransfers(parts, this.#layout);
    this.#transfers = new Int32Array(memory.buffer, memory.engineArea.transfers, (TRANSFER_SLOTS * TRANSFER_BYTES) / 4);
    this.#transfers.fill(-1);
    for (let n = TABLE_SIZE - 1; n > 0; n--) this.#freeEntries.push(n);
  }

  /** Counts a block that the interpreter is about to run at a linear address; compiles when it is time to. */
  ran(block: Block, linear: number, user: boolean): void {
    if (++block.heat === this.#parts.policy.hot) this.#wanted.push({ block, mode: block.mode, user, linear });
    if (this.#wanted.length === 0) return;
    const { patience, batch } = this.#parts.policy;
    if (++this.#waited < patience && this.#wanted.length < batch) return;
    this.#waited = 0;
    const wanted = this.#wanted;
    this.#wanted = [];
    this.#compile(wanted);
  }

  statistics(): Readonly<Record<string, number>> {
    return {
      "engine.modules": this.modules,
      "engine.regions.compiled": this.compiled,
      "engine.regions.dropped": this.dropped,
      "engine.translations.slow": this.slowTranslations,
      "engine.interpreted": this.interpreted,
      "engine.transfers": this.transfers.done,
    };
  }

  /** Everything compiled is dropped: memory was restored. */
  clear(): void {
    for (const region of [...this.#regions]) region.drop();
    this.#wanted = [];
  }

  /**
   * The region that begins with `block` does not fit the segment registers: it is compiled again when the block is hot
   * again, for segments of any base and limit.
   */
  unfit(block: Block): void {
    block.compiled?.drop();
    this.#unfit.add(block);
    block.heat = 0;
  }

  #segments(): SegmentNow[] {
    const { state } = this.#parts;
    return Array.from({ length: 6 }, (_, segment) => ({
      base: state.segmentBase(segment),
      fast: state.get(fastCell(segment)),
      rights: state.segmentRights(segment),
    }));
  }

  #compile(wanted: readonly Wanted[]): void {
    if (this.#regions.size + wanted.length > CAPACITY) this.clear();
    const { memory } = this.#parts;
    const built: { wanted: Wanted; region: Region; body: FunctionBody; instructions: number[] }[] = [];
    for (const each of wanted) {
      const region = this.#build(each);
      if (region === null) continue;
      const instructions: number[] = [];
      const body = compileRegion(region, {
        layout: this.#layout,
        account: each.mode.account,
        transferMode: transferMode(each.mode.index, each.user),
        user: each.user,
        segments: this.#segments(),
        general: this.#unfit.has(each.block),
        interpreted: (instruction) => {
          const number = this.#number(instruction);
          instructions.push(number);
          return number;
        },
      });
      built.push({ wanted: each, region, body, instructions });
    }
    if (built.length === 0) return;
    const bytes = encodeModule({
      types: FUNCTION_TYPES,
      imports: [
        { name: "translate", type: FUNCTION_TYPE.translate },
        { name: "interpret", type: FUNCTION_TYPE.interpret },
        { name: "leave", type: FUNCTION_TYPE.interpret },
        { name: "signalled", type: FUNCTION_TYPE.interpret },
        { name: "begun", type: FUNCTION_TYPE.interpret },
        { name: "fetch", type: FUNCTION_TYPE.interpret },
        { name: "invalidate", type: FUNCTION_TYPE.interpret },
      ],
      memoryPages: memory.buffer.byteLength / 65536,
      functions: [
        ...runtimeFunctions(this.#layout),
        ...built.map(({ body }, n) => ({ type: FUNCTION_TYPE.region, body, name: `r${n}` })),
      ],
    });
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      m: {
        memory: memory.wasm,
        table: this.#table,
        translate: this.#translate,
        interpret: this.#interpret,
        leave: this.#leave,
        signalled: this.#signalled,
        begun: this.#begun,
        fetch: this.#fetch,
        invalidate: this.#invalidate,
      },
    });
    this.modules++;
    for (const [n, each] of built.entries()) {
      this.#install(each.wanted, each.region, instance.exports[`r${n}`] as () => number, each.instructions);
    }
  }

  #build({ block, mode, user, linear }: Wanted): Region | null {
    const { code, mmu } = this.#parts;
    // The block may have been dropped since it was wanted.
    if (code.lookup(block.physical, mode) !== block) return null;
    return buildRegion(block.physical, {
      instruction: (physical) => code.instruction(physical, mode),
      account: (physical) => code.accountOf(physical, mode),
      executed: (physical) => code.lookup(physical, mode) !== undefined,
      page: (index) => mmu.fetchBase(((linear - (linear & 0xfff)) / 4096 + index) * 4096, user),
    });
  }

  #install(wanted: Wanted, region: Region, entry: () => number, instructions: readonly number[]): void {
    const { block } = wanted;
    const index = this.#freeEntries.pop();
    if (index === undefined) throw new Error("engine: the table is full");
    this.#table.set(index, entry);
    const mode = transferMode(block.mode.index, wanted.user);
    const slot = transferSlot(block.physical, mode) * 3;
    this.#transfers.set([block.physical, mode, index], slot);
    const compiled: CompiledRegion = {
      entry,
      ranges: region.bytes,
      drop: () => {
        if (!this.#regions.delete(compiled)) return;
        this.dropped++;
        this.#table.set(index, null);
        this.#freeEntries.push(index);
        if (this.#transfers[slot + 2] === index) this.#transfers.fill(-1, slot, slot + 3);
        for (const number of instructions) {
          this.#instructions[number] = undefined;
          this.#freeInstructions.push(number);
        }
        if (block.compiled === compiled) block.compiled = null;
        this.#parts.code.removeDependent(compiled);
      },
    };
    block.compiled = compiled;
    this.#regions.add(compiled);
    this.compiled++;
    this.#parts.code.addDependent(compiled);
  }

  #number({ lifted, account, shadowed }: RegionInstruction): number {
    const number = this.#freeInstructions.pop() ?? this.#instructions.length;
    this.#instructions[number] = {
      ...plan(lifted, account),
      shadowed: shadowed === null ? null : { ...plan(shadowed, account), shadowed: null },
    };
    return number;
  }

  /** Import `translate`: an access that the fast table does not have. */
  readonly #translate = (linear: number, what: number, spent: number): number => {
    const { mmu, memory, state, ledger } = this.#parts;
    const bytes = (what >>> 8) & 0xff;
    this.slowTranslations++;
    // What crosses a page is the interpreter's.
    if ((linear & 0xfff) + bytes > 0x1000) return TRANSLATE.REFUSED;
    // A walk may put the translation of an earlier access out of the TLB, and then the instruction cannot begin again.
    if (what >= LATER_ACCESS && !mmu.finds(linear >>> 0, what & 0xff)) return TRANSLATE.REFUSED;
    const physical = mmu.translate(linear >>> 0, what & 0xff);
    if (physical < 0) return state.signal.outcome === OUTCOME.FAULT ? TRANSLATE.FAULT : TRANSLATE.REFUSED;
    const { clock } = ledger;
    if (clock.now + spent >= clock.deadline) return TRANSLATE.REFUSED;
    const write = (what & ACCESS.WRITE) !== 0;
    if (write ? !memory.isWritable(physical) : !memory.stores(physical)) return TRANSLATE.REFUSED;
    return RAM_OFFSET + physical;
  };

  /** Import `leave`: one instruction by the interpreter, after which anything may be different. */
  readonly #leave = (number: number): number => {
    const { boundaries } = this.#parts;
    this.interpreted++;
    const one = this.#instructions[number] as Interpreted;
    if (!this.#run(one)) return boundaries.signalled(one.account);
    return one.shadowed === null ? boundaries.next() : this.#shadow(one.shadowed);
  };

  /** Runs one instruction; false: it has left something in the state's signal. */
  #run(one: Interpreted): boolean {
    const { state, env, ledger } = this.#parts;
    const { account, helper } = one;
    if (helper === null) {
      execute(one.ops, 0, account, state, env, ledger);
      return state.signal.outcome === OUTCOME.NONE;
    }
    ledger.charge(account, one.ticks);
    if (one.way !== WAY.RETURN || !this.transfers.interruptReturn()) helper(state, env, one.op);
    if (state.signal.outcome !== OUTCOME.NONE) {
      state.signal.length = one.length;
      return false;
    }
    if (one.falls) state.i32[CELL.rip] = (state.i32[CELL.rip] as number) + one.length;
    ledger.retire(account);
    return true;
  }

  /**
   * After an STI with the instruction that its shadow covers: runs that one, too, if the boundary between them has
   * nothing to do. The deadline is that of before STI, which asks for attention.
   */
  #shadow(one: Interpreted): number {
    const { state, env, boundaries } = this.#parts;
    if ((state.i32[CELL.interruptibility] as number) !== BLOCKING.STI || !boundaries.quietUnderSti()) {
      return boundaries.next();
    }
    if (!this.#run(one)) return boundaries.signalled(one.account);
    endShadow(state, BLOCKING.STI, one.rule);
    env.interruptsOpened();
    return boundaries.next();
  }

  /** Import `signalled`: a native instruction of this length has left something in the state's signal. */
  readonly #signalled = (length: number): number => {
    const { state, boundaries, accounts } = this.#parts;
    state.signal.length = length;
    return boundaries.signalled(accounts.current.instructions);
  };

  /** Import `begun`: the interpreter has to run what is next, for a reason that is one of EXIT. */
  readonly #begun = (why: number): number => this.#parts.boundaries.interpret(why);

  /** Import `fetch`: the page of EIP is not in the fast table of fetches. The mode in which to go on, or TO_THE_CORE. */
  readonly #fetch = (mode: number): number => this.#parts.boundaries.fetch(mode);

  /** Import `invalidate`: INVLPG of a linear address; 0 when it is not for compiled code. */
  readonly #invalidate = (linear: number): number => {
    const { state, env, mmu } = this.#parts;
    if (state.i32[CELL.cpl] !== 0 || env.intercepts !== null) return 0;
    mmu.flushPage(linear >>> 0);
    return 1;
  };

  /** Import `interpret`: one instruction of a region, from the processor's state and back to it. */
  readonly #interpret = (number: number): number => {
    this.interpreted++;
    if (!this.#run(this.#instructions[number] as Interpreted)) return INTERPRETED.SIGNALLED;
    const { clock } = this.#parts.ledger;
    return clock.now >= clock.deadline ? INTERPRETED.BOUNDARY : INTERPRETED.GO_ON;
  };
}

/** An instruction that the interpreter runs for compiled code. */
interface Interpreted {
  readonly ops: readonly MicroOp[];
  readonly rule: Rule;
  readonly account: Account;
  readonly ticks: number;
  readonly length: number;
  /** Its only micro-op between BEGIN and END is this helper; null: there are others. */
  readonly helper: Helper | null;
  readonly op: MicroOp;
  /** EIP moves behind it. */
  readonly falls: boolean;
  readonly way: number;
  /** What an STI's shadow covers; null: it is no STI, or that instruction is not known. */
  readonly shadowed: Interpreted | null;
}

/** Instructions that are run in a way of their own. */
const WAY = { PLAIN: 0, RETURN: 1 } as const;

function plan({ ops, rule, ticks, length }: Lifted, account: Account): Omit<Interpreted, "shadowed"> {
  const op = ops[1] as MicroOp;
  const helper = ops.length === 3 && op.op === OP.HELPER ? (HELPERS[op.imm] as Helper) : null;
  const returns = helper !== null && op.imm === HELPER_NUMBER.iret && op.w === 32;
  const falls = ops[ops.length - 1]?.op === OP.END;
  return { ops, rule, account, ticks, length, helper, op, falls, way: returns ? WAY.RETURN : WAY.PLAIN };
}
