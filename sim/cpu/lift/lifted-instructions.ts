/**
 * Instructions of one processor as they have been lifted, by where they stand and what the code segment is: blocks and
 * regions that have them in common, and one run after another of the same guest, decode them once. Bytes are compared each
 * time, so nobody has to say that they were written.
 */
import { type DecodeOutcome, InstructionDecoder, MAX_INSTRUCTION_BYTES } from "../decode.ts";
import { type CostTicks, costTicks, type Profile } from "../profiles/profile.ts";
import { type Lifted, lift } from "./lift.ts";
import type { CodeMode } from "./lifter.ts";

/** Why bytes are no instruction that runs. */
export type NotLifted = Exclude<DecodeOutcome, "decoded"> | "unmodelled";

/** Instructions that are kept at the most, about a kilobyte each. */
const MOST = 16384;

interface Kept {
  readonly bytes: Uint8Array;
  readonly lifted: Lifted;
}

export class LiftedInstructions {
  readonly #decoder: InstructionDecoder;
  readonly #costs: CostTicks;
  /** By physical address and mode. */
  readonly #kept = new Map<number, Kept>();

  constructor(profile: Profile) {
    this.#decoder = new InstructionDecoder(profile);
    this.#costs = costTicks(profile);
  }

  /** The instruction at `from` of `bytes`, of which it may have `room`; they stand at a physical address. */
  at(physical: number, bytes: Uint8Array, mode: CodeMode, from = 0, room = bytes.length - from): Lifted | NotLifted {
    const key = physical * 4 + (mode.bits === 32 ? 2 : 0) + (mode.stackBits === 32 ? 1 : 0);
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.bytes.length <= room && isAt(bytes, from, kept.bytes)) return kept.lifted;
    const lifted = this.lift(bytes.subarray(from, from + room), mode);
    if (typeof lifted !== "string") {
      if (this.#kept.size >= MOST) this.#kept.clear();
      this.#kept.set(key, { bytes: bytes.slice(from, from + lifted.length), lifted });
    }
    return lifted;
  }

  /** The same for bytes that are not in one piece in memory. */
  lift(bytes: Uint8Array, mode: CodeMode): Lifted | NotLifted {
    const outcome = this.#decoder.decode(bytes.subarray(0, MAX_INSTRUCTION_BYTES), mode.bits);
    if (outcome !== "decoded") return outcome;
    return lift(this.#decoder.instruction, mode, this.#costs) ?? "unmodelled";
  }

  /** Length in bytes of what has not been lifted last. */
  get decodedLength(): number {
    return this.#decoder.instruction.length;
  }
}

function isAt(bytes: Uint8Array, from: number, wanted: Uint8Array): boolean {
  for (let n = 0; n < wanted.length; n++) if (bytes[from + n] !== wanted[n]) return false;
  return true;
}
