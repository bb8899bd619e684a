/**
 * From a region to a WebAssembly function `() -> i32`. Guest registers, lazy flags and time are in locals; they come from
 * the processor's state at the entry and go back to it at every exit.
 *
 * Time. `spent` has the ticks since the clock was last brought up to date, `budget` what is left until the deadline. A
 * node runs only when its whole static cost ends before the deadline; otherwise the region is left before it, and the
 * interpreter goes to the deadline instruction by instruction. What costs more than the static price inside a node is
 * a slow translation, which JavaScript charges to the clock itself, and refuses when the deadline would be reached.
 *
 * Exits are at instruction boundaries. The function returns
 *   LEFT        at a boundary: the core goes on wherever EIP is now, compiled or not;
 *   SIGNALLED   an instruction left something in the state's signal; bits 8 and up are its length;
 *   INTERPRET   the interpreter must run what is next (a deadline is near, or an access that compiled code does not make).
 * From an exit to another region compiled code goes by itself (`transfer`), if that region is there and no deadline passed.
 */
import { NOW_CELL } from "../../clock.ts";
import { type Account, RETIRED_OFFSET } from "../../ledger.ts";
import { CODE_GRANULE_SHIFT, RAM_OFFSET } from "../../memory/physical.ts";
import { ACCESS } from "../environment.ts";
import { BRANCH, type MicroOp, OP } from "../micro-ops.ts";
import { baseCell, CELL, FAST_READ, FAST_WRITE, FIRST_TEMPORARY, FLAG, fastCell, GPR, STATUS_FLAGS } from "../state.ts";
import {
  carryOf,
  conditionOf,
  conditionOfEflags,
  EFLAGS_KIND,
  type FlagLocals,
  flagsKind,
  MADE_BY,
  UNKNOWN,
} from "./flags-code.ts";
import type { EngineLayout } from "./layout.ts";
import { CAN_LEAVE, cellsOf, type Region, type RegionInstruction, type RegionNode, writesCell } from "./region.ts";
import { type Structure, structureOf } from "./structure.ts";
import { FunctionBody, TYPE, WASM } from "./wasm.ts";

/**
 * Why a region returned: another block is next; a signal is left; the interpreter has to run what is next; or it has to
 * run, before anything else, an instruction that has begun.
 */
export const EXIT = { LEFT: 0, SIGNALLED: 1, INTERPRET: 2, BEGUN: 3 } as const;

/** Answers of the `translate` import besides a byte offset: a fault is signalled; not an access for compiled code. */
export const TRANSLATE = { FAULT: -1, REFUSED: -2 } as const;
/** Answers of the `interpret` import. */
export const INTERPRETED = { GO_ON: 0, SIGNALLED: 1, BOUNDARY: 2 } as const;

/** Longest time that a region runs without coming back, in ticks: `spent` stays a small integer. */
export const LONGEST = 0x3fffffff;

/** Indices of functions in every module of regions. */
const FUNCTION = { translate: 0, interpret: 1, budget: 2, status: 3, transfer: 4 } as const;
/** Indices of function types (runtime.ts). */
export const FUNCTION_TYPE = { region: 0, translate: 1, interpret: 2, status: 3 } as const;

/** What a region's code depends on besides its instructions. */
export interface CompileContext {
  readonly layout: EngineLayout;
  readonly account: Account;
  /** Mode that the region was lifted for, as `transfer` takes it (runtime.ts). */
  readonly transferMode: number;
  readonly user: boolean;
  /** Bases of segments at the time of compilation: where zero, the code relies on it. */
  readonly bases: readonly number[];
  /** Number of an interpreted instruction for the `interpret` import. */
  interpreted(instruction: RegionInstruction): number;
}

const GPR_COUNT = 8;
/** log2 of the size of a cell of the fast table. */
const WORD_SHIFT = 2;

export function compileRegion(region: Region, context: CompileContext): FunctionBody {
  return new RegionCompiler(region, context).compile();
}

/** Successors of a node inside the region. */
function successorsOf(region: Region, node: RegionNode): number[] {
  const { end } = node;
  const inside = (deltas: readonly number[]): number[] => deltas.filter((delta) => region.nodes.has(delta));
  switch (end.kind) {
    case "goto":
      return inside([end.target]);
    case "branch":
      return end.taken === end.next ? inside([end.next]) : inside([end.next, end.taken]);
    case "indirect":
      return end.op.x === BRANCH.RETURN ? inside(region.continuations) : [];
    default:
      return [];
  }
}

class RegionCompiler {
  readonly #region: Region;
  readonly #context: CompileContext;
  readonly #layout: EngineLayout;
  readonly #structure: Structure;
  readonly #f = new FunctionBody(0);
  readonly #registers: readonly number[];
  readonly #flags: FlagLocals;
  readonly #temporaries = new Map<number, number>();
  readonly #spent: number;
  readonly #budget: number;
  readonly #count: number;
  readonly #entry: number;
  readonly #eip: number;
  readonly #why: number;
  readonly #linear: number;
  readonly #host: number;
  readonly #scratch: number;
  readonly #wide: number;
  readonly #wide2: number;
  readonly #bases = new Map<number, number>();
  /** Registers that some instruction of the region writes, and reads or writes. */
  readonly #written = new Set<number>();
  readonly #used = new Set<number>();
  /** FAST_READ and FAST_WRITE by segment, as far as the region relies on them. */
  readonly #segments = new Map<number, number>();
  /** Kind of the flags at the beginning of merge nodes, as far as the ways to them have been emitted. */
  readonly #kinds = new Map<number, number>();
  /** Open constructs, innermost last: a loop's node, a block before a merge node, or another. */
  readonly #open: { readonly kind: "loop" | "block" | "other"; readonly node: number }[] = [];
  /** Kind of the flags here. */
  #kind: number = UNKNOWN;
  /** Host addresses that LOAD_UPDATE has found, by place, in the instruction in progress. */
  #places = new Map<string, number>();

  constructor(region: Region, context: CompileContext) {
    this.#region = region;
    this.#context = context;
    this.#layout = context.layout;
    this.#structure = structureOf(0, (delta) => successorsOf(region, this.#nodeAt(delta)));
    const f = this.#f;
    this.#registers = Array.from({ length: GPR_COUNT }, () => f.addLocal());
    this.#flags = {
      kind: f.addLocal(),
      a: f.addLocal(),
      b: f.addLocal(),
      result: f.addLocal(),
      carry: f.addLocal(),
      eflags: f.addLocal(),
    };
    this.#spent = f.addLocal();
    this.#budget = f.addLocal();
    this.#count = f.addLocal();
    this.#entry = f.addLocal();
    this.#eip = f.addLocal();
    this.#why = f.addLocal();
    this.#linear = f.addLocal();
    this.#host = f.addLocal();
    this.#scratch = f.addLocal();
    this.#wide = f.addLocal(TYPE.i64);
    this.#wide2 = f.addLocal(TYPE.i64);
    this.#survey();
  }

  compile(): FunctionBody {
    const f = this.#f;
    this.#prologue();
    this.#openBlock("other", -1);
    this.#tree(0);
    f.op(WASM.unreachable);
    this.#close();
    // Here every exit arrives, with EIP and the reason in their locals.
    this.#flush();
    f.get(this.#why);
    f.open(WASM.if);
    f.get(this.#why);
    f.op(WASM.return);
    f.end();
    f.i32(this.#context.transferMode);
    f.returnCall(FUNCTION.transfer);
    return f;
  }

  // ---- what the region uses ----

  /** Collects the registers and segments that native instructions touch. */
  #survey(): void {
    for (const node of this.#region.nodes.values()) {
      for (const { lifted, native } of node.instructions) {
        if (!native) {
          // The interpreter reads and writes any register; its changes are loaded again where they are used.
          continue;
        }
        for (const op of lifted.ops) this.#surveyOp(op);
      }
    }
  }

  #surveyOp(op: MicroOp): void {
    for (const cell of cellsOf(op)) if (cell <= GPR.edi) this.#used.add(cell / 2);
    if (writesCell(op) && op.d <= GPR.edi) this.#written.add(op.d / 2);
    switch (op.op) {
      case OP.LOAD:
        this.#needSegment(op.x, FAST_READ);
        break;
      case OP.LOAD_UPDATE:
      case OP.STORE:
        this.#needSegment(op.x, FAST_WRITE);
        break;
      case OP.DIV:
      case OP.IDIV:
        for (const n of [0, 2]) {
          this.#used.add(n);
          this.#written.add(n);
        }
        break;
      case OP.LAHF:
      case OP.SAHF:
        this.#used.add(0);
        this.#written.add(0);
        break;
      case OP.LOOP:
        this.#used.add(1);
        this.#written.add(1);
        break;
      default:
    }
  }

  #needSegment(segment: number, fast: number): void {
    this.#segments.set(segment, (this.#segments.get(segment) ?? 0) | fast);
    if ((this.#context.bases[segment] as number) !== 0 && !this.#bases.has(segment)) {
      this.#bases.set(segment, this.#f.addLocal());
    }
  }

  #nodeAt(delta: number): RegionNode {
    return this.#region.nodes.get(delta) as RegionNode;
  }

  // ---- entry and exits ----

  #prologue(): void {
    const f = this.#f;
    this.#loadCell(CELL.rip);
    f.set(this.#entry);
    this.#reload();
    this.#checkSegments(() => {
      f.i32(EXIT.INTERPRET);
      f.op(WASM.return);
    });
  }

  /** State into locals; nothing has been spent. */
  #reload(): void {
    const f = this.#f;
    for (const n of this.#used) {
      this.#loadCell(n * 2);
      f.set(this.#registers[n] as number);
    }
    this.#loadCell(CELL.rflags);
    f.set(this.#flags.eflags);
    this.#setKind(EFLAGS_KIND);
    for (const [segment, local] of this.#bases) {
      this.#loadCell(baseCell(segment));
      f.set(local);
    }
    f.i32(0);
    f.set(this.#spent);
    f.i32(0);
    f.set(this.#count);
    this.#newBudget();
  }

  #newBudget(): void {
    this.#f.call(FUNCTION.budget);
    this.#f.set(this.#budget);
  }

  /** Leaves when a segment is not what the region relies on. */
  #checkSegments(leave: () => void): void {
    const f = this.#f;
    for (const [segment, fast] of this.#segments) {
      this.#loadCell(fastCell(segment));
      f.i32(fast);
      f.op(WASM.i32And);
      f.i32(fast);
      f.op(WASM.i32Ne);
      if (!this.#bases.has(segment)) {
        this.#loadCell(baseCell(segment));
        f.op(WASM.i32Or);
      }
      f.open(WASM.if);
      leave();
      f.end();
    }
  }

  /** Locals into the state, and the clock brought up to date. EIP is taken from its local. */
  #flush(): void {
    const f = this.#f;
    for (const n of this.#written) this.#storeCell(n * 2, () => f.get(this.#registers[n] as number));
    this.#storeCell(CELL.rip, () => f.get(this.#eip));
    this.#storeCell(CELL.rflags, () => {
      this.#callStatus();
    });
    const { time } = this.#layout;
    const add = (cell: number, local: number): void => {
      f.i32(0);
      f.i32(0);
      f.memory(WASM.f64Load, time + cell * 8, 3);
      f.get(local);
      f.op(WASM.f64ConvertI32S);
      f.op(WASM.f64Add);
      f.memory(WASM.f64Store, time + cell * 8, 3);
    };
    add(NOW_CELL, this.#spent);
    add(this.#context.account, this.#spent);
    add(this.#context.account + RETIRED_OFFSET, this.#count);
  }

  /** EFLAGS from the lazy flags, whose kind is in its local. */
  #callStatus(): void {
    const { kind, a, b, result, carry, eflags } = this.#flags;
    for (const local of [kind, a, b, result, carry, eflags]) this.#f.get(local);
    this.#f.call(FUNCTION.status);
  }

  /** Leaves the region at a place. */
  #exitAt(delta: number, why: number): void {
    const f = this.#f;
    f.get(this.#entry);
    f.i32(delta);
    f.op(WASM.i32Add);
    f.set(this.#eip);
    this.#exit(why);
  }

  #exit(why: number): void {
    const f = this.#f;
    f.i32(why);
    f.set(this.#why);
    f.br(this.#open.length - 1);
  }

  // ---- structure ----

  #openBlock(kind: "loop" | "block" | "other", node: number): void {
    this.#f.open(kind === "loop" ? WASM.loop : WASM.block);
    this.#open.push({ kind, node });
  }

  #close(): void {
    this.#f.end();
    this.#open.pop();
  }

  /** Opens an `if` around what `body` emits. */
  #if(body: () => void, otherwise?: () => void): void {
    this.#f.open(WASM.if);
    this.#open.push({ kind: "other", node: -1 });
    body();
    if (otherwise !== undefined) {
      this.#f.op(WASM.else);
      otherwise();
    }
    this.#close();
  }

  /** A node with what it dominates. Kinds of flags: `#kind` for a node that follows here. */
  #tree(delta: number): void {
    this.#kind = this.#structure.isLoop(delta) ? UNKNOWN : (this.#kinds.get(delta) ?? this.#kind);
    if (!this.#structure.isLoop(delta)) {
      this.#within(delta, this.#structure.merges(delta));
      return;
    }
    this.#openBlock("loop", delta);
    this.#within(delta, this.#structure.merges(delta));
    this.#close();
    this.#f.op(WASM.unreachable);
  }

  #within(delta: number, merges: readonly number[]): void {
    const [first, ...rest] = merges;
    if (first === undefined) {
      this.#node(this.#nodeAt(delta));
      return;
    }
    this.#openBlock("block", first);
    this.#within(delta, rest);
    this.#close();
    this.#tree(first);
  }

  /** Goes from a node to a place: in the region, or out of it. */
  #edge(from: number, to: number): void {
    const kind = this.#structure.edge(from, to);
    if (kind === "leave") {
      this.#exitAt(to, EXIT.LEFT);
      return;
    }
    this.#checkPage(from, to);
    if (kind === "inline") {
      this.#tree(to);
      return;
    }
    if (kind === "forward") {
      const known = this.#kinds.get(to);
      this.#kinds.set(to, known === undefined || known === this.#kind ? this.#kind : UNKNOWN);
    }
    const wanted = kind === "back" ? "loop" : "block";
    const place = this.#open.findLastIndex((each) => each.kind === wanted && each.node === to);
    this.#f.br(this.#open.length - 1 - place);
  }

  /** On the way to another page its translation must be the one that the region was built with. */
  #checkPage(from: number, to: number): void {
    const { offset, pages } = this.#region;
    const index = (offset + to) >> 12;
    if (index === lastPage(this.#nodeAt(from), offset)) return;
    const f = this.#f;
    const { fetchTags, fetchFrames, fetchBits } = this.#layout;
    const part = this.#context.user ? 1 << fetchBits : 0;
    f.get(this.#entry);
    f.i32(to);
    f.op(WASM.i32Add);
    f.i32(12);
    f.op(WASM.i32ShrU);
    f.tee(this.#scratch);
    f.get(this.#scratch);
    f.i32((1 << fetchBits) - 1);
    f.op(WASM.i32And);
    f.tee(this.#host);
    f.i32(WORD_SHIFT);
    f.op(WASM.i32Shl);
    f.memory(WASM.i32Load, fetchTags + part * 4, 2);
    f.op(WASM.i32Ne);
    f.get(this.#host);
    f.i32(3);
    f.op(WASM.i32Shl);
    f.memory(WASM.f64Load, fetchFrames + part * 8, 3);
    f.f64(pages.get(index) as number);
    f.op(WASM.f64Ne);
    f.op(WASM.i32Or);
    this.#if(() => this.#exitAt(to, EXIT.LEFT));
  }

  #node(node: RegionNode): void {
    const f = this.#f;
    const native = node.instructions[0]?.native === true;
    const instructions = native ? node.instructions.length : 0;
    f.get(this.#spent);
    if (node.ticks !== 0) {
      f.i32(node.ticks);
      f.op(WASM.i32Add);
      f.tee(this.#spent);
    }
    f.get(this.#budget);
    f.op(WASM.i32GeS);
    this.#if(() => {
      this.#takeBack(node.ticks, 0);
      this.#exitAt(node.delta, EXIT.INTERPRET);
    });
    if (instructions > 0) {
      f.get(this.#count);
      f.i32(instructions);
      f.op(WASM.i32Add);
      f.set(this.#count);
    }
    if (!native) this.#interpreted(node);
    else this.#native(node);
  }

  /** Ticks and instructions of a node that have been counted and do not happen. */
  #takeBack(ticks: number, instructions: number): void {
    const f = this.#f;
    for (const [local, amount] of [
      [this.#spent, ticks],
      [this.#count, instructions],
    ] as const) {
      if (amount === 0) continue;
      f.get(local);
      f.i32(amount);
      f.op(WASM.i32Sub);
      f.set(local);
    }
  }

  /** One instruction by the interpreter, between a flush and a reload. */
  #interpreted(node: RegionNode): void {
    const f = this.#f;
    const instruction = node.instructions[0] as RegionInstruction;
    f.get(this.#entry);
    f.i32(node.delta);
    f.op(WASM.i32Add);
    f.set(this.#eip);
    this.#flush();
    f.i32(this.#context.interpreted(instruction));
    f.call(FUNCTION.interpret);
    if (node.end.kind === "leave") {
      f.i32(INTERPRETED.SIGNALLED);
      f.op(WASM.i32Eq);
      f.op(WASM.return);
      return;
    }
    f.tee(this.#scratch);
    this.#if(() => {
      f.get(this.#scratch);
      f.i32(INTERPRETED.SIGNALLED);
      f.op(WASM.i32Eq);
      f.op(WASM.return);
    });
    this.#reload();
    this.#kind = EFLAGS_KIND;
    this.#checkSegments(() => {
      f.i32(EXIT.LEFT);
      f.op(WASM.return);
    });
    if (node.end.kind === "goto") this.#edge(node.delta, node.end.target);
  }

  #native(node: RegionNode): void {
    let ticks = 0;
    for (const [n, instruction] of node.instructions.entries()) {
      const { lifted } = instruction;
      this.#places = new Map();
      this.#current = {
        instruction,
        restTicks: node.ticks - ticks,
        restInstructions: node.instructions.length - n,
        flagsDead: flagsDeadAfter(node, n),
      };
      for (const op of lifted.ops) this.#op(op);
      ticks += lifted.ticks;
    }
    this.#end(node);
  }

  /** The native instruction in progress: what of its node is still to come, it included. */
  #current: Current | null = null;

  /** Leaves the instruction in progress: nothing of it has happened but translations, which may have taken time. */
  #giveUp(): void {
    const { instruction, restTicks, restInstructions } = this.#current as Current;
    this.#takeBack(restTicks, restInstructions);
    this.#exitAt(instruction.delta, EXIT.BEGUN);
  }

  /** Leaves with a signal of the instruction in progress: it has been paid for, and is not retired. */
  #signalled(): void {
    const { instruction, restTicks, restInstructions } = this.#current as Current;
    this.#takeBack(restTicks - instruction.lifted.ticks, restInstructions);
    this.#exitAt(instruction.delta, EXIT.SIGNALLED | (instruction.lifted.length << 8));
  }

  #end(node: RegionNode): void {
    const f = this.#f;
    const { end, delta } = node;
    switch (end.kind) {
      case "goto":
        if (end.calls) this.#pushReturn(() => this.#place(end.next));
        this.#edge(delta, end.target);
        break;
      case "branch":
        if (end.op.op === OP.LOOP) this.#loopCondition(end.op);
        else this.#condition(end.op.x);
        if (end.taken === end.next) {
          f.op(WASM.drop);
          this.#edge(delta, end.next);
          break;
        }
        {
          const kind = this.#kind;
          this.#if(() => this.#edge(delta, end.taken));
          this.#kind = kind;
          this.#edge(delta, end.next);
        }
        break;
      case "indirect":
        this.#indirect(node, end.op, end.next);
        break;
      default:
        throw new Error("compile: a native node cannot leave");
    }
  }

  /** EIP of a place in the region. */
  #place(delta: number): void {
    this.#f.get(this.#entry);
    this.#f.i32(delta);
    this.#f.op(WASM.i32Add);
  }

  // ---- branches ----

  #indirect(node: RegionNode, op: MicroOp, next: number): void {
    const f = this.#f;
    const { instruction } = this.#current as Current;
    this.#read(op.a);
    f.set(this.#eip);
    if (op.x === BRANCH.RETURN) this.#popReturn();
    else {
      if (op.x === BRANCH.CALL_INDIRECT) this.#pushReturn(() => this.#place(next));
      this.#lastTarget(instruction.delta);
    }
    if (op.x === BRANCH.RETURN) {
      const kind = this.#kind;
      for (const delta of successorsOf(this.#region, node)) {
        f.get(this.#eip);
        this.#place(delta);
        f.op(WASM.i32Eq);
        this.#if(() => this.#edge(node.delta, delta));
        this.#kind = kind;
      }
    }
    this.#exit(EXIT.LEFT);
  }

  /** Adds the price of a misprediction if the value on the stack is not zero. */
  #chargeMisprediction(): void {
    const f = this.#f;
    f.i32(this.#layout.mispredict);
    f.op(WASM.i32Mul);
    f.get(this.#spent);
    f.op(WASM.i32Add);
    f.set(this.#spent);
  }

  /** The return stack's top, in `scratch`. */
  #returnTop(): void {
    const f = this.#f;
    f.i32(0);
    f.memory(WASM.f64Load, this.#layout.returnTop, 3);
    f.op(WASM.i32TruncF64S);
  }

  #setReturnTop(): void {
    const f = this.#f;
    f.i32(0);
    f.get(this.#scratch);
    f.op(WASM.f64ConvertI32S);
    f.memory(WASM.f64Store, this.#layout.returnTop, 3);
  }

  /** CALL: the address of the next instruction goes on the return stack (predictor.ts). */
  #pushReturn(next: () => void): void {
    const f = this.#f;
    const { returns, returnEntries } = this.#layout;
    this.#returnTop();
    f.tee(this.#scratch);
    f.i32(3);
    f.op(WASM.i32Shl);
    next();
    f.op(WASM.f64ConvertI32U);
    f.memory(WASM.f64Store, returns, 3);
    f.get(this.#scratch);
    f.i32(1);
    f.op(WASM.i32Add);
    f.i32(returnEntries);
    f.op(WASM.i32RemU);
    f.set(this.#scratch);
    this.#setReturnTop();
  }

  /** RET to the EIP in its local. */
  #popReturn(): void {
    const f = this.#f;
    const { returns, returnEntries } = this.#layout;
    this.#returnTop();
    f.i32(returnEntries - 1);
    f.op(WASM.i32Add);
    f.i32(returnEntries);
    f.op(WASM.i32RemU);
    f.set(this.#scratch);
    this.#setReturnTop();
    f.get(this.#scratch);
    f.i32(3);
    f.op(WASM.i32Shl);
    f.tee(this.#scratch);
    f.memory(WASM.f64Load, returns, 3);
    f.get(this.#eip);
    f.op(WASM.f64ConvertI32U);
    f.op(WASM.f64Ne);
    this.#chargeMisprediction();
    f.get(this.#scratch);
    f.f64(-1);
    f.memory(WASM.f64Store, returns, 3);
  }

  /** An indirect branch of the instruction at a place to the EIP in its local. */
  #lastTarget(delta: number): void {
    const f = this.#f;
    const { indirectSources, indirectTargets, indirectEntries } = this.#layout;
    const slot = this.#scratch;
    this.#place(delta);
    f.i32(indirectEntries);
    f.op(WASM.i32RemU);
    f.i32(3);
    f.op(WASM.i32Shl);
    f.tee(slot);
    f.memory(WASM.f64Load, indirectSources, 3);
    this.#place(delta);
    f.op(WASM.f64ConvertI32U);
    f.op(WASM.f64Ne);
    f.get(slot);
    f.memory(WASM.f64Load, indirectTargets, 3);
    f.get(this.#eip);
    f.op(WASM.f64ConvertI32U);
    f.op(WASM.f64Ne);
    f.op(WASM.i32Or);
    this.#chargeMisprediction();
    f.get(slot);
    this.#place(delta);
    f.op(WASM.f64ConvertI32U);
    f.memory(WASM.f64Store, indirectSources, 3);
    f.get(slot);
    f.get(this.#eip);
    f.op(WASM.f64ConvertI32U);
    f.memory(WASM.f64Store, indirectTargets, 3);
  }

  /** LOOP and JECXZ: ECX is committed, and whether to jump is left on the stack. */
  #loopCondition(op: MicroOp): void {
    const f = this.#f;
    const ecx = this.#registers[1] as number;
    if (op.x === 3) {
      f.get(ecx);
      f.op(WASM.i32Eqz);
      return;
    }
    f.get(ecx);
    f.i32(1);
    f.op(WASM.i32Sub);
    f.tee(ecx);
    f.i32(0);
    f.op(WASM.i32Ne);
  }

  // ---- flags ----

  #setKind(kind: number): void {
    this.#kind = kind;
    this.#f.i32(kind);
    this.#f.set(this.#flags.kind);
  }

  /** EFLAGS computed, so that all flags are in their local. */
  #materialize(): void {
    if (this.#kind === EFLAGS_KIND) return;
    this.#callStatus();
    this.#f.set(this.#flags.eflags);
    this.#setKind(EFLAGS_KIND);
  }

  #condition(condition: number): void {
    if (this.#kind !== UNKNOWN && conditionOf(this.#f, this.#flags, this.#kind, condition)) return;
    this.#materialize();
    conditionOfEflags(this.#f, this.#flags.eflags, condition);
  }

  /** CF on the stack. */
  #carry(): void {
    if (this.#kind === UNKNOWN) this.#materialize();
    carryOf(this.#f, this.#flags, this.#kind);
  }

  #flagsDead(): boolean {
    return this.#current?.flagsDead === true;
  }

  // ---- cells ----

  #loadCell(cell: number): void {
    this.#f.i32(0);
    this.#f.memory(WASM.i32Load, this.#layout.state + cell * 4, 2);
  }

  #storeCell(cell: number, value: () => void): void {
    this.#f.i32(0);
    value();
    this.#f.memory(WASM.i32Store, this.#layout.state + cell * 4, 2);
  }

  /** The low 32 bits of a cell, on the stack. */
  #read(cell: number): void {
    if (cell === CELL.zero) this.#f.i32(0);
    else if (cell <= GPR.edi) this.#f.get(this.#registers[cell / 2] as number);
    else if (cell < FIRST_TEMPORARY) this.#loadCell(cell);
    else this.#f.get(this.#temporary(cell));
  }

  /** The stack's top into a cell. */
  #write(cell: number): void {
    this.#f.set(cell <= GPR.edi ? (this.#registers[cell / 2] as number) : this.#temporary(cell));
  }

  #temporary(cell: number): number {
    let local = this.#temporaries.get(cell);
    if (local === undefined) {
      local = this.#f.addLocal();
      this.#temporaries.set(cell, local);
    }
    return local;
  }

  // ---- memory ----

  /**
   * Host byte offset of an access at segment x : cell a, in a local of its own. Through the fast table; else JavaScript
   * translates (and charges what that costs), or the instruction is given up.
   */
  #translate(op: MicroOp, write: boolean): number {
    const f = this.#f;
    const { fastTags, fastFrames, fastBits } = this.#layout;
    const access = (write ? ACCESS.WRITE : 0) | (this.#context.user ? ACCESS.USER : 0);
    const part = (access << fastBits) * 4;
    this.#read(op.a);
    const base = this.#bases.get(op.x);
    if (base !== undefined) {
      f.get(base);
      f.op(WASM.i32Add);
    }
    f.tee(this.#linear);
    f.i32(12 - WORD_SHIFT);
    f.op(WASM.i32ShrU);
    f.i32(((1 << fastBits) - 1) << WORD_SHIFT);
    f.op(WASM.i32And);
    f.tee(this.#scratch);
    f.memory(WASM.i32Load, fastTags + part, 2);
    f.get(this.#linear);
    if (op.w > 1) {
      f.i32(op.w - 1);
      f.op(WASM.i32Add);
    }
    f.i32(12);
    f.op(WASM.i32ShrU);
    f.op(WASM.i32Eq);
    this.#if(
      () => {
        f.get(this.#scratch);
        f.memory(WASM.i32Load, fastFrames + part, 2);
        f.get(this.#linear);
        f.i32(0xfff);
        f.op(WASM.i32And);
        f.op(WASM.i32Add);
        f.set(this.#host);
      },
      () => {
        f.get(this.#linear);
        f.i32(access | (op.w << 8));
        f.get(this.#spent);
        f.call(FUNCTION.translate);
        f.tee(this.#host);
        f.i32(0);
        f.op(WASM.i32LtS);
        this.#if(() => {
          f.get(this.#host);
          f.i32(TRANSLATE.FAULT);
          f.op(WASM.i32Eq);
          this.#if(() => this.#signalled());
          this.#giveUp();
        });
        this.#newBudget();
      },
    );
    return this.#host;
  }

  #loadFrom(host: number, bytes: number): void {
    this.#f.get(host);
    this.#f.memory(bytes === 1 ? WASM.i32Load8U : bytes === 2 ? WASM.i32Load16U : WASM.i32Load, 0, 0);
  }

  /** Leaves the instruction when code was lifted from where it is about to store. */
  #checkGranule(host: number): void {
    const f = this.#f;
    f.get(host);
    f.i32(CODE_GRANULE_SHIFT);
    f.op(WASM.i32ShrU);
    f.memory(WASM.i32Load8U, this.#layout.granules - (RAM_OFFSET >> CODE_GRANULE_SHIFT), 0);
    this.#if(() => this.#giveUp());
  }

  #store(op: MicroOp): void {
    const f = this.#f;
    const known = this.#places.get(`${op.x}:${op.a}:${op.w}`);
    const host = known ?? this.#translate(op, true);
    if (known === undefined) this.#checkGranule(host);
    f.get(host);
    this.#read(op.b);
    f.memory(op.w === 1 ? WASM.i32Store8 : op.w === 2 ? WASM.i32Store16 : WASM.i32Store, 0, 0);
  }

  #loadForUpdate(op: MicroOp): void {
    const f = this.#f;
    this.#translate(op, true);
    this.#checkGranule(this.#host);
    const kept = this.#temporary(PLACE_TEMPORARY);
    f.get(this.#host);
    f.set(kept);
    this.#places.set(`${op.x}:${op.a}:${op.w}`, kept);
    this.#loadFrom(kept, op.w);
    this.#write(op.d);
  }

  // ---- micro-ops ----

  #op(op: MicroOp): void {
    const f = this.#f;
    switch (op.op) {
      case OP.BEGIN:
      case OP.END:
      case OP.END_BRANCH:
      case OP.CHECK_RELATIVE:
      case OP.CHECK_TARGET:
      case OP.JUMP:
      case OP.JUMP_IF:
      case OP.JUMP_TO:
      case OP.LOOP:
        // Branches end the node (`#end`); targets are always inside a 4 GB segment.
        break;
      case OP.CONST:
        f.i32(op.imm);
        this.#write(op.d);
        break;
      case OP.MOV:
        this.#read(op.a);
        this.#write(op.d);
        break;
      case OP.GET8H:
        this.#read(op.a);
        f.i32(8);
        f.op(WASM.i32ShrU);
        f.i32(0xff);
        f.op(WASM.i32And);
        this.#write(op.d);
        break;
      case OP.PUT8:
        this.#merge(op, 0xff, 0);
        break;
      case OP.PUT8H:
        this.#merge(op, 0xff, 8);
        break;
      case OP.PUT16:
        this.#merge(op, 0xffff, 0);
        break;
      case OP.ZERO_EXTEND:
        this.#read(op.a);
        this.#mask(op.w);
        this.#write(op.d);
        break;
      case OP.SIGN_EXTEND:
        this.#read(op.a);
        this.#signExtend(op.w);
        this.#write(op.d);
        break;
      case OP.SIGN:
        this.#read(op.a);
        f.i32(31);
        f.op(WASM.i32ShrS);
        this.#write(op.d);
        break;
      case OP.ADDRESS:
        this.#address(op);
        break;
      case OP.LOAD:
        this.#translate(op, false);
        this.#loadFrom(this.#host, op.w);
        this.#write(op.d);
        break;
      case OP.LOAD_UPDATE:
        this.#loadForUpdate(op);
        break;
      case OP.STORE:
        this.#store(op);
        break;
      case OP.NOT:
        this.#read(op.a);
        f.i32(-1);
        f.op(WASM.i32Xor);
        this.#write(op.d);
        break;
      case OP.NEXT_IP:
        this.#place((this.#current as Current).instruction.delta + op.imm);
        this.#mask(op.w);
        this.#write(op.d);
        break;
      case OP.BSWAP:
        this.#byteSwap(op);
        break;
      case OP.SETCC:
        this.#condition(op.x);
        this.#write(op.d);
        break;
      case OP.SELECT:
        this.#select(op);
        break;
      case OP.MUL:
      case OP.IMUL:
        this.#multiply(op);
        break;
      case OP.DIV:
      case OP.IDIV:
        this.#divide(op);
        break;
      default:
        this.#flagOp(op);
    }
  }

  /** Micro-ops that make flags. */
  #flagOp(op: MicroOp): void {
    switch (op.op) {
      case OP.ADD:
      case OP.SUB:
      case OP.ADC:
      case OP.SBB:
      case OP.AND:
      case OP.OR:
      case OP.XOR:
      case OP.INC:
      case OP.DEC:
      case OP.NEG:
        this.#arithmetic(op);
        break;
      case OP.SHL:
      case OP.SHR:
      case OP.SAR:
        this.#shift(op);
        break;
      case OP.ROL:
      case OP.ROR:
        this.#rotate(op);
        break;
      case OP.SHLD:
      case OP.SHRD:
        this.#doubleShift(op);
        break;
      case OP.BIT:
        this.#bit(op);
        break;
      case OP.BIT_ADDRESS:
        this.#bitAddress(op);
        break;
      case OP.BSF:
      case OP.BSR:
        this.#bitScan(op);
        break;
      case OP.FLAG_BIT:
        this.#flagBit(op.x);
        break;
      case OP.LAHF:
        this.#lahf();
        break;
      case OP.SAHF:
        this.#sahf();
        break;
      default:
        throw new Error(`compile: no translation of micro-op ${op.op}`);
    }
  }

  #mask(width: number): void {
    if (width === 32) return;
    this.#f.i32(width === 8 ? 0xff : 0xffff);
    this.#f.op(WASM.i32And);
  }

  #signExtend(width: number): void {
    if (width === 8) this.#f.op(WASM.i32Extend8S);
    else if (width === 16) this.#f.op(WASM.i32Extend16S);
  }

  #merge(op: MicroOp, mask: number, shift: number): void {
    const f = this.#f;
    this.#read(op.d);
    f.i32(~(mask << shift));
    f.op(WASM.i32And);
    this.#read(op.a);
    f.i32(mask);
    f.op(WASM.i32And);
    if (shift !== 0) {
      f.i32(shift);
      f.op(WASM.i32Shl);
    }
    f.op(WASM.i32Or);
    this.#write(op.d);
  }

  #address(op: MicroOp): void {
    const f = this.#f;
    let empty = true;
    const add = (emit: () => void): void => {
      emit();
      if (!empty) f.op(WASM.i32Add);
      empty = false;
    };
    if (op.a !== CELL.zero) add(() => this.#read(op.a));
    if (op.b !== CELL.zero) {
      add(() => {
        this.#read(op.b);
        if (op.x === 0) return;
        f.i32(op.x);
        f.op(WASM.i32Shl);
      });
    }
    if (op.imm !== 0 || empty) add(() => f.i32(op.imm));
    this.#mask(op.w);
    this.#write(op.d);
  }

  #byteSwap(op: MicroOp): void {
    const f = this.#f;
    const part = (rotate: number, mask: number): void => {
      this.#read(op.a);
      f.i32(rotate);
      f.op(WASM.i32Rotl);
      f.i32(mask);
      f.op(WASM.i32And);
    };
    part(8, 0x00ff00ff);
    part(24, 0xff00ff00 | 0);
    f.op(WASM.i32Or);
    this.#write(op.d);
  }

  #select(op: MicroOp): void {
    this.#condition(op.x);
    this.#f.set(this.#scratch);
    this.#read(op.a);
    this.#read(op.b);
    this.#f.get(this.#scratch);
    this.#f.op(WASM.select);
    this.#write(op.d);
  }

  /** Second operand b + imm, at the top of the word. */
  #second(op: MicroOp, shift: number): void {
    const f = this.#f;
    if (op.b === CELL.zero) {
      f.i32(op.imm << shift);
      return;
    }
    this.#read(op.b);
    if (op.imm !== 0) {
      f.i32(op.imm);
      f.op(WASM.i32Add);
    }
    this.#toTop(shift);
  }

  #toTop(shift: number): void {
    if (shift === 0) return;
    this.#f.i32(shift);
    this.#f.op(WASM.i32Shl);
  }

  /** Addition, subtraction and logic. */
  #arithmetic(op: MicroOp): void {
    const f = this.#f;
    const { a, b, result, carry } = this.#flags;
    const shift = 32 - op.w;
    const { operation, wasm, ones } = ARITHMETIC[op.op] as Arithmetic;
    const keepsCarry = operation === MADE_BY.INC || operation === MADE_BY.DEC;
    const takesCarry = op.op === OP.ADC || op.op === OP.SBB;
    if (keepsCarry && !this.#flagsDead()) {
      this.#carry();
      f.set(carry);
    } else if (takesCarry) {
      this.#carry();
      f.set(this.#scratch);
    }
    // The operands may be the destination: the locals are set when both are read.
    if (op.op === OP.NEG) f.i32(0);
    else {
      this.#read(op.a);
      this.#toTop(shift);
    }
    if (ones) f.i32(1 << shift);
    else if (op.op === OP.NEG) {
      this.#read(op.a);
      this.#toTop(shift);
    } else this.#second(op, shift);
    f.set(b);
    f.tee(a);
    f.get(b);
    f.op(wasm);
    if (takesCarry) {
      f.get(this.#scratch);
      this.#toTop(shift);
      f.op(wasm);
    }
    f.tee(result);
    if (shift !== 0) {
      f.i32(shift);
      f.op(WASM.i32ShrU);
    }
    this.#write(op.d);
    this.#setKind(flagsKind(operation, shift));
  }

  /** Sets flags from a result at the top of the word, CF in `carry` and OF in the lowest bit of b, when all are set. */
  #madeByShift(shift: number): void {
    this.#setKind(flagsKind(MADE_BY.SHIFT, shift));
  }

  #shift(op: MicroOp): void {
    const f = this.#f;
    const count = this.#temporary(COUNT_TEMPORARY);
    const value = this.#temporary(VALUE_TEMPORARY);
    const constant = op.b === CELL.zero ? op.imm & 31 : -1;
    this.#read(op.a);
    this.#mask(op.w);
    f.set(value);
    if (constant === 0) {
      f.get(value);
      this.#write(op.d);
      return;
    }
    if (constant > 0) {
      f.i32(constant);
      f.set(count);
      this.#shiftBy(op, value, count);
      return;
    }
    this.#read(op.b);
    f.i32(31);
    f.op(WASM.i32And);
    f.tee(count);
    const before = this.#kind;
    this.#if(
      () => this.#shiftBy(op, value, count),
      () => {
        f.get(value);
        this.#write(op.d);
      },
    );
    if (this.#kind !== before) this.#kind = UNKNOWN;
  }

  /** A shift by a count that is not 0 (shifts.ts). */
  #shiftBy(op: MicroOp, value: number, count: number): void {
    const f = this.#f;
    const { b, result, carry } = this.#flags;
    const top = 32 - op.w;
    const bit = (): void => {
      f.i32(1);
      f.op(WASM.i32And);
    };
    const signBit = (emit: () => void): void => {
      emit();
      f.i32(op.w - 1);
      f.op(WASM.i32ShrU);
      bit();
    };
    const lastOut = (shift: number): void => {
      f.get(value);
      f.get(count);
      f.i32(1);
      f.op(WASM.i32Sub);
      f.op(shift);
      bit();
      f.set(carry);
    };
    switch (op.op) {
      case OP.SHL:
        // carry = count <= w ? bit w - count : 0
        f.get(value);
        f.i32(op.w);
        f.get(count);
        f.op(WASM.i32Sub);
        f.op(WASM.i32ShrU);
        f.get(count);
        f.i32(op.w);
        f.op(WASM.i32LeU);
        f.op(WASM.i32And);
        f.set(carry);
        f.get(value);
        f.get(count);
        f.op(WASM.i32Shl);
        f.set(value);
        signBit(() => f.get(value));
        f.get(carry);
        f.op(WASM.i32Xor);
        f.set(b);
        break;
      case OP.SHR:
        lastOut(WASM.i32ShrU);
        f.get(value);
        f.i32(op.w - 1);
        f.op(WASM.i32ShrU);
        f.set(b);
        f.get(value);
        f.get(count);
        f.op(WASM.i32ShrU);
        f.set(value);
        break;
      default:
        f.get(value);
        this.#signExtend(op.w);
        f.set(value);
        lastOut(WASM.i32ShrS);
        f.i32(0);
        f.set(b);
        f.get(value);
        f.get(count);
        f.op(WASM.i32ShrS);
        f.set(value);
    }
    f.get(value);
    this.#toTop(top);
    f.tee(result);
    if (top !== 0) {
      f.i32(top);
      f.op(WASM.i32ShrU);
    }
    this.#write(op.d);
    this.#madeByShift(top);
  }

  #rotate(op: MicroOp): void {
    const f = this.#f;
    const value = this.#temporary(VALUE_TEMPORARY);
    const count = this.#temporary(COUNT_TEMPORARY);
    const constant = op.b === CELL.zero ? op.imm & 31 : -1;
    this.#read(op.a);
    this.#mask(op.w);
    f.set(value);
    if (constant === 0) {
      f.get(value);
      this.#write(op.d);
      return;
    }
    const dead = this.#flagsDead();
    if (!dead) this.#materialize();
    if (constant > 0) f.i32(constant);
    else {
      this.#read(op.b);
      f.i32(31);
      f.op(WASM.i32And);
    }
    f.set(count);
    this.#rotated(op, value, count);
    if (!dead) {
      if (constant < 0) {
        f.get(count);
        this.#if(() => this.#rotateFlags(op, value));
      } else this.#rotateFlags(op, value);
    }
    f.get(value);
    this.#write(op.d);
  }

  /** The value rotated in its width. */
  #rotated(op: MicroOp, value: number, count: number): void {
    const f = this.#f;
    const left = op.op === OP.ROL;
    if (op.w === 32) {
      f.get(value);
      f.get(count);
      f.op(left ? WASM.i32Rotl : WASM.i32Rotr);
    } else {
      // Two copies of the value side by side (four of a byte), rotated in 32 bits.
      f.get(value);
      f.get(value);
      f.i32(16);
      f.op(WASM.i32Shl);
      f.op(WASM.i32Or);
      if (op.w === 8) {
        f.tee(this.#scratch);
        f.get(this.#scratch);
        f.i32(8);
        f.op(WASM.i32Shl);
        f.op(WASM.i32Or);
      }
      f.get(count);
      f.op(left ? WASM.i32Rotl : WASM.i32Rotr);
      this.#mask(op.w);
    }
    f.set(value);
  }

  /** CF and OF of a rotate; the others stay. EFLAGS are in their local. */
  #rotateFlags(op: MicroOp, value: number): void {
    const f = this.#f;
    const { eflags } = this.#flags;
    const bitAt = (place: number): void => {
      f.get(value);
      if (place !== 0) {
        f.i32(place);
        f.op(WASM.i32ShrU);
      }
      f.i32(1);
      f.op(WASM.i32And);
    };
    f.get(eflags);
    f.i32(~(FLAG.CF | FLAG.OF));
    f.op(WASM.i32And);
    bitAt(op.op === OP.ROL ? 0 : op.w - 1);
    f.op(WASM.i32Or);
    bitAt(op.w - 1);
    bitAt(op.op === OP.ROL ? 0 : op.w - 2);
    f.op(WASM.i32Xor);
    f.i32(11);
    f.op(WASM.i32Shl);
    f.op(WASM.i32Or);
    f.set(eflags);
  }

  /** SHLD and SHRD of 32 bits; narrower ones are interpreted (region.ts keeps them out by `isNative`). */
  #doubleShift(op: MicroOp): void {
    const f = this.#f;
    const { b, result, carry } = this.#flags;
    const count = this.#temporary(COUNT_TEMPORARY);
    const value = this.#temporary(VALUE_TEMPORARY);
    const fill = this.#temporary(FILL_TEMPORARY);
    this.#read(op.a);
    f.set(value);
    this.#read(op.b);
    f.set(fill);
    this.#read(op.c);
    f.i32(31);
    f.op(WASM.i32And);
    f.tee(count);
    const before = this.#kind;
    const left = op.op === OP.SHLD;
    this.#if(
      () => {
        f.get(value);
        if (left) {
          f.i32(32);
          f.get(count);
        } else {
          f.get(count);
          f.i32(1);
        }
        f.op(WASM.i32Sub);
        f.op(WASM.i32ShrU);
        f.i32(1);
        f.op(WASM.i32And);
        f.set(carry);
        f.get(value);
        f.get(count);
        f.op(left ? WASM.i32Shl : WASM.i32ShrU);
        f.get(fill);
        f.i32(32);
        f.get(count);
        f.op(WASM.i32Sub);
        f.op(left ? WASM.i32ShrU : WASM.i32Shl);
        f.op(WASM.i32Or);
        f.tee(result);
        f.get(value);
        f.op(WASM.i32Xor);
        f.i32(31);
        f.op(WASM.i32ShrU);
        f.set(b);
        f.get(result);
        this.#write(op.d);
        this.#madeByShift(0);
      },
      () => {
        f.get(value);
        this.#write(op.d);
      },
    );
    if (this.#kind !== before) this.#kind = UNKNOWN;
  }

  /** CF = bit b of a; the other flags stay. */
  #bit(op: MicroOp): void {
    const f = this.#f;
    const { eflags } = this.#flags;
    const place = this.#temporary(COUNT_TEMPORARY);
    const value = this.#temporary(VALUE_TEMPORARY);
    this.#materialize();
    this.#read(op.b);
    f.i32(op.w - 1);
    f.op(WASM.i32And);
    f.set(place);
    this.#read(op.a);
    f.tee(value);
    f.get(place);
    f.op(WASM.i32ShrU);
    f.i32(1);
    f.op(WASM.i32And);
    f.get(eflags);
    f.i32(~FLAG.CF);
    f.op(WASM.i32And);
    f.op(WASM.i32Or);
    f.set(eflags);
    f.get(value);
    if (op.x !== 0) {
      f.i32(1);
      f.get(place);
      f.op(WASM.i32Shl);
      if (op.x === 2) {
        f.i32(-1);
        f.op(WASM.i32Xor);
      }
      f.op(op.x === 1 ? WASM.i32Or : op.x === 2 ? WASM.i32And : WASM.i32Xor);
    }
    this.#write(op.d);
  }

  #bitAddress(op: MicroOp): void {
    const f = this.#f;
    this.#read(op.b);
    this.#signExtend(op.w);
    f.i32(op.w === 32 ? 5 : 4);
    f.op(WASM.i32ShrS);
    f.i32(op.w / 8);
    f.op(WASM.i32Mul);
    this.#read(op.a);
    f.op(WASM.i32Add);
    if (op.x === 16) this.#mask(16);
    this.#write(op.d);
  }

  #bitScan(op: MicroOp): void {
    const f = this.#f;
    const { eflags } = this.#flags;
    const value = this.#temporary(VALUE_TEMPORARY);
    this.#materialize();
    this.#read(op.a);
    this.#mask(op.w);
    f.tee(value);
    this.#if(
      () => {
        f.get(eflags);
        f.i32(~FLAG.ZF);
        f.op(WASM.i32And);
        f.set(eflags);
        if (op.op === OP.BSF) {
          f.get(value);
          f.op(WASM.i32Ctz);
        } else {
          f.i32(31);
          f.get(value);
          f.op(WASM.i32Clz);
          f.op(WASM.i32Sub);
        }
        this.#write(op.d);
      },
      () => {
        f.get(eflags);
        f.i32(FLAG.ZF);
        f.op(WASM.i32Or);
        f.set(eflags);
        this.#read(op.b);
        this.#write(op.d);
      },
    );
  }

  /** CLC, STC, CMC, CLD, STD. */
  #flagBit(kind: number): void {
    const f = this.#f;
    const { eflags } = this.#flags;
    if (kind < 3) this.#materialize();
    f.get(eflags);
    const [mask, op] = FLAG_BITS[kind] as readonly [number, number];
    f.i32(mask);
    f.op(op);
    f.set(eflags);
  }

  #lahf(): void {
    const f = this.#f;
    const eax = this.#registers[0] as number;
    this.#materialize();
    f.get(eax);
    f.i32(~0xff00);
    f.op(WASM.i32And);
    f.get(this.#flags.eflags);
    f.i32(STATUS_FLAGS & 0xff);
    f.op(WASM.i32And);
    f.i32(FLAG.ONE);
    f.op(WASM.i32Or);
    f.i32(8);
    f.op(WASM.i32Shl);
    f.op(WASM.i32Or);
    f.set(eax);
  }

  #sahf(): void {
    const f = this.#f;
    const low = STATUS_FLAGS & 0xff;
    this.#materialize();
    f.get(this.#flags.eflags);
    f.i32(~low);
    f.op(WASM.i32And);
    f.get(this.#registers[0] as number);
    f.i32(8);
    f.op(WASM.i32ShrU);
    f.i32(low);
    f.op(WASM.i32And);
    f.op(WASM.i32Or);
    f.set(this.#flags.eflags);
  }

  /** Low half to d, high half to c; CF = OF = whether the high half matters (interpreter32.ts). */
  #multiply(op: MicroOp): void {
    const f = this.#f;
    const { b, result, carry } = this.#flags;
    const signed = op.op === OP.IMUL;
    const shift = 32 - op.w;
    const low = this.#temporary(VALUE_TEMPORARY);
    const high = this.#temporary(FILL_TEMPORARY);
    if (op.w === 32) {
      for (const cell of [op.a, op.b]) {
        this.#read(cell);
        f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
      }
      f.op(WASM.i64Mul);
      f.set(this.#wide);
      f.get(this.#wide);
      f.op(WASM.i32WrapI64);
      f.set(low);
      f.get(this.#wide);
      f.i64(32);
      f.op(WASM.i64ShrU);
      f.op(WASM.i32WrapI64);
      f.set(high);
    } else {
      for (const cell of [op.a, op.b]) {
        this.#read(cell);
        if (signed) this.#signExtend(op.w);
        else this.#mask(op.w);
      }
      f.op(WASM.i32Mul);
      f.tee(high);
      this.#mask(op.w);
      f.set(low);
      f.get(high);
      f.i32(op.w);
      f.op(WASM.i32ShrU);
      this.#mask(op.w);
      f.set(high);
    }
    f.get(high);
    if (signed) {
      f.get(low);
      this.#toTop(shift);
      f.i32(31);
      f.op(WASM.i32ShrS);
      this.#mask(op.w);
    } else f.i32(0);
    f.op(WASM.i32Ne);
    f.tee(carry);
    f.set(b);
    f.get(low);
    this.#toTop(shift);
    f.set(result);
    f.get(low);
    this.#write(op.d);
    f.get(high);
    this.#write(op.c);
    this.#madeByShift(shift);
  }

  /** DIV and IDIV of 32 bits; flags stay. What is #DE is left to the interpreter. */
  #divide(op: MicroOp): void {
    const f = this.#f;
    const signed = op.op === OP.IDIV;
    const eax = this.#registers[0] as number;
    const edx = this.#registers[2] as number;
    const divisor = this.#temporary(VALUE_TEMPORARY);
    this.#read(op.a);
    f.tee(divisor);
    f.op(WASM.i32Eqz);
    if (signed) {
      // -2^63 / -1 would trap.
      f.get(divisor);
      f.i32(-1);
      f.op(WASM.i32Eq);
      f.get(edx);
      f.i32(0x80000000 | 0);
      f.op(WASM.i32Eq);
      f.op(WASM.i32And);
      f.op(WASM.i32Or);
    }
    this.#if(() => this.#giveUp());
    f.get(edx);
    f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
    f.i64(32);
    f.op(WASM.i64Shl);
    f.get(eax);
    f.op(WASM.i64ExtendI32U);
    f.op(WASM.i64Or);
    f.set(this.#wide);
    f.get(this.#wide);
    f.get(divisor);
    f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
    f.op(signed ? WASM.i64DivS : WASM.i64DivU);
    f.set(this.#wide2);
    f.get(this.#wide2);
    f.get(this.#wide2);
    f.op(WASM.i32WrapI64);
    f.op(signed ? WASM.i64ExtendI32S : WASM.i64ExtendI32U);
    f.op(WASM.i64Ne);
    this.#if(() => this.#giveUp());
    f.get(this.#wide2);
    f.op(WASM.i32WrapI64);
    f.set(eax);
    f.get(this.#wide);
    f.op(WASM.i32WrapI64);
    f.get(eax);
    f.get(divisor);
    f.op(WASM.i32Mul);
    f.op(WASM.i32Sub);
    f.set(edx);
  }
}

const set = (...ops: number[]): ReadonlySet<number> => new Set(ops);
/** Micro-ops that replace all status flags, whatever they were (shifts: by a constant that is not 0). */
const REPLACES_FLAGS = set(OP.ADD, OP.SUB, OP.AND, OP.OR, OP.XOR, OP.NEG, OP.MUL, OP.IMUL);
const SHIFTS = set(OP.SHL, OP.SHR, OP.SAR);
/** Micro-ops that neither read nor change flags, and cannot leave. */
const INDIFFERENT = set(
  ...[OP.BEGIN, OP.END, OP.CONST, OP.MOV, OP.GET8H, OP.PUT8, OP.PUT8H, OP.PUT16, OP.ZERO_EXTEND, OP.SIGN_EXTEND],
  ...[OP.ADDRESS, OP.NOT, OP.BSWAP, OP.NEXT_IP, OP.SIGN],
);

/** Whether the flags that instruction `n` of a node makes are replaced before anything asks for them or may leave. */
function flagsDeadAfter(node: RegionNode, n: number): boolean {
  for (const { lifted } of node.instructions.slice(n + 1)) {
    for (const op of lifted.ops) {
      if (INDIFFERENT.has(op.op)) continue;
      if (CAN_LEAVE.has(op.op)) return false;
      const constant = op.b === CELL.zero ? op.imm & 31 : 0;
      return REPLACES_FLAGS.has(op.op) || (SHIFTS.has(op.op) && constant !== 0);
    }
  }
  return false;
}

/** The native instruction in progress. */
interface Current {
  readonly instruction: RegionInstruction;
  /** Ticks and instructions of its node that are still to come, it included. */
  readonly restTicks: number;
  readonly restInstructions: number;
  readonly flagsDead: boolean;
}

interface Arithmetic {
  readonly operation: number;
  readonly wasm: number;
  /** The second operand is 1. */
  readonly ones: boolean;
}

const ARITHMETIC: Readonly<Record<number, Arithmetic>> = {
  [OP.ADD]: { operation: MADE_BY.ADD, wasm: WASM.i32Add, ones: false },
  [OP.ADC]: { operation: MADE_BY.ADD, wasm: WASM.i32Add, ones: false },
  [OP.SUB]: { operation: MADE_BY.SUB, wasm: WASM.i32Sub, ones: false },
  [OP.SBB]: { operation: MADE_BY.SBB, wasm: WASM.i32Sub, ones: false },
  [OP.NEG]: { operation: MADE_BY.SUB, wasm: WASM.i32Sub, ones: false },
  [OP.INC]: { operation: MADE_BY.INC, wasm: WASM.i32Add, ones: true },
  [OP.DEC]: { operation: MADE_BY.DEC, wasm: WASM.i32Sub, ones: true },
  [OP.AND]: { operation: MADE_BY.LOGIC, wasm: WASM.i32And, ones: false },
  [OP.OR]: { operation: MADE_BY.LOGIC, wasm: WASM.i32Or, ones: false },
  [OP.XOR]: { operation: MADE_BY.LOGIC, wasm: WASM.i32Xor, ones: false },
};

/** CLC, STC, CMC, CLD, STD: mask and operation. */
const FLAG_BITS: readonly (readonly [number, number])[] = [
  [~FLAG.CF, WASM.i32And],
  [FLAG.CF, WASM.i32Or],
  [FLAG.CF, WASM.i32Xor],
  [~FLAG.DF, WASM.i32And],
  [FLAG.DF, WASM.i32Or],
];

/** Names of the compiler's own temporaries, beyond every cell. */
const PLACE_TEMPORARY = 1 << 20;
const COUNT_TEMPORARY = PLACE_TEMPORARY + 2;
const VALUE_TEMPORARY = PLACE_TEMPORARY + 4;
const FILL_TEMPORARY = PLACE_TEMPORARY + 6;

/** Page index of a node's last instruction. */
function lastPage(node: RegionNode, offset: number): number {
  const last = node.instructions.at(-1) as RegionInstruction;
  return (offset + last.delta) >> 12;
}
