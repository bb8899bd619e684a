/**
 * Writes a unit: instructions of the cache one after another, each with its class and the guest state that belongs to it.
 * What is seldom reached (call-outs behind direct branches) is written behind everything else.
 */
import { DATA, spillSlot } from "./layout.ts";
import { PointsWriter } from "./points.ts";
import {
  type CallOut,
  type CallOutKind,
  CODE_CLASSES,
  type CodeClass,
  type CodeContext,
  type DirectExit,
  type RegisterOperand,
  type Repair,
  type Translation,
} from "./translation.ts";

/** Numbers of general registers. */
export const REG = { eax: 0, ecx: 1, edx: 2, ebx: 3, esp: 4, ebp: 5, esi: 6, edi: 7 } as const;
/** INT E0h. */
export const CALL_OUT = [0xcd, 0xe0] as const;
export const GS = 0x65;
/** Operand and address size. */
export const SIZE = { operand: 0x66, address: 0x67 } as const;

export function word(value: number): [number, number, number, number] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff];
}

/** ModRM and displacement of a double word in the data page; GS goes before the opcode. */
export function slotOperand(digit: number, slot: number): number[] {
  return [(digit << 3) | 5, ...word(slot)];
}

/** A place in the unit to which a short jump goes. */
export interface ShortJump {
  /** Offset of the 8-bit displacement. */
  readonly at: number;
}

export class UnitWriter {
  readonly #bytes: number[] = [];
  readonly #classes: number[] = [];
  readonly #points = new PointsWriter();
  readonly #exits: DirectExit[] = [];
  readonly #callOuts: CallOut[] = [];
  readonly #later: (() => void)[] = [];
  readonly #operands: RegisterOperand[] = [];
  readonly #counts: Record<CodeClass, number> = {
    ...{ identical: 0, "control-flow": 0, "inline-emulation": 0, "call-out": 0 },
  };
  #class = 0;
  #eip: number;
  #repairs: readonly Repair[] = [];
  #shadow = false;
  /** The next instruction of the cache is the first for a guest instruction. */
  #begins = false;
  #waiting: CallOut[] = [];
  #boundary = 0;

  constructor(eip: number) {
    this.#eip = eip;
  }

  get offset(): number {
    return this.#bytes.length;
  }

  /** The translation of a guest instruction begins, or the end of a unit without one (`counts` false): state is precise. */
  begin(eip: number, codeClass: CodeClass, shadow: boolean, counts = true): void {
    this.as(codeClass);
    if (counts) {
      this.#counts[codeClass]++;
      this.#begins = true;
    }
    this.#precise(eip, shadow);
    for (const callOut of this.#waiting) callOut.resume = this.offset;
    this.#waiting = [];
  }

  #precise(eip: number, shadow: boolean): void {
    this.#eip = eip;
    this.#shadow = shadow;
    this.#repairs = [];
  }

  /** What follows is charged as `codeClass`. */
  as(codeClass: CodeClass): void {
    this.#class = CODE_CLASSES.indexOf(codeClass);
  }

  /** The instruction that begins here ends the unit, or the unit ends before the instruction at `eip`. */
  end(): void {
    this.#boundary = this.offset;
  }

  /** In the middle of a sequence the guest is at `eip`, after these steps. */
  guestIs(eip: number, repairs: readonly Repair[], shadow = false): void {
    this.#eip = eip;
    this.#repairs = repairs;
    this.#shadow = shadow;
  }

  /** From the next instruction of the cache on, precise state takes these steps. */
  repairs(...repairs: readonly Repair[]): void {
    this.#repairs = repairs;
  }

  /** The unit relies on this. */
  relyOn(operand: RegisterOperand): void {
    this.#operands.push(operand);
  }

  /** One instruction. */
  emit(...bytes: readonly number[]): void {
    this.#instruction(bytes, false);
  }

  /** One instruction that stores in the data page. */
  emitStore(...bytes: readonly number[]): void {
    this.#instruction(bytes, true);
  }

  #instruction(bytes: readonly number[], stores: boolean): void {
    const point = { offset: this.offset, eip: this.#eip, repairs: this.#repairs, shadow: this.#shadow, stores };
    this.#points.add(point, this.#begins);
    this.#begins = false;
    for (const byte of bytes) {
      this.#bytes.push(byte);
      this.#classes.push(this.#class);
    }
  }

  /** MOV gs:[spill n], register. */
  spill(n: number, register: number): void {
    this.store(spillSlot(n), register);
  }

  /** MOV register, gs:[spill n]. */
  restore(register: number, n: number): void {
    this.load(register, spillSlot(n));
  }

  /** MOV register, gs:[slot]. */
  load(register: number, slot: number): void {
    this.emit(GS, 0x8b, ...slotOperand(register, slot));
  }

  /** MOV gs:[slot], register. */
  store(slot: number, register: number): void {
    this.emitStore(GS, 0x89, ...slotOperand(register, slot));
  }

  /** MOV gs:[slot], value. */
  storeValue(slot: number, value: number): void {
    this.emitStore(GS, 0xc7, ...slotOperand(0, slot), ...word(value));
  }

  /** A jump with an 8-bit displacement: JECXZ, JMP, LOOP. */
  short(...opcode: readonly number[]): ShortJump {
    this.emit(...opcode, 0);
    return { at: this.offset - 1 };
  }

  /** The target of a short jump is here. */
  land(jump: ShortJump): void {
    const displacement = this.offset - jump.at - 1;
    if (displacement > 127) throw new Error(`translator: short jump over ${displacement} bytes`);
    this.#bytes[jump.at] = displacement;
  }

  /** INT E0h for the guest instruction at `eip`, whose state is precise here. */
  callOut(kind: CallOutKind, eip: number, length: number, goesOn: boolean, adapted = false): void {
    const shadow = this.#shadow;
    const callOut: CallOut = { offset: this.offset, kind, eip, length, shadow, resume: -1, adapted };
    const before = this.#class;
    this.as("call-out");
    this.emit(...CALL_OUT);
    this.#class = before;
    this.#callOuts.push(callOut);
    if (goesOn) this.#waiting.push(callOut);
  }

  /** A branch with 32-bit displacement (`opcode` E9, or 0F 80 to 8F) to the translation of `target`. */
  exit(target: number, ...opcode: readonly number[]): void {
    this.emit(...opcode, 0, 0, 0, 0);
    const patch = this.offset - 4;
    this.#later.push(() => {
      const stub = this.offset;
      this.#precise(target, false);
      this.callOut("translate", target, 0, false);
      this.#patch(patch, stub - (patch + 4));
      this.#exits.push({ target, patch, stub });
    });
  }

  #patch(at: number, value: number): void {
    for (const [n, byte] of word(value).entries()) this.#bytes[at + n] = byte;
  }

  /** The unit; `source` as in Translation. */
  finish(eip: number, context: CodeContext, source: readonly [linear: number, length: number]): Translation {
    for (const write of this.#later) write();
    return {
      ...{ eip, context, source, boundary: this.#boundary },
      bytes: Uint8Array.from(this.#bytes),
      classes: Uint8Array.from(this.#classes),
      points: { packed: this.#points.packed, repairs: this.#points.repairs },
      exits: this.#exits,
      callOuts: this.#callOuts,
      operands: this.#operands,
      instructions: this.#counts,
    };
  }
}

/** register <- spill n. */
export function fromSpill(register: number, n: number): Repair {
  return { kind: "load", register, slot: spillSlot(n) };
}

export const JUMP_THROUGH_TARGET = [GS, 0xff, ...slotOperand(4, DATA.jumpTarget)] as const;
