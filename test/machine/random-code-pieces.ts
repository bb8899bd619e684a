// Pieces of random kernels (random-kernel.ts) that are there for techniques which execute other code than the guest's: GS in every
// form, flags and IF, control flow that predictors and caches of translations do not expect, bytes that are two instructions, code
// that changes itself.
import { little, SELECTOR, VARIABLE } from "./kernel-frame.ts";
import type { RandomKernel } from "./random-kernel.ts";
import { WINDOW } from "./random-program.ts";

type Piece = (kernel: RandomKernel) => void;

/** EAX, ECX, EDX, ESI, EDI. */
const FREE = [0, 1, 2, 6, 7] as const;

/** ModRM and displacement of [offset]; `digit` is the reg field. */
const at = (digit: number, offset: number): readonly number[] => [0x05 | (digit << 3), ...little(offset)];

/** Loads of GS by all instructions that there are, and every kind of access by it. */
export const gs: Piece = (k) => {
  const { p } = k;
  const selector = k.pick([SELECTOR.userData, SELECTOR.userData, k.selector(), k.selector(), k.selector(), 0]);
  p.code(0x66, 0xb8, selector & 0xff, selector >>> 8); // MOV AX, selector
  switch (k.below(4)) {
    case 0:
      p.code(0x50, 0x0f, 0xa9); // PUSH EAX; POP GS
      break;
    case 1:
      // MOV [pointer + 4], AX; LGS EDX, [pointer]
      p.code(0x66, 0xa3, ...little(VARIABLE.pointer + 4), 0x0f, 0xb5, ...at(2, VARIABLE.pointer));
      break;
    case 2:
      p.code(0x0f, 0xa8, 0x8e, 0xe8, 0x0f, 0xa9, 0x8e, 0xe8); // PUSH GS; MOV GS, AX; POP GS; MOV GS, AX
      break;
    default:
      p.code(0x8e, 0xe8); // MOV GS, AX
  }
  const flat = selector === SELECTOR.userData ? WINDOW : 0;
  for (let n = 1 + k.below(4); n > 0; n--) {
    const offset = flat + k.below(0x7ff0);
    const free = k.pick(FREE);
    p.code(
      ...k.pick<readonly number[]>([
        [0x65, k.pick([0x89, 0x8b, 0x01, 0x29, 0x39, 0x85, 0x87, 0x88, 0x8a]), ...at(k.pick([0, 1, 2]), offset)],
        [0x65, 0xff, ...at(6, offset), 0x58 | free], // PUSH GS:[]; POP r
        [0x51, 0x65, 0x8f, ...at(0, offset)], // PUSH ECX; POP GS:[]
        [0x65, 0xc7, ...at(0, offset), ...little(k.below(2 ** 32))],
        [0x66, 0x65, 0x83, ...at(k.below(8), offset), k.below(256)],
        [0x65, 0x0f, k.pick([0xb6, 0xb7, 0xbe, 0xbf]), ...at(free, offset)],
        [0x65, 0x0f, 0x40 + k.below(16), ...at(free, offset)],
        [0x65, k.pick([0xa1, 0xa3]), ...little(offset)],
        [0xf0, 0x65, 0x0f, k.pick([0xb1, 0xc1]), ...at(free, offset)],
        [0x65, 0x0f, 0xba, ...at(4 + k.below(4), offset), k.below(256)],
        [0xbe, ...little(offset), 0x65, k.pick([0xac, 0xad])], // MOV ESI; LODS
        [0xbe, ...little(offset), 0xbf, ...little(k.address()), 0x65, k.pick([0xa4, 0xa5, 0xa6])],
        [0xb8 | free, ...little(offset), 0x65, 0xff, (k.below(2) << 3) | free], // INC, DEC DWORD GS:[r]
        [0x8c, 0xe8 | free, 0x0f, 0xa8, 0x58 | free], // MOV r, GS; PUSH GS; POP r
      ]),
    );
  }
};

/** PUSHF, POPF, CLI, STI and their like, one after another. TF and NT stay clear. */
export const flagMix: Piece = (k) => {
  const { p } = k;
  const changeable = 0x240cd5 | (k.interrupts ? 0 : 0x3200);
  for (let n = 2 + k.below(6); n > 0; n--) {
    p.code(
      ...k.pick<readonly number[]>([
        [0xfa],
        [0xfb],
        [0xfb, 0x90],
        [0xfc],
        [0xfd],
        [0x9c, 0x58 | k.pick(FREE)],
        [0x9c, 0x81, 0x34, 0x24, ...little(k.below(2 ** 32) & changeable), 0x9d], // PUSHFD; XOR [ESP], bits; POPFD
        [0x9c, 0xfa, 0x9d],
        [0xfa, 0x9c, 0xfb, 0x9d],
        [0x66, 0x9c, 0x66, 0x9d],
        [0x66, 0x9c, 0x66, 0x5a],
        [0x9f, 0x9e],
        [0x0f, 0x90 + k.below(16), 0xc0 | k.pick([0, 1, 2])],
      ]),
    );
    if (k.below(3) === 0) k.integer(2);
  }
  p.code(0x9c, 0x58 | k.pick(FREE));
  if (k.interrupts) p.code(0xfb);
};

/** Control and debug registers, machine status word, LDTR and TR, read into any register. */
export const controlReads: Piece = (k) => {
  for (let n = 1 + k.below(4); n > 0; n--) {
    const free = k.pick(FREE);
    k.p.code(
      ...k.pick<readonly number[]>([
        [0x0f, 0x20, 0xc0 | (k.pick([0, 2, 3, 4]) << 3) | free],
        [0x0f, 0x21, 0xc0 | (k.pick([0, 1, 2, 3, 6, 7]) << 3) | free],
        [0x0f, 0x01, 0xe0 | free],
        [0x66, 0x0f, 0x01, 0xe0 | free],
        [0x0f, 0x00, 0xc0 | free],
        [0x0f, 0x00, 0xc8 | free],
        [0x66, 0x0f, 0x00, 0xc8 | free],
        [0x8c, 0xc0 | (k.below(6) << 3) | free],
        [0x0f, 0x06],
      ]),
    );
  }
};

/** Returns that answer no call, calls that are not returned from, jumps by a table. */
export const flow: Piece = (k) => {
  const { p } = k;
  const labels = [k.newLabel(), k.newLabel(), k.newLabel(), k.newLabel()] as const;
  const [first, second, third, end] = labels;
  switch (k.below(5)) {
    case 0:
      p.code(0xe8).relative(first).code(0x0f, 0x0b).label(first).code(0x59); // CALL over UD2; POP ECX
      break;
    case 1:
      // The routine returns two bytes behind its return address, where UD2 ends.
      p.code(0xe8).relative(first).code(0x0f, 0x0b);
      k.integer(2);
      p.jmp(end).label(first).code(0x83, 0x04, 0x24, 0x02, 0xc3);
      break;
    case 2:
      p.push(k.below(2 ** 32))
        .push(k.below(2 ** 32))
        .code(0xe8)
        .relative(first)
        .jmp(end)
        .label(first);
      k.integer(3);
      p.code(0xc2, 8, 0); // RET 8
      break;
    case 3:
      // Three returns in a row, the last by JMP.
      p.push(end).push(second).push(first).code(0xc3).code(0x0f, 0x0b).label(first);
      k.integer(2);
      p.code(0xc3).label(second);
      k.integer(2);
      p.code(0x58, 0xff, 0xe0); // POP EAX; JMP EAX
      break;
    default: {
      // Three times by the table, by ECX; each way goes to the end.
      const table = WINDOW + k.below(0xff00);
      for (const [n, label] of [first, second, third].entries()) {
        p.mov("eax", label).code(0xa3, ...little(table + 4 * n)); // MOV [table], EAX
      }
      p.mov("ecx", k.below(3)).code(0xff, 0x24, 0x8d, ...little(table)); // JMP [table + ECX * 4]
      for (const label of [first, second, third]) {
        p.label(label);
        k.integer(2);
        p.jmp(end);
      }
    }
  }
  p.label(end);
};

/** Opcodes of one byte that may stand anywhere. */
const SINGLE = [
  0x40, 0x41, 0x42, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4e, 0x90, 0x91, 0x92, 0x96, 0x98, 0x99, 0xf5, 0xf8, 0xf9,
];

/** A conditional jump over an opcode, so that its immediate is four instructions if it is taken. */
export const overlap: Piece = (k) => {
  const condition = 0x70 + k.below(16);
  if (k.below(3) === 0)
    k.p.code(condition, 1, 0xa8, k.pick(SINGLE)); // TEST AL, imm8
  else {
    const opcode = k.pick([0x05, 0x15, 0x2d, 0x35, 0x3d, 0xb8, 0xb9, 0xba, 0xa9]);
    k.p.code(condition, 1, opcode, k.pick(SINGLE), k.pick(SINGLE), k.pick(SINGLE), k.pick(SINGLE));
  }
};

/** Stores into the next instruction, into the storing one, into one of a loop. */
export const selfModifying: Piece = (k) => {
  const { p } = k;
  const place = k.newLabel();
  const free = k.pick([0, 1, 2]);
  switch (k.below(3)) {
    case 0:
      // INC r and DEC r by turns, three times
      p.mov("esi", 3)
        .label(place)
        .code(0x40 | free);
      p.code(0x80, 0x35).absolute(place).code(8); // XOR BYTE [place], 8
      p.code(0x4e, 0x0f, 0x85).relative(place); // DEC ESI; JNZ
      break;
    case 1:
      // ADD DWORD [its own immediate], immediate
      p.mov("edi", place)
        .label(place)
        .code(0x81, 0x47, 0x03, ...little(k.below(2 ** 32)));
      break;
    default:
      // To the immediate of MOV r, imm32, which is next
      p.mov("edi", place).code(0x47); // INC EDI
      p.code(
        ...k.pick<readonly number[]>([
          [0x89, 0x0f],
          [0x87, 0x17],
          [0xff, 0x07],
          [0xf7, 0x1f],
          [0xf0, 0x0f, 0xc1, 0x0f],
          [0x66, 0x89, 0x4f, 0x02],
          [0xc6, 0x47, k.below(4), k.below(256)],
          [0xab],
          [0x51, 0x8f, 0x07],
          [0xc1, 0x07, k.below(32)],
        ]),
      );
      p.label(place).code(0xb8 | free, ...little(k.below(2 ** 32)));
  }
};

/** Waits for the next tick. */
export const halt: Piece = (k) => {
  if (k.interrupts)
    k.p.code(0xfb, 0xf4); // STI; HLT
  else flagMix(k);
};
