/**
 * From a region to a WebAssembly function `() -> i32`. Guest registers, lazy flags and time are in locals; they come from
 * the processor's state at the entry and go back to it at every exit.
 *
 * Time. `budget` has the ticks from when the clock was last brought up to date to the deadline, `left` what is left of
 * them. Some nodes look at it (timing.ts): they run only when the longest way to the next of them ends before the deadline;
 * otherwise the region is left, and the interpreter goes to the deadline instruction by instruction. What costs more than
 * the static price on such a way is a slow translation, which JavaScript charges to the clock itself, and refuses when the
 * deadline would be reached. What is spent is added up where ways meet, and where the region is left.
 *
 * Exits are at instruction boundaries. The function returns
 *   LEFT        at a boundary: the core goes on wherever EIP is now, compiled or not;
 *   SIGNALLED   an interpreted instruction left something in the state's signal;
 *   UNFIT       nothing happened: the segment registers are not those that the region was compiled for;
 *   INTERPRET   the interpreter must run what is next (a deadline is near, or an access that compiled code does not make).
 * From an exit to another region compiled code goes by itself (`transfer`), if that region is there and no deadline passed;
 * also where control goes by a fault, an interrupt, IRET and their kin: what the processor does then, and the boundary that
 * follows, is the core's part (imports `leave` and `signalled`), and after it compiled code goes on.
 */
import { NOW_CELL } from "../../clock.ts";
import { RETIRED_OFFSET } from "../../ledger.ts";
import { HELPER_NUMBER } from "../helpers.ts";
import { BRANCH, type MicroOp, OP } from "../micro-ops.ts";
import { CELL, FLAG } from "../state.ts";
import { type Anchors, anchorsOf } from "./anchors.ts";
import { lastTarget, loopCondition, popReturn, pushReturn } from "./branch-code.ts";
import { type CompileContext, RegionCode } from "./code.ts";
import { EXIT, FUNCTION, INTERPRETED } from "./contract.ts";
import { flagsDeadAfter } from "./dead-flags.ts";
import { flagKinds } from "./flag-kinds.ts";
import { EFLAGS_KIND, UNKNOWN } from "./flags-code.ts";
import { emitOp, forwardOnly } from "./instruction-code.ts";
import { expectAnchor } from "./memory-code.ts";
import { checkPages, fetchSlot } from "./page-code.ts";
import { ENTRY, nodeOf, RETURNS, successorsOf } from "./places.ts";
import type { Region, RegionInstruction, RegionNode } from "./region.ts";
import { leaveFor } from "./runtime.ts";
import {
  checkCodeSegment,
  checkSegments,
  checkTarget,
  loadSegments,
  segmentClass,
  segmentLoaded,
} from "./segments-code.ts";
import { type Structure, structureOf } from "./structure.ts";
import { type Timing, timingOf } from "./timing.ts";
import { callTransition } from "./transition-call.ts";
import { type FunctionBody, WASM } from "./wasm.ts";

export function compileRegion(region: Region, context: CompileContext): FunctionBody {
  return new RegionCompiler(region, context).compile();
}

class RegionCompiler {
  readonly #c: RegionCode;
  readonly #structure: Structure;
  readonly #timing: Timing;
  /** Kind of the flags at the beginning of merge nodes, as far as the ways to them have been emitted. */
  readonly #kinds = new Map<number, number>();
  /** Kind of the flags at the beginning of loops, as it has been found before. */
  readonly #foreseen: ReadonlyMap<number, number>;
  readonly #anchors: Anchors;

  constructor(region: Region, context: CompileContext) {
    this.#c = new RegionCode(region, context);
    const successors = (place: number): readonly number[] => successorsOf(region, place);
    const structure = structureOf(0, successors);
    this.#structure = structure.isLoop(0) && this.#isNative(0) ? structureOf(ENTRY, successors) : structure;
    this.#foreseen = flagKinds(this.#structure, successors, (place) => nodeOf(region, place));
    this.#anchors = anchorsOf({
      structure: this.#structure,
      successors,
      node: (place) => nodeOf(region, place),
      through: (segment) => segmentClass(this.#c, segment),
      walks: context.walks,
    });
    this.#timing = timingOf(this.#structure, {
      successors,
      ticks: (place) => nodeOf(region, place)?.ticks ?? 0,
      // What is interpreted costs as much as it may; a RET may be mispredicted.
      unforeseen: (place) => (place === RETURNS ? [RETURNS] : this.#isNative(place) ? [] : successors(place)),
    });
  }

  compile(): FunctionBody {
    const f = this.#c.f;
    this.#prologue();
    this.#c.openBlock("other", -1);
    this.#tree(this.#structure.order[0] as number);
    f.op(WASM.unreachable);
    this.#c.close();
    // Here every exit arrives, with EIP and the reason in their locals.
    this.#flush();
    f.get(this.#c.why);
    f.open(WASM.if);
    f.get(this.#c.why);
    f.returnCall(FUNCTION.exit);
    f.end();
    f.i32(this.#c.context.transferMode);
    f.returnCall(FUNCTION.transfer);
    return f;
  }

  #prologue(): void {
    const f = this.#c.f;
    const counter = this.#c.layout.entries + this.#c.context.index * 4;
    f.i32(0);
    f.i32(0);
    f.memory(WASM.i32Load, counter, 2);
    f.i32(1);
    f.op(WASM.i32Add);
    f.memory(WASM.i32Store, counter, 2);
    this.#c.loadCell(CELL.rip);
    f.set(this.#c.entry);
    checkCodeSegment(this.#c);
    this.#c.loadCell(CELL.rflags);
    f.i32(FLAG.RF);
    f.op(WASM.i32And);
    if (this.#c.region.resumes) f.set(this.#c.resume);
    else {
      f.open(WASM.if);
      f.i32(EXIT.INTERPRET);
      f.op(WASM.return);
      f.end();
    }
    this.#reload();
    checkSegments(this.#c, () => {
      f.i32(EXIT.UNFIT);
      f.op(WASM.return);
    });
  }

  /** State into locals; nothing has been spent. */
  #reload(): void {
    const f = this.#c.f;
    for (const n of this.#c.used) {
      this.#c.loadCell(n * 2);
      f.set(this.#c.registers[n] as number);
    }
    this.#c.loadCell(CELL.rflags);
    f.i32(~FLAG.RF);
    f.op(WASM.i32And);
    f.set(this.#c.flags.eflags);
    this.#c.setKind(EFLAGS_KIND);
    loadSegments(this.#c);
    for (const { ticks, count } of this.#c.charges.values()) {
      f.i32(0);
      f.set(count);
      if (ticks === null) continue;
      f.i32(0);
      f.set(ticks);
    }
    f.call(FUNCTION.budget);
    f.tee(this.#c.budget);
    f.set(this.#c.left);
  }

  /** Locals into the state, and the clock brought up to date. EIP is taken from its local. */
  #flush(): void {
    const f = this.#c.f;
    for (const n of this.#c.written) this.#c.storeCell(n * 2, () => f.get(this.#c.registers[n] as number));
    this.#c.storeCell(CELL.rip, () => f.get(this.#c.eip));
    this.#c.storeCell(CELL.rflags, () => {
      this.#c.callStatus();
      if (!this.#c.region.resumes) return;
      f.get(this.#c.resume);
      f.op(WASM.i32Or);
    });
    const { time } = this.#c.layout;
    const add = (cell: number, local: number | null): void => {
      f.i32(0);
      f.i32(0);
      f.memory(WASM.f64Load, time + cell * 8, 3);
      if (local === null) this.#c.spent();
      else f.get(local);
      f.op(WASM.f64ConvertI32S);
      f.op(WASM.f64Add);
      f.memory(WASM.f64Store, time + cell * 8, 3);
    };
    add(NOW_CELL, null);
    for (const [account, { ticks, count }] of this.#c.charges) {
      add(account, ticks);
      add(account + RETIRED_OFFSET, count);
    }
  }

  /** A node with what it dominates. Kinds of flags: `#kind` for a node that follows here. */
  #tree(place: number): void {
    const loop = this.#structure.isLoop(place);
    this.#c.kind = (loop ? this.#foreseen.get(place) : this.#kinds.get(place)) ?? this.#c.kind;
    if (!this.#structure.isLoop(place)) {
      this.#within(place, this.#structure.merges(place));
      return;
    }
    this.#c.settle();
    this.#c.settled();
    this.#c.openBlock("loop", place);
    this.#within(place, this.#structure.merges(place));
    this.#c.close();
    this.#c.f.op(WASM.unreachable);
  }

  #within(place: number, merges: readonly number[]): void {
    const [first, ...rest] = merges;
    if (first === undefined) {
      if (place === RETURNS) {
        this.#c.deadlineWithin(this.#timing.ahead(RETURNS));
        this.#c.rarely(() => this.#c.exit(EXIT.INTERPRET));
        this.#returns(this.#c.region.continuations);
      } else this.#node(place);
      return;
    }
    this.#c.openBlock("block", first);
    this.#within(place, rest);
    this.#c.close();
    // Those who come here have settled.
    this.#c.settled();
    this.#tree(first);
  }

  /** Goes from a node to a place: in the region, or out of it. */
  #edge(from: number, to: number): void {
    const kind = this.#structure.edge(from, to);
    if (kind === "leave") {
      // A RET has set EIP.
      if (to === RETURNS) this.#c.exit(EXIT.LEFT);
      else this.#c.exitAt(to, EXIT.LEFT);
      return;
    }
    if (to !== RETURNS) checkPages(this.#c, this.#nodesAt(from), this.#nodeAt(to), to);
    if (this.#structure.isLoop(to) && ![UNKNOWN, this.#c.kind].includes(this.#foreseen.get(to) as number)) {
      throw new Error(`engine: flags of kind ${this.#c.kind} where a loop begins, not ${this.#foreseen.get(to)}`);
    }
    for (const each of this.#anchors.missing(from, to)) expectAnchor(this.#c, each, to);
    if (kind === "inline") {
      this.#tree(to);
      return;
    }
    if (kind === "forward") {
      const known = this.#kinds.get(to);
      this.#kinds.set(to, known === undefined || known === this.#c.kind ? this.#c.kind : UNKNOWN);
    }
    this.#c.settle();
    const wanted = kind === "back" ? "loop" : "block";
    const place = this.#c.open.findLastIndex((each) => each.kind === wanted && each.node === to);
    this.#c.f.br(this.#c.open.length - 1 - place);
  }

  /** The node at a place; before a return any that returns. */
  #nodesAt(place: number): readonly RegionNode[] {
    const { nodes } = this.#c.region;
    if (place !== RETURNS) return [this.#nodeAt(place)];
    return [...nodes.keys()]
      .filter((each) => successorsOf(this.#c.region, each)[0] === RETURNS)
      .map((each) => this.#nodeAt(each));
  }

  #nodeAt(place: number): RegionNode {
    return nodeOf(this.#c.region, place) as RegionNode;
  }

  #isNative(place: number): boolean {
    return this.#nodeAt(place).instructions[0]?.native === true;
  }

  #node(place: number): void {
    const node = this.#nodeAt(place);
    this.#c.account = node.account;
    if (this.#timing.looks(place) || !this.#isNative(place)) {
      this.#c.deadlineWithin(this.#timing.ahead(place));
      this.#c.rarely(() => this.#c.exitAt(node.delta, EXIT.INTERPRET));
    }
    if (this.#isNative(place)) this.#native(place, node);
    else this.#interpreted(node);
  }

  /** One instruction by the interpreter, between a flush and a reload. */
  #interpreted(node: RegionNode): void {
    const f = this.#c.f;
    const instruction = node.instructions[0] as RegionInstruction;
    f.get(this.#c.entry);
    f.i32(node.delta);
    f.op(WASM.i32Add);
    f.set(this.#c.eip);
    this.#c.settle();
    this.#c.settled();
    this.#flush();
    const number = this.#c.context.interpreted(instruction);
    if (node.end.kind === "leave" && callTransition(f, instruction, number)) return;
    f.i32(number);
    if (node.end.kind === "leave") {
      f.call(FUNCTION.leave);
      leaveFor(f, this.#c.scratch);
      return;
    }
    f.call(FUNCTION.interpret);
    f.tee(this.#c.scratch);
    this.#c.rarely(() => {
      f.i32(EXIT.SIGNALLED | (instruction.lifted.length << 8));
      f.i32(EXIT.LEFT);
      f.get(this.#c.scratch);
      f.i32(INTERPRETED.SIGNALLED);
      f.op(WASM.i32Eq);
      f.op(WASM.select);
      f.returnCall(FUNCTION.exit);
    });
    this.#reload();
    this.#c.kind = EFLAGS_KIND;
    checkSegments(this.#c, () => {
      f.i32(EXIT.LEFT);
      f.op(WASM.return);
    });
    if (node.end.kind === "goto") this.#edge(node.delta, node.end.target);
  }

  #native(place: number, node: RegionNode): void {
    let ticks = 0;
    for (const [n, instruction] of node.instructions.entries()) {
      const { lifted } = instruction;
      this.#c.places = new Map();
      this.#c.accessed = false;
      this.#c.current = {
        instruction,
        ahead: this.#timing.ahead(place) - ticks,
        flagsDead: flagsDeadAfter(node, n),
      };
      if (instruction.forward) forwardOnly(this.#c);
      const plan = this.#anchors.plan(place, n);
      for (const [m, op] of lifted.ops.entries()) {
        this.#c.access = plan.accesses.get(m) ?? null;
        emitOp(this.#c, op);
        for (const { from, to } of plan.moves.get(m) ?? []) this.#c.moveAnchor(from, to);
      }
      if (instruction.delta === 0 && this.#c.region.resumes) {
        this.#c.f.i32(0);
        this.#c.f.set(this.#c.resume);
      }
      const { end } = node;
      if (end.kind === "indirect" && end.op.x === BRANCH.INDIRECT && n === node.instructions.length - 1) {
        checkTarget(this.#c, end.op.a);
      }
      ticks += lifted.ticks;
      this.#c.charge(lifted.ticks, 1);
      this.#after(instruction, () => this.#c.exitAt(instruction.delta + lifted.length, EXIT.LEFT));
    }
    this.#end(place, node);
  }

  /** Leaves behind an instruction that has changed what the region relies on: a segment register, or the TLB. */
  #after({ lifted, delta }: RegionInstruction, leave: () => void): void {
    for (const { op, imm, x } of lifted.ops) {
      if (op !== OP.HELPER) continue;
      if (imm === HELPER_NUMBER.loadSegment) segmentLoaded(this.#c, x, leave);
      else if (imm === HELPER_NUMBER.invlpg) {
        fetchSlot(this.#c, delta);
        this.#c.f.op(WASM.i32Ne);
        this.#c.rarely(leave);
      }
    }
  }

  #end(place: number, node: RegionNode): void {
    const f = this.#c.f;
    const { end } = node;
    switch (end.kind) {
      case "goto":
        if (end.calls) pushReturn(this.#c, () => this.#c.place(end.next));
        this.#edge(place, end.target);
        break;
      case "branch":
        if (end.op.op === OP.LOOP) loopCondition(this.#c, end.op);
        else this.#c.condition(end.op.x);
        if (end.taken === end.next) {
          f.op(WASM.drop);
          this.#edge(place, end.next);
          break;
        }
        {
          const kind = this.#c.kind;
          this.#c.when(() => this.#edge(place, end.taken));
          this.#c.kind = kind;
          this.#edge(place, end.next);
        }
        break;
      case "indirect":
        this.#indirect(place, end.op, end.next);
        break;
      default:
        throw new Error("compile: a native node cannot leave");
    }
  }

  #indirect(place: number, op: MicroOp, next: number): void {
    const f = this.#c.f;
    const { instruction } = this.#c;
    this.#c.read(op.a);
    f.set(this.#c.eip);
    if (op.x === BRANCH.RETURN) popReturn(this.#c);
    else {
      if (op.x === BRANCH.CALL_INDIRECT) pushReturn(this.#c, () => this.#c.place(next));
      lastTarget(this.#c, instruction.delta);
    }
    if (successorsOf(this.#c.region, place)[0] === RETURNS) this.#edge(place, RETURNS);
    else this.#c.exit(EXIT.LEFT);
  }

  /** From a RET to one of these places, in ascending order, if EIP is there; else out of the region. */
  #returns(places: readonly number[]): void {
    const f = this.#c.f;
    const { kind } = this.#c;
    if (places.length > 3) {
      const middle = places.length >> 1;
      f.get(this.#c.eip);
      f.get(this.#c.entry);
      f.op(WASM.i32Sub);
      f.i32(places[middle] as number);
      f.op(WASM.i32LtS);
      this.#c.when(() => this.#returns(places.slice(0, middle)));
      this.#c.kind = kind;
      this.#returns(places.slice(middle));
      return;
    }
    for (const delta of places) {
      f.get(this.#c.eip);
      this.#c.place(delta);
      f.op(WASM.i32Eq);
      this.#c.when(() => this.#edge(RETURNS, delta));
      this.#c.kind = kind;
    }
    this.#c.exit(EXIT.LEFT);
  }
}
