/**
 * A region's code as it grows: the WebAssembly function, which local has what, the constructs that are open, and what is
 * known of the flags here. The files `*-code.ts` write into it, each one family of micro-ops.
 */
import type { Account } from "../../ledger.ts";
import { HELPER_NUMBER } from "../helpers.ts";
import { type MicroOp, OP } from "../micro-ops.ts";
import { CELL, FAST_READ, FAST_WRITE, FIRST_TEMPORARY, GPR, SEG } from "../state.ts";
import type { AccessPlan } from "./anchor-state.ts";
import { EXIT, FUNCTION } from "./contract.ts";
import { carryOf, conditionOf, conditionOfEflags, EFLAGS_KIND, type FlagLocals, UNKNOWN } from "./flags-code.ts";
import type { EngineLayout } from "./layout.ts";
import type { HostPlace } from "./memory-code.ts";
import { cellsOf, cellsWritten } from "./native.ts";
import type { Region, RegionInstruction } from "./region.ts";
import { type SegmentNow, type SegmentUse, segmentUse } from "./segments-code.ts";
import { FunctionBody, TYPE, WASM } from "./wasm.ts";

/** What a region's code depends on besides its instructions. */
export interface CompileContext {
  readonly layout: EngineLayout;
  /** What mispredictions are charged to. */
  readonly account: Account;
  /** Mode that the region was lifted for, as `transfer` takes it (runtime.ts). */
  readonly transferMode: number;
  readonly user: boolean;
  /** The region's place in the table. */
  readonly index: number;
  /** Segment registers at the time of compilation. */
  readonly segments: readonly SegmentNow[];
  /** Whether to rely on no more of them than that accesses are permitted (segments-code.ts). */
  readonly general: boolean;
  /** Whether the accesses of the instruction at a place make walks (misses.ts). */
  walks(delta: number): boolean;
  /** Whether anchors may be absent: their bytes have been found to lie in two pages. */
  readonly apart: boolean;
  /** Number of an interpreted instruction for the `interpret` import. */
  interpreted(instruction: RegionInstruction): number;
}

/** The native instruction in progress. */
interface Current {
  readonly instruction: RegionInstruction;
  /** Ticks from it to the next place where time is looked at, on the longest way. */
  readonly ahead: number;
  readonly flagsDead: boolean;
}

/** What has been executed here and is in no local yet. */
interface Pending {
  readonly ticks: number;
  readonly charges: readonly { readonly account: Account; readonly ticks: number; readonly count: number }[];
}

const NOTHING: Pending = { ticks: 0, charges: [] };

const GPR_COUNT = 8;

/** Names of the compiler's own temporaries, beyond every cell. */
export const PLACE_TEMPORARY = 1 << 20;
export const COUNT_TEMPORARY = PLACE_TEMPORARY + 2;
export const VALUE_TEMPORARY = PLACE_TEMPORARY + 4;
export const FILL_TEMPORARY = PLACE_TEMPORARY + 6;
export const LINEAR_TEMPORARY = PLACE_TEMPORARY + 8;
const FIRST_ANCHOR = PLACE_TEMPORARY + 10;

export class RegionCode {
  readonly region: Region;
  readonly context: CompileContext;
  readonly layout: EngineLayout;
  readonly f = new FunctionBody(0);
  /** Locals: registers, and values of the compiler's own by number of a cell or of a temporary. */
  readonly registers: readonly number[];
  readonly flags: FlagLocals;
  readonly temporaries = new Map<number, number>();
  /**
   * Ticks from when the clock was brought up to date to the deadline, and what is left of them. What the path here has
   * cost since the last merge is `pending`, which whoever compiles knows.
   */
  readonly budget: number;
  readonly left: number;
  pending: Pending = NOTHING;
  /** Ticks of each account, and instructions retired; with one account its ticks are what `left` lacks of `budget`. */
  readonly charges: ReadonlyMap<Account, { readonly ticks: number | null; readonly count: number }>;
  /** What the code that is being made is charged to. */
  account: Account;
  /** EIP of the entry; EIP and reason of an exit. */
  readonly entry: number;
  readonly eip: number;
  readonly why: number;
  /** Linear address and host byte offset of the latest access. */
  readonly linear: number;
  readonly host: number;
  readonly scratch: number;
  /** RF, as long as the region's first instruction is not complete; `flags.eflags` is without it. */
  readonly resume: number;
  readonly wide: number;
  readonly wide2: number;
  /** Registers that some instruction of the region writes, and reads or writes. */
  readonly written = new Set<number>();
  readonly used = new Set<number>();
  /** Data segments of native accesses, by number. */
  readonly segments = new Map<number, SegmentUse>();
  /** Open constructs, innermost last: a loop's node, a block before a merge node, or another. */
  readonly open: { readonly kind: "loop" | "block" | "other"; readonly node: number }[] = [];
  /** Kind of the flags here. */
  kind: number = UNKNOWN;
  /** What LOAD_UPDATE has found, by operand, in the instruction in progress. */
  places = new Map<string, HostPlace>();
  /** How the access in progress is made. */
  access: AccessPlan | null = null;
  /** Whether the instruction in progress has made an access to memory. */
  accessed = false;
  /** The native instruction in progress. */
  current: Current | null = null;

  /** The native instruction in progress. */
  get instruction(): RegionInstruction {
    return (this.current as Current).instruction;
  }

  constructor(region: Region, context: CompileContext) {
    this.region = region;
    this.context = context;
    this.layout = context.layout;
    const f = this.f;
    this.registers = Array.from({ length: GPR_COUNT }, () => f.addLocal());
    this.flags = {
      kind: f.addLocal(),
      a: f.addLocal(),
      b: f.addLocal(),
      result: f.addLocal(),
      carry: f.addLocal(),
      eflags: f.addLocal(),
    };
    this.budget = f.addLocal();
    this.left = f.addLocal();
    this.account = region.nodes.get(0)?.account ?? context.account;
    this.charges = this.#accounts();
    this.entry = f.addLocal();
    this.eip = f.addLocal();
    this.why = f.addLocal();
    this.linear = f.addLocal();
    this.host = f.addLocal();
    this.scratch = f.addLocal();
    this.resume = f.addLocal();
    this.wide = f.addLocal(TYPE.i64);
    this.wide2 = f.addLocal(TYPE.i64);
    this.#survey();
  }

  /** Locals for the accounts of the region's nodes, and of mispredictions if it has any. */
  #accounts(): Map<Account, { ticks: number | null; count: number }> {
    const accounts = new Set<Account>();
    for (const { account, end } of this.region.nodes.values()) {
      accounts.add(account);
      if (end.kind === "indirect") accounts.add(this.context.account);
    }
    const ticks = (): number | null => (accounts.size === 1 ? null : this.f.addLocal());
    return new Map([...accounts].map((account) => [account, { ticks: ticks(), count: this.f.addLocal() }]));
  }

  /** Collects the registers and segments that native instructions touch. */
  #survey(): void {
    const fast = new Map<number, number>();
    for (const node of this.region.nodes.values()) {
      for (const { lifted, native } of node.instructions) {
        if (!native) {
          // The interpreter reads and writes any register; its changes are loaded again where they are used.
          continue;
        }
        for (const op of lifted.ops) this.#surveyOp(op, fast);
      }
    }
    for (const [segment, wanted] of fast) {
      const now = this.context.segments[segment] as SegmentNow;
      this.segments.set(
        segment,
        segmentUse(wanted, now, this.context.general, () => this.f.addLocal()),
      );
    }
  }

  #surveyOp(op: MicroOp, fast: Map<number, number>): void {
    const written = cellsWritten(op);
    for (const cell of written) if (cell <= GPR.edi) this.written.add(cell / 2);
    for (const cell of written) if (cell <= GPR.edi) this.used.add(cell / 2);
    for (const cell of cellsOf(op)) if (cell <= GPR.edi) this.used.add(cell / 2);
    const accesses = (segment: number, how: number): void => {
      fast.set(segment, (fast.get(segment) ?? 0) | how);
    };
    if (op.op === OP.LOAD) accesses(op.x, FAST_READ);
    else if (op.op === OP.LOAD_UPDATE || op.op === OP.STORE) accesses(op.x, FAST_WRITE);
    else if (op.op === OP.HELPER && op.imm === HELPER_NUMBER.pushAll) accesses(SEG.ss, FAST_WRITE);
    else if (op.op === OP.HELPER && op.imm === HELPER_NUMBER.popAll) accesses(SEG.ss, FAST_READ);
  }

  /** Asks for the time until the deadline again; the clock is as far behind as it was. */
  newBudget(): void {
    const { f } = this;
    f.call(FUNCTION.budget);
    f.tee(this.scratch);
    this.spent();
    f.op(WASM.i32Sub);
    f.set(this.left);
    f.get(this.scratch);
    f.set(this.budget);
  }

  /** Ticks by which the clock is behind, but for those that are pending, on the stack. */
  spent(): void {
    this.f.get(this.budget);
    this.f.get(this.left);
    this.f.op(WASM.i32Sub);
  }

  /** Ticks from when the clock was brought up to date to the next place where time is looked at, on the stack. */
  spentAhead(): void {
    const { ahead } = this.current as Current;
    this.spent();
    this.f.i32(this.pending.ticks + ahead);
    this.f.op(WASM.i32Add);
  }

  /** The same to the end of the instruction in progress, for which it has been charged. */
  spentWithThis(): void {
    this.spent();
    this.f.i32(this.pending.ticks + this.instruction.lifted.ticks);
    this.f.op(WASM.i32Add);
  }

  /** Leaves on the stack whether the deadline is not beyond so many ticks from here. */
  deadlineWithin(ticks: number): void {
    this.f.get(this.left);
    this.f.i32(this.pending.ticks + ticks);
    this.f.op(WASM.i32LeS);
  }

  /** Brings the locals of time and counts up to date for one way from here; what is pending stays so for others. */
  settle(): void {
    const { f } = this;
    const { ticks, charges } = this.pending;
    if (ticks !== 0) this.#toLocal(this.left, () => f.i32(ticks), WASM.i32Sub);
    for (const charged of charges) {
      const locals = this.charges.get(charged.account) as { readonly ticks: number | null; readonly count: number };
      if (locals.ticks !== null && charged.ticks !== 0) {
        this.#toLocal(locals.ticks, () => f.i32(charged.ticks), WASM.i32Add);
      }
      if (charged.count !== 0) this.#toLocal(locals.count, () => f.i32(charged.count), WASM.i32Add);
    }
  }

  /** Here nothing is pending. */
  settled(): void {
    this.pending = NOTHING;
  }

  /** EFLAGS from the lazy flags, whose kind is in its local. */
  callStatus(): void {
    const { kind, a, b, result, carry, eflags } = this.flags;
    for (const local of [kind, a, b, result, carry, eflags]) this.f.get(local);
    this.f.call(FUNCTION.status);
  }

  /** Leaves the region at a place. */
  exitAt(delta: number, why: number | (() => void)): void {
    const f = this.f;
    f.get(this.entry);
    f.i32(delta);
    f.op(WASM.i32Add);
    f.set(this.eip);
    this.exit(why);
  }

  /** Leaves the region at EIP for a reason, or one that is put on the stack. */
  exit(why: number | (() => void)): void {
    const f = this.f;
    this.settle();
    if (typeof why === "number") f.i32(why);
    else why();
    f.set(this.why);
    f.br(this.open.length - 1);
  }

  openBlock(kind: "loop" | "block" | "other", node: number): void {
    this.f.open(kind === "loop" ? WASM.loop : WASM.block);
    this.open.push({ kind, node });
  }

  close(): void {
    this.f.end();
    this.open.pop();
  }

  /** Opens an `if` around what `body` emits. */
  when(body: () => void, otherwise?: () => void): void {
    const { pending } = this;
    this.f.open(WASM.if);
    this.open.push({ kind: "other", node: -1 });
    body();
    if (otherwise !== undefined) {
      this.pending = pending;
      this.f.op(WASM.else);
      otherwise();
    }
    this.close();
    this.pending = pending;
  }

  /** The same for what happens rarely: the host's compiler is told. */
  rarely(body: () => void, otherwise?: () => void): void {
    this.f.rare();
    this.when(body, otherwise);
  }

  /** Leaves the instruction in progress: nothing of it has happened but translations, which may have taken time. */
  giveUp(): void {
    this.exitAt(this.instruction.delta, EXIT.BEGUN);
  }

  /** Leaves with a signal of the instruction in progress: it has been paid for, and is not retired. */
  signalled(): void {
    const { delta, lifted } = this.instruction;
    const { pending } = this;
    // What its micro-op BEGIN charges: a string instruction has not paid for its iteration.
    this.charge((lifted.ops[0] as MicroOp).imm, 0);
    this.exitAt(delta, EXIT.SIGNALLED | (lifted.length << 8));
    this.pending = pending;
  }

  /** EIP of a place in the region. */
  place(delta: number): void {
    this.f.get(this.entry);
    this.f.i32(delta);
    this.f.op(WASM.i32Add);
  }

  /** Charges a misprediction if the value on the stack is not zero. */
  chargeMisprediction(): void {
    const price = (): void => this.f.i32(this.layout.mispredict);
    const { ticks } = this.charges.get(this.context.account) as { readonly ticks: number | null };
    this.rarely(() => {
      this.#toLocal(this.left, price, WASM.i32Sub);
      if (ticks !== null) this.#toLocal(ticks, price, WASM.i32Add);
    });
  }

  #toLocal(local: number, amount: () => void, op: number): void {
    this.f.get(local);
    amount();
    this.f.op(op);
    this.f.set(local);
  }

  /** From here on these ticks and instructions of the account in progress have been executed. */
  charge(ticks: number, instructions: number): void {
    const { pending, account } = this;
    const before = pending.charges.find((each) => each.account === account);
    const others = pending.charges.filter((each) => each !== before);
    const after = { account, ticks: (before?.ticks ?? 0) + ticks, count: (before?.count ?? 0) + instructions };
    this.pending = { ticks: pending.ticks + ticks, charges: [...others, after] };
  }

  setKind(kind: number): void {
    this.kind = kind;
    this.f.i32(kind);
    this.f.set(this.flags.kind);
  }

  /** EFLAGS computed, so that all flags are in their local. */
  materialize(): void {
    if (this.kind === EFLAGS_KIND) return;
    this.callStatus();
    this.f.set(this.flags.eflags);
    this.setKind(EFLAGS_KIND);
  }

  condition(condition: number): void {
    if (this.kind !== UNKNOWN && conditionOf(this.f, this.flags, this.kind, condition)) return;
    this.materialize();
    conditionOfEflags(this.f, this.flags.eflags, condition);
  }

  /** CF on the stack. */
  carry(): void {
    if (this.kind === UNKNOWN) this.materialize();
    carryOf(this.f, this.flags, this.kind >> 5);
  }

  flagsDead(): boolean {
    return this.current?.flagsDead === true;
  }

  loadCell(cell: number): void {
    this.f.i32(0);
    this.f.memory(WASM.i32Load, this.layout.state + cell * 4, 2);
  }

  storeCell(cell: number, value: () => void): void {
    this.f.i32(0);
    value();
    this.f.memory(WASM.i32Store, this.layout.state + cell * 4, 2);
  }

  /** The low 32 bits of a cell, on the stack. */
  read(cell: number): void {
    if (cell === CELL.zero) this.f.i32(0);
    else if (cell <= GPR.edi) this.f.get(this.registers[cell / 2] as number);
    else if (cell < FIRST_TEMPORARY) this.loadCell(cell);
    else this.f.get(this.temporary(cell));
  }

  /** The stack's top into a cell. */
  write(cell: number): void {
    this.f.set(cell <= GPR.edi ? (this.registers[cell / 2] as number) : this.temporary(cell));
  }

  temporary(cell: number): number {
    let local = this.temporaries.get(cell);
    if (local === undefined) {
      local = this.f.addLocal();
      this.temporaries.set(cell, local);
    }
    return local;
  }

  /** The local of an anchor (anchors.ts), by its root. */
  anchor(root: number): number {
    return this.temporary(FIRST_ANCHOR + root);
  }

  moveAnchor(from: number, to: number): void {
    this.f.get(this.anchor(from));
    this.f.set(this.anchor(to));
  }

  /** Whether the instruction in progress makes walks. */
  walks(): boolean {
    return this.context.walks(this.instruction.delta);
  }

  /** Leaves the instruction in progress because of an access that the fast table does not have; nothing of it has happened. */
  missed(): void {
    this.exitAt(this.instruction.delta, this.missing(EXIT.MISSED));
  }

  /** A reason to leave that has to do with accesses, with the region's place in the table. */
  missing(why: number): number {
    return why | (this.context.index << 8);
  }

  mask(width: number): void {
    if (width === 32) return;
    this.f.i32(width === 8 ? 0xff : 0xffff);
    this.f.op(WASM.i32And);
  }

  signExtend(width: number): void {
    if (width === 8) this.f.op(WASM.i32Extend8S);
    else if (width === 16) this.f.op(WASM.i32Extend16S);
  }

  toTop(shift: number): void {
    if (shift === 0) return;
    this.f.i32(shift);
    this.f.op(WASM.i32Shl);
  }
}
