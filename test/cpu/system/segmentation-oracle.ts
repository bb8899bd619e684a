/**
 * A naive processor for segment loads, far transfers, IRET and interrupts, written from the pseudo-code of the manual
 * (SDM vol. 2: MOV, JMP, CALL, RET, IRET, INT n; vol. 3, 21.3 for virtual-8086 mode) and from nothing of the simulator.
 * Everything is as plain as can be: the machine is one object, an operation works on a copy, and a fault is an exception
 * that throws the copy away. Paging is off; memory is 64 KB, and what lies beyond it is `Outside`.
 */

/** Descriptor as it is cached in a segment register; `system` descriptors are gates and TSSs. */
export interface SegmentCache {
  selector: number;
  base: number;
  limit: number;
  /** Type bits 3:0. */
  type: number;
  /** S flag: code or data. */
  s: boolean;
  dpl: number;
  present: boolean;
  /** D/B flag. */
  big: boolean;
  /** AVL, L and G, which no rule here looks at, as they stand in bits 15:12 of the access rights. */
  other: number;
  unusable: boolean;
}

export interface Machine {
  pe: boolean;
  vme: boolean;
  cpl: number;
  eip: number;
  esp: number;
  eflags: number;
  /** ES, CS, SS, DS, FS, GS, LDTR, TR. */
  seg: SegmentCache[];
  gdt: { base: number; limit: number };
  idt: { base: number; limit: number };
  memory: Uint8Array;
}

export class Fault extends Error {
  readonly vector: number;
  /** null where none is pushed. */
  readonly code: number | null;
  constructor(vector: number, code: number | null) {
    super(`#${vector}(${code})`);
    this.vector = vector;
    this.code = code;
  }
}
/** An access beyond the memory there is. */
export class Outside extends Error {}
/** A task switch, which is not this oracle's. */
export class TaskSwitch extends Error {}

const [ES, CS, SS, DS, FS, GS, LDTR, TR] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const [TS, NP, STACK, GP] = [10, 11, 12, 13] as const;
const F = { TF: 0x100, IF: 0x200, IOPL: 0x3000, NT: 0x4000, RF: 0x10000, VM: 0x20000, AC: 0x40000 } as const;
const VIF = 0x80000;
const VIP = 0x100000;
const ID = 0x200000;
const STATUS = 0x8d5;
const DF = 0x400;

interface Descriptor extends Omit<SegmentCache, "selector" | "unusable"> {
  address: number;
  /** Of gates. */
  gateSelector: number;
  gateOffset: number;
  count: number;
}

/** Runs an operation on a copy: the copy after it, or what it raised. */
export function attempt(machine: Machine, operation: (p: Processor) => void): Machine | Fault | Outside | TaskSwitch {
  const copy: Machine = {
    ...machine,
    seg: machine.seg.map((s) => ({ ...s })),
    memory: machine.memory.slice(),
  };
  try {
    operation(new Processor(copy));
    return copy;
  } catch (error) {
    if (error instanceof Fault || error instanceof Outside || error instanceof TaskSwitch) return error;
    throw error;
  }
}

export class Processor {
  readonly m: Machine;
  constructor(machine: Machine) {
    this.m = machine;
  }

  // ---- memory ----

  #read(address: number, bytes: number): number {
    let value = 0;
    for (let n = bytes - 1; n >= 0; n--) {
      const at = (address + n) >>> 0;
      if (at >= this.m.memory.length) throw new Outside();
      value = value * 256 + (this.m.memory[at] as number);
    }
    return value;
  }

  #write(address: number, bytes: number, value: number): void {
    for (let n = 0; n < bytes; n++) {
      const at = (address + n) >>> 0;
      if (at >= this.m.memory.length) throw new Outside();
      this.m.memory[at] = Math.floor(value / 2 ** (8 * n)) % 256;
    }
  }

  // ---- descriptors ----

  /** Reads the descriptor of a selector; `fault` when it lies beyond its table. */
  #descriptor(selector: number, vector: number, ext = 0): Descriptor {
    const index = selector >> 3;
    let table = this.m.gdt;
    if ((selector & 4) !== 0) {
      const ldt = this.m.seg[LDTR] as SegmentCache;
      if (ldt.unusable) throw new Fault(vector, (selector & ~3) | ext);
      table = ldt;
    }
    if (index * 8 + 7 > table.limit) throw new Fault(vector, (selector & ~3) | ext);
    return this.#descriptorAt(table.base + index * 8);
  }

  #descriptorAt(address: number): Descriptor {
    const word0 = this.#read(address, 2);
    const word1 = this.#read(address + 2, 2);
    const byte4 = this.#read(address + 4, 1);
    const byte5 = this.#read(address + 5, 1);
    const byte6 = this.#read(address + 6, 1);
    const byte7 = this.#read(address + 7, 1);
    const granular = (byte6 & 0x80) !== 0;
    const raw = (byte6 & 15) * 65536 + word0;
    const type = byte5 & 15;
    return {
      address,
      base: byte7 * 2 ** 24 + byte4 * 65536 + word1,
      limit: granular ? raw * 4096 + 4095 : raw,
      type,
      s: (byte5 & 0x10) !== 0,
      dpl: (byte5 >> 5) & 3,
      present: (byte5 & 0x80) !== 0,
      big: (byte6 & 0x40) !== 0,
      other: (byte6 & 0xb0) << 8,
      gateSelector: word1,
      gateOffset: (type & 8) !== 0 ? (byte7 * 256 + byte6) * 65536 + word0 : word0,
      count: byte4 & 31,
    };
  }

  /** Loads a segment register and sets the accessed flag in memory. */
  #load(register: number, selector: number, d: Descriptor): void {
    this.#write(d.address + 5, 1, this.#read(d.address + 5, 1) | 1);
    const { base, limit, s, dpl, present, big, other } = d;
    this.m.seg[register] = { selector, base, limit, type: d.type | 1, s, dpl, present, big, other, unusable: false };
  }

  #loadNull(register: number, selector: number): void {
    const nothing = { base: 0, limit: 0, type: 0, s: false, dpl: 0, present: false, big: false, other: 0 };
    this.m.seg[register] = { selector, ...nothing, unusable: true };
  }

  /** A segment register as the 8086 loads it. */
  #load8086(register: number, selector: number): void {
    const old = this.m.seg[register] as SegmentCache;
    const fixed = { s: true, type: 3, present: true, big: false };
    const base = selector * 16;
    if (this.#virtual) {
      this.m.seg[register] = { selector, base, limit: 0xffff, ...fixed, dpl: 3, other: 0, unusable: false };
    } else if (register === CS) {
      const other = old.other & 0x8000;
      this.m.seg[register] = { selector, base, limit: old.limit, ...fixed, dpl: 0, other, unusable: false };
    } else if (old.unusable) {
      this.m.seg[register] = { selector, base, limit: 0xffff, ...fixed, dpl: 0, other: 0, unusable: false };
    } else {
      this.m.seg[register] = { ...old, selector, base };
    }
  }

  get #virtual(): boolean {
    return (this.m.eflags & F.VM) !== 0;
  }

  get #iopl(): number {
    return (this.m.eflags >> 12) & 3;
  }

  // ---- stacks ----

  static #inside(s: Omit<SegmentCache, "selector" | "unusable">, offset: number, bytes: number): boolean {
    // What wraps around 4 GB is the implementation's (SDM vol. 3, 5.3): no fault.
    if (s.limit === 0xffffffff && !(s.s && (s.type & 0xc) === 4)) return true;
    for (let n = 0; n < bytes; n++) {
      const at = offset + n;
      const expandDown = s.s && (s.type & 0xc) === 4;
      if (expandDown ? at <= s.limit || at > (s.big ? 0xffffffff : 0xffff) : at > s.limit) return false;
    }
    return true;
  }

  /** Offsets, from the top of the stack upwards, of items of `bytes` bytes; #SS(0) if one is outside. */
  #peek(from: number, bytes: number, checked = true): number {
    const ss = this.m.seg[SS] as SegmentCache;
    const offset = ss.big ? (this.m.esp + from) >>> 0 : (this.m.esp + from) & 0xffff;
    if (checked && (ss.unusable || !Processor.#inside(ss, offset, bytes))) throw new Fault(STACK, 0);
    return this.#read(ss.base + offset, bytes);
  }

  /** Whether items fit above the top of the stack. */
  #holds(from: number, count: number, bytes: number): void {
    const ss = this.m.seg[SS] as SegmentCache;
    for (let n = 0; n < count; n++) {
      const at = this.m.esp + from + n * bytes;
      const offset = ss.big ? at >>> 0 : at & 0xffff;
      if (ss.unusable || !Processor.#inside(ss, offset, bytes)) throw new Fault(STACK, 0);
    }
  }

  #drop(bytes: number): void {
    const ss = this.m.seg[SS] as SegmentCache;
    if (ss.big) this.m.esp = (this.m.esp + bytes) >>> 0;
    else this.m.esp = ((this.m.esp & ~0xffff) | ((this.m.esp + bytes) & 0xffff)) >>> 0;
  }

  #push(bytes: number, value: number): void {
    const ss = this.m.seg[SS] as SegmentCache;
    this.#drop(-bytes);
    this.#write(ss.base + (ss.big ? this.m.esp : this.m.esp & 0xffff), bytes, value);
  }

  /** "IF stack does not have room": all items below `pointer` of a stack. */
  #room(
    s: Omit<SegmentCache, "selector" | "unusable">,
    pointer: number,
    count: number,
    bytes: number,
    code: number,
  ): void {
    for (let n = 1; n <= count; n++) {
      const at = pointer - n * bytes;
      const offset = s.big ? at >>> 0 : at & 0xffff;
      if (!Processor.#inside(s, offset, bytes)) throw new Fault(STACK, code);
    }
  }

  // ---- segment registers (MOV, POP, LDS) ----

  loadSegment(register: number, selector: number): void {
    const { m } = this;
    if (!m.pe || this.#virtual) {
      this.#load8086(register, selector);
      return;
    }
    const code = selector & ~3;
    const rpl = selector & 3;
    if (register === SS) {
      if (code === 0) throw new Fault(GP, 0);
      const d = this.#descriptor(selector, GP);
      const writable = d.s && (d.type & 8) === 0 && (d.type & 2) !== 0;
      if (rpl !== m.cpl || !writable || d.dpl !== m.cpl) throw new Fault(GP, code);
      if (!d.present) throw new Fault(STACK, code);
      this.#load(SS, selector, d);
      return;
    }
    if (code === 0) {
      this.#loadNull(register, selector);
      return;
    }
    const d = this.#descriptor(selector, GP);
    const isCode = (d.type & 8) !== 0;
    if (!d.s || (isCode && (d.type & 2) === 0)) throw new Fault(GP, code);
    const conforming = isCode && (d.type & 4) !== 0;
    if (!conforming && (rpl > d.dpl || m.cpl > d.dpl)) throw new Fault(GP, code);
    if (!d.present) throw new Fault(NP, code);
    this.#load(register, selector, d);
  }

  // ---- JMP and CALL far ----

  #jump8086(selector: number, eip: number): void {
    if (eip > (this.m.seg[CS] as SegmentCache).limit) throw new Fault(GP, 0);
    this.#load8086(CS, selector);
    this.m.eip = eip;
  }

  jumpFar(selector: number, offset: number, size: 16 | 32): void {
    const { m } = this;
    let eip = size === 16 ? offset & 0xffff : offset;
    if (!m.pe || this.#virtual) {
      this.#jump8086(selector, eip);
      return;
    }
    const code = selector & ~3;
    if (code === 0) throw new Fault(GP, 0);
    let d = this.#descriptor(selector, GP);
    let target = selector;
    if (!d.s) {
      if (d.type === 1 || d.type === 9 || d.type === 5) {
        this.#toTask(selector, d);
      }
      if (d.type !== 4 && d.type !== 12) throw new Fault(GP, code);
      if (d.dpl < m.cpl || d.dpl < (selector & 3)) throw new Fault(GP, code);
      if (!d.present) throw new Fault(NP, code);
      target = d.gateSelector;
      eip = d.gateOffset;
      if ((target & ~3) === 0) throw new Fault(GP, 0);
      d = this.#descriptor(target, GP);
      const isCode = d.s && (d.type & 8) !== 0;
      if (!isCode || ((d.type & 4) !== 0 ? d.dpl > m.cpl : d.dpl !== m.cpl)) throw new Fault(GP, target & ~3);
    } else {
      if ((d.type & 8) === 0) throw new Fault(GP, code);
      const bad = (d.type & 4) !== 0 ? d.dpl > m.cpl : (selector & 3) > m.cpl || d.dpl !== m.cpl;
      if (bad) throw new Fault(GP, code);
    }
    if (!d.present) throw new Fault(NP, target & ~3);
    if (eip > d.limit) throw new Fault(GP, 0);
    this.#load(CS, (target & ~3) | m.cpl, d);
    m.eip = eip;
  }

  #toTask(selector: number, d: Descriptor): never {
    if (d.dpl < this.m.cpl || d.dpl < (selector & 3)) throw new Fault(GP, selector & ~3);
    if (!d.present) throw new Fault(NP, selector & ~3);
    throw new TaskSwitch();
  }

  callFar(selector: number, offset: number, size: 16 | 32, next: number): void {
    const { m } = this;
    const ss = m.seg[SS] as SegmentCache;
    const eip = size === 16 ? offset & 0xffff : offset;
    if (!m.pe || this.#virtual) {
      this.#room(ss, m.esp, 2, size / 8, 0);
      if (eip > (m.seg[CS] as SegmentCache).limit) throw new Fault(GP, 0);
      this.#push(size / 8, (m.seg[CS] as SegmentCache).selector);
      this.#push(size / 8, next);
      this.#jump8086(selector, eip);
      return;
    }
    const code = selector & ~3;
    if (code === 0) throw new Fault(GP, 0);
    const d = this.#descriptor(selector, GP);
    if (d.s) {
      if ((d.type & 8) === 0) throw new Fault(GP, code);
      const bad = (d.type & 4) !== 0 ? d.dpl > m.cpl : (selector & 3) > m.cpl || d.dpl !== m.cpl;
      if (bad) throw new Fault(GP, code);
      if (!d.present) throw new Fault(NP, code);
      this.#callSame(selector, d, eip, size / 8, next);
      return;
    }
    if (d.type === 1 || d.type === 9 || d.type === 5) this.#toTask(selector, d);
    if (d.type !== 4 && d.type !== 12) throw new Fault(GP, code);
    if (d.dpl < m.cpl || d.dpl < (selector & 3)) throw new Fault(GP, code);
    if (!d.present) throw new Fault(NP, code);
    const target = d.gateSelector;
    if ((target & ~3) === 0) throw new Fault(GP, 0);
    const c = this.#descriptor(target, GP);
    if (!c.s || (c.type & 8) === 0 || c.dpl > m.cpl) throw new Fault(GP, target & ~3);
    if (!c.present) throw new Fault(NP, target & ~3);
    const bytes = d.type === 12 ? 4 : 2;
    if ((c.type & 4) === 0 && c.dpl < m.cpl) this.#callInner(target, c, d, bytes, next);
    else this.#callSame(target, c, d.gateOffset, bytes, next);
  }

  #callSame(selector: number, d: Descriptor, eip: number, bytes: number, next: number): void {
    const { m } = this;
    this.#room(m.seg[SS] as SegmentCache, m.esp, 2, bytes, 0);
    if (eip > d.limit) throw new Fault(GP, 0);
    this.#push(bytes, (m.seg[CS] as SegmentCache).selector);
    this.#push(bytes, next);
    this.#load(CS, (selector & ~3) | m.cpl, d);
    m.eip = eip;
  }

  /** The stack of an inner level from the TSS, with its checks. */
  #innerStack(level: number, ext: number): { selector: number; d: Descriptor; esp: number } {
    const tr = this.m.seg[TR] as SegmentCache;
    let selector: number;
    let esp: number;
    if ((tr.type & 8) !== 0) {
      const at = level * 8 + 4;
      if (at + 5 > tr.limit) throw new Fault(TS, (tr.selector & ~3) | ext);
      esp = this.#read(tr.base + at, 4);
      selector = this.#read(tr.base + at + 4, 2);
    } else {
      const at = level * 4 + 2;
      if (at + 3 > tr.limit) throw new Fault(TS, (tr.selector & ~3) | ext);
      esp = this.#read(tr.base + at, 2);
      selector = this.#read(tr.base + at + 2, 2);
    }
    if ((selector & ~3) === 0) throw new Fault(TS, ext);
    const d = this.#descriptor(selector, TS, ext);
    const writable = d.s && (d.type & 8) === 0 && (d.type & 2) !== 0;
    if ((selector & 3) !== level || d.dpl !== level || !writable) throw new Fault(TS, (selector & ~3) | ext);
    if (!d.present) throw new Fault(STACK, (selector & ~3) | ext);
    return { selector, d, esp };
  }

  /** Makes an inner stack the current one: all of ESP, or SP, of it. */
  #switchStack({ selector, d, esp }: { selector: number; d: Descriptor; esp: number }): void {
    this.#load(SS, selector, d);
    this.m.esp = d.big ? esp : ((this.m.esp & ~0xffff) | (esp & 0xffff)) >>> 0;
  }

  #callInner(selector: number, c: Descriptor, gate: Descriptor, bytes: number, next: number): void {
    const { m } = this;
    const inner = this.#innerStack(c.dpl, 0);
    this.#room(inner.d, inner.esp, 4 + gate.count, bytes, inner.selector & ~3);
    this.#holds(0, gate.count, bytes);
    if (gate.gateOffset > c.limit) throw new Fault(GP, 0);
    const parameters: number[] = [];
    for (let n = 0; n < gate.count; n++) parameters.push(this.#peek(n * bytes, bytes));
    const oldSs = (m.seg[SS] as SegmentCache).selector;
    const oldEsp = m.esp;
    const oldCs = (m.seg[CS] as SegmentCache).selector;
    this.#switchStack(inner);
    this.#push(bytes, oldSs);
    this.#push(bytes, oldEsp);
    for (const parameter of parameters.reverse()) this.#push(bytes, parameter);
    this.#push(bytes, oldCs);
    this.#push(bytes, next);
    this.#load(CS, (selector & ~3) | c.dpl, c);
    m.cpl = c.dpl;
    m.eip = gate.gateOffset;
  }

  // ---- RET far and IRET ----

  /** Checks of the code segment returned to. */
  #returnCode(selector: number): Descriptor {
    const code = selector & ~3;
    const rpl = selector & 3;
    if (code === 0) throw new Fault(GP, 0);
    const d = this.#descriptor(selector, GP);
    if (!d.s || (d.type & 8) === 0) throw new Fault(GP, code);
    if (rpl < this.m.cpl) throw new Fault(GP, code);
    if ((d.type & 4) !== 0 ? d.dpl > rpl : d.dpl !== rpl) throw new Fault(GP, code);
    if (!d.present) throw new Fault(NP, code);
    return d;
  }

  /** RETURN-TO-OUTER-PRIVILEGE-LEVEL: SS and ESP are `from` bytes up; `setFlags` comes before CPL changes. */
  #returnOuter(cs: number, d: Descriptor, eip: number, from: number, bytes: number, parameters: number): void {
    const { m } = this;
    const level = cs & 3;
    this.#holds(from, 2, bytes);
    const esp = this.#peek(from, bytes);
    const selector = this.#peek(from + bytes, bytes) & 0xffff;
    const code = selector & ~3;
    if (code === 0) throw new Fault(GP, 0);
    const stack = this.#descriptor(selector, GP);
    const writable = stack.s && (stack.type & 8) === 0 && (stack.type & 2) !== 0;
    if ((selector & 3) !== level || !writable || stack.dpl !== level) throw new Fault(GP, code);
    if (!stack.present) throw new Fault(STACK, code);
    if (eip > d.limit) throw new Fault(GP, 0);
    this.#load(CS, cs, d);
    m.eip = eip;
    m.cpl = level;
    this.#switchStack({ selector, d: stack, esp });
    this.#drop(parameters);
    for (const register of [ES, FS, GS, DS]) {
      const s = m.seg[register] as SegmentCache;
      const conforming = s.s && (s.type & 0xc) === 0xc;
      if (!s.unusable && !conforming && s.dpl < level) this.#loadNull(register, 0);
    }
  }

  returnFar(size: 16 | 32, parameters: number): void {
    const { m } = this;
    const bytes = size / 8;
    this.#holds(0, 2, bytes);
    const eip = this.#peek(0, bytes);
    const cs = this.#peek(bytes, bytes) & 0xffff;
    if (!m.pe || this.#virtual) {
      if (eip > (m.seg[CS] as SegmentCache).limit) throw new Fault(GP, 0);
      this.#drop(2 * bytes + parameters);
      this.#load8086(CS, cs);
      m.eip = eip;
      return;
    }
    const d = this.#returnCode(cs);
    if ((cs & 3) > m.cpl) {
      this.#returnOuter(cs, d, eip, 2 * bytes + parameters, bytes, parameters);
      return;
    }
    if (eip > d.limit) throw new Fault(GP, 0);
    this.#drop(2 * bytes + parameters);
    this.#load(CS, cs, d);
    m.eip = eip;
  }

  #setFlags(image: number, mask: number): void {
    this.m.eflags = (this.m.eflags & ~mask) | (image & mask) | 2;
  }

  interruptReturn(size: 16 | 32): void {
    const { m } = this;
    const bytes = size / 8;
    const always = STATUS | F.TF | DF | F.NT;
    const wide = size === 32 ? F.RF | F.AC | ID : 0;
    if (!m.pe) {
      this.#return8086(bytes, (image) => this.#setFlags(image, always | F.IF | F.IOPL | wide));
      return;
    }
    if (this.#virtual) {
      this.#returnFromVirtual(size, always | wide);
      return;
    }
    if ((m.eflags & F.NT) !== 0) throw new TaskSwitch();
    this.#holds(0, 3, bytes);
    const eip = this.#peek(0, bytes);
    const cs = this.#peek(bytes, bytes) & 0xffff;
    const image = this.#peek(2 * bytes, bytes);
    if (size === 32 && (image & F.VM) !== 0 && m.cpl === 0) {
      this.#returnToVirtual(eip, cs, image);
      return;
    }
    const d = this.#returnCode(cs);
    let mask = always | wide;
    if (m.cpl <= this.#iopl) mask |= F.IF;
    if (m.cpl === 0) mask |= F.IOPL | (size === 32 ? VIF | VIP : 0);
    if ((cs & 3) > m.cpl) {
      this.#returnOuter(cs, d, eip, 3 * bytes, bytes, 0);
    } else {
      if (eip > d.limit) throw new Fault(GP, 0);
      this.#drop(3 * bytes);
      this.#load(CS, cs, d);
      m.eip = eip;
    }
    this.#setFlags(image, mask);
  }

  #return8086(bytes: number, setFlags: (image: number) => void): void {
    const { m } = this;
    this.#holds(0, 3, bytes);
    const eip = this.#peek(0, bytes);
    const cs = this.#peek(bytes, bytes) & 0xffff;
    const image = this.#peek(2 * bytes, bytes);
    if (eip > (m.seg[CS] as SegmentCache).limit) throw new Fault(GP, 0);
    this.#drop(3 * bytes);
    this.#load8086(CS, cs);
    m.eip = eip;
    setFlags(image);
  }

  #returnFromVirtual(size: 16 | 32, mask: number): void {
    const { m } = this;
    if (this.#iopl === 3) {
      this.#return8086(size / 8, (image) => this.#setFlags(image, mask | F.IF));
    } else if (m.vme && size === 16) {
      this.#return8086(2, (image) => {
        if ((image & F.TF) !== 0 || ((image & F.IF) !== 0 && (m.eflags & VIP) !== 0)) throw new Fault(GP, 0);
        this.#setFlags((image & 0xffff) | ((image & F.IF) !== 0 ? VIF : 0), mask | VIF | F.RF);
      });
    } else {
      throw new Fault(GP, 0);
    }
  }

  #returnToVirtual(eip: number, cs: number, image: number): void {
    const { m } = this;
    this.#holds(0, 9, 4);
    const [esp, ss, es, ds, fs, gs] = [12, 16, 20, 24, 28, 32].map((at) => this.#peek(at, 4)) as number[];
    if (eip > 0xffff) throw new Fault(GP, 0);
    this.#setFlags(image, ~0);
    // Reserved flags are fixed.
    m.eflags = (m.eflags & 0x3f7fd5) | 2;
    for (const [register, selector] of [
      [CS, cs],
      [SS, ss],
      [ES, es],
      [DS, ds],
      [FS, fs],
      [GS, gs],
    ] as const) {
      this.#load8086(register, (selector as number) & 0xffff);
    }
    m.cpl = 3;
    m.esp = esp as number;
    m.eip = eip;
  }

  // ---- interrupts and exceptions ----

  /** INT n: what virtual-8086 mode makes of it comes before the IDT (SDM vol. 3, table 21-2). */
  softwareInterrupt(vector: number, next: number): void {
    const { m } = this;
    if (m.pe && this.#virtual) {
      const trusted = this.#iopl === 3;
      if (m.vme && !this.#redirectionBit(vector)) {
        this.#redirect(vector, next, trusted);
        return;
      }
      if (!trusted) throw new Fault(GP, 0);
    }
    this.event(vector, true, null, next);
  }

  #redirectionBit(vector: number): boolean {
    const tr = this.m.seg[TR] as SegmentCache;
    if ((tr.type & 8) === 0 || tr.limit < 103) throw new Fault(GP, 0);
    const at = this.#read(tr.base + 102, 2) - 32 + (vector >> 3);
    if (at < 0 || at > tr.limit) throw new Fault(GP, 0);
    return ((this.#read(tr.base + at, 1) >> (vector & 7)) & 1) !== 0;
  }

  #redirect(vector: number, next: number, trusted: boolean): void {
    const { m } = this;
    let image = m.eflags & 0xffff;
    if (!trusted) image = (image & ~F.IF) | F.IOPL | ((m.eflags & VIF) !== 0 ? F.IF : 0);
    this.#enter8086(vector * 4, image, next);
    m.eflags &= ~(F.TF | F.RF | (trusted ? F.IF : VIF));
  }

  #enter8086(table: number, image: number, next: number): void {
    const { m } = this;
    const ip = this.#read(table, 2);
    const cs = this.#read(table + 2, 2);
    this.#room(m.seg[SS] as SegmentCache, m.esp, 3, 2, 0);
    if (ip > (m.seg[CS] as SegmentCache).limit) throw new Fault(GP, 0);
    this.#push(2, image & 0xffff);
    this.#push(2, (m.seg[CS] as SegmentCache).selector);
    this.#push(2, next & 0xffff);
    this.#load8086(CS, cs);
    m.eip = ip;
  }

  /** An interrupt or exception through the table; `software`: INT n, INT3, INTO. */
  event(vector: number, software: boolean, errorCode: number | null, returnEip: number): void {
    const { m } = this;
    if (!m.pe) {
      if (vector * 4 + 3 > m.idt.limit) throw new Fault(GP, 0);
      this.#enter8086(m.idt.base + vector * 4, m.eflags, returnEip);
      m.eflags &= ~(F.TF | F.IF | F.AC | F.RF);
      return;
    }
    const ext = software ? 0 : 1;
    const idtCode = vector * 8 + 2 + ext;
    if (vector * 8 + 7 > m.idt.limit) throw new Fault(GP, idtCode);
    const gate = this.#descriptorAt(m.idt.base + vector * 8);
    if (gate.s || ![5, 6, 7, 14, 15].includes(gate.type)) throw new Fault(GP, idtCode);
    if (software && gate.dpl < m.cpl) throw new Fault(GP, idtCode);
    if (!gate.present) throw new Fault(NP, idtCode);
    if (gate.type === 5) throw new TaskSwitch();
    const selector = gate.gateSelector;
    const code = (selector & ~3) | ext;
    if ((selector & ~3) === 0) throw new Fault(GP, ext);
    const d = this.#descriptor(selector, GP, ext);
    if (!d.s || (d.type & 8) === 0 || d.dpl > m.cpl) throw new Fault(GP, code);
    if (!d.present) throw new Fault(NP, code);
    const conforming = (d.type & 4) !== 0;
    const bytes = (gate.type & 8) !== 0 ? 4 : 2;
    const virtual = this.#virtual;
    if (!conforming && d.dpl < m.cpl) {
      if (virtual && d.dpl !== 0) throw new Fault(GP, code);
      this.#toInner(gate, d, selector, bytes, errorCode, returnEip, ext, virtual);
    } else {
      if (virtual) throw new Fault(GP, code);
      this.#room(m.seg[SS] as SegmentCache, m.esp, errorCode === null ? 3 : 4, bytes, ext);
      if (gate.gateOffset > d.limit) throw new Fault(GP, ext);
      this.#push(bytes, m.eflags);
      this.#push(bytes, (m.seg[CS] as SegmentCache).selector);
      this.#push(bytes, returnEip);
      if (errorCode !== null) this.#push(bytes, errorCode);
      this.#load(CS, (selector & ~3) | m.cpl, d);
    }
    m.eip = gate.gateOffset;
    m.eflags &= ~(F.TF | F.VM | F.RF | F.NT | ((gate.type & 1) === 0 ? F.IF : 0));
  }

  #toInner(
    gate: Descriptor,
    d: Descriptor,
    selector: number,
    bytes: number,
    errorCode: number | null,
    returnEip: number,
    ext: number,
    virtual: boolean,
  ): void {
    const { m } = this;
    const inner = this.#innerStack(d.dpl, ext);
    const items = (errorCode === null ? 5 : 6) + (virtual ? 4 : 0);
    this.#room(inner.d, inner.esp, items, bytes, (inner.selector & ~3) | ext);
    if (gate.gateOffset > d.limit) throw new Fault(GP, ext);
    const old = { ss: (m.seg[SS] as SegmentCache).selector, esp: m.esp, eflags: m.eflags };
    const cs = (m.seg[CS] as SegmentCache).selector;
    this.#switchStack(inner);
    if (virtual) {
      for (const register of [GS, FS, DS, ES]) {
        this.#push(bytes, (m.seg[register] as SegmentCache).selector);
        this.#loadNull(register, 0);
      }
    }
    for (const item of [old.ss, old.esp, old.eflags, cs, returnEip]) this.#push(bytes, item);
    if (errorCode !== null) this.#push(bytes, errorCode);
    this.#load(CS, (selector & ~3) | d.dpl, d);
    m.cpl = d.dpl;
  }
}
