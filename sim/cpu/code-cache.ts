/**
 * Lifted code by physical address. A block's key is (physical address of the first byte, mode); it holds no absolute
 * EIP, so aliases are safe. An instruction that crosses a page is a block of its own, keyed by both pages. A write
 * from anywhere to a granule that holds code is reported (PhysicalMemory.onCodeWrite) and drops the blocks that have a
 * byte in common with it; data between code costs no lifting.
 *
 * Block shapes never change a result: `maxInstructions` may be anything.
 */
import type { Account } from "../ledger.ts";
import { PAGE_SIZE, pageNumber, pageOffset } from "../memory/address.ts";
import {
  CODE_GRANULE_BYTES,
  CODE_GRANULE_SHIFT,
  GRANULE_MARK,
  type PhysicalMemory,
  RAM_OFFSET,
} from "../memory/physical.ts";
import { type BlockInstruction, blockOps } from "./block-ops.ts";
import { MAX_INSTRUCTION_BYTES } from "./decode.ts";
import type { Lifted } from "./lift/lift.ts";
import { LiftedInstructions, type NotLifted } from "./lift/lifted-instructions.ts";
import type { Rule } from "./lift/rule.ts";
import type { MicroOp } from "./micro-ops.ts";
import { microOp, OP } from "./micro-ops.ts";
import { type CostTicks, costTicks, type Profile } from "./profiles/profile.ts";

/** What a block's first bytes turned out to be, when it is not code that runs. */
export type BlockKind = "code" | "undefined" | "too-long" | "unmodelled";

/**
 * Code of which not all is charged alike: a translation cache. The class of an instruction is that of its first byte.
 * Who changes the class of a byte writes the byte after that, so that what was lifted from it is dropped.
 */
export interface CodeClasses {
  /** Host-physical and linear address of the first byte. */
  readonly first: number;
  readonly linear: number;
  /** For each byte an index into `accounts`. */
  readonly classes: Uint8Array;
  /** What a class is charged to, for code that runs at CPL 0 to 2 and at CPL 3. */
  readonly accounts: readonly { readonly kernel: Account; readonly user: Account }[];
}

/** What was made from bytes of code beside blocks: it is dropped when one of them is written. */
export interface Dependent {
  /** Physical byte ranges. */
  readonly ranges: readonly (readonly [physical: number, length: number])[];
  drop(): void;
  /** One of them is written. */
  write(): void;
}

export interface Block {
  readonly kind: BlockKind;
  readonly ops: readonly MicroOp[];
  /** Length in bytes of all instructions. */
  readonly bytes: number;
  readonly instructions: number;
  /** Static cost of all instructions in ticks. */
  readonly ticks: number;
  /** Rule of the last instruction: what holds at the block's end. */
  readonly last: Rule | null;
  readonly account: Account;
  /** Physical addresses: first byte, and second page of an instruction that crosses (or -1). */
  readonly physical: number;
  readonly secondPage: number;
  readonly key: number;
  readonly modeIndex: number;
  readonly mode: BlockMode;
  /** Bytes of the instruction that is not modelled, for the message. */
  readonly text: string;
  /** Times that the interpreter has run it, and the compiled region that begins with it, by its place in the table (engine/). */
  heat: number;
  compiled: { readonly index: number; drop(): void } | null;
}

/** Decides how bytes are lifted and charged; `index` makes it part of the key. */
export interface BlockMode {
  readonly bits: 16 | 32;
  readonly stackBits: 16 | 32;
  readonly account: Account;
  /** CPL 3. */
  readonly user: boolean;
  /** One instruction only: single step. */
  readonly single: boolean;
  /** Distinct for every combination of the above; below 64. */
  readonly index: number;
}

interface CodePage {
  /** Blocks that begin on this page, by offset * 64 + mode. */
  readonly blocks: Map<number, Block>;
  /** What has bytes in each granule of the page. */
  readonly extents: (Set<Extent> | undefined)[];
}

/** Bytes of one page, from one physical address up to another, and what was made from them. */
interface Extent {
  readonly from: number;
  readonly to: number;
  readonly owner: Block | Dependent;
}

const MODES = 64;

/** Runs of a branch of a translation cache before it is kept, and how many are counted. */
const PROBATION = 3;
const MOST_ON_PROBATION = 4096;

/** Direct-mapped cache of lookups. */
const HOT_BLOCKS = 4096;

/** Slot of the cache of lookups. */
function hotSlot(physical: number, modeIndex: number): number {
  return (physical ^ (modeIndex << 6)) & (HOT_BLOCKS - 1);
}

export class CodeCache {
  readonly #memory: PhysicalMemory;
  readonly #instructions: LiftedInstructions;
  readonly #costs: CostTicks;
  readonly #maxInstructions: number;
  readonly #loops: boolean;
  readonly #pages = new Map<number, CodePage>();
  readonly #extents = new Map<Block | Dependent, readonly Extent[]>();
  readonly #hot: (Block | null)[] = new Array(HOT_BLOCKS).fill(null);
  /** Runs of branches of a translation cache that are not kept yet, by address and mode. */
  readonly #probation = new Map<number, number>();
  /** Code with accounts of its own; null: the mode's account everywhere. */
  classes: CodeClasses | null = null;
  /** Blocks lifted and dropped so far. */
  lifted = 0;
  dropped = 0;

  /** `loops`: a jump to an instruction of its own block stays in the interpreter; the engine counts blocks and wants to see it. */
  constructor(memory: PhysicalMemory, profile: Profile, maxInstructions: number, loops = true) {
    this.#loops = loops;
    this.#memory = memory;
    this.#instructions = memory.resources.kept(profile, () => new LiftedInstructions(profile));
    this.#costs = costTicks(profile);
    this.#maxInstructions = maxInstructions;
  }

  /** The block at a physical address, if it is lifted. */
  lookup(physical: number, mode: BlockMode): Block | undefined {
    const slot = hotSlot(physical, mode.index);
    const hot = this.#hot[slot] as Block | null;
    if (hot !== null && hot.physical === physical && hot.modeIndex === mode.index) return hot;
    const block = this.#pages.get(physical >>> 12)?.blocks.get((physical & 0xfff) * MODES + mode.index);
    if (block !== undefined) this.#hot[slot] = block;
    return block;
  }

  /** How often the hottest block with a physical address in it has been interpreted: infinitely if it is compiled; -1 if there is none. */
  heat(physical: number, mode: BlockMode): number {
    const block = this.lookup(physical, mode);
    if (block !== undefined) return heatOf(block);
    let most = -1;
    const page = this.#pages.get(physical >>> 12);
    for (const { from, to, owner } of page?.extents[(physical >>> CODE_GRANULE_SHIFT) & GRANULE_MASK] ?? []) {
      if (from > physical || physical >= to || !isBlock(owner) || owner.modeIndex !== mode.index) continue;
      most = Math.max(most, heatOf(owner));
    }
    return most;
  }

  /** What the instruction at a physical address is charged to. */
  accountOf(physical: number, mode: BlockMode): Account {
    return this.#accountAt(physical - (this.classes?.first ?? 0), mode.user) ?? mode.account;
  }

  /** The same of one at a linear address of code with classes; undefined for other code. */
  accountOfLinear(linear: number, user: boolean): Account | undefined {
    return this.#accountAt(linear - (this.classes?.linear ?? 0), user);
  }

  #accountAt(offset: number, user: boolean): Account | undefined {
    const { classes } = this;
    const index = classes?.classes[offset];
    const account = index === undefined ? undefined : classes?.accounts[index];
    return user ? account?.user : account?.kernel;
  }

  /** Takes a block that is dropped out of the cache of lookups. */
  #cool(block: Block): void {
    const slot = hotSlot(block.physical, block.modeIndex);
    if (this.#hot[slot] === block) this.#hot[slot] = null;
  }

  /**
   * Lifts the block at a physical address in RAM. Returns "second-page" when its first instruction runs into the
   * next page, whose physical base must then be given.
   */
  lift(physical: number, secondPage: number, mode: BlockMode): Block | "second-page" {
    const limit = mode.single ? 1 : this.#maxInstructions;
    const parts: BlockInstruction[] = [];
    let bytes = 0;
    let instructions = 0;
    let ticks = 0;
    let last: Rule | null = null;
    const room = PAGE_SIZE - pageOffset(physical);
    const account = this.accountOf(physical, mode);
    while (instructions < limit && bytes < room) {
      if (this.classes !== null && this.accountOf(physical + bytes, mode) !== account) break;
      const lifted = this.#instructionAt(physical + bytes, room - bytes, mode);
      if (typeof lifted === "string") {
        if (instructions > 0) break;
        const code = this.#bytesAt(physical, room);
        if (lifted === "truncated" && code.length < MAX_INSTRUCTION_BYTES) {
          if (secondPage < 0) return "second-page";
          return this.#crossing(physical, secondPage, mode);
        }
        return this.#keep(this.#special(lifted, physical, -1, code, mode));
      }
      parts.push({ offset: bytes, ops: lifted.ops });
      bytes += lifted.length;
      ticks += lifted.ticks;
      instructions++;
      last = lifted.rule;
      if (lifted.rule.endsBlock === true) break;
    }
    const block: Block = {
      kind: "code",
      ops: blockOps(parts, this.#loops && !mode.single),
      bytes,
      instructions,
      ticks,
      last,
      account,
      physical,
      secondPage: -1,
      key: pageOffset(physical) * MODES + mode.index,
      modeIndex: mode.index,
      mode,
      text: "",
      heat: 0,
      compiled: null,
    };
    return this.#isOnProbation(block) ? block : this.#keep(block);
  }

  /**
   * Branches of a translation cache are patched when they are followed for the first time: they are kept only when they
   * have run before.
   */
  #isOnProbation({ physical, key, ops }: Block): boolean {
    const { classes } = this;
    if (classes === null || physical < classes.first || physical >= classes.first + classes.classes.length)
      return false;
    if (!ops.some(({ op }) => op === OP.JUMP || op === OP.JUMP_IF)) return false;
    const name = (physical - (physical & 0xfff)) * MODES + key;
    const runs = this.#probation.get(name) ?? 0;
    if (runs === PROBATION) {
      this.#probation.delete(name);
      return false;
    }
    if (this.#probation.size >= MOST_ON_PROBATION) this.#probation.clear();
    this.#probation.set(name, runs + 1);
    return true;
  }

  /** An instruction whose bytes are on two pages. */
  #crossing(physical: number, secondPage: number, mode: BlockMode): Block {
    const code = this.#joined(physical, secondPage);
    const lifted = this.#instructions.lift(code, mode);
    if (typeof lifted === "string") return this.#keep(this.#special(lifted, physical, secondPage, code, mode));
    return this.#keep({
      kind: "code",
      ops: lifted.ops,
      bytes: lifted.length,
      instructions: 1,
      ticks: lifted.ticks,
      last: lifted.rule,
      account: this.accountOf(physical, mode),
      physical,
      secondPage,
      key: pageOffset(physical) * MODES + mode.index,
      modeIndex: mode.index,
      mode,
      text: "",
      heat: 0,
      compiled: null,
    });
  }

  /** A block that stands for bytes that do not run. */
  #special(why: NotLifted, physical: number, secondPage: number, code: Uint8Array, mode: BlockMode): Block {
    const kind = why === "truncated" ? "too-long" : why;
    const bytes = kind === "too-long" ? MAX_INSTRUCTION_BYTES : this.#instructions.decodedLength;
    return {
      kind,
      ops: [microOp(OP.BEGIN, { imm: this.#costs.nop, x: bytes })],
      bytes,
      instructions: 1,
      ticks: this.#costs.nop,
      last: null,
      account: this.accountOf(physical, mode),
      physical,
      secondPage,
      key: pageOffset(physical) * MODES + mode.index,
      modeIndex: mode.index,
      mode,
      text: Array.from(code.subarray(0, bytes), (byte) => byte.toString(16).padStart(2, "0")).join(" "),
      heat: 0,
      compiled: null,
    };
  }

  /**
   * One instruction from bytes that are not in memory (device space): a block that is not kept. `code` begins at its
   * first byte; "truncated" when more are needed, unless there are as many as an instruction may have.
   */
  uncached(code: Uint8Array, mode: BlockMode): Block | "truncated" {
    const lifted = this.#instructions.lift(code, mode);
    if (lifted === "truncated" && code.length < MAX_INSTRUCTION_BYTES) return "truncated";
    if (typeof lifted === "string") return this.#special(lifted, -1, -1, code, mode);
    return {
      kind: "code",
      ops: lifted.ops,
      bytes: lifted.length,
      instructions: 1,
      ticks: lifted.ticks,
      last: lifted.rule,
      account: mode.account,
      physical: -1,
      secondPage: -1,
      key: -1,
      modeIndex: mode.index,
      mode,
      text: "",
      heat: 0,
      compiled: null,
    };
  }

  #bytesAt(physical: number, room: number): Uint8Array {
    const length = Math.min(room, MAX_INSTRUCTION_BYTES);
    return this.#memory.u8.subarray(RAM_OFFSET + physical, RAM_OFFSET + physical + length);
  }

  /** The instruction at a physical address, of which `room` bytes are on its page. */
  #instructionAt(physical: number, room: number, mode: BlockMode): Lifted | NotLifted {
    return this.#instructions.at(physical, this.#memory.u8, mode, RAM_OFFSET + physical, room);
  }

  #keep(block: Block): Block {
    this.lifted++;
    const page = this.#page(pageNumber(block.physical));
    const replaced = page.blocks.get(block.key);
    if (replaced !== undefined) {
      this.#cool(replaced);
      this.#release(replaced);
    }
    page.blocks.set(block.key, block);
    this.#cover(block, blockRanges(block));
    return block;
  }

  #page(number: number): CodePage {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { blocks: new Map(), extents: new Array(PAGE_SIZE / CODE_GRANULE_BYTES).fill(undefined) };
      this.#pages.set(number, page);
    }
    return page;
  }

  /** The instruction at a physical address, lifted; null when it is none, not modelled, or on two pages. */
  instruction(physical: number, mode: BlockMode): Lifted | null {
    const lifted = this.#instructionAt(physical, PAGE_SIZE - pageOffset(physical), mode);
    return typeof lifted === "string" ? null : lifted;
  }

  /** The same for one that is on two pages; null when it is not. */
  crossing(physical: number, secondPage: number, mode: BlockMode): Lifted | null {
    const room = PAGE_SIZE - pageOffset(physical);
    if (room >= MAX_INSTRUCTION_BYTES) return null;
    if (this.#instructionAt(physical, room, mode) !== "truncated") return null;
    const lifted = this.#instructions.lift(this.#joined(physical, secondPage), mode);
    return typeof lifted === "string" ? null : lifted;
  }

  /** Bytes from the end of a page and the beginning of another. */
  #joined(physical: number, secondPage: number): Uint8Array {
    const first = PAGE_SIZE - pageOffset(physical);
    const code = new Uint8Array(MAX_INSTRUCTION_BYTES);
    code.set(this.#bytesAt(physical, first));
    code.set(this.#bytesAt(secondPage, MAX_INSTRUCTION_BYTES - first), first);
    return code;
  }

  addDependent(dependent: Dependent): void {
    this.#cover(dependent, dependent.ranges);
  }

  removeDependent(dependent: Dependent): void {
    this.#release(dependent);
  }

  /** Marks the granules of what an owner is made from, each range within one page. */
  #cover(owner: Block | Dependent, ranges: Dependent["ranges"]): void {
    const extents = ranges.map(([physical, length]): Extent => ({ from: physical, to: physical + length, owner }));
    this.#extents.set(owner, extents);
    for (const extent of extents) {
      const page = this.#page(pageNumber(extent.from));
      for (const granule of granulesOf(extent.from, extent.to)) {
        const index = granule & GRANULE_MASK;
        const extents = page.extents[index] ?? new Set();
        page.extents[index] = extents.add(extent);
        this.#mark(granule, GRANULE_MARK.CODE);
      }
    }
  }

  /** The bytes of an owner are no code of it any more. */
  #release(owner: Block | Dependent): void {
    for (const extent of this.#extents.get(owner) ?? []) {
      const page = this.#page(pageNumber(extent.from));
      for (const granule of granulesOf(extent.from, extent.to)) {
        const extents = page.extents[granule & GRANULE_MASK];
        extents?.delete(extent);
        if (extents?.size === 0) this.#mark(granule, 0);
      }
    }
    this.#extents.delete(owner);
  }

  /** Marks a granule as code or not, and leaves its other mark. */
  #mark(granule: number, code: number): void {
    const granules = this.#memory.codeGranules;
    granules[granule] = ((granules[granule] as number) & ~GRANULE_MARK.CODE) | code;
  }

  /** Drops everything: memory was restored, or replaced without telling. */
  clear(): void {
    for (const owner of [...this.#extents.keys()]) if (!isBlock(owner)) owner.drop();
    this.#extents.clear();
    this.#pages.clear();
    this.#probation.clear();
    this.#hot.fill(null);
    this.#memory.unmarkCode();
  }

  /**
   * Drops the blocks that have a byte in common with a write of `bytes` bytes at a physical address; false when there
   * are none: the write met data that shares a granule with code.
   */
  invalidate(address: number, bytes: number): boolean {
    const end = address + bytes;
    const owners = new Set<Block | Dependent>();
    for (const granule of granulesOf(address, end)) {
      const extents = this.#pages.get(granule >>> GRANULE_TO_PAGE)?.extents[granule & GRANULE_MASK];
      for (const { from, to, owner } of extents ?? []) if (from < end && to > address) owners.add(owner);
    }
    for (const owner of owners) {
      if (isBlock(owner)) this.#drop(owner);
      else owner.write();
    }
    return owners.size > 0;
  }

  #drop(block: Block): void {
    this.#pages.get(pageNumber(block.physical))?.blocks.delete(block.key);
    this.#cool(block);
    this.#release(block);
    this.dropped++;
  }
}

const GRANULE_TO_PAGE = 12 - CODE_GRANULE_SHIFT;
const GRANULE_MASK = (1 << GRANULE_TO_PAGE) - 1;

/** Granules of the bytes from one physical address up to another. */
function* granulesOf(from: number, to: number): Generator<number> {
  for (let granule = from >>> CODE_GRANULE_SHIFT; granule * CODE_GRANULE_BYTES < to; granule++) yield granule;
}

/** A block that is compiled, or waits for that (its heat is negative), is as hot as can be. */
function heatOf({ compiled, heat }: Block): number {
  return compiled !== null || heat < 0 ? Number.POSITIVE_INFINITY : heat;
}

function isBlock(owner: Block | Dependent): owner is Block {
  return "ops" in owner;
}

/** Bytes of a block by page. What is no code may owe that to bytes behind it, and takes as many as a granule has. */
function blockRanges(block: Block): Dependent["ranges"] {
  const room = PAGE_SIZE - pageOffset(block.physical);
  const rest = block.kind === "code" ? 0 : CODE_GRANULE_BYTES;
  const first = [block.physical, Math.min(block.bytes + rest, room)] as const;
  if (block.secondPage < 0) return [first];
  return [first, [block.secondPage, Math.max(block.bytes - room, 1) + rest]];
}
