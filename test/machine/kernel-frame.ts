// What random kernels stand on: tables, handlers that tell the digest port of every event and go on with the next piece,
// system calls that return. All faults are recoverable as long as the stack of CPL 0 is.
import { CELL, type CpuState, CR0, CR4, GPR, SEG } from "../../sim/cpu/state.ts";
import type { Program } from "./assemble.ts";
import { boot, CODE_BASE, type Rig, type Setup } from "./rig.ts";

/** Guest-physical addresses. The window of data is at 180000h (random-program.ts). */
export const AT = {
  idt: 0x1000,
  idtCopy: 0x1800,
  gdt: 0x2000,
  gdtCopy: 0x2800,
  tss: 0x3000,
  variables: 0x4000,
  ldt: 0x5000,
  stackTop: 0x7000,
  innerStackTop: 0x9000,
  userStackTop: 0xb000,
  /** Code of virtual-8086 mode, segment 0C00h. */
  virtual8086: 0xc000,
  directoryA: 0x10000,
  directoryB: 0x11000,
  lowTable: 0x12000,
  aliasTable: 0x13000,
  pointers: 0x14000,
  paeDirectory: 0x15000,
  tablesEnd: 0x18000,
} as const;

/** Variables of the frame. */
export const VARIABLE = {
  resume: AT.variables,
  count: AT.variables + 4,
  ticks: AT.variables + 8,
  steps: AT.variables + 12,
  pointer: AT.variables + 16,
} as const;

export const SELECTOR = {
  code: 0x08,
  data: 0x10,
  userCode: 0x1b,
  userData: 0x23,
  tss: 0x28,
  ldt: 0x30,
  /** 16-bit code with base CODE_BASE; of CPL 0 and of CPL 3. */
  code16: 0x38,
  userCode16: 0x43,
  conforming: 0x48,
  /** Call gates to CPL 0, with 0 and with 2 parameters. */
  gate: 0x53,
  gateWithParameters: 0x5b,
  /** From here: random data segments. */
  random: 0x60,
} as const;
export const GDT_ENTRIES = 32;

/** A program of 2 MB of RAM and what it starts with. */
export interface Kernel {
  readonly program: Program;
  readonly words: readonly (readonly [address: number, word: number])[];
  readonly bytes: readonly (readonly [address: number, bytes: Uint8Array])[];
  readonly pae: boolean;
  /** Whether interrupts of the timer are wanted: flags then have IF. */
  readonly interrupts: boolean;
}

const ERROR_CODES = [8, 10, 11, 12, 13, 14, 17];
const EXCEPTIONS = [0, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19];
export const VECTOR = { tick: 0x20, leave: 0x30, call: 0x31 } as const;

/** DX = digest port; OUT DX, EAX. */
const TELL = [0x66, 0xba, 0xe0, 0x05, 0xef];

/** Initial code: the timer if it is wanted, or no interrupts at all. */
export function prologue(p: Program, interrupts: boolean): void {
  if (interrupts) p.timer(30);
  else p.out(0x21, 0xff).out(0xa1, 0xff);
}

/** EBX = hash of what PUSHAD has pushed; tells it. */
function tellRegisters(p: Program): void {
  p.code(0x60, 0xb9, 8, 0, 0, 0, 0x31, 0xdb); // PUSHAD; MOV ECX, 8; XOR EBX, EBX
  // ROL EBX, 7; XOR EBX, [ESP + ECX * 4 - 4]; LOOP
  p.code(0xc1, 0xc3, 7, 0x33, 0x5c, 0x8c, 0xfc, 0xe2, 0xf7);
  p.code(0x89, 0xd8, ...TELL); // MOV EAX, EBX
}

/** Handlers and what the pieces share, at the end of a program. */
export function epilogue(p: Program, interrupts: boolean): void {
  for (const vector of EXCEPTIONS) {
    p.label(`handler ${vector}`);
    if (!ERROR_CODES.includes(vector)) p.push(0);
    p.push(vector).jmp("event");
  }
  p.label(`handler ${VECTOR.leave}`).push(0).push(VECTOR.leave);
  p.label("event").code(0xfc); // CLD
  tellRegisters(p);
  // Vector, error code, EIP, CS and EFLAGS: MOV EAX, [ESP + n]
  for (let n = 0; n < 5; n++) {
    p.code(0x8b, 0x44, 0x24, 32 + 4 * n);
    if (n === 3) p.code(0x0f, 0xb7, 0xc0); // MOVZX EAX, AX
    p.code(0xef);
  }
  p.code(0x0f, 0x20, 0xd0, 0xef); // MOV EAX, CR2; OUT DX, EAX

  p.label("recover");
  p.code(0x66, 0xb8, SELECTOR.userData, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8); // DS, ES, FS, GS
  p.code(0x66, 0xb8, SELECTOR.data, 0, 0x8e, 0xd0).mov("esp", AT.stackTop); // SS, ESP
  p.code(0x31, 0xc0, 0x0f, 0x23, 0xf8); // XOR EAX, EAX; MOV DR7, EAX
  p.push(interrupts ? 0x202 : 2).code(0x9d); // POPFD
  p.push(SELECTOR.code).code(0xff, 0x35, ...little(VARIABLE.resume), 0xcb); // PUSH [resume]; RETF

  // #DB and #BP: tell DR6, EIP and flags, and go on; eight steps at most.
  for (const vector of [1, 3]) {
    p.label(`handler ${vector}`).code(0x50, 0x52, 0x0f, 0x21, 0xf0, ...TELL); // PUSH EAX, EDX; MOV EAX, DR6
    p.code(0x8b, 0x44, 0x24, 8, 0xef, 0x8b, 0x44, 0x24, 16, 0xef); // EIP, EFLAGS
    p.code(0x31, 0xc0, 0x0f, 0x23, 0xf0); // MOV DR6, 0
    p.code(0x36, 0xff, 0x0d, ...little(VARIABLE.steps), 0x79, 8); // DEC SS:[steps]; JNS over
    p.code(0x81, 0x64, 0x24, 16, ...little(~0x100)); // AND [ESP + 16], ~TF
    if (vector === 1) p.code(0x81, 0x4c, 0x24, 16, ...little(0x10000)); // OR [ESP + 16], RF
    p.code(0x5a, 0x58, 0xcf);
  }
  // A system call that returns: INT 31h tells EAX, SYSENTER goes back to EDX with stack ECX.
  p.label(`handler ${VECTOR.call}`).code(0x52, ...TELL, 0x5a, 0xcf);
  p.label("sysenter").code(0x52, ...TELL, 0x5a, 0x0f, 0x35); // PUSH EDX; tell; POP EDX; SYSEXIT
  // Behind the call gates.
  p.label("gate").code(0x52, ...TELL, 0x5a, 0xcb);
  p.label("gate with parameters").code(0x8b, 0x44, 0x24, 8, 0x52, ...TELL, 0x5a, 0xca, 8, 0); // MOV EAX, [ESP + 8]
  // The timer: INC SS:[ticks]; EOI.
  p.label(`handler ${VECTOR.tick}`).code(0x36, 0xff, 0x05, ...little(VARIABLE.ticks));
  p.code(0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf);
}

/** Hash of the registers to the digest port, registers unchanged. */
export function checkpoint(p: Program): void {
  tellRegisters(p);
  p.code(0x61);
}

export function little(word: number): readonly [number, number, number, number] {
  return [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, (word >>> 24) & 0xff];
}

/** Segment descriptor in two words; `rights` as LAR shows them, shifted by 8, with G and B. */
export function segment(base: number, limit: number, rights: number): readonly [number, number] {
  return [
    ((base << 16) | (limit & 0xffff)) >>> 0,
    ((base & 0xff000000) |
      (limit & 0xf0000) |
      ((rights & 0xff) << 8) |
      ((rights & 0xf000) << 8) |
      ((base >>> 16) & 0xff)) >>>
      0,
  ];
}

/** GDT entries up to SELECTOR.random. */
function fixedDescriptors(p: Program): readonly (readonly [number, number])[] {
  const gate = (label: string, parameters: number): readonly [number, number] => {
    const address = p.address(label);
    return [(SELECTOR.code << 16) | (address & 0xffff), (address & 0xffff0000) | 0xec00 | parameters];
  };
  return [
    [0, 0],
    segment(0, 0xfffff, 0xc09a),
    segment(0, 0xfffff, 0xc092),
    segment(0, 0xfffff, 0xc0fa),
    segment(0, 0xfffff, 0xc0f2),
    segment(AT.tss, 0x67, 0x8b),
    segment(AT.ldt, 0x7f, 0x82),
    segment(CODE_BASE, 0xffff, 0x9a),
    segment(CODE_BASE, 0xffff, 0xfa),
    segment(0, 0xfffff, 0xc09e),
    gate("gate", 0),
    gate("gate with parameters", 2),
  ];
}

/** Address of the entry that maps `linear`, in the tables of this kind of paging. */
export function entryFor(linear: number, pae: boolean): number {
  const page = linear >>> 12;
  if (pae) return AT.paeDirectory + 0x1000 + page * 8; // one table: 2 MB
  return (linear < 0x400000 ? AT.lowTable : AT.aliasTable - 0x1000) + page * 4;
}

export function bootKernel(kernel: Kernel, setup: Omit<Setup, "code" | "prepare" | "guestBytes">): Rig {
  const { program: p } = kernel;
  const rig = boot({
    ...setup,
    code: p.assemble(),
    guestBytes: 2 << 20,
    prepare: (state) => initialState(state, kernel),
  });
  const { technique } = rig.machine;
  const low = new Uint8Array(0x18000);
  const view = new DataView(low.buffer);
  const put = (address: number, word: number): void => view.setUint32(address, word >>> 0, true);
  for (const [n, [first, second]] of fixedDescriptors(p).entries()) {
    put(AT.gdt + n * 8, first);
    put(AT.gdt + n * 8 + 4, second);
  }
  for (const vector of [...EXCEPTIONS, 1, 3, ...Object.values(VECTOR)]) {
    const address = p.address(`handler ${vector}`);
    const dpl = vector === 3 || vector === 4 || vector === VECTOR.leave || vector === VECTOR.call ? 0xee00 : 0x8e00;
    put(AT.idt + vector * 8, (SELECTOR.code << 16) | (address & 0xffff));
    put(AT.idt + vector * 8 + 4, (address & 0xffff0000) | dpl);
  }
  put(AT.tss + 4, AT.innerStackTop);
  put(AT.tss + 8, SELECTOR.data);
  put(AT.tss + 0x64, 0x680000);
  for (const directory of [AT.directoryA, AT.directoryB]) {
    put(directory, AT.lowTable | 7);
    put(directory + 4, AT.aliasTable | 7);
  }
  for (let page = 0; page < 512; page++) {
    put(AT.lowTable + page * 4, (page << 12) | 7);
    put(AT.paeDirectory + 0x1000 + page * 8, (page << 12) | 7);
  }
  // 400000h to 40FFFFh: the window again.
  for (let page = 0; page < 16; page++) put(AT.aliasTable + page * 4, 0x180007 + (page << 12));
  put(AT.pointers, AT.paeDirectory | 1);
  put(AT.paeDirectory, (AT.paeDirectory + 0x1000) | 7);
  for (const [address, word] of kernel.words) put(address, word);
  low.copyWithin(AT.gdtCopy, AT.gdt, AT.gdt + GDT_ENTRIES * 8);
  low.copyWithin(AT.idtCopy, AT.idt, AT.idt + 0x190);
  technique.writeGuest(0, low);
  for (const [address, bytes] of kernel.bytes) technique.writeGuest(address, bytes);
  return rig;
}

function initialState(state: CpuState, { program, pae }: Kernel): void {
  state.set(GPR.esp, AT.stackTop);
  state.set(CELL.gdtrBase, AT.gdt);
  state.set(CELL.gdtrLimit, GDT_ENTRIES * 8 - 1);
  state.set(CELL.idtrBase, AT.idt);
  state.set(CELL.idtrLimit, 0x18f);
  state.setSegment(SEG.tr, SELECTOR.tss, AT.tss, 0x67, 0x8b);
  state.setSegment(SEG.cs, SELECTOR.code, 0, 0xffffffff, 0xc09b);
  state.setSegment(SEG.ss, SELECTOR.data, 0, 0xffffffff, 0xc093);
  for (const n of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) state.setSegment(n, SELECTOR.userData, 0, 0xffffffff, 0xc0f3);
  state.set(CELL.sysenterCs, SELECTOR.code);
  state.set(CELL.sysenterEsp, AT.innerStackTop);
  state.set(CELL.sysenterEip, program.address("sysenter"));
  state.set(CELL.pdpte0, pae ? AT.paeDirectory | 1 : 0);
  state.set(CELL.cr3, pae ? AT.pointers : AT.directoryA);
  state.set(CELL.cr4, state.get(CELL.cr4) | CR4.PSE | CR4.PGE | (pae ? CR4.PAE : 0));
  state.set(CELL.cr0, state.get(CELL.cr0) | CR0.PE | CR0.PG | CR0.WP);
}
