// Random programs for the comparison of executors: loops of arithmetic in all widths on registers and on a window of memory
// (aligned or not, over page boundaries), forward branches, calls, indirect calls, and stores into code that has run. Every
// program ends: by UD2 without an IDT, or by an earlier fault, which shuts the processor down.
import { CODE_BASE } from "./rig.ts";

/** Memory that programs use: EBX points into it. */
export const WINDOW = 0x180000;
const WINDOW_MASK = 0x3fff;

/** 32-bit xorshift. */
export function generator(seed: number): (below: number) => number {
  let x = Math.imul(seed, 0x9e3779b9) | 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

/** Registers that instructions may write: not EBX (the window), ESP, EBP (the loop's count). */
const FREE = [0, 1, 2, 6, 7];

export class RandomProgram {
  readonly #bytes: number[] = [];
  readonly #random: (below: number) => number;
  readonly #routines: number[] = [];
  readonly #integer: IntegerInstructions;

  readonly #base: number;
  readonly #wide: boolean;

  /** `base`: where it stands. `wide`: all that the batch of random-batch.ts has segments and pages for, and fewer loops. */
  constructor(seed: number, base = CODE_BASE, wide = false) {
    this.#base = base;
    this.#wide = wide;
    this.#random = generator(seed);
    this.#integer = new IntegerInstructions(this.#random);
    // mov esp, 0x170000
    this.#emit(0xbc, ...word(0x170000));
    for (const register of [0, 1, 2, 6, 7]) this.#emit(0xb8 + register, ...word(this.#random(2 ** 32)));
    this.#emit(0xbb, ...word(WINDOW));
    const start = this.#jump();
    for (let n = 0; n < 3; n++) this.#routine();
    this.#land(start);
    for (let n = 0; n < (wide ? 2 : 6) + this.#random(wide ? 2 : 4); n++) this.#loop();
    this.#emit(0x0f, 0x0b);
  }

  get code(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  #emit(...bytes: number[]): void {
    this.#bytes.push(...bytes);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random(values.length)] as T;
  }

  /** JMP rel32 forward; `land` gives it its target. */
  #jump(): number {
    this.#emit(0xe9, 0, 0, 0, 0);
    return this.#bytes.length;
  }

  #land(jump: number): void {
    this.#bytes.splice(jump - 4, 4, ...word(this.#bytes.length - jump));
  }

  #routine(): void {
    this.#routines.push(this.#bytes.length);
    for (let n = 0; n < 3 + this.#random(6); n++) this.#instruction();
    this.#emit(0xc3);
  }

  /** A loop of a random body, 20 to 60 times. */
  #loop(): void {
    // mov ebp, count
    this.#emit(0xbd, ...word(20 + this.#random(40)));
    const top = this.#bytes.length;
    for (let n = 0; n < 8 + this.#random(24); n++) {
      switch (this.#random(14)) {
        case 0:
          this.#call();
          break;
        case 1:
        case 4:
        case 5:
        case 6:
          this.#branch();
          break;
        case 2:
          this.#window();
          break;
        case 3:
          if (this.#wide && this.#random(3) > 0) this.#instruction();
          else this.#patch();
          break;
        default:
          this.#instruction();
      }
    }
    // dec ebp; jnz top
    this.#emit(0x4d, 0x0f, 0x85);
    this.#emit(...word(top - (this.#bytes.length + 4)));
  }

  #instruction(): void {
    if (this.#wide && this.#random(8) === 0) this.#emit(...unusualInstructions(this.#random));
    else this.#emit(...this.#integer.next());
  }

  #call(): void {
    const target = this.#pick(this.#routines);
    if (this.#random(3) > 0) {
      this.#emit(0xe8, ...word(target - (this.#bytes.length + 5)));
      return;
    }
    // mov eax, target; call eax
    this.#emit(0xb8, ...word(this.#base + target), 0xff, 0xd0);
  }

  /** A conditional jump over a few instructions. */
  #branch(): void {
    this.#emit(0x70 + this.#random(16), 0);
    const from = this.#bytes.length;
    for (let n = 0; n < 1 + this.#random(3); n++) this.#instruction();
    this.#bytes[from - 1] = this.#bytes.length - from;
  }

  /** mov ebx, eax; and ebx, mask; or ebx, window: EBX is anywhere in the window. */
  #window(): void {
    if (this.#wide && this.#random(24) === 0) {
      // mov ebx, the end of the window: some of its pages are not there or cannot be written
      this.#emit(0xbb, ...word(WINDOW + WINDOW_MASK + 1 - 96 + this.#random(0x3000)));
      return;
    }
    this.#emit(0x89, 0xc3, 0x81, 0xe3, ...word(WINDOW_MASK), 0x81, 0xcb, ...word(WINDOW));
  }

  /** Changes the immediate of a MOV ECX, imm32 that stands here, and then executes it. */
  #patch(): void {
    // test ebp, 7; jnz over the store: seven times of eight the code stays as it is, long enough to be compiled
    this.#emit(0xf7, 0xc5, ...word(7), 0x75, 6);
    const place = this.#base + this.#bytes.length + 6;
    // mov [place + 1], al; mov ecx, imm32
    this.#emit(0x88, 0x05, ...word(place + 1));
    this.#emit(0xb9, ...word(this.#random(2 ** 32)));
  }
}

export function word(value: number): [number, number, number, number] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}

/** A few instructions that need segments, x87 or SSE, repeat, access memory twice, or empty the TLBs. */
function unusualInstructions(random: (below: number) => number): number[] {
  const pick = (values: readonly number[]): number => values[random(values.length)] as number;
  const memory = (digit: number): number[] => [0x43 | (digit << 3), random(128)];
  const from = word(WINDOW + random(0x3000));
  const to = word(WINDOW + random(0x3000));
  switch (random(9)) {
    case 0: {
      // mov esi; mov edi; mov ecx; (cld or std;) a repeated MOVS, CMPS, STOS, LODS or SCAS; cld
      const operation = pick([0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]);
      const direction = random(4) === 0 ? 0xfd : 0xfc;
      return [
        ...[0xbe, ...from, 0xbf, ...to, 0xb9, ...word(random(80)), direction],
        ...[pick([0xf3, 0xf2]), operation, 0xfc],
      ];
    }
    case 1:
      // Through FS, whose limit is in the window, or GS, whose base is not 0
      return [pick([0x64, 0x65]), pick([0x8b, 0x89, 0x03, 0x01]), ...memory(pick(FREE))];
    case 2:
      // FLD, FADD or FMUL, FSTP of single
      return [0xd9, ...memory(0), 0xd8, ...memory(random(2)), 0xd9, ...memory(3)];
    case 3:
      // FILD, FLD of double, FADDP, FISTP
      return [0xdb, ...memory(0), 0xdd, ...memory(0), 0xde, 0xc1, 0xdb, ...memory(3)];
    case 4:
      // MOVUPS, ADDPS or MULPS, PADDD, MOVUPS
      return [
        ...[0x0f, 0x10, ...memory(1), 0x0f, pick([0x58, 0x59]), 0xc1, 0x66, 0x0f, 0xfe, 0xca],
        ...[0x0f, 0x11, ...memory(1)],
      ];
    case 5:
      // push [mem]; pop [mem]: two accesses of one instruction
      return [0xff, ...memory(6), 0x8f, ...memory(0)];
    case 7:
      // mov eax, cr3; mov cr3, eax: the TLBs are empty
      return [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8];
    case 6:
      // movs, two places that miss the TLB
      return [0xbe, ...from, 0xbf, ...to, pick([0xa4, 0xa5])];
    default:
      // mov [mem], imm32; mov byte [mem], imm8
      return [0xc7, ...memory(0), ...word(random(2 ** 32)), 0xc6, ...memory(0), random(256)];
  }
}

/** One integer instruction after another, on free registers and the window that EBX points into. */
export class IntegerInstructions {
  readonly #random: (below: number) => number;
  #bytes: number[] = [];

  constructor(random: (below: number) => number) {
    this.#random = random;
  }

  next(): readonly number[] {
    this.#bytes = [];
    this.#instruction();
    return this.#bytes;
  }

  #emit(...bytes: number[]): void {
    this.#bytes.push(...bytes);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random(values.length)] as T;
  }

  /** ModRM of a free register, or of [EBX + disp8]; `digit` is the reg field. */
  #operand(digit: number): number[] {
    if (this.#random(2) === 0) return [0xc0 | (digit << 3) | this.#pick(FREE)];
    return [0x43 | (digit << 3), this.#random(128)];
  }

  /** An operand of 8 bits: AL, CL, DL, AH, CH, DH, or memory. */
  #byteOperand(digit: number): number[] {
    if (this.#random(2) === 0) return [0xc0 | (digit << 3) | this.#pick([0, 1, 2, 4, 5, 6])];
    return [0x43 | (digit << 3), this.#random(128)];
  }

  #instruction(): void {
    const prefix = this.#random(4) === 0 ? [0x66] : [];
    const free = this.#pick(FREE);
    const wide = prefix.length === 0;
    switch (this.#random(24)) {
      case 0:
      case 1:
      case 2:
        // arithmetic r/m, r and r, r/m
        this.#emit(...prefix, this.#random(8) * 8 + this.#pick([1, 3]), ...this.#operand(free));
        break;
      case 3:
        this.#emit(this.#random(8) * 8 + this.#pick([0, 2]), ...this.#byteOperand(this.#pick([0, 1, 2, 4, 5, 6])));
        break;
      case 4:
        this.#emit(...prefix, 0x83, ...this.#operand(this.#random(8)), this.#random(256));
        break;
      case 5:
        this.#emit(...prefix, 0xc1, ...this.#operand(this.#pick([0, 1, 2, 3, 4, 5, 7])), this.#random(256));
        break;
      case 6:
        this.#emit(...prefix, 0xd3, ...this.#operand(this.#pick([0, 1, 2, 3, 4, 5, 7])));
        break;
      case 7:
        this.#emit(this.#pick([0xd2, 0xd0]), ...this.#byteOperand(this.#pick([0, 1, 2, 3, 4, 5, 7])));
        break;
      case 8:
        // NOT, NEG, MUL, IMUL; a division only rarely, as it may end the program
        this.#emit(
          ...prefix,
          0xf7,
          ...this.#operand(this.#random(40) === 0 ? 6 + this.#random(2) : 2 + this.#random(4)),
        );
        break;
      case 9:
        this.#emit(0xf6, ...this.#byteOperand(2 + this.#random(4)));
        break;
      case 10:
        this.#emit(...prefix, 0x0f, 0xaf, ...this.#operand(free));
        break;
      case 11:
        this.#emit(...prefix, 0x0f, this.#pick([0xb6, 0xbe]), ...this.#byteOperand(free));
        break;
      case 12:
        this.#emit(0x0f, 0x90 + this.#random(16), ...this.#byteOperand(0));
        break;
      case 13:
        this.#emit(...prefix, 0x0f, 0x40 + this.#random(16), ...this.#operand(free));
        break;
      case 14:
        // BT, BTS, BTR, BTC by an immediate; BSF, BSR
        if (this.#random(2) === 0)
          this.#emit(...prefix, 0x0f, 0xba, ...this.#operand(4 + this.#random(4)), this.#random(256));
        else this.#emit(...prefix, 0x0f, this.#pick([0xbc, 0xbd]), ...this.#operand(free));
        break;
      case 15:
        this.#emit(...prefix, 0x0f, this.#pick([0xa4, 0xac]), ...this.#operand(free), this.#random(wide ? 256 : 16));
        break;
      case 16:
        this.#emit(0x0f, 0xc8 + free);
        break;
      case 17:
        this.#emit(...prefix, this.#pick([0x40, 0x48]) + free);
        break;
      case 18:
        // lea r, [ebx + free * scale + disp8]
        this.#emit(
          ...prefix,
          0x8d,
          0x44 | (free << 3),
          (this.#random(4) << 6) | (this.#pick(FREE) << 3) | 3,
          this.#random(256),
        );
        break;
      case 19:
        // push r; pop r
        this.#emit(0x50 + this.#pick(FREE), 0x58 + free);
        break;
      case 20:
        this.#emit(this.#pick([0xf5, 0xf8, 0xf9, 0x98, 0x99, 0x9f, 0x9e, 0xfc]));
        break;
      case 21:
        this.#emit(...prefix, this.#pick([0x87, 0x89, 0x8b, 0x85]), ...this.#operand(free));
        break;
      case 22:
        // XADD, CMPXCHG
        this.#emit(...prefix, 0x0f, this.#pick([0xc1, 0xb1]), ...this.#operand(free));
        break;
      default:
        // PUSHF, POPF in one, a string instruction, or CPUID: interpreted in the midst of compiled code
        if (this.#random(2) === 0) this.#emit(0x9c, 0x9d);
        else
          this.#emit(
            0xbe,
            ...word(WINDOW),
            0xbf,
            ...word(WINDOW + this.#random(4096)),
            this.#pick([0xa4, 0xa5, 0xaa, 0xa6]),
          );
    }
  }
}
