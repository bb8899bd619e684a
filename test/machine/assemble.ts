// A few instructions of IA-32, enough for guests of a page; and the tables that such guests run with.
import { CELL, type CpuState, GPR, SEG } from "../../sim/cpu/state.ts";
import { boot, CODE_BASE, type Rig, type Setup } from "./rig.ts";

const REGISTERS = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"] as const;
type Register = (typeof REGISTERS)[number];
const number = (register: Register): number => REGISTERS.indexOf(register);

/** A value, or the address of a label. */
type Value = number | string;

export class Program {
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #fixups: { readonly at: number; readonly label: string; readonly relative: boolean }[] = [];

  /** Any bytes: an instruction without a method of its own, with a comment. */
  code(...bytes: number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  label(name: string): this {
    this.#labels.set(name, CODE_BASE + this.#bytes.length);
    return this;
  }

  #word(value: Value, relative = false): this {
    if (typeof value === "string") this.#fixups.push({ at: this.#bytes.length, label: value, relative });
    const word = typeof value === "string" ? 0 : value;
    return this.code(word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, (word >>> 24) & 0xff);
  }

  /** Address of a label as it stands in an instruction: four bytes, absolute or relative to their end. */
  absolute(label: string): this {
    return this.#word(label);
  }

  relative(label: string): this {
    return this.#word(label, true);
  }

  mov(register: Register, value: Value): this {
    return this.code(0xb8 + number(register)).#word(value);
  }

  /** MOV m32, r32. */
  store(address: number, register: Register): this {
    return this.code(0x89, 0x05 | (number(register) << 3)).#word(address);
  }

  /** MOV r32, m32. */
  load(register: Register, address: number): this {
    return this.code(0x8b, 0x05 | (number(register) << 3)).#word(address);
  }

  push(value: Value): this {
    return this.code(0x68).#word(value);
  }

  jmp(label: string): this {
    return this.code(0xe9).#word(label, true);
  }

  /** MOV EAX, `value`; MOV CRn, EAX. */
  loadCr(cr: number, value: number): this {
    return this.mov("eax", value).code(0x0f, 0x22, 0xc0 | (cr << 3));
  }

  /** MOV AL, `value`; OUT `port`, AL. */
  out(port: number, value: number): this {
    return this.code(0xb0, value, 0xe6, port);
  }

  /** 32-bit OUT of 0 to the exit port. */
  exit(): this {
    return this.code(0x31, 0xc0, 0xe7, 0xf4);
  }

  /** 8254 channel 0 as a periodic timer of `count` clocks of 838 ns; its line alone enabled, vector 20h. */
  timer(count: number): this {
    this.out(0x20, 0x11).out(0x21, 0x20).out(0x21, 4).out(0x21, 1).out(0x21, 0xfe);
    return this.out(0x43, 0x34)
      .out(0x40, count & 0xff)
      .out(0x40, count >>> 8);
  }

  /** MOV ECX, `n`; LOOP $. */
  wait(n: number): this {
    return this.mov("ecx", n).code(0xe2, 0xfe);
  }

  /** Pushes a frame and IRETs to `label` with EFLAGS `flags`; to CPL 3 with stack `esp` if that is given. */
  iretTo(label: string, flags: number, esp?: number): this {
    if (esp !== undefined) this.push(SELECTOR.userData).push(esp);
    return this.push(flags)
      .push(esp === undefined ? SELECTOR.code : SELECTOR.userCode)
      .push(label)
      .code(0xcf);
  }

  address(label: string): number {
    const address = this.#labels.get(label);
    if (address === undefined) throw new Error(`no label ${label}`);
    return address;
  }

  assemble(): Uint8Array {
    const bytes = Uint8Array.from(this.#bytes);
    const view = new DataView(bytes.buffer);
    for (const { at, label, relative } of this.#fixups) {
      view.setUint32(at, this.address(label) - (relative ? CODE_BASE + at + 4 : 0), true);
    }
    return bytes;
  }
}

/** Where things lie in guest-physical memory; each has its page, so that each is shadowed apart. */
export const PLACE = {
  idt: 0x1000,
  gdt: 0x2000,
  tss: 0x3000,
  log: 0x4000,
  stackTop: 0x7000,
  innerStackTop: 0x9000,
  userStackTop: 0xb000,
  directoryA: 0x10000,
  directoryB: 0x11000,
  lowTable: 0x12000,
  /** Maps 4 MB to 8 MB; its upper half is free, and may serve as a stack. */
  highTable: 0x13000,
  tablesEnd: 0x14000,
} as const;

const SELECTOR = { code: 0x08, data: 0x10, userCode: 0x1b, userData: 0x23, tss: 0x28 } as const;

const ERROR_CODES = [8, 10, 11, 12, 13, 14, 17];

/**
 * Handlers for `vectors` at the end of a program: each logs vector, error code or 0, frame (five words), CR2 and DR6,
 * lets `done` be returned to if `resume` is false, and returns. TF in the frame's image is cleared.
 */
export function handlers(program: Program, vectors: readonly number[], resume: boolean): void {
  for (const vector of vectors) {
    program.label(`handler ${vector}`);
    if (!ERROR_CODES.includes(vector)) program.push(0);
    program.push(vector).jmp("log");
  }
  program.label("log").code(0x60); // PUSHAD
  program.code(0x8d, 0x74, 0x24, 0x20); // LEA ESI, [ESP + 32]
  program.load("edi", PLACE.log).mov("ecx", 7).code(0xfc, 0xf3, 0xa5); // CLD; REP MOVSD
  program.code(0x0f, 0x20, 0xd0, 0xab); // MOV EAX, CR2; STOSD
  program.code(0x0f, 0x21, 0xf0, 0xab); // MOV EAX, DR6; STOSD
  program.store(PLACE.log, "edi").code(0x61, 0x83, 0xc4, 0x08); // POPAD; ADD ESP, 8
  program.code(0x81, 0x64, 0x24, 0x08, 0xff, 0xfe, 0xff, 0xff); // AND DWORD [ESP + 8], ~TF
  if (!resume) program.mov("eax", "done").code(0x89, 0x04, 0x24); // MOV [ESP], EAX
  program.code(0xcf);
}

/** Words of one entry of the log. */
export const LOG_WORDS = 9;

export interface BareGuest extends Setup {
  readonly program: Program;
  readonly vectors: readonly number[];
  /** Paging on, with CR3 = directory A; off if not given. */
  readonly paging?: boolean;
  /** ESP0 of the TSS and ESP at the beginning. */
  readonly innerStackTop?: number;
  readonly stackTop?: number;
  readonly idtLimit?: number;
}

const DESCRIPTORS: readonly (readonly [low: number, high: number])[] = [
  [0, 0],
  [0x0000ffff, 0x00cf9a00],
  [0x0000ffff, 0x00cf9200],
  [0x0000ffff, 0x00cffa00],
  [0x0000ffff, 0x00cff200],
  [(PLACE.tss << 16) | 0x67, 0x8900 | (PLACE.tss >>> 16)],
];

/** A machine whose guest begins at its first instruction with GDT, IDT, TSS and, if asked for, paging set up. */
export function bare(guest: BareGuest): Rig {
  const { program } = guest;
  const rig = boot({ ...guest, code: program.assemble(), prepare: (state) => initialState(state, guest) });
  const { technique } = rig.machine;
  const write = (address: number, word: number): void => {
    technique.writeGuest(address, Uint8Array.of(word, word >>> 8, word >>> 16, word >>> 24));
  };
  for (const [n, [low, high]] of DESCRIPTORS.entries()) {
    write(PLACE.gdt + n * 8, low);
    write(PLACE.gdt + n * 8 + 4, high);
  }
  for (const vector of guest.vectors) {
    const address = program.address(`handler ${vector}`);
    write(PLACE.idt + vector * 8, (SELECTOR.code << 16) | (address & 0xffff));
    write(PLACE.idt + vector * 8 + 4, (address & 0xffff0000) | 0xee00);
  }
  write(PLACE.tss + 4, guest.innerStackTop ?? PLACE.innerStackTop);
  write(PLACE.tss + 8, SELECTOR.data);
  write(PLACE.log, PLACE.log + 4);
  for (const directory of [PLACE.directoryA, PLACE.directoryB]) {
    write(directory, PLACE.lowTable | 7);
    write(directory + 4, PLACE.highTable | 7);
    write(directory + 0x3fb * 4, 0xfec0009b); // FEC00000h: local APIC, 4 MB, uncached
  }
  for (let page = 0; page < 1024; page++) write(PLACE.lowTable + page * 4, (page << 12) | 7);
  for (let page = 0; page < 16; page++) write(PLACE.highTable + page * 4, (page << 12) | 7);

  return rig;
}

function initialState(state: CpuState, guest: BareGuest): void {
  state.set(GPR.esp, guest.stackTop ?? PLACE.stackTop);
  state.set(CELL.gdtrBase, PLACE.gdt);
  state.set(CELL.gdtrLimit, DESCRIPTORS.length * 8 - 1);
  state.set(CELL.idtrBase, PLACE.idt);
  state.set(CELL.idtrLimit, guest.idtLimit ?? 0x7ff);
  state.setSegment(SEG.tr, SELECTOR.tss, PLACE.tss, 0x67, 0x8b);
  state.setSegment(SEG.cs, SELECTOR.code, 0, 0xffffffff, 0xc09b);
  state.setSegment(SEG.ss, SELECTOR.data, 0, 0xffffffff, 0xc093);
  for (const segment of [SEG.ds, SEG.es]) state.setSegment(segment, SELECTOR.userData, 0, 0xffffffff, 0xc0f3);
  if (guest.paging !== true) return;
  state.set(CELL.cr0, state.get(CELL.cr0) | 0x80010000);
  state.set(CELL.cr4, state.get(CELL.cr4) | 0x10);
  state.set(CELL.cr3, PLACE.directoryA);
}
