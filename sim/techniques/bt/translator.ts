/**
 * The translator of K. Adams and O. Agesen, "A Comparison of Software and Hardware Techniques for x86 Virtualization" (ASPLOS
 * 2006), section 3: guest code in, code for the translation cache out, a unit at a time, on demand. It assumes nothing about
 * the guest's code, and most of it is copied. What comes out is always 32-bit code, whatever the guest's is.
 *
 * A function of bytes and context: it knows neither monitor nor cache.
 */
import { Mnemonic } from "iced-x86";
import { InstructionDecoder, MAX_INSTRUCTION_BYTES } from "../../cpu/decode.ts";
import { type CostTicks, costTicks, type Profile } from "../../cpu/profiles/profile.ts";
import { callMonitor, endBefore, writeBranch } from "./control-flow.ts";
import { encode32, type GuestInstruction } from "./guest-instruction.ts";
import { inlineSequence } from "./inline.ts";
import { type InstructionKind, instructionKind } from "./instruction-kinds.ts";
import type { BtParameters } from "./parameters.ts";
import { type FindRegister, taskPrioritySequence } from "./task-priority.ts";
import type { CodeContext, Translation } from "./translation.ts";
import { UnitWriter } from "./unit-writer.ts";

/** A byte of guest code at a linear address; null where it cannot be fetched. */
export type Fetch = (linear: number) => number | null;

/** Guest instructions, by EIP, that are translated in another form than usual because they keep faulting. */
export type Form = "call-out" | "task-priority";
export type Forms = (eip: number) => Form | undefined;

const USUAL_FORMS: Forms = () => undefined;
const NO_REGISTER: FindRegister = () => null;

export class Translator {
  readonly #decoder: InstructionDecoder;
  readonly #costs: CostTicks;
  readonly #options: BtParameters;
  readonly #findRegister: FindRegister;

  /** `findRegister`: where the guest has the task-priority register. */
  constructor(profile: Profile, options: BtParameters, findRegister: FindRegister = NO_REGISTER) {
    this.#findRegister = findRegister;
    this.#decoder = new InstructionDecoder(profile);
    this.#costs = costTicks(profile);
    this.#options = options;
  }

  /** The unit at `eip`; null when its first instruction cannot be fetched. */
  translate(eip: number, context: CodeContext, fetch: Fetch, forms: Forms = USUAL_FORMS): Translation | null {
    const first = linearAddress(context, eip);
    const writer = new UnitWriter(eip);
    let at = eip;
    let shadow = false;
    let count = 0;
    for (;;) {
      const code = this.#read(at, context, fetch);
      const decoded = code.bytes.length === 0 ? "truncated" : this.#decoder.decode(code.bytes, context.bits);
      if (decoded === "truncated" && code.end === "not-there") {
        if (count === 0) return null;
        writer.begin(at, "control-flow", shadow, false);
        endBefore({ writer }, at);
        return writer.finish(eip, context, [first, at - eip]);
      }
      const length = decoded === "decoded" ? this.#decoder.instruction.length : code.bytes.length;
      const guest: GuestInstruction = {
        ...{ instruction: this.#decoder.instruction, bytes: code.bytes.subarray(0, length), eip: at, length },
        ...{ next: (at + length) >>> 0, context, options: this.#options, shadow, writer },
      };
      const ends = decoded !== "decoded" ? endsUndefined(guest) : this.#write(guest, forms(at));
      count++;
      shadow = decoded === "decoded" && guest.instruction.mnemonic === Mnemonic.Sti;
      at = guest.next;
      const full = count >= this.#options.unitSize && !shadow;
      if (!ends && (full || at < eip)) {
        writer.begin(at, "control-flow", shadow, false);
        endBefore({ writer }, at);
      }
      if (ends || full || at < eip) return writer.finish(eip, context, [first, (at - eip) >>> 0]);
    }
  }

  /** Bytes of the instruction at `eip`, as many as there may be, and why there are no more. */
  #read(eip: number, context: CodeContext, fetch: Fetch): { bytes: Uint8Array; end: "whole" | "limit" | "not-there" } {
    const bytes = new Uint8Array(MAX_INSTRUCTION_BYTES);
    for (let n = 0; n < MAX_INSTRUCTION_BYTES; n++) {
      const offset = eip + n;
      if (offset > context.limit) return { bytes: bytes.subarray(0, n), end: "limit" };
      const byte = fetch(linearAddress(context, offset));
      if (byte === null) return { bytes: bytes.subarray(0, n), end: "not-there" };
      bytes[n] = byte;
    }
    return { bytes, end: "whole" };
  }

  /** Writes an instruction; whether the unit ends with it. */
  #write(guest: GuestInstruction, form: Form | undefined): boolean {
    const { instruction, writer, context, eip, length, shadow } = guest;
    const kind = instructionKind(instruction, context, this.#costs);
    switch (kind) {
      case "identical":
      case "sensitive": {
        if (form !== undefined) {
          const inline = this.#options.inline && form === "task-priority";
          const access = inline ? taskPrioritySequence(guest, this.#findRegister) : null;
          if (access === null) break;
          writer.begin(eip, "inline-emulation", shadow);
          access();
          return false;
        }
        if (kind === "sensitive") {
          const sequence = this.#options.inline ? inlineSequence(guest) : null;
          if (sequence === null) break;
          writer.begin(eip, "inline-emulation", shadow);
          sequence();
          return false;
        }
        const bytes = context.bits === 32 ? guest.bytes : encode32(instruction);
        if (bytes === null) break;
        writer.begin(eip, "identical", shadow);
        writer.emit(...bytes);
        return false;
      }
      case "transfer":
        writer.begin(eip, "call-out", shadow);
        callMonitor(guest);
        return true;
      default:
        writer.begin(eip, "control-flow", shadow);
        if (form !== undefined) callMonitor(guest);
        else writeBranch(guest, kind satisfies InstructionKind);
        return true;
    }
    writer.begin(eip, "call-out", shadow);
    writer.callOut("instruction", eip, length, true, kind === "identical");
    return false;
  }
}

/** Bytes that are no instruction: the monitor finds out which exception they raise. */
function endsUndefined(guest: GuestInstruction): boolean {
  guest.writer.begin(guest.eip, "call-out", guest.shadow);
  callMonitor(guest);
  return true;
}

function linearAddress({ codeBase }: CodeContext, eip: number): number {
  return (codeBase + eip) >>> 0;
}
