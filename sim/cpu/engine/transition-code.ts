/**
 * The instructions by which control changes its privilege level, in compiled code: SYSENTER, SYSEXIT (alone and in the shadow
 * of STI), IRET of 32 bits and INT n, as system/fast-calls.ts, engine/fast-transfers.ts and the core's boundary do them, where
 * no time is due and nothing is unusual. Everything is looked at first; with anything else nothing has been done, and the
 * import `leave` runs the instruction.
 */
import { DEADLINE_CELL, NOW_CELL } from "../../clock.ts";
import { DOMAINS, RETIRED_OFFSET } from "../../ledger.ts";
import { CODE_GRANULE_SHIFT, RAM_OFFSET, REASON } from "../../memory/physical.ts";
import { ACCOUNT_CELL } from "../accounts.ts";
import { ACCESS } from "../environment.ts";
import {
  ACTIVITY,
  BLOCKING,
  baseCell,
  CELL,
  CR0,
  FAST_READ,
  FAST_WRITE,
  FLAG,
  FLAT_CODE,
  FLAT_DATA,
  FLAT_LIMIT,
  fastCell,
  GPR,
  limitCell,
  RIGHTS,
  rightsCell,
  SEG,
  STATUS_FLAGS,
  selectorCell,
} from "../state.ts";
import { accountCell, charge } from "./account-code.ts";
import { EXIT, FUNCTION, MODE, TO_THE_CORE, TRANSFER_USER } from "./contract.ts";
import { type Descriptor, DescriptorCode, type Unusual } from "./descriptor-code.ts";
import type { Value, Variable } from "./expressions.ts";
import { CORE_CELL, type EngineLayout, GUARD } from "./layout.ts";
import { CODE, EXPAND_DOWN, GATE, GATE_TRAPS, STACK } from "./usual-descriptors.ts";
import type { FunctionBody } from "./wasm.ts";

const PAGE_MASK = 0xfff;
const FLAT = FAST_READ | FAST_WRITE;
const USER_DOMAIN = DOMAINS.indexOf("guest-user");
const KERNEL_DOMAIN = DOMAINS.indexOf("guest-kernel");
/** What IRET of 32 bits may change at any privilege. */
const RETURNED = STATUS_FLAGS | FLAG.TF | FLAG.DF | FLAG.NT | FLAG.RF | FLAG.AC | FLAG.ID;

/** A function (number, ticks, account) -> what the next region returns: an instruction that costs `ticks`. */
class Transition extends DescriptorCode {
  readonly ticks: Variable;
  readonly account: Variable;

  constructor(layout: EngineLayout, parameters = 3) {
    super(layout, parameters);
    this.ticks = this.w.parameter(1);
    this.account = this.w.parameter(2);
  }

  /** The function: `body`, which returns unless something is unusual. */
  function(body: (unusual: Unusual) => void): FunctionBody {
    const { w } = this;
    w.block(body);
    this.#goTo(w.variable(w.call(FUNCTION.leave, w.parameter(0))));
    return w.body;
  }

  guarded(bits: number): Value {
    return this.w.and(this.w.load(0, this.layout.core + CORE_CELL.guard * 4), bits);
  }

  /** Unusual: a boundary has something to do before `ticks` more have passed. */
  refuseDue(ticks: Value, unusual: Unusual): void {
    const { w } = this;
    const { time } = this.layout;
    const end = w.addF64(w.loadF64(0, time + NOW_CELL * 8), w.toFloat(ticks));
    unusual(w.atLeastF64(end, w.loadF64(0, time + DEADLINE_CELL * 8)));
  }

  /** Unusual: opening interrupts asks for attention. */
  refuseOpening(unusual: Unusual): void {
    const { w } = this;
    unusual(this.guarded(GUARD.INTERCEPTS));
    unusual(w.not(w.load(0, this.layout.core + CORE_CELL.quiet * 4)));
  }

  /** Charges the instruction's ticks. */
  charge(ticks: Value, account: Value): void {
    charge(this.w, this.layout, this.w.shl(account, 3), this.w.toFloat(ticks));
  }

  retire(account: Value): void {
    const { w } = this;
    w.increase(w.shl(account, 3), w.float(1), this.layout.time + RETIRED_OFFSET * 8);
  }

  /** Counts a transfer that has read so many descriptors. */
  commit(descriptors: number): void {
    const { w } = this;
    w.increase(0, w.float(descriptors), this.layout.references + REASON.descriptor * 8);
    const cell = this.layout.core + CORE_CELL.transfers * 4;
    w.store(0, w.add(w.load(0, cell), 1), cell);
  }

  setSegment(segment: number, selector: Value, base: Value, limit: Value, rights: Value, fast: Value): void {
    this.setCell(selectorCell(segment), selector);
    this.setCell(baseCell(segment), base);
    this.setCell(limitCell(segment), limit);
    this.setCell(rightsCell(segment), rights);
    this.setCell(fastCell(segment), fast);
  }

  /** Loads CS of a kind of descriptor that has been checked. */
  loadCode(selector: Value, code: Descriptor, limit: Variable): void {
    const { w } = this;
    // Code that may be read (descriptor bit 9) of 4 GB needs no check of reads.
    const fast = w.and(w.equal(limit, -1), w.unequal(w.and(code.high, 1 << 9), 0));
    this.setSegment(SEG.cs, selector, this.baseOf(code), limit, this.rightsOf(code), w.multiply(fast, FAST_READ));
  }

  /** Loads SS with writable data. */
  loadStack(selector: Value, stack: Descriptor, limit: Variable): void {
    const { w } = this;
    const fast = w.and(w.equal(limit, -1), w.not(w.and(stack.high, EXPAND_DOWN)));
    this.setSegment(SEG.ss, selector, this.baseOf(stack), limit, this.rightsOf(stack), w.multiply(fast, FLAT));
  }

  /** CS and SS as SYSENTER and SYSEXIT load them, `offset` bytes above IA32_SYSENTER_CS; then EIP and ESP. */
  loadFlat(level: number, offset: number, eip: number, esp: number): void {
    const { w } = this;
    const cs = w.variable(w.or(w.add(w.and(this.cell(CELL.sysenterCs), 0xfffc), offset), level));
    const dpl = level << RIGHTS.DPL_SHIFT;
    this.setSegment(SEG.cs, w.and(cs, 0xffff), 0, FLAT_LIMIT | 0, FLAT_CODE | dpl, FAST_READ);
    this.setSegment(SEG.ss, w.and(w.add(cs, 8), 0xffff), 0, FLAT_LIMIT | 0, FLAT_DATA | dpl, FLAT);
    this.setCell(CELL.cpl, level);
    this.setCell(GPR.esp, this.cell(esp));
    this.setCell(CELL.rip, this.cell(eip));
  }

  /** Unusual: SYSENTER and SYSEXIT fault, or lead to or from a monitor. */
  refuseFastCalls(unusual: Unusual): void {
    const { w } = this;
    unusual(w.not(w.and(this.cell(CELL.cr0), CR0.PE)));
    unusual(w.not(w.and(this.cell(CELL.sysenterCs), 0xfffc)));
    unusual(this.guarded(GUARD.MONITOR));
  }

  /** Goes to the region at EIP in a mode, or to the core. */
  #goTo(mode: Variable): void {
    const { w } = this;
    w.when(w.equal(mode, TO_THE_CORE), () => w.return(EXIT.LEFT));
    w.put(mode);
    w.body.returnCall(FUNCTION.transfer);
  }

  /** The boundary, and on: by itself when it has nothing to do. */
  goOn(): void {
    const { w } = this;
    const { time } = this.layout;
    const user = w.variable(w.equal(this.cell(CELL.cpl), 3));
    w.store(0, w.choose(user, USER_DOMAIN, KERNEL_DOMAIN), this.layout.accounts + ACCOUNT_CELL.domain * 4);
    const flags = w.variable(this.cell(CELL.rflags));
    const due = w.atLeastF64(w.loadF64(0, time + NOW_CELL * 8), w.loadF64(0, time + DEADLINE_CELL * 8));
    const looks = w.or(
      w.or(due, this.guarded(GUARD.STOPS)),
      w.or(
        w.and(flags, w.choose(user, FLAG.TF | FLAG.AC, FLAG.TF)),
        w.and(this.cell(CELL.interruptibility), BLOCKING.STI | BLOCKING.MOV_SS),
      ),
    );
    w.when(looks, () => this.#goTo(w.variable(w.call(FUNCTION.next))));
    w.when(w.and(flags, FLAG.RF), () => this.setCell(CELL.resumeLoaded, 0));
    const big = (segment: number, bit: number): Value =>
      w.choose(w.and(this.cell(rightsCell(segment)), RIGHTS.DB), bit, 0);
    const sizes = w.or(big(SEG.cs, MODE.BIG), big(SEG.ss, MODE.BIG_STACK));
    w.put(w.or(sizes, w.choose(user, MODE.USER | TRANSFER_USER, MODE.KERNEL)));
    w.body.returnCall(FUNCTION.transfer);
  }
}

/** SYSENTER. */
export function sysenter(layout: EngineLayout): FunctionBody {
  const t = new Transition(layout);
  const { w } = t;
  return t.function((unusual) => {
    t.refuseFastCalls(unusual);
    t.charge(t.ticks, t.account);
    t.setCell(CELL.rflags, w.and(t.cell(CELL.rflags), ~(FLAG.VM | FLAG.IF | FLAG.RF)));
    t.loadFlat(0, 0, CELL.sysenterEip, CELL.sysenterEsp);
    t.retire(t.account);
    t.goOn();
  });
}

/**
 * STI and the SYSEXIT in its shadow: (number, ticks, account, ticks of SYSEXIT). Between the two nothing is due, because
 * the deadline stands behind both.
 */
export function stiSysexit(layout: EngineLayout): FunctionBody {
  const t = new Transition(layout, 4);
  const { w } = t;
  return t.function((unusual) => {
    t.refuseFastCalls(unusual);
    unusual(t.cell(CELL.cpl));
    unusual(t.cell(CELL.interruptibility));
    unusual(t.cell(CELL.pendingDebug));
    const flags = w.variable(t.cell(CELL.rflags));
    unusual(w.and(flags, FLAG.IF | FLAG.TF | FLAG.VIP | FLAG.VM));
    t.refuseOpening(unusual);
    t.refuseDue(t.ticks, unusual);
    for (const ticks of [t.ticks, w.parameter(3)]) {
      t.charge(ticks, t.account);
      t.retire(t.account);
    }
    t.setCell(CELL.rflags, w.or(flags, FLAG.IF));
    t.loadFlat(3, 16, GPR.edx, GPR.ecx);
    t.goOn();
  });
}

/** IRET of 32 bits. */
export function interruptReturn(layout: EngineLayout): FunctionBody {
  const t = new Transition(layout);
  const { w } = t;
  return t.function((unusual) => {
    unusual(w.not(w.and(t.cell(CELL.cr0), CR0.PE)));
    unusual(t.guarded(GUARD.MONITOR));
    const old = w.variable(t.cell(CELL.rflags));
    unusual(w.and(old, FLAG.VM | FLAG.NT | FLAG.VIP | FLAG.TF));
    unusual(w.and(t.cell(CELL.interruptibility), BLOCKING.NMI));
    unusual(w.not(w.and(t.cell(rightsCell(SEG.ss)), RIGHTS.DB)));
    unusual(w.not(w.and(t.cell(fastCell(SEG.ss)), FAST_READ)));
    const cpl = w.variable(t.cell(CELL.cpl));
    const linear = w.variable(w.add(t.cell(baseCell(SEG.ss)), t.cell(GPR.esp)));
    const access = w.choose(w.equal(cpl, 3), ACCESS.READ | ACCESS.USER, ACCESS.READ);
    const frame = t.word(linear, 12, access, unusual);
    const eip = w.variable(w.load(frame));
    const cs = w.variable(w.and(w.load(frame, 4), 0xffff));
    const image = w.variable(w.load(frame, 8));
    unusual(w.and(image, FLAG.VM | FLAG.VIP | FLAG.TF));
    const level = w.variable(w.and(cs, 3));
    unusual(w.below(level, cpl));
    const code = t.descriptor(cs, unusual);
    unusual(w.unequal(w.and(code.high, CODE.mask), CODE.value));
    unusual(w.unequal(t.levelOf(code), level));
    const limit = t.limitOf(code);
    unusual(w.above(eip, limit));

    const iopl = w.and(w.shr(old, 12), 3);
    const ofInterrupts = w.choose(w.above(cpl, iopl), 0, FLAG.IF);
    const ofSupervisor = w.choose(cpl, 0, FLAG.IOPL | FLAG.VIF | FLAG.VIP);
    const mask = w.variable(w.or(RETURNED, w.or(ofInterrupts, ofSupervisor)));
    const kept = w.and(old, w.xor(mask, -1));
    const flags = w.variable(w.or(w.or(kept, w.and(image, mask)), FLAG.ONE));
    w.when(w.and(w.and(flags, w.xor(old, -1)), FLAG.IF), () => t.refuseOpening(unusual));

    const instructions = w.variable(accountCell(w, layout, "instructions"));
    const price = (ticks: number): void => charge(w, layout, instructions, w.float(ticks));
    w.when(
      w.equal(level, cpl),
      () => {
        t.commit(1);
        t.charge(t.ticks, t.account);
        t.setCell(GPR.esp, w.add(t.cell(GPR.esp), 12));
        price(layout.ticks.iretSame);
      },
      () => {
        unusual(w.above(w.and(linear, PAGE_MASK), PAGE_MASK + 1 - 20));
        const ss = w.variable(w.and(w.load(frame, 16), 0xffff));
        const stack = t.descriptor(ss, unusual);
        unusual(w.unequal(w.and(stack.high, STACK.mask), STACK.value));
        unusual(w.unequal(w.and(ss, 3), level));
        unusual(w.unequal(t.levelOf(stack), level));
        t.commit(2);
        t.charge(t.ticks, t.account);
        const outer = w.variable(w.load(frame, 12));
        t.loadStack(ss, stack, t.limitOf(stack));
        t.setCell(GPR.esp, outer);
        t.setCell(CELL.cpl, level);
        for (const segment of [SEG.es, SEG.fs, SEG.gs, SEG.ds]) dropPrivileged(t, segment, level);
        price(layout.ticks.iretOuter);
      },
    );
    t.loadCode(cs, code, limit);
    t.setCell(CELL.rip, eip);
    t.setCell(CELL.rflags, flags);
    t.retire(t.account);
    t.goOn();
  });
}

/** A data segment register that the outer level could not have loaded becomes null. */
function dropPrivileged(t: Transition, segment: number, level: Value): void {
  const { w } = t;
  const rights = w.variable(t.cell(rightsCell(segment)));
  const conforming = RIGHTS.CODE | RIGHTS.EXPAND_DOWN_OR_CONFORMING;
  const stays = w.or(
    w.unequal(w.and(rights, RIGHTS.UNUSABLE), 0),
    w.or(
      w.equal(w.and(rights, RIGHTS.S | conforming), RIGHTS.S | conforming),
      w.not(w.below(w.and(w.shr(rights, RIGHTS.DPL_SHIFT), 3), level)),
    ),
  );
  w.when(w.not(stays), () => t.setSegment(segment, 0, 0, 0, RIGHTS.UNUSABLE, 0));
}

/** INT n: (number, ticks, account, vector, length), through a 32-bit gate. */
export function softwareInterrupt(layout: EngineLayout): FunctionBody {
  const t = new Transition(layout, 5);
  const { w } = t;
  return t.function((unusual) => {
    const vector = w.parameter(3);
    unusual(w.not(w.and(t.cell(CELL.cr0), CR0.PE)));
    unusual(t.guarded(GUARD.MONITOR | GUARD.INTERCEPTS));
    unusual(t.cell(CELL.interruptibility));
    const old = w.variable(t.cell(CELL.rflags));
    unusual(w.and(old, FLAG.VM | FLAG.VIP));
    unusual(w.above(w.add(w.shl(vector, 3), 7), t.cell(CELL.idtrLimit)));
    const gate = t.word(w.variable(w.add(t.cell(CELL.idtrBase), w.shl(vector, 3))), 8, ACCESS.READ, unusual);
    const gateLow = w.variable(w.load(gate));
    const gateHigh = w.variable(w.load(gate, 4));
    const cpl = w.variable(t.cell(CELL.cpl));
    unusual(w.unequal(w.and(gateHigh, GATE.mask), GATE.value));
    unusual(w.below(w.and(w.shr(gateHigh, 13), 3), cpl));

    const selector = w.variable(w.shr(gateLow, 16));
    const code = t.descriptor(selector, unusual);
    const level = w.variable(t.levelOf(code));
    const eip = w.variable(w.or(w.and(gateHigh, 0xffff0000 | 0), w.and(gateLow, 0xffff)));
    const limit = t.limitOf(code);
    unusual(w.unequal(w.and(code.high, CODE.mask), CODE.value));
    unusual(w.above(level, cpl));
    unusual(w.above(eip, limit));

    const inner = w.variable(w.below(level, cpl));
    const pointer = w.variable(t.cell(GPR.esp));
    const base = w.variable(t.cell(baseCell(SEG.ss)));
    const bytes = w.variable(w.choose(inner, 20, 12));
    const newSs = w.variable(0);
    const stack: Descriptor = { low: w.variable(0), high: w.variable(0) };
    w.when(
      inner,
      () => {
        const at = w.variable(w.add(w.shl(level, 3), 4));
        unusual(w.not(w.and(t.cell(rightsCell(SEG.tr)), 8)));
        unusual(w.above(w.add(at, 5), t.cell(limitCell(SEG.tr))));
        const tss = t.word(w.variable(w.add(t.cell(baseCell(SEG.tr)), at)), 8, ACCESS.READ, unusual);
        w.set(pointer, w.load(tss));
        w.set(newSs, w.and(w.load(tss, 4), 0xffff));
        const found = t.descriptor(newSs, unusual);
        w.set(stack.low, found.low);
        w.set(stack.high, found.high);
        unusual(w.unequal(w.and(stack.high, STACK.mask | EXPAND_DOWN), STACK.value));
        unusual(w.unequal(w.and(newSs, 3), level));
        unusual(w.unequal(t.levelOf(stack), level));
        unusual(w.unequal(t.limitOf(stack), -1));
        w.set(base, t.baseOf(stack));
      },
      () => {
        unusual(w.not(w.and(t.cell(rightsCell(SEG.ss)), RIGHTS.DB)));
        unusual(w.not(w.and(t.cell(fastCell(SEG.ss)), FAST_WRITE)));
      },
    );
    const linear = w.variable(w.sub(w.add(base, pointer), bytes));
    const access = w.choose(w.equal(level, 3), ACCESS.WRITE | ACCESS.USER, ACCESS.WRITE);
    // More than an outer level's frame needs: then JavaScript looks.
    const frame = t.word(linear, 20, access, unusual);
    const marks = (offset: Value): Value =>
      w.load8(w.shr(w.sub(w.add(frame, offset), RAM_OFFSET), CODE_GRANULE_SHIFT), layout.granules);
    unusual(w.or(marks(0), marks(w.sub(bytes, 1))));

    w.when(
      inner,
      () => {
        t.commit(5);
        w.store(frame, t.cell(GPR.esp), 12);
        w.store(frame, t.cell(selectorCell(SEG.ss)), 16);
      },
      () => t.commit(2),
    );
    t.charge(t.ticks, t.account);
    w.store(frame, w.and(old, ~FLAG.RF), 8);
    w.store(frame, t.cell(selectorCell(SEG.cs)), 4);
    w.store(frame, w.add(t.cell(CELL.rip), w.parameter(4)));
    t.setCell(GPR.esp, w.sub(pointer, bytes));
    w.when(inner, () => t.loadStack(newSs, stack, w.variable(-1)));
    t.loadCode(w.or(w.and(selector, 0xfffc), level), code, limit);
    t.setCell(CELL.cpl, level);
    const cleared = w.choose(w.and(gateHigh, GATE_TRAPS), 0, FLAG.IF);
    const always = FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM;
    t.setCell(CELL.rflags, w.and(old, w.xor(w.or(cleared, always), -1)));
    t.setCell(CELL.rip, eip);
    t.setCell(CELL.activity, ACTIVITY.ACTIVE);
    const { intInner, intSame } = layout.ticks;
    const delivery = w.variable(accountCell(w, layout, "delivery"));
    charge(w, layout, delivery, w.toFloat(w.choose(inner, intInner, intSame)));
    t.retire(t.account);
    t.goOn();
  });
}
