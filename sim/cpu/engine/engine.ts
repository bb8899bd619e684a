/**
 * The engine: decides which code is compiled, when, and keeps what was compiled. It changes the speed of the simulator
 * and nothing else: with and without it every run is the same to the tick.
 *
 * A block that the interpreter has run often becomes the entry of a region (region.ts); regions that are wanted are
 * compiled together, so that modules are few. A region lives until a byte that it was made from is written.
 */
import type { Account, Ledger } from "../../ledger.ts";
import { type PhysicalMemory, RAM_OFFSET } from "../../memory/physical.ts";
import { ACCOUNT_CELL_BYTES, type Accounts } from "../accounts.ts";
import type { Block, BlockMode, CodeCache } from "../code-cache.ts";
import { ACCESS } from "../environment.ts";
import { execute } from "../interpreter.ts";
import { endShadow } from "../lift/rule.ts";
import type { Mmu } from "../mmu.ts";
import { COUNT } from "../paging.ts";
import type { PhysicalEnvironment } from "../physical-environment.ts";
import { costTicks, type Profile } from "../profiles/profile.ts";
import { BLOCKING, CELL, type CpuState, fastCell, OUTCOME, SEG } from "../state.ts";
import { compileRegion } from "./compile.ts";
import { AT_BOUNDARY, EXIT, FUNCTION_TYPE, INTERPRETED, LATER_ACCESS, TRANSLATE, transferMode } from "./contract.ts";
import { FastTransfers } from "./fast-transfers.ts";
import { forwardForm } from "./forward-form.ts";
import { type Interpreted, interpretedOf } from "./interpreted.ts";
import { CORE_CELL, CORE_CELLS, type EngineLayout, TRANSFER_BYTES, TRANSFER_SLOTS, transferSlot } from "./layout.ts";
import { Misses } from "./misses.ts";
import { type CompiledRegion, Modules } from "./modules.ts";
import type { EnginePolicy } from "./policy.ts";
import { buildRegion, physicalOf, type Region, type RegionInstruction } from "./region.ts";
import type { SegmentNow } from "./segments-code.ts";
import type { FunctionBody } from "./wasm.ts";

/** Entries whose regions were written that are remembered. */
const REMEMBERED = 4096;
/** While cold regions must be dropped again and again `hot` doubles, so many times at the most; until so many blocks have run without. */
const MOST_PRESSURE = 5;
const RELIEF = 1 << 20;
/** Heat of a block that is wanted, or has no region. */
const WANTED = -(2 ** 30);

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
  readonly #modules: Modules;
  readonly #transfers: Int32Array;
  /** By CORE_CELL. */
  readonly #core: Int32Array;
  /** Interpreted instructions of regions, by number. */
  readonly #instructions: (Interpreted | undefined)[] = [];
  readonly #freeInstructions: number[] = [];
  readonly #misses: Misses;
  /** By COUNT. */
  readonly #counts: Float64Array;
  /** By a region's place in the table: what it was compiled for, until it is wanted once more. */
  readonly #live: (Wanted | undefined)[] = [];
  /** Blocks whose region met segments that it was not compiled for. */
  readonly #unfit = new WeakSet<Block>();
  /** Deliveries and returns in one piece. */
  readonly transfers: FastTransfers;
  #wanted: Wanted[] = [];
  #waited = 0;
  #pressure = 0;
  #relief = 0;
  /** Whether `compile` is to be called. */
  due = false;
  /** By physical address of an entry: how often bytes of its region were written, and how often it is yet to get hot. */
  readonly #written = new Map<number, { times: number; owed: number }>();
  /** Regions, blocks and instructions compiled so far; regions dropped, and those of them that were written. */
  compiled = 0;
  blocks = 0;
  instructions = 0;
  dropped = 0;
  invalidated = 0;
  slowTranslations = 0;
  interpreted = 0;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    const { memory, mmu, env, profile } = parts;
    this.#layout = {
      state: parts.stateOffset,
      time: parts.ledger.cells.byteOffset,
      granules: memory.codeGranules.byteOffset,
      ...mmu.shared(),
      ...env.predictor.layout(),
      transfers: memory.engineArea.transfers,
      entries: memory.engineArea.entries,
      references: memory.references.byteOffset,
      accounts: memory.engineArea.core,
      core: memory.engineArea.core + ACCOUNT_CELL_BYTES,
      ramBytes: memory.ramBytes,
      mispredict: costTicks(profile).mispredict,
      ticks: costTicks(profile),
    };
    this.transfers = new FastTransfers(parts, this.#layout);
    this.#misses = new Misses(parts.policy.miss);
    this.#counts = new Float64Array(memory.buffer, this.#layout.counts, COUNT.page + 1);
    this.#transfers = new Int32Array(memory.buffer, memory.engineArea.transfers, (TRANSFER_SLOTS * TRANSFER_BYTES) / 4);
    this.#transfers.fill(-1);
    this.#core = new Int32Array(memory.buffer, this.#layout.core, CORE_CELLS);
    this.#modules = new Modules(memory, this.#layout, parts.policy.regions, [
      ["translateSlow", FUNCTION_TYPE.translate, this.#translate],
      ["interpret", FUNCTION_TYPE.interpret, this.#interpret],
      ["leave", FUNCTION_TYPE.interpret, this.#leave],
      ["signalled", FUNCTION_TYPE.interpret, this.#signalled],
      ["begun", FUNCTION_TYPE.interpret, this.#begun],
      ["fetchSlow", FUNCTION_TYPE.interpret, this.#fetch],
      ["invalidateSlow", FUNCTION_TYPE.interpret, this.#invalidate],
      ["next", FUNCTION_TYPE.region, this.#next],
    ]);
  }

  /** Runs the region at a place in the table, and those to which it goes; why it came back: EXIT. */
  enter(index: number): number {
    return this.#modules.enter(index);
  }

  /** Counts a block that the interpreter is about to run at a linear address. */
  ran(block: Block, linear: number, user: boolean): void {
    const { hot } = this.#parts.policy;
    if (++block.heat >= hot << this.#pressure) this.#want({ block, mode: block.mode, user, linear });
    if (this.#pressure > 0 && ++this.#relief >= RELIEF) {
      this.#relief = 0;
      this.#pressure--;
    }
    this.#wait();
  }

  /** What is wanted waits for more of its kind, but not for long. */
  #wait(): void {
    const { patience, batch } = this.#parts.policy;
    if (this.#wanted.length === 0) return;
    if (++this.#waited >= patience || this.#wanted.length >= batch) this.due = true;
  }

  #want(wanted: Wanted): void {
    const written = this.#written.get(wanted.block.physical);
    if (written === undefined || written.owed === 0) {
      wanted.block.heat = WANTED;
      this.#wanted.push(wanted);
      return;
    }
    written.owed--;
    wanted.block.heat = 0;
  }

  /** Compiles what is wanted, if it is time to (`due`); nobody may be in compiled code. */
  compile(): void {
    this.due = false;
    this.#waited = 0;
    const wanted = this.#wanted;
    this.#wanted = [];
    this.#misses.look(this.#counts[COUNT.data.misses] as number, this.#parts.ledger.clock.now);
    const { sweeps } = this.#modules;
    this.#compile(wanted);
    if (this.#modules.sweeps === sweeps) return;
    this.#relief = 0;
    this.#pressure = Math.min(this.#pressure + 1, MOST_PRESSURE);
  }

  statistics(): Readonly<Record<string, number>> {
    return {
      ...this.#modules.statistics(),
      "engine.blocks": this.blocks,
      "engine.instructions": this.instructions,
      "engine.regions.compiled": this.compiled,
      "engine.regions.dropped": this.dropped,
      "engine.regions.invalidated": this.invalidated,
      "engine.translations.slow": this.slowTranslations,
      "engine.interpreted": this.interpreted,
      "engine.transfers": this.transfers.done + (this.#core[CORE_CELL.transfers] as number),
    };
  }

  /** Everything compiled is dropped: memory was restored. */
  clear(): void {
    this.#modules.clear();
    this.#wanted = [];
  }

  /**
   * The region that begins with `block` does not fit the segment registers: it is compiled again when the block is hot
   * again, for segments of any base and limit.
   */
  unfit(block: Block): void {
    block.compiled?.drop();
    this.#unfit.add(block);
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
    const regions: CompiledRegion[] = [];
    // A block may be wanted again, for its misses, and then once more because its region was dropped.
    for (const each of new Map(wanted.map((one) => [one.block, one])).values()) {
      const region = this.#build(each);
      if (region !== null) regions.push(this.#translated(each, region));
    }
    if (regions.length > 0) this.#modules.add(regions);
  }

  /** The region's code, in no module yet. */
  #translated(wanted: Wanted, region: Region): CompiledRegion {
    const { block, mode, user } = wanted;
    const index = this.#modules.reserve();
    const instructions: number[] = [];
    const body = compileRegion(region, {
      layout: this.#layout,
      account: mode.account,
      transferMode: transferMode(mode.index, user),
      user,
      index,
      segments: this.#segments(),
      general: this.#unfit.has(block),
      apart: this.#misses.apart(block.physical),
      walks: (delta) => this.#misses.walks(block.physical, physicalOf(region, delta)),
      interpreted: (instruction) => {
        const number = this.#number(instruction);
        instructions.push(number);
        return number;
      },
    });
    this.compiled++;
    this.blocks += region.nodes.size;
    this.instructions += region.instructions;
    return this.#install(wanted, region, index, body, instructions);
  }

  #build({ block, mode, user, linear }: Wanted): Region | null {
    const { code, mmu, env, policy } = this.#parts;
    // The block may have been dropped since it was wanted.
    if (code.lookup(block.physical, mode) !== block) return null;
    return buildRegion(block.physical, policy.region, {
      instruction: (physical) => code.instruction(physical, mode),
      intercepts: env.vmx?.inOperation === true,
      forwardForm: (lifted) => forwardForm(lifted, this.#layout.ticks),
      crossing: (physical, secondPage) => code.crossing(physical, secondPage, mode),
      account: (physical) => code.accountOf(physical, mode),
      isWarm: (physical) => code.heat(physical, mode) >= policy.warm,
      page: (index) => mmu.fetchBase(((linear - (linear & 0xfff)) / 4096 + index) * 4096, user),
    });
  }

  #install(
    wanted: Wanted,
    region: Region,
    index: number,
    body: FunctionBody,
    instructions: readonly number[],
  ): CompiledRegion {
    const { block } = wanted;
    block.compiled?.drop();
    this.#live[index] = wanted;
    const mode = transferMode(block.mode.index, wanted.user);
    const slot = transferSlot(block.physical, mode) * 3;
    this.#transfers.set([block.physical, mode, index], slot);
    let dropped = false;
    const compiled: CompiledRegion = {
      ranges: region.bytes,
      index,
      code: body.encode(),
      rare: body.rareBranches(),
      blocks: region.nodes.size,
      drop: () => {
        if (dropped) return;
        dropped = true;
        this.dropped++;
        this.#live[index] = undefined;
        this.#modules.remove(compiled);
        if (this.#transfers[slot + 2] === index) this.#transfers.fill(-1, slot, slot + 3);
        for (const number of instructions) {
          this.#instructions[number] = undefined;
          this.#freeInstructions.push(number);
        }
        if (block.compiled === compiled) block.compiled = null;
        block.heat = 0;
        this.#parts.code.removeDependent(compiled);
      },
      write: () => {
        this.invalidated++;
        this.#remember(block.physical);
        compiled.drop();
      },
    };
    block.compiled = compiled;
    this.#parts.code.addDependent(compiled);
    return compiled;
  }

  /** Bytes of the region that is entered at a physical address have been written. */
  #remember(physical: number): void {
    const { doublings } = this.#parts.policy;
    const times = Math.min((this.#written.get(physical)?.times ?? 0) + 1, doublings);
    if (this.#written.size >= REMEMBERED) this.#written.clear();
    this.#written.set(physical, { times, owed: 2 ** times - 1 });
  }

  #number(instruction: RegionInstruction): number {
    const number = this.#freeInstructions.pop() ?? this.#instructions.length;
    this.#instructions[number] = interpretedOf(instruction);
    return number;
  }

  /** Import `translateSlow`: an access that neither the fast table has nor `translate` walks for. */
  readonly #translate = (linear: number, what: number, spent: number): number => {
    const { mmu, memory, state, ledger } = this.#parts;
    const bytes = (what >>> 8) & 0xff;
    this.slowTranslations++;
    // Of what crosses a page `translate` has made what it can; the rest is the interpreter's.
    if ((linear & 0xfff) + bytes > 0x1000) return TRANSLATE.REFUSED;
    // A walk may put the translation of an earlier access out of the TLB, and then the instruction cannot begin again.
    if ((what & LATER_ACCESS) !== 0 && !mmu.finds(linear >>> 0, what & 0xff)) return TRANSLATE.REFUSED;
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
    if (!one.returns || !this.transfers.interruptReturn()) helper(state, env, one.op);
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
  readonly #begun = (why: number): number => {
    const { boundaries } = this.#parts;
    const reason = why & 0xf;
    if (reason !== EXIT.MISSED && reason !== EXIT.APART) return boundaries.interpret(why);
    this.#missed(why >>> 8, reason === EXIT.APART);
    this.#wait();
    return boundaries.interpret((why & AT_BOUNDARY) === 0 ? EXIT.BEGUN : EXIT.INTERPRET);
  };

  /** The instruction at EIP has not found its access in the fast table, in the region at a place in the table. */
  #missed(index: number, apart: boolean): void {
    const { state, mmu, ledger } = this.#parts;
    const wanted = this.#live[index];
    if (wanted === undefined) return;
    const linear = (state.segmentBase(SEG.cs) + state.eip) >>> 0;
    const page = mmu.fetchBase(linear, wanted.user);
    if (page < 0) return;
    const { physical } = wanted.block;
    if (!this.#misses.missed(physical, page + (linear & 0xfff), apart, ledger.clock.now)) return;
    this.#live[index] = undefined;
    this.#wanted.push(wanted);
  }

  /** Import `fetchSlow`: the page of EIP is not in the fast table of fetches, nor is its walk usual. The mode in which to go on, or TO_THE_CORE. */
  readonly #fetch = (mode: number): number => this.#parts.boundaries.fetch(mode);

  /** Import `next`: a boundary that may have something to do. The mode in which to go on, or TO_THE_CORE. */
  readonly #next = (): number => this.#parts.boundaries.next();

  /** Import `invalidateSlow`: INVLPG of a linear address; 0 when it is not for compiled code. */
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
