/**
 * Regions: what the compiler translates at once. A region is a piece of control flow that is entered at one place: the
 * instructions reached from there by direct jumps, branches, calls and falling through, as far as they have been executed
 * before, in nodes (basic blocks) with their edges. Places are offsets in bytes ("deltas") from the entry, because lifted
 * code holds no absolute EIP.
 *
 * Instructions are native (native.ts) or *interpreted*: those are one node each, run by the interpreter.
 *
 * Pages. Within a page the instruction TLB cannot miss; an edge to another page must find the translation that the region
 * was built with (compile.ts). An instruction whose bytes are on two pages is a node of its own, which must find both; no
 * region begins with one.
 */
import type { Account } from "../../ledger.ts";
import { pageNumber } from "../../memory/address.ts";
import type { Lifted } from "../lift/lift.ts";
import { BRANCH, type MicroOp, OP } from "../micro-ops.ts";
import { BLOCKING } from "../state.ts";
import { isIntercepted, isNative } from "./native.ts";
import type { RegionLimits } from "./policy.ts";

const PAGE_SHIFT = 12;

export interface RegionInstruction {
  readonly delta: number;
  readonly lifted: Lifted;
  readonly native: boolean;
  /** It is native only while DF is clear. */
  readonly forward: boolean;
  /** Whether its bytes are on two pages. */
  readonly crosses: boolean;
  readonly account: Account;
  /** What STI's shadow covers, if it is on the same page and charged alike. */
  readonly shadowed: Lifted | null;
}

/** How a node ends. Deltas that are in no node of the region leave it. */
export type NodeEnd =
  /** Falls through, jumps, or calls (`calls`: the instruction's micro-op has pushed; the return stack is told). */
  | { readonly kind: "goto"; readonly target: number; readonly calls: boolean; readonly next: number }
  | { readonly kind: "branch"; readonly op: MicroOp; readonly taken: number; readonly next: number }
  /** JUMP_TO: the target is in the micro-op's cell. */
  | { readonly kind: "indirect"; readonly op: MicroOp; readonly next: number }
  /** The interpreter has set EIP, and anything may have changed. */
  | { readonly kind: "leave" };

export interface RegionNode {
  readonly delta: number;
  readonly instructions: readonly RegionInstruction[];
  /** Static cost of its native instructions in ticks, and what all of it is charged to. */
  readonly ticks: number;
  readonly account: Account;
  readonly end: NodeEnd;
}

export interface Region {
  /** By delta; the entry is delta 0. */
  readonly nodes: ReadonlyMap<number, RegionNode>;
  /** Places to which a RET of the region may go inside it: behind its calls, in ascending order. */
  readonly continuations: readonly number[];
  /** Physical page base by page index relative to the entry's page. */
  readonly pages: ReadonlyMap<number, number>;
  /** Lowest and highest delta that is a byte of it or the target of a direct branch. */
  readonly extent: { readonly low: number; readonly high: number };
  /** Whether RF may be set at its entry: it ends with the first instruction, which is native and no branch. */
  readonly resumes: boolean;
  /** Offset of the entry in its page. */
  readonly offset: number;
  readonly instructions: number;
  /** Physical byte ranges of all instructions. */
  readonly bytes: readonly (readonly [physical: number, length: number])[];
}

/** Indices of the pages, relative to that of the entry, of the instructions at a node's beginning and at its end. */
export function firstPages({ instructions }: RegionNode, offset: number): readonly number[] {
  return pagesOf(instructions[0] as RegionInstruction, offset);
}

export function lastPages({ instructions }: RegionNode, offset: number): readonly number[] {
  return pagesOf(instructions.at(-1) as RegionInstruction, offset);
}

function pagesOf({ delta, crosses }: RegionInstruction, offset: number): readonly number[] {
  const page = (offset + delta) >> PAGE_SHIFT;
  return crosses ? [page, page + 1] : [page];
}

/** Physical address of a place in a region. */
export function physicalOf({ offset, pages }: Region, delta: number): number {
  return (pages.get((offset + delta) >> PAGE_SHIFT) as number) + ((offset + delta) & 0xfff);
}

/** What a region is made from. */
export interface CodeSource {
  /** The instruction at a physical address; null when it is not one that compiled code may hold, or crosses a page. */
  instruction(physical: number): Lifted | null;
  /** The instruction that begins at a physical address and ends on another page; null when none does. */
  crossing(physical: number, secondPage: number): Lifted | null;
  /** Whether a monitor may intercept what is executed: the processor is in VMX operation. */
  readonly intercepts: boolean;
  /** A string instruction as other micro-ops, which do what it does while DF is clear; null: it has no such form. */
  forwardForm(lifted: Lifted): Lifted | null;
  /** What the instruction at a physical address is charged to. */
  account(physical: number): Account;
  /** Whether code at a physical address has been executed often enough to be part of a region. */
  isWarm(physical: number): boolean;
  /** Physical base of the page at an index relative to the entry's page, or -1 when the TLB's fast table has it not. */
  page(index: number): number;
}

/** Builds the region that is entered at `physical`; null when not even its first instruction can be compiled. */
export function buildRegion(physical: number, limits: RegionLimits, source: CodeSource): Region | null {
  return new RegionBuilder(physical, limits, source).build();
}

class RegionBuilder {
  readonly #source: CodeSource;
  readonly #limits: RegionLimits;
  readonly #offset: number;
  readonly #pages = new Map<number, number>();
  readonly #instructions = new Map<number, RegionInstruction>();
  readonly #leaders = new Set<number>([0]);
  readonly #calls = new Set<number>();

  constructor(physical: number, limits: RegionLimits, source: CodeSource) {
    this.#source = source;
    this.#limits = limits;
    this.#offset = physical & 0xfff;
    this.#pages.set(0, physical - this.#offset);
  }

  build(): Region | null {
    this.#discover();
    const nodes = new Map<number, RegionNode>();
    for (const delta of [...this.#leaders].sort((a, b) => a - b)) {
      const node = this.#node(delta);
      if (node !== null) nodes.set(delta, node);
    }
    const first = nodes.get(0)?.instructions[0];
    if (first === undefined) return null;
    return {
      nodes,
      resumes: first.native && endOf(first) === null,
      extent: this.#extent(nodes),
      continuations: [...this.#calls].filter((delta) => nodes.has(delta)).sort((a, b) => a - b),
      pages: this.#pages,
      offset: this.#offset,
      instructions: this.#instructions.size,
      bytes: joined([...this.#instructions.values()].flatMap((each) => this.#bytes(each))),
    };
  }

  /** Follows control flow from the entry, breadth first, up to the limits. */
  #discover(): void {
    const queue = [0];
    for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
      let delta = first;
      while (!this.#instructions.has(delta)) {
        const instruction = this.#decode(delta);
        if (instruction === null) break;
        this.#instructions.set(delta, instruction);
        const next = delta + instruction.lifted.length;
        if (!instruction.native) {
          if (leaves(instruction.lifted)) break;
          this.#leaders.add(delta).add(next);
          delta = next;
          continue;
        }
        const end = endOf(instruction);
        if (end === null) {
          // Nodes are on one page.
          if (instruction.crosses) this.#leaders.add(delta);
          if (this.#pageIndex(next) !== this.#pageIndex(delta)) this.#leaders.add(next);
          delta = next;
          continue;
        }
        if (instruction.crosses) this.#leaders.add(delta);
        for (const target of this.#successors(end)) {
          if (this.#leaders.has(target) || !this.#wanted(target)) continue;
          this.#leaders.add(target);
          queue.push(target);
        }
        break;
      }
    }
  }

  #successors(end: NodeEnd): number[] {
    switch (end.kind) {
      case "goto":
        if (!end.calls) return [end.target];
        this.#calls.add(end.next);
        return [end.target, end.next];
      case "branch":
        return [end.next, end.taken];
      default:
        return [];
    }
  }

  /** Whether a place is worth following: code that is warm, on a page that is in the TLB. */
  #wanted(delta: number): boolean {
    if (this.#leaders.size >= this.#limits.nodes) return false;
    const physical = this.#physical(delta);
    return physical >= 0 && (this.#instructions.has(delta) || this.#source.isWarm(physical));
  }

  #decode(delta: number): RegionInstruction | null {
    if (this.#instructions.size >= this.#limits.instructions) return null;
    const physical = this.#physical(delta);
    if (physical < 0) return null;
    const account = this.#source.account(physical);
    const within = this.#source.instruction(physical);
    const lifted = within ?? (delta === 0 ? null : this.#crossing(delta, physical));
    if (lifted === null) return null;
    const shadowed = lifted.rule.setsShadow === BLOCKING.STI ? this.#shadowed(delta, lifted, account) : null;
    const form = this.#source.forwardForm(lifted);
    const native = isNative(form ?? lifted) && !(this.#source.intercepts && isIntercepted(lifted));
    const forward = form !== null;
    return { delta, lifted: form ?? lifted, native, forward, crosses: within === null, account, shadowed };
  }

  #crossing(delta: number, physical: number): Lifted | null {
    const secondPage = this.#page(this.#pageIndex(delta) + 1);
    return secondPage < 0 ? null : this.#source.crossing(physical, secondPage);
  }

  /** The instruction behind an STI. */
  #shadowed(delta: number, { length }: Lifted, account: Account): Lifted | null {
    const next = delta + length;
    if (this.#pageIndex(next) !== this.#pageIndex(delta)) return null;
    const physical = this.#physical(next);
    if (this.#source.account(physical) !== account) return null;
    const lifted = this.#source.instruction(physical);
    if (lifted === null || lifted.rule.setsShadow !== undefined) return null;
    return lifted.ops.some(({ op }) => op === OP.STRING || op === OP.MARKER) ? null : lifted;
  }

  /** Physical byte ranges of an instruction, each on one page. */
  #bytes({ delta, lifted, shadowed, crosses }: RegionInstruction): (readonly [number, number])[] {
    const physical = this.#physical(delta);
    const length = lifted.length + (shadowed?.length ?? 0);
    if (!crosses) return [[physical, length]];
    const first = 0x1000 - (physical & 0xfff);
    return [
      [physical, first],
      [this.#page(this.#pageIndex(delta) + 1), length - first],
    ];
  }

  #pageIndex(delta: number): number {
    return (this.#offset + delta) >> PAGE_SHIFT;
  }

  /** Physical address of a place, or -1. */
  #physical(delta: number): number {
    const base = this.#page(this.#pageIndex(delta));
    return base < 0 ? -1 : base + ((this.#offset + delta) & 0xfff);
  }

  /** Physical base of a page, or -1. */
  #page(index: number): number {
    let base = this.#pages.get(index);
    if (base === undefined) {
      base = this.#source.page(index);
      if (base < 0) return -1;
      this.#pages.set(index, base);
    }
    return base;
  }

  /** The node that begins at a leader; it ends at a branch, or before another leader or another page. */
  #node(leader: number): RegionNode | null {
    const instructions: RegionInstruction[] = [];
    let ticks = 0;
    let delta = leader;
    for (;;) {
      const instruction = this.#instructions.get(delta);
      const first = instructions[0] ?? instruction;
      if (instruction === undefined || first === undefined) {
        return instructions.length === 0 ? null : this.#ends(instructions, ticks, goto(delta));
      }
      const stops = delta !== leader && (this.#leaders.has(delta) || !instruction.native);
      if (stops || this.#pageIndex(delta) !== this.#pageIndex(leader) || instruction.account !== first.account) {
        return this.#ends(instructions, ticks, goto(delta));
      }
      instructions.push(instruction);
      delta += instruction.lifted.length;
      if (!instruction.native) {
        const end: NodeEnd = leaves(instruction.lifted) ? { kind: "leave" } : goto(delta);
        return this.#ends(instructions, 0, end);
      }
      ticks += instruction.lifted.ticks;
      const end = endOf(instruction);
      if (end !== null) return this.#ends(instructions, ticks, end);
    }
  }

  #ends(instructions: readonly RegionInstruction[], ticks: number, end: NodeEnd): RegionNode {
    const { delta, account } = instructions[0] as RegionInstruction;
    return { delta, instructions, ticks, account, end };
  }

  #extent(nodes: ReadonlyMap<number, RegionNode>): { low: number; high: number } {
    let low = 0;
    let high = 0;
    for (const { instructions, end } of nodes.values()) {
      const { delta, lifted } = instructions.at(-1) as RegionInstruction;
      const target = end.kind === "goto" ? end.target : end.kind === "branch" ? end.taken : 0;
      low = Math.min(low, (instructions[0] as RegionInstruction).delta, target);
      high = Math.max(high, delta + lifted.length - 1, target);
    }
    return { low, high };
  }
}

/** The same bytes in as few ranges as can be, each on one page. */
function joined(
  ranges: readonly (readonly [physical: number, length: number])[],
): [physical: number, length: number][] {
  const all: [number, number][] = [];
  for (const [physical, length] of [...ranges].sort(([a], [b]) => a - b)) {
    const last = all.at(-1);
    const end = last === undefined ? -1 : last[0] + last[1];
    if (last === undefined || physical > end || pageNumber(physical) !== pageNumber(last[0]))
      all.push([physical, length]);
    else last[1] = Math.max(last[1], physical + length - last[0]);
  }
  return all;
}

function goto(target: number): NodeEnd {
  return { kind: "goto", target, calls: false, next: target };
}

/** Whether nothing of the region may follow an interpreted instruction. */
function leaves(lifted: Lifted): boolean {
  return lifted.rule.endsBlock === true || lifted.ops.at(-1)?.op === OP.END_BRANCH;
}

/** How a native instruction ends its node; null when it does not. */
function endOf({ delta, lifted }: RegionInstruction): NodeEnd | null {
  const next = delta + lifted.length;
  for (const op of lifted.ops) {
    switch (op.op) {
      case OP.JUMP:
        return { kind: "goto", target: delta + op.imm, calls: op.x === BRANCH.CALL, next };
      case OP.JUMP_IF:
      case OP.LOOP:
        return { kind: "branch", op, taken: delta + op.imm, next };
      case OP.JUMP_TO:
        return { kind: "indirect", op, next };
      default:
    }
  }
  return null;
}
