/**
 * Decoding, by iced-x86, for the profile's processor: encodings that are newer than the processor decode as they
 * did then (F3 0F BD is BSR on a Pentium 4, not LZCNT), and instructions of extensions that it lacks are undefined.
 */
import { CpuidFeature, Decoder, DecoderError, DecoderOptions, Instruction, Mnemonic } from "iced-x86";
import { byForm } from "./by-form.ts";
import type { Profile } from "./profiles/profile.ts";

/** Longest instruction in bytes (SDM vol. 2, 2.3.11); a longer one raises #GP(0). */
export const MAX_INSTRUCTION_BYTES = 15;

export type DecodeOutcome =
  /** `decoder.instruction` holds the instruction. */
  | "decoded"
  /** Raises #UD. */
  | "undefined"
  /** More bytes are needed than were given. */
  | "truncated";

export class InstructionDecoder {
  /** The instruction decoded last; reused (DEPENDENCIES: iced objects are not garbage-collected). */
  readonly instruction = new Instruction();
  readonly #options: number;
  readonly #features: ReadonlySet<string>;
  /** Whether the processor has the instruction. */
  readonly #isOfProfile = byForm((instruction) => {
    const names = [...instruction.cpuidFeatures()].map((each) => (CpuidFeature[each] as string).toLowerCase());
    return names.every((name) => this.#features.has(name));
  });

  constructor(profile: Profile) {
    this.#features = new Set(profile.features);
    let options = DecoderOptions.NoWbnoinvd | DecoderOptions.NoLahfSahf64;
    if (!this.#features.has("bmi1")) options |= DecoderOptions.NoMPFX_0FBC;
    if (!this.#features.has("lzcnt")) options |= DecoderOptions.NoMPFX_0FBD;
    this.#options = options;
  }

  /** Decodes at the start of `bytes` for code of `bits` (16, 32, 64); branch targets are relative to address 0. */
  decode(bytes: Uint8Array, bits: number): DecodeOutcome {
    const decoder = new Decoder(bits, bytes, this.#options);
    try {
      decoder.decodeOut(this.instruction);
      if (decoder.lastError === DecoderError.NoMoreBytes) return "truncated";
      if (decoder.lastError !== DecoderError.None || this.instruction.isInvalid) {
        return bytes.length >= MAX_INSTRUCTION_BYTES && this.#isTooLong(bytes, bits) ? "truncated" : "undefined";
      }
      if (this.#isOfProfile(this.instruction)) return "decoded";
      return this.#isReservedNop(bytes, bits) ? "decoded" : "undefined";
    } finally {
      decoder.free();
    }
  }

  /** Whether an instruction that is too new (ENDBR32, PREFETCHW) was a reserved NOP before: 0F 0D, 0F 18 to 0F 1F. */
  #isReservedNop(bytes: Uint8Array, bits: number): boolean {
    const decoder = new Decoder(bits, bytes, this.#options | DecoderOptions.ForceReservedNop);
    try {
      decoder.decodeOut(this.instruction);
      return this.instruction.mnemonic === Mnemonic.Reservednop && this.#isOfProfile(this.instruction);
    } finally {
      decoder.free();
    }
  }

  /** Whether bytes that iced calls invalid are only too long: without their first byte, a prefix, they still want more. */
  #isTooLong(bytes: Uint8Array, bits: number): boolean {
    const shorter = new Decoder(bits, bytes.subarray(1, MAX_INSTRUCTION_BYTES), this.#options);
    try {
      shorter.decodeOut(this.instruction);
      return shorter.lastError === DecoderError.NoMoreBytes;
    } finally {
      shorter.free();
    }
  }
}
