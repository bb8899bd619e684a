/** Stack, near and far transfers, strings: SDM vol. 1, 5.1.7-5.1.9 and 6. */
import { Code, OpKind, Register } from "iced-x86";
import { BRANCH, CONDITIONS, OP, REPEAT, STRING_KIND } from "../micro-ops.ts";
import { CELL, GPR, gprCell, SEG, selectorCell } from "../state.ts";
import { type Lifter, registerWidth, segmentNumber } from "./lifter.ts";
import type { Rule, RuleTable } from "./rule.ts";

/** Operand size in bits of instructions whose operands do not tell it: iced names the 16-bit forms `Pushw_ES`, `Retnw`. */
export function operandBits(l: Lifter): number {
  const [stem] = (Code[l.instruction.code] as string).split("_");
  return stem?.endsWith("w") || l.instruction.code === Code.Push_imm16 ? 16 : 32;
}

/** Displacement of a near branch from the start of the instruction, and its operand size. */
function nearTarget(l: Lifter): { imm: number; w: number } {
  const instruction = l.instruction;
  return instruction.op0Kind === OpKind.NearBranch16
    ? { imm: instruction.nearBranch16, w: 16 }
    : { imm: instruction.nearBranch32 | 0, w: 32 };
}

export function liftJump(l: Lifter): void {
  l.branches = true;
  const kind = l.instruction.op0Kind;
  if (kind === OpKind.NearBranch16 || kind === OpKind.NearBranch32) {
    const { imm, w } = nearTarget(l);
    l.emit(OP.JUMP, { w, imm, x: BRANCH.DIRECT });
  } else if (isFar(l)) {
    const { selector, offset, w } = farTarget(l);
    l.helper("farJump", { a: selector, b: offset, w, c: l.length });
  } else {
    const w = l.width(0);
    l.cost = "jumpIndirect";
    l.emit(OP.JUMP_TO, { w, a: l.read(0), x: BRANCH.INDIRECT, imm: l.length });
  }
}

export function liftCall(l: Lifter): void {
  l.branches = true;
  const kind = l.instruction.op0Kind;
  if (kind === OpKind.NearBranch16 || kind === OpKind.NearBranch32) {
    const { imm, w } = nearTarget(l);
    l.emit(OP.CHECK_RELATIVE, { w, imm });
    pushNextIp(l, w);
    l.emit(OP.JUMP, { w, imm, x: BRANCH.CALL, b: l.length });
  } else if (isFar(l)) {
    const { selector, offset, w } = farTarget(l);
    l.helper("farCall", { a: selector, b: offset, w, c: l.length });
  } else {
    const w = l.width(0);
    l.added.push("jumpIndirect");
    // The target may be ESP-relative or ESP itself: it is read before the push moves ESP.
    const target = l.temporary();
    l.emit(OP.ZERO_EXTEND, { w, d: target, a: l.read(0) });
    l.emit(OP.CHECK_TARGET, { w, a: target });
    pushNextIp(l, w);
    l.emit(OP.JUMP_TO, { w, a: target, x: BRANCH.CALL_INDIRECT, imm: l.length });
  }
}

function pushNextIp(l: Lifter, w: number): void {
  const next = l.temporary();
  l.emit(OP.NEXT_IP, { w, d: next, imm: l.length });
  l.push(w, next);
}

/** A far JMP or CALL: to a pointer in the instruction, or in memory. */
function isFar(l: Lifter): boolean {
  const { op0Kind, isJmpFarIndirect, isCallFarIndirect } = l.instruction;
  return op0Kind === OpKind.FarBranch16 || op0Kind === OpKind.FarBranch32 || isJmpFarIndirect || isCallFarIndirect;
}

/** Cells of the selector and offset of a far JMP or CALL, and its operand size. */
function farTarget(l: Lifter): { selector: number; offset: number; w: number } {
  const { instruction } = l;
  const wide = instruction.op0Kind === OpKind.FarBranch32;
  if (!wide && instruction.op0Kind !== OpKind.FarBranch16) return farPointer(l);
  const selector = l.constant(instruction.farBranchSelector);
  const offset = l.constant(wide ? instruction.farBranch32 : instruction.farBranch16);
  return { selector, offset, w: wide ? 32 : 16 };
}

/** Loads m16:16 or m16:32: offset first, then the selector. */
function farPointer(l: Lifter): { selector: number; offset: number; w: number } {
  const operand = l.isMemory(0) ? 0 : 1;
  const w = l.width(operand) - 16;
  const offset = l.load(w, l.address(), l.segment());
  const selectorAddress = l.temporary();
  l.emit(OP.ADDRESS, { w: l.addressBits(), d: selectorAddress, a: l.address(), b: CELL.zero, imm: w / 8 });
  const selector = l.load(16, selectorAddress, l.segment());
  return { selector, offset, w };
}

export function liftPush(l: Lifter): void {
  const kind = l.instruction.op0Kind;
  if (kind === OpKind.Register) {
    const register = l.instruction.op0Register;
    if (register >= Register.ES && register <= Register.GS) {
      const d = l.temporary();
      l.emit(OP.MOV, { d, a: selectorCell(segmentNumber(register)) });
      l.push(operandBits(l), d);
      return;
    }
    l.push(registerWidth(register), l.read(0));
  } else if (kind === OpKind.Memory) {
    l.push(l.width(0), l.read(0));
  } else {
    l.push(operandBits(l), l.read(0));
  }
}

export function liftPop(l: Lifter): void {
  if (l.isMemory(0)) {
    const w = l.width(0);
    const value = l.top(w);
    // An address that uses ESP sees it already moved (SDM vol. 2, POP).
    l.address(w / 8);
    l.write(0, value);
    l.drop(w / 8);
    return;
  }
  const register = l.instruction.op0Register;
  if (register >= Register.ES && register <= Register.GS) {
    const bits = operandBits(l);
    // All of a 32-bit item is read, and its upper half of no interest.
    const selector = l.load(bits, l.stackPointer(0), SEG.ss);
    const moved = l.stackPointer(bits / 8);
    const x = segmentNumber(register);
    l.helper("loadSegment", { a: selector, x, d: x === SEG.ss ? 1 : 0 });
    l.commitStack(moved);
    return;
  }
  const w = registerWidth(register);
  const value = l.top(w);
  l.drop(w / 8);
  l.write(0, value);
}

function liftRet(l: Lifter): void {
  l.branches = true;
  const w = operandBits(l);
  const extra = l.instruction.opCount > 0 ? l.immediate(0) : 0;
  const target = l.top(w);
  l.emit(OP.CHECK_TARGET, { w, a: target });
  l.drop(w / 8 + extra);
  l.emit(OP.JUMP_TO, { w, a: target, x: BRANCH.RETURN, imm: l.length });
}

function liftLeave(l: Lifter): void {
  const w = operandBits(l);
  const frame = l.temporary();
  l.emit(OP.ADDRESS, { w: l.mode.stackBits, d: frame, a: GPR.ebp, b: CELL.zero, imm: 0 });
  const saved = l.load(w, frame, SEG.ss);
  const pointer = l.temporary();
  l.emit(OP.ADDRESS, { w: l.mode.stackBits, d: pointer, a: frame, b: CELL.zero, imm: w / 8 });
  l.commitStack(pointer);
  l.writeGpr(5, w, saved);
}

function liftLoop(x: number): Rule {
  return {
    cost: "branch",
    endsBlock: true,
    lift(l) {
      l.branches = true;
      const { imm, w } = nearTarget(l);
      const addressBits = /_CX$|^Jcxz/.test(Code[l.instruction.code] as string) ? 16 : 32;
      l.emit(OP.LOOP, { w: addressBits, imm, b: l.length, c: w, x });
    },
  };
}

function string(kind: number, bytes: number): Rule {
  return {
    cost: null,
    memoryIncluded: true,
    ...(kind >= STRING_KIND.INS ? { exits: "io-instruction", privileged: "iopl", endsBlock: true } : {}),
    lift(l) {
      l.branches = true;
      const instruction = l.instruction;
      let repeat: number = REPEAT.NONE;
      const compares = kind === STRING_KIND.SCAS || kind === STRING_KIND.CMPS;
      if (instruction.hasRepnePrefix) repeat = compares ? REPEAT.REPNE : REPEAT.REP;
      else if (instruction.hasRepPrefix) repeat = compares ? REPEAT.REPE : REPEAT.REP;
      l.emit(OP.STRING, {
        x: kind,
        w: bytes,
        a: sourceSegment(l),
        b: repeat,
        c: stringAddressBits(l),
        imm: l.length,
      });
    },
  };
}

/** Segment of the DS:ESI operand, which an override prefix may replace. */
function sourceSegment(l: Lifter): number {
  const register = l.instruction.segmentPrefix;
  return register === Register.None ? SEG.ds : segmentNumber(register);
}

const WIDE_STRING_KINDS: readonly number[] = [OpKind.MemorySegESI, OpKind.MemoryESEDI];

function stringAddressBits(l: Lifter): number {
  const instruction = l.instruction;
  for (let i = 0; i < instruction.opCount; i++) {
    if (WIDE_STRING_KINDS.includes(instruction.opKind(i))) return 32;
  }
  return 16;
}

const conditionalJumps: Record<string, Rule> = {};
for (const [x, name] of CONDITIONS.entries()) {
  conditionalJumps[`J${name}`] = {
    cost: "branch",
    lift(l) {
      const { imm, w } = nearTarget(l);
      l.emit(OP.JUMP_IF, { w, imm, x });
    },
  };
}

const strings: Record<string, Rule> = {};
const SUFFIXES: readonly [string, number][] = [
  ["b", 1],
  ["w", 2],
  ["d", 4],
];
for (const [suffix, bytes] of SUFFIXES) {
  strings[`Movs${suffix}`] = string(STRING_KIND.MOVS, bytes);
  strings[`Stos${suffix}`] = string(STRING_KIND.STOS, bytes);
  strings[`Lods${suffix}`] = string(STRING_KIND.LODS, bytes);
  strings[`Scas${suffix}`] = string(STRING_KIND.SCAS, bytes);
  strings[`Cmps${suffix}`] = string(STRING_KIND.CMPS, bytes);
  strings[`Ins${suffix}`] = string(STRING_KIND.INS, bytes);
  strings[`Outs${suffix}`] = string(STRING_KIND.OUTS, bytes);
}

const pushAll: Rule = {
  cost: "pushAll",
  memoryIncluded: true,
  lift: (l) => l.helper("pushAll", { w: operandBits(l), x: l.mode.stackBits }),
};
const popAll: Rule = {
  cost: "popAll",
  memoryIncluded: true,
  lift: (l) => l.helper("popAll", { w: operandBits(l), x: l.mode.stackBits }),
};

/** LDS, LES, LFS, LGS, LSS: the segment is checked and loaded before the register is written. */
function loadFarPointer(segment: number): Rule {
  return {
    cost: "segmentPop",
    sensitive: true,
    ...(segment === SEG.ss ? { endsBlock: true } : {}),
    lift(l) {
      const { selector, offset } = farPointer(l);
      l.helper("loadSegment", { a: selector, x: segment });
      l.write(0, offset);
    },
  };
}

export const CONTROL_FLOW: RuleTable = {
  ...conditionalJumps,
  ...strings,
  Jmp: { cost: "jump", endsBlock: true, lift: liftJump },
  Call: { cost: "call", endsBlock: true, lift: liftCall },
  Ret: { cost: "ret", endsBlock: true, lift: liftRet },
  Retf: {
    cost: "farReturn",
    sensitive: true,
    endsBlock: true,
    lift(l) {
      l.branches = true;
      const extra = l.instruction.opCount > 0 ? l.immediate(0) : 0;
      l.helper("farReturn", { w: operandBits(l), a: l.constant(extra), c: l.length });
    },
  },
  Iret: {
    cost: null,
    sensitive: true,
    endsBlock: true,
    loadsRf: true,
    exits: "task-switch",
    lift(l) {
      l.branches = true;
      l.helper("iret", { w: 16, c: l.length });
    },
  },
  Iretd: {
    cost: null,
    sensitive: true,
    endsBlock: true,
    loadsRf: true,
    exits: "task-switch",
    lift(l) {
      l.branches = true;
      l.helper("iret", { w: 32, c: l.length });
    },
  },
  Jecxz: liftLoop(3),
  Jcxz: liftLoop(3),
  Loopne: liftLoop(0),
  Loope: liftLoop(1),
  Loop: liftLoop(2),
  Push: { cost: "push", lift: liftPush },
  Pop: { cost: "pop", lift: liftPop },
  Pusha: pushAll,
  Pushad: pushAll,
  Popa: popAll,
  Popad: popAll,
  Enter: {
    cost: "enter",
    memoryIncluded: true,
    lift(l) {
      const level = l.constant(l.instruction.immediate8_2nd);
      l.helper("enter", {
        w: operandBits(l),
        a: l.constant(l.instruction.immediate16),
        b: level,
        x: l.mode.stackBits,
      });
    },
  },
  Leave: { cost: "leave", memoryIncluded: true, lift: liftLeave },
  Xlatb: {
    cost: "xlat",
    memoryIncluded: true,
    lift(l) {
      const index = l.temporary();
      l.emit(OP.ZERO_EXTEND, { w: 8, d: index, a: GPR.eax });
      const address = l.temporary();
      const base = l.instruction.memoryBase;
      const w = base === Register.None ? 32 : registerWidth(base);
      l.emit(OP.ADDRESS, { w, d: address, a: gprCell(3), b: index, imm: 0 });
      l.emit(OP.PUT8, { d: GPR.eax, a: l.load(8, address, l.segment()) });
    },
  },
  Lds: loadFarPointer(SEG.ds),
  Les: loadFarPointer(SEG.es),
  Lfs: loadFarPointer(SEG.fs),
  Lgs: loadFarPointer(SEG.gs),
  Lss: loadFarPointer(SEG.ss),
  Bound: {
    cost: "bound",
    lift(l) {
      const w = l.width(0);
      const lower = l.load(w, l.address(), l.segment());
      const upperAddress = l.temporary();
      l.emit(OP.ADDRESS, { w: l.addressBits(), d: upperAddress, a: l.address(), b: CELL.zero, imm: w / 8 });
      const upper = l.load(w, upperAddress, l.segment());
      l.helper("bound", { w, a: l.read(0), b: lower, c: upper });
    },
  },
};
