// Random kernels: pieces of integer code, privileged and sensitive instructions, edits of page tables and descriptors,
// transitions to CPL 3 and back, faults, breakpoints, code that is rewritten or of 16 bits. A fault ends a piece, and the
// next one begins at CPL 0. What is undefined by the manual is left out: after an edit that takes rights away the page is
// invalidated, code that changes under another linear address is followed by a serializing instruction.
//
// Left out: RDTSC and CPUID, whose results may depend on the technique; task switches; x87 and SSE.
import { Program } from "./assemble.ts";
import {
  AT,
  bootKernel,
  checkpoint,
  entryFor,
  epilogue,
  GDT_ENTRIES,
  type Kernel,
  little,
  prologue,
  SELECTOR,
  segment,
  VARIABLE,
} from "./kernel-frame.ts";
import { controlReads, flagMix, flow, gs, halt, overlap, selfModifying } from "./random-code-pieces.ts";
import { generator, IntegerInstructions, WINDOW } from "./random-program.ts";
import { CODE_BASE, type Rig, type Setup } from "./rig.ts";

const WINDOW_PAGES = 16;
const ALIAS = 0x400000;
const PTE = { P: 1, W: 2, U: 4, PCD: 0x10, G: 0x100 } as const;

/** What a kernel may contain. */
export interface Contents {
  /** Instructions at CPL 3 that show the processor's state there without a trap: a technique that executes CPL 3 directly cannot hide it. */
  readonly sensitiveAtCpl3: boolean;
}
const ALL: Contents = { sensitiveAtCpl3: true };

export function randomKernel(seed: number, contents = ALL): Kernel {
  return new RandomKernel(seed, contents).kernel;
}

export function bootRandomKernel(
  seed: number,
  setup: Omit<Setup, "code" | "prepare" | "guestBytes">,
  contents = ALL,
): Rig {
  return bootKernel(randomKernel(seed, contents), setup);
}

type Piece = (kernel: RandomKernel) => void;

export class RandomKernel {
  readonly kernel: Kernel;
  readonly p = new Program();
  readonly pae: boolean;
  readonly interrupts: boolean;
  readonly contents: Contents;
  readonly #random: (below: number) => number;
  readonly #integer: IntegerInstructions;
  #labels = 0;

  constructor(seed: number, contents: Contents) {
    this.contents = contents;
    this.#random = generator(seed);
    this.#integer = new IntegerInstructions(this.#random);
    this.pae = this.below(4) === 0;
    this.interrupts = this.below(4) === 0;
    const { p } = this;
    prologue(p, this.interrupts);
    for (let n = 6 + this.below(8); n > 0; n--) this.#piece();
    p.exit().code(0xeb, 0xfe);
    epilogue(p, this.interrupts);
    this.kernel = {
      program: p,
      pae: this.pae,
      interrupts: this.interrupts,
      words: this.#descriptors(),
      bytes: [[AT.virtual8086, this.#virtual8086()]],
    };
  }

  below(n: number): number {
    return this.#random(n);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** Of a random segment, or of anything in the LDT. */
  selector(): number {
    const random = this.below(2) === 0 ? SELECTOR.random + 8 * this.below(20) : 4 + 8 * this.below(16);
    return random | this.pick([0, 3, 3, 3]);
  }

  newLabel(): string {
    return `piece ${this.#labels++}`;
  }

  /** An address in the window or its alias, not too near to its end. */
  address(): number {
    const offset = this.below(0xff00);
    return (this.pae || this.below(3) > 0 ? WINDOW : ALIAS) + (this.below(3) === 0 ? offset : offset & ~3);
  }

  integer(upTo = 6): void {
    for (let n = 1 + this.below(upTo); n > 0; n--) {
      const bytes = this.#integer.next();
      // POPF might leave interrupts open where they are to be closed, or the other way round.
      this.p.code(...bytes);
    }
  }

  /** One to three rounds of: resume point, set-up of registers, body, checkpoint. */
  #piece(): void {
    const { p } = this;
    const next = this.newLabel();
    p.mov("eax", next).store(VARIABLE.resume, "eax");
    const rounds = this.below(3) === 0 ? 2 + this.below(4) : 1;
    const top = this.newLabel();
    if (rounds > 1) p.code(0xc7, 0x05, ...little(VARIABLE.count), ...little(rounds)); // MOV [count], rounds
    for (const register of ["eax", "ecx", "edx", "esi", "edi"] as const) {
      p.mov(register, this.below(4) === 0 ? this.address() : this.below(2 ** 32));
    }
    p.mov("ebx", WINDOW + this.below(0xf000)).mov("ebp", this.below(2 ** 32));
    p.label(top);
    for (let n = 1 + this.below(4); n > 0; n--) {
      this.integer();
      this.pick(PIECES)(this);
    }
    this.integer();
    if (rounds > 1) p.code(0xff, 0x0d, ...little(VARIABLE.count), 0x0f, 0x85).relative(top); // DEC [count]; JNZ top
    checkpoint(p);
    p.jmp("recover").label(next);
  }

  #descriptors(): (readonly [number, number])[] {
    const words: (readonly [number, number])[] = [];
    const put = (table: number, n: number): void => {
      const rights =
        this.pick([0x92, 0xf2, 0xf2, 0xf0, 0xf6, 0xf6, 0xfa, 0xfe, 0x72, 0x96]) | this.pick([0, 0x4000, 0xc000]);
      const expandsDown = (rights & 0x1c) === 0x14;
      // A limit of pages would reach over the end of RAM.
      const limit = expandsDown ? this.below(0x8000) : 0xff + this.below(0xff00);
      const sane = expandsDown ? rights & ~0xc000 : rights & ~0x8000;
      const [low, high] = segment(WINDOW + this.below(0x8000), limit, sane);
      words.push([table + n * 8, low], [table + n * 8 + 4, high]);
    };
    for (let n = SELECTOR.random >>> 3; n < GDT_ENTRIES; n++) put(AT.gdt, n);
    for (let n = 0; n < 16; n++) put(AT.ldt, n);
    return words;
  }

  /** Integer instructions in 16-bit code, then INT 30h: ends in a fault or there. */
  #virtual8086(): Uint8Array {
    const bytes: number[] = [];
    for (let n = 0; n < 12; n++) {
      bytes.push(
        ...this.pick([
          [0x40 + this.below(4)],
          [0x01, 0xc0 | this.below(64)].map((b, i) => (i === 1 && (b & 7) === 4 ? 0xc1 : b)),
          [0x9c, 0x58],
          [0x89, 0x07],
          [0x8b, 0x47, this.below(128)],
          [0x0e, 0x1f],
          [0x66, 0x35, ...little(this.below(2 ** 32))],
          [0xd1, 0xe0 | this.below(4)],
          [0x0f, 0xb6, 0xc0 | this.below(8)],
        ]),
      );
    }
    bytes.push(...this.pick([[0xcd, 0x30], [0xcd, 0x31, 0xcd, 0x30], [0xfa], [0xf4], [0xfb, 0x9c, 0x9d, 0xcd, 0x30]]));
    bytes.push(0xcd, 0x30, 0xf4);
    return Uint8Array.from(bytes);
  }
}

/** Reads or writes dwords, bytes or words in the window. */
function access(k: RandomKernel): void {
  const { p } = k;
  for (let n = 1 + k.below(3); n > 0; n--) {
    const opcode = k.pick([0x89, 0x8b, 0x01, 0x88, 0x8a, 0x87]);
    p.code(opcode, 0x05 | (k.pick([0, 1, 2, 6, 7]) << 3), ...little(k.address()));
  }
}

/** INVLPG [address]. */
function invalidate(k: RandomKernel, address: number): void {
  k.p.code(0x0f, 0x01, 0x3d, ...little(address));
}

const reloadCr3: Piece = ({ p }) => p.code(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);

/** MOV DWORD [address], word. */
function set(p: Program, address: number, word: number): void {
  p.code(0xc7, 0x05, ...little(address), ...little(word));
}

const editEntry: Piece = (k) => {
  const page = k.below(WINDOW_PAGES) << 12;
  const linear = (k.pae || k.below(2) === 0 ? WINDOW : ALIAS) + page;
  const frame = k.below(3) === 0 ? k.below(WINDOW_PAGES) << 12 : page;
  // Where a directory may change no page is global: the old translation might stay.
  const flags = k.pick([7, 7, 5, 6, 3, 1, 0, linear < ALIAS ? 7 | PTE.G : 7, 7 | PTE.PCD]);
  const entry = entryFor(linear, k.pae);
  switch (k.below(4)) {
    case 0:
      // AND BYTE [entry], ~(flags)
      k.p.code(0x80, 0x25, ...little(entry), ~k.pick([PTE.P, PTE.W, PTE.U]) & 0xff);
      break;
    case 1:
      // LOCK OR BYTE [entry], 7; what was present stays where it is
      k.p.code(0xf0, 0x80, 0x0d, ...little(entry), 7);
      break;
    case 2:
      // XOR EAX, EAX; XCHG EAX, [entry]; AND AL, ~60h (A and D); MOV [entry], EAX: not present for a moment
      k.p.code(0x31, 0xc0, 0x87, 0x05, ...little(entry), 0x24, 0x9f, 0xa3, ...little(entry));
      break;
    default:
      set(k.p, entry, (WINDOW + frame) | flags);
  }
  if (k.below(3) > 0) invalidate(k, linear + k.below(4096));
  else {
    // CR3 does not invalidate global pages: CR4.PGE does
    k.p.code(0x0f, 0x20, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0);
  }
  k.p.code(0x0f, 0xb6, 0x05, ...little(linear + k.below(4096))); // MOVZX EAX, [linear]
  access(k);
};

const editDirectory: Piece = (k) => {
  // The low memory of a large page is the tables: kernels end soon then, and those with a timer by chance.
  if (k.pae || k.interrupts) return editEntry(k);
  const directory = k.pick([AT.directoryA, AT.directoryB]);
  set(k.p, directory + 4, k.pick([AT.aliasTable | 7, AT.aliasTable | 5, AT.aliasTable | 3, 0, 0x87, 0x85, 0x80]));
  // A large page maps 400000h to low memory: the window is at 580000h then.
  k.p.mov("eax", directory).code(0x0f, 0x22, 0xd8);
  access(k);
};

const switchSpace: Piece = (k) => {
  if (k.pae) return reloadCr3(k);
  k.p.mov("eax", k.pick([AT.directoryA, AT.directoryB])).code(0x0f, 0x22, 0xd8);
  access(k);
};

const pagingOff: Piece = (k) => {
  const { p } = k;
  p.code(0x0f, 0x20, 0xc0, 0x25, ...little(0x7fffffff), 0x0f, 0x22, 0xc0); // CR0.PG clear
  if (k.below(2) === 0) p.store(WINDOW + k.below(0xff00), "ecx");
  p.code(0x0d, ...little(0x80000000), 0x0f, 0x22, 0xc0);
};

const controlRegisters: Piece = (k) => {
  const { p } = k;
  const toggle = (cr: number, bit: number): unknown => {
    const mod = 0xc0 | (cr << 3);
    return p.code(0x0f, 0x20, mod, 0x35, ...little(bit), 0x0f, 0x22, mod, 0x89, 0xc1); // MOV EAX, CRn; XOR; MOV; MOV ECX, EAX
  };
  switch (k.below(9)) {
    case 0:
      return void toggle(0, 1 << 16); // WP
    case 1:
      return void toggle(0, 1 << 3); // TS
    case 2:
      return void toggle(4, k.pick([1 << 2, 1 << 3, 1 << 8, 1 << 1])); // TSD, DE, PCE, PVI
    case 3:
      return void p.code(0x0f, 0x06); // CLTS
    case 4:
      return void p.code(0x0f, 0x01, 0xe0, 0x83, 0xf0, 0x08, 0x0f, 0x01, 0xf0); // SMSW EAX; XOR EAX, TS; LMSW AX
    case 5:
      return void p.code(0x0f, 0x20, 0xd0, 0x0f, 0x22, 0xd2); // MOV EAX, CR2; MOV CR2, EDX
    case 6:
      return void toggle(4, 1 << 30); // reserved: #GP
    case 7:
      return void p.code(0xdb, 0xe3); // FNINIT: #NM with TS
    default:
      return void p.code(0x0f, 0x09, 0x0f, 0x23, 0xc1, 0x0f, 0x21, 0xc2); // WBINVD; MOV DR0, ECX; MOV EDX, DR0
  }
};

const sensitive: Piece = (k) => {
  const { p } = k;
  const memory = (digit: number): readonly number[] => [0x05 | (digit << 3), ...little(k.address())];
  const selector = k.pick([...Object.values(SELECTOR), SELECTOR.random + 8 * k.below(20), 4 + 8 * k.below(16)]);
  const inAx = [0x66, 0xb8, selector & 0xff, selector >>> 8] as const;
  const flags = k.interrupts ? [0x9c, 0x58] : [0x9c, 0x58, 0x50, 0x9d];
  p.code(
    ...k.pick<readonly number[]>([
      [0x0f, 0x01, ...memory(0)], // SGDT
      [0x0f, 0x01, ...memory(1)], // SIDT
      [0x0f, 0x00, ...memory(0)], // SLDT
      [0x0f, 0x00, 0xc8 | k.below(2)], // STR
      [0x0f, 0x01, ...memory(4)], // SMSW
      [...inAx, 0x0f, 0x02, 0xd0, 0x9c, 0x59], // LAR EDX, AX; PUSHFD; POP ECX
      [...inAx, 0x0f, 0x03, 0xd0, 0x9c, 0x59], // LSL
      [...inAx, 0x0f, 0x00, 0xe0 | (k.below(2) << 3), 0x9c, 0x59], // VERR, VERW
      [...inAx, 0x63, 0xc1], // ARPL CX, AX
      [0x0e, 0x58, 0x8c, 0xca], // PUSH CS; POP EAX; MOV EDX, CS
      [0x8c, 0xd0, 0x1e, 0x5a], // MOV EAX, SS; PUSH DS; POP EDX
      flags,
      [0xfa, 0x9c, 0x58, 0xfb], // CLI; PUSHFD; POP EAX; STI
      [0xfb, 0x9c, 0x5a, ...(k.interrupts ? [] : [0xfa])],
      [0xe6, 0x80], // OUT 80h
      [0xe4, 0x80],
      [0xe4, 0x21], // IN AL, 21h
      [0x66, 0xba, 0xfb, 0x03, 0xec], // IN AL, 3FBh
      [0x68, ...little(0x3000 | (k.below(0x1000) & ~0x500) | (k.interrupts ? 0x200 : 0)), 0x9d, 0x9c, 0x58], // POPF
      [0xb9, ...little(k.pick([0x174, 0x175, 0x12345])), 0x0f, 0x32], // RDMSR
    ]),
  );
};

const tables: Piece = (k) => {
  const { p } = k;
  const load = (digit: number, base: number, limit: number): void => {
    // The operand is built in the variables.
    set(p, VARIABLE.pointer, limit | ((base & 0xffff) << 16));
    set(p, VARIABLE.pointer + 4, base >>> 16);
    p.code(0x0f, 0x01, 0x05 | (digit << 3), ...little(VARIABLE.pointer));
  };
  switch (k.below(5)) {
    case 0:
      return load(2, k.pick([AT.gdt, AT.gdtCopy]), k.pick([GDT_ENTRIES * 8 - 1, SELECTOR.random + 15]));
    case 1:
      return load(3, k.pick([AT.idt, AT.idtCopy]), 0x18f);
    case 2:
      return void p.code(0x66, 0xb8, k.pick([0, SELECTOR.ldt, SELECTOR.data]), 0, 0x0f, 0x00, 0xd0); // LLDT AX
    case 3:
      // Clear the busy bit; LTR
      p.code(
        0x80,
        0x25,
        ...little(AT.gdt + SELECTOR.tss + 5),
        0xfd,
        0x80,
        0x25,
        ...little(AT.gdtCopy + SELECTOR.tss + 5),
        0xfd,
      );
      return void p.code(0x66, 0xb8, SELECTOR.tss, 0, 0x0f, 0x00, 0xd8);
    default: {
      // A descriptor is rewritten, whether or not it is loaded.
      const n = (SELECTOR.random >>> 3) + k.below(GDT_ENTRIES - (SELECTOR.random >>> 3));
      const byte = k.pick([AT.gdt + n * 8, AT.gdtCopy + n * 8, AT.ldt + k.below(16) * 8]) + 5;
      p.code(0xc6, 0x05, ...little(byte), k.pick([0x92, 0xf2, 0xf3, 0x72, 0xfa, 0xf0]));
    }
  }
};

/** Segment registers, and accesses through them at offsets inside and outside. */
const segments: Piece = (k) => {
  const { p } = k;
  const register = k.pick([0, 3, 4, 5]); // ES, DS, FS, GS
  const selector = k.pick([0, SELECTOR.userData, k.selector(), k.selector(), k.selector()]);
  p.code(0x66, 0xb8, selector & 0xff, selector >>> 8);
  if (k.below(3) > 0) p.code(0x8e, 0xc0 | (register << 3));
  else if (register < 4) p.code(0x50, register === 0 ? 0x07 : 0x1f);
  else p.code(0x50, 0x0f, register === 4 ? 0xa1 : 0xa9);
  // Flat segments are for the window: the tables are not to be overwritten.
  const flat = selector === SELECTOR.userData ? WINDOW : 0;
  const prefix = [0x26, 0, 0, 0x3e, 0x64, 0x65][register] as number;
  for (let n = 1 + k.below(3); n > 0; n--) {
    p.code(
      prefix,
      k.pick([0x89, 0x8b, 0x01, 0x8a]),
      0x05 | (k.pick([0, 1, 2]) << 3),
      ...little(flat + k.below(0x7ffc)),
    );
  }
  if (k.below(2) === 0) return;
  // A string instruction through DS and ES
  p.code(0xbe, ...little(k.below(0x4000)), 0xbf, ...little(k.below(0x4000)), 0xb9, ...little(k.below(40)), 0xfc);
  p.code(0xf3, k.pick([0xa4, 0xa5, 0xaa, 0xab, 0xa6]));
};

const stackSegment: Piece = (k) => {
  // The timer's handler counts through SS.
  if (k.interrupts) return segments(k);
  const { p } = k;
  const selector = k.selector() & ~3;
  // ESP must be valid in both: recovery has a stack of its own, a fault here is a double fault at worst.
  p.code(0x66, 0xb8, selector & 0xff, selector >>> 8, 0x8e, 0xd0); // MOV SS, AX
  p.mov("esp", AT.stackTop).code(0x50, 0x51, 0x58, 0x59);
};

const softwareInterrupt: Piece = (k) => {
  k.p.code(
    ...k.pick<readonly number[]>([
      [0xcd, 0x31],
      [0xcd, 0x31],
      [0xcc],
      [0xcd, k.below(256) & 0x7f],
      [0xce],
      [0x0f, 0x0b],
      [0x31, 0xc9, 0xf7, 0xf1], // XOR ECX, ECX; DIV ECX
      [0x62, 0x05, ...little(WINDOW)], // BOUND
      [0xd4, 0x00], // AAM 0
      [0x0f, 0x22, 0xf8], // MOV CR7: #UD
      [0xf0, 0x90], // LOCK NOP: #UD
    ]),
  );
};

/** Rewrites an instruction ahead, by a store, a string instruction, or under another address. */
const rewrite: Piece = (k) => {
  const { p } = k;
  const place = k.newLabel();
  const at = k.newLabel();
  switch (k.below(3)) {
    case 0:
      p.mov("edi", place).code(0x88, 0x4f, 0x01); // MOV [EDI + 1], CL
      break;
    case 1:
      p.mov("edi", place).code(0x47, 0xbe, ...little(WINDOW + k.below(4096)), 0xb9, 4, 0, 0, 0, 0xfc, 0xf3, 0xa4); // INC EDI; REP MOVSB
      break;
    default:
      p.mov("edi", place).code(0xc6, 0x07, k.pick([0xb8, 0x05, 0x2d, 0x35, 0x3d])); // MOV BYTE [EDI], opcode
  }
  for (let n = k.below(4); n > 0; n--) p.code(0x90);
  if (k.below(3) === 0) p.jmp(at).label(at);
  p.label(place).code(0xb9, ...little(k.below(2 ** 32))); // MOV ECX, imm32; or another of EAX
};

/** Copies a routine into the window, calls it there; a page of the window may be anything by then. */
const copyAndCall: Piece = (k) => {
  // What runs may be any bytes: they might read what an interrupt has left below the stack pointer.
  if (k.interrupts) return rewrite(k);
  const { p } = k;
  const [over, routine] = [k.newLabel(), k.newLabel()];
  p.jmp(over).label(routine);
  k.integer(4);
  p.code(0xc3).label(over);
  const target = WINDOW + (k.below(WINDOW_PAGES - 1) << 12) + k.pick([0, 0x100, 0xff0, 0xffe]);
  p.mov("esi", routine).mov("edi", target).mov("ecx", over).code(0x29, 0xf1).code(0xfc, 0xf3, 0xa4);
  p.mov("eax", target).code(0xff, 0xd0);
  if (k.below(2) === 0) {
    p.code(0xc6, 0x05, ...little(target), k.pick([0x90, 0xc3, 0x40, 0xf4 - 1])); // MOV BYTE [target]
    p.mov("eax", target).code(0xff, 0xd0);
  }
};

const indirect: Piece = (k) => {
  const { p } = k;
  const target = k.newLabel();
  switch (k.below(5)) {
    case 0:
      p.mov("eax", target).code(0xff, 0xe0);
      break;
    case 1:
      p.push(target).code(0xc3);
      break;
    case 2:
      p.mov("eax", target).code(0x0e, 0x50, 0xcb); // PUSH CS; PUSH EAX; RETF
      break;
    case 3:
      p.code(0x9c, 0x0e).push(target).code(0xcf); // PUSHFD; PUSH CS; PUSH; IRET
      break;
    default:
      p.code(0x9a)
        .absolute(target)
        .code(k.pick([SELECTOR.code, SELECTOR.conforming]), 0); // CALL FAR
  }
  for (let n = k.below(3); n > 0; n--) p.code(0x0f, 0x0b);
  p.label(target);
};

/** To CPL 3 by IRET, RETF or SYSEXIT; integer and sensitive code there; leaves by a fault or INT 30h. */
const user: Piece = (k) => {
  const { p } = k;
  const target = k.newLabel();
  const flags = 2 | (k.below(4) << 12) | (k.interrupts || k.below(2) === 0 ? 0x200 : 0);
  switch (k.below(3)) {
    case 0:
      p.iretTo(target, flags, AT.userStackTop);
      break;
    case 1:
      p.push(SELECTOR.userData).push(AT.userStackTop).push(SELECTOR.userCode).push(target).code(0xcb);
      break;
    default:
      p.mov("edx", target).mov("ecx", AT.userStackTop).code(0x0f, 0x35);
  }
  p.label(target);
  for (let n = 1 + k.below(5); n > 0; n--) {
    k.integer();
    switch (k.below(14)) {
      case 0:
        if (k.contents.sensitiveAtCpl3) sensitive(k);
        else gs(k);
        break;
      case 1:
        segments(k);
        break;
      case 2:
        p.code(0xcd, 0x31);
        break;
      case 3: {
        const back = k.newLabel();
        p.mov("edx", back).code(0x89, 0xe1, 0x0f, 0x34).label(back); // MOV ECX, ESP; SYSENTER
        break;
      }
      case 4:
        p.push(k.below(2 ** 32))
          .push(k.below(2 ** 32))
          .code(0x9a, 0, 0, 0, 0, k.pick([SELECTOR.gate, SELECTOR.gateWithParameters]), 0);
        break;
      case 5:
        rewrite(k);
        break;
      case 6:
        softwareInterrupt(k);
        break;
      case 7:
        gs(k);
        break;
      case 8:
        flow(k);
        break;
      case 9:
        overlap(k);
        break;
      case 10:
        selfModifying(k);
        break;
      case 11:
        if (k.contents.sensitiveAtCpl3) flagMix(k);
        else indirect(k);
        break;
      default:
        access(k);
    }
  }
  p.code(0xcd, 0x30);
};

const sixteenBit: Piece = (k) => {
  const { p } = k;
  const [inside, back] = [k.newLabel(), k.newLabel()];
  // JMP FAR to 16-bit code: the offset in EAX, as it is relative to CODE_BASE
  p.mov("eax", inside).code(0x2d, ...little(CODE_BASE), 0x6a, SELECTOR.code16, 0x50, 0xcb);
  p.label(inside);
  k.integer(5);
  p.code(0x67, 0x66, 0x8b, 0x03, 0x9c, 0x58, 0x0e, 0x5a); // MOV EAX, [EBX]; PUSHF; POP AX; PUSH CS; POP DX
  p.code(0x66, 0xea).absolute(back).code(SELECTOR.code, 0).label(back);
};

const virtual8086: Piece = (k) => {
  const { p } = k;
  for (const word of [k.below(16) << 8, 0xd00, 0xc00, 0xc00, 0x0a00, 0x0ff0]) p.push(word); // GS FS DS ES SS ESP
  p.push(0x20002 | (k.below(4) << 12) | (k.interrupts ? 0x200 : 0));
  p.push(AT.virtual8086 >>> 4)
    .push(0)
    .code(0xcf);
};

const debug: Piece = (k) => {
  if (k.interrupts) return sensitive(k);
  const { p } = k;
  set(p, VARIABLE.steps, 8);
  switch (k.below(3)) {
    case 0:
      p.code(0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d); // PUSHFD; OR BYTE [ESP + 1], TF; POPFD
      break;
    case 1: {
      const place = k.newLabel();
      p.mov("eax", place).code(0x0f, 0x23, 0xc0).mov("eax", 0x402).code(0x0f, 0x23, 0xf8); // DR0: execution
      k.integer(4);
      p.label(place);
      break;
    }
    default:
      p.mov("eax", k.address())
        .code(0x0f, 0x23, 0xc8)
        .mov("eax", k.pick([0x00d00408, 0x00f00408, 0x00100408]))
        .code(0x0f, 0x23, 0xf8);
      p.code(0x0f, 0x21, 0xc8, 0x89, 0x08, 0x8b, 0x10); // MOV EAX, DR1; MOV [EAX], ECX; MOV EDX, [EAX]
  }
  k.integer(8);
};

const PIECES: readonly Piece[] = [
  access,
  access,
  editEntry,
  editEntry,
  editEntry,
  editDirectory,
  switchSpace,
  pagingOff,
  controlRegisters,
  sensitive,
  sensitive,
  sensitive,
  tables,
  segments,
  segments,
  stackSegment,
  softwareInterrupt,
  rewrite,
  copyAndCall,
  indirect,
  indirect,
  user,
  user,
  user,
  sixteenBit,
  virtual8086,
  debug,
  gs,
  gs,
  flagMix,
  flagMix,
  controlReads,
  flow,
  flow,
  overlap,
  selfModifying,
  selfModifying,
  halt,
];
