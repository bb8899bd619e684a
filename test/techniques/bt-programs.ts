// Random programs of what a kernel does and a de-privileged one must not see itself do, among integer instructions.
import { Decoder, Encoder } from "iced-x86";
import { type CpuState, SEG } from "../../sim/cpu/state.ts";
import { generator, IntegerInstructions, WINDOW, word } from "../machine/random-program.ts";
import { CODE_BASE, type Setup } from "../machine/rig.ts";

const FREE = [0, 1, 2, 6, 7];
/** Bits of an image for POPF: status flags, DF, IF, NT, AC, ID; seldom IOPL. */
const IMAGE = 0x0024_4ed5;
const IOPL = 0x3000;

/** One sensitive instruction, or a few that belong together; 32-bit code. */
function sensitive(random: (below: number) => number): number[] {
  const pick = (values: readonly number[]): number => values[random(values.length)] as number;
  const register = pick(FREE);
  const memory = (digit: number): number[] => [0x43 | (digit << 3), random(128)];
  const image = word(((random(2 ** 32) & (IMAGE | (random(8) === 0 ? IOPL : 0))) | 2) >>> 0);
  const segment = pick([0, 1, 2, 3, 4, 5]);
  switch (random(15)) {
    case 0:
      return [0xfa];
    case 1:
      return [0xfb];
    case 2:
      return [0x9c, 0x58 + register]; // pushfd; pop r
    case 3:
      return [0x66, 0x9c, 0x66, 0x58 + register];
    case 4:
      return [0x68, ...image, 0x9d]; // push image; popfd
    case 5:
      return [0x66, 0x68, image[0] as number, image[1] as number, 0x66, 0x9d];
    case 6:
      return [0x9c, 0xfa, ...new IntegerInstructions(random).next(), 0x9d]; // pushfd; cli; ...; popfd
    case 7:
      return [0x0f, 0x20, 0xc0 | (pick([0, 2, 3, 4]) << 3) | register];
    case 8:
      return [0x0f, 0x01, 0xe0 | register]; // smsw r
    case 9:
      return pick([0, 1]) === 0 ? [0x0f, 0x01, ...memory(4)] : [0x66, 0x0f, 0x01, 0xe0 | register];
    case 10:
      return [0x8c, 0xc0 | (segment << 3) | register];
    case 11:
      return pick([0, 1]) === 0 ? [0x8c, ...memory(segment)] : [0x66, 0x8c, 0xc0 | (segment << 3) | register];
    case 12: {
      const opcode = pick([0x06, 0x0e, 0x16, 0x1e]);
      return pick([0, 1]) === 0 ? [opcode, 0x58 + register] : [0x66, opcode, 0x66, 0x58 + register];
    }
    case 13:
      return [pick([0xe4, 0xe6]), 0x80];
    default:
      // clts; sgdt, sidt; push fs, pop r
      if (random(3) === 0) return [0x0f, 0x06];
      return random(2) === 0 ? [0x0f, 0x01, ...memory(pick([0, 1]))] : [0x0f, 0xa0, 0x58 + register];
  }
}

/** A program that ends by UD2; `share`: one of so many instructions is sensitive. */
export function sensitiveProgram(seed: number, share = 3): Uint8Array {
  const random = generator(seed);
  const integer = new IntegerInstructions(random);
  const code: number[] = [0xbc, ...word(0x170000), 0xbb, ...word(WINDOW)];
  for (const register of FREE) code.push(0xb8 + register, ...word(random(2 ** 32)));
  // mov ebp, count; the body twice and more, so that it runs as it was chained
  code.push(0xbd, ...word(3));
  const top = code.length;
  for (let n = 0; n < 60; n++) code.push(...(random(share) === 0 ? sensitive(random) : integer.next()));
  code.push(0x4d, 0x0f, 0x85);
  code.push(...word(top - (code.length + 4)));
  code.push(0x0f, 0x0b);
  return Uint8Array.from(code);
}

export type GuestCode = Pick<Setup, "prepare"> & { readonly code: Uint8Array };

/** Instructions of 32-bit code as 16-bit code, with the prefixes that take. */
function as16(code: readonly number[]): number[] {
  const decoder = new Decoder(32, Uint8Array.from(code), 0);
  const encoder = new Encoder(16);
  const bytes: number[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    encoder.encode(instruction, BigInt(bytes.length));
    bytes.push(...encoder.takeBuffer());
    instruction.free();
  }
  decoder.free();
  encoder.free();
  return bytes;
}

const half = (value: number): [number, number] => [value & 0xff, (value >>> 8) & 0xff];

/** A program of 16-bit code in segments with bases, on a stack of 16 or 32 bits; it ends by UD2 or an earlier fault. */
export function program16(seed: number, stackBits: 16 | 32): GuestCode {
  const random = generator(seed);
  const integer = new IntegerInstructions(random);
  const pick = (values: readonly number[]): number => values[random(values.length)] as number;
  const code: number[] = [];
  const emit = (...bytes: readonly number[]): void => {
    code.push(...bytes);
  };
  const memory = (digit: number): number[] => [0x40 | (digit << 3) | pick([0, 1, 4, 5, 7]), random(128)];
  const one = (): void => {
    const register = pick(FREE);
    switch (random(14)) {
      case 0:
        emit(pick([0x8b, 0x89, 0x03, 0x01, 0x33, 0x87]), ...memory(register));
        break;
      case 1:
        emit(0x50 + pick(FREE), 0x68, ...half(random(0x10000)), 0x58 + register, 0x58 + register);
        break;
      case 2:
        // pusha; popa with 16 or 32 bits; enter 8, 0; leave
        if (random(2) === 0) emit(...(pick([0, 1]) === 0 ? [0x60, 0x61] : [0x66, 0x60, 0x66, 0x61]));
        else emit(0xc8, 8, 0, 0, 0xc9);
        break;
      case 3:
        emit(0x9c, 0x58 + register, 0x68, ...half((random(0x10000) & 0x4ed5) | 2), 0x9d);
        break;
      case 4:
        emit(0x66, 0x9c, 0x66, 0x58 + register, 0x66, 0x68, ...word((random(2 ** 32) & 0x0024_4ed5) | 2), 0x66, 0x9d);
        break;
      case 5:
        emit(0x8c, ...(random(2) === 0 ? memory(random(6)) : [0xc0 | (random(6) << 3) | register]));
        break;
      case 6:
        emit(...(pick([0, 1]) === 0 ? [0x0f, 0x01, 0xe0 | register] : [pick([0xfa, 0xfb, 0x0e, 0x16])]));
        if (code.at(-1) === 0x0e || code.at(-1) === 0x16) emit(0x58 + register);
        break;
      default:
        emit(...as16(integer.next()));
    }
  };
  const jump = (...opcode: readonly number[]): number => {
    emit(...opcode, 0, 0);
    return code.length;
  };
  const land = (from: number): void => {
    code.splice(from - 2, 2, ...half(code.length - from));
  };

  // mov bx, 100h; the free registers; over two routines, of which one takes a word of the stack
  emit(0x66, 0xbb, ...word(0x100));
  for (const register of FREE) emit(0x66, 0xb8 + register, ...word(random(2 ** 32)));
  const start = jump(0xe9);
  const routines = [0xc3, 0xc2].map((opcode) => {
    const address = code.length;
    for (let n = 0; n < 4; n++) one();
    emit(opcode, ...(opcode === 0xc2 ? [2, 0] : []));
    return { address, takesWord: opcode === 0xc2 };
  });
  land(start);
  // mov bp, 3
  emit(0xbd, 3, 0);
  const top = code.length;
  for (let n = 0; n < 40; n++) {
    const { address, takesWord } = routines[random(2)] as { address: number; takesWord: boolean };
    switch (random(10)) {
      case 0:
        if (takesWord) emit(0x50);
        emit(0xe8, ...half(address - (code.length + 3)));
        break;
      case 1:
        if (takesWord) emit(0x50);
        // mov ax, routine; call ax, or through memory: mov [20h], ax; call [20h]
        emit(0xb8, ...half(address));
        emit(...(random(2) === 0 ? [0xff, 0xd0] : [0xa3, 0x20, 0, 0xff, 0x16, 0x20, 0]));
        break;
      case 2: {
        // jcc rel8, jcc rel16, jcxz over an instruction
        const kind = random(3);
        if (kind === 0) {
          const from = jump(0x0f, 0x80 + random(16));
          one();
          land(from);
        } else {
          emit(kind === 1 ? 0x70 + random(16) : 0xe3, 0);
          const from = code.length;
          one();
          code[from - 1] = code.length - from;
        }
        break;
      }
      case 3: {
        // mov cx, n; loop, loope or loopne to itself, or by ECX
        emit(0xb9, ...half(1 + random(5)));
        emit(
          ...([
            [0xe2, 0xfe],
            [0xe1, 0xfe],
            [0xe0, 0xfe],
            [0x66, 0x0f, 0xb7, 0xc9, 0x67, 0xe2, 0xfd],
          ][random(4)] as number[]),
        );
        break;
      }
      default:
        one();
    }
  }
  emit(0x4d, 0x0f, 0x85);
  emit(...half(top - (code.length + 2)), 0x0f, 0x0b);
  return {
    code: Uint8Array.from(code),
    prepare: (state: CpuState) => {
      const size = stackBits === 16 ? 0 : 0x4000;
      state.setSegment(SEG.cs, 0x08, CODE_BASE, 0xffff, 0x9b);
      state.eip = 0;
      state.setSegment(SEG.ss, 0x10, 0x17_0000, 0x1_ffff, 0x93 | size);
      for (const segment of [SEG.ds, SEG.es]) state.setSegment(segment, 0x18, WINDOW + 0x1_0000, 0x1_ffff, 0x93);
      state.set(8, stackBits === 16 ? 0x1234_8000 : 0x8000);
    },
  };
}
