/**
 * Branch prediction that costs are made of: a return stack and a last-target table for indirect branches, both
 * deterministic. Conditional and direct branches are taken as predicted. The tables are in shared memory, where compiled
 * code keeps them as `follow` does.
 */
import { ENGINE_BYTES } from "../memory/physical.ts";
import { BRANCH } from "./micro-ops.ts";
import type { Profile } from "./profiles/profile.ts";

const NONE = -1;
const SOME = 0;

export interface SavedPredictor {
  /** Return addresses, -1 for none. */
  readonly returns: readonly number[];
  readonly top: number;
  readonly sources: readonly number[];
  readonly targets: readonly number[];
}

export class Predictor {
  /** Index of the return stack's top, one cell. */
  readonly #top: Int32Array;
  /** Ring of return addresses, each with NONE or SOME behind it; overflow overwrites the oldest, as the hardware's does. */
  readonly #returns: Int32Array;
  /** Direct-mapped by source address. */
  readonly #sources: Float64Array;
  readonly #targets: Float64Array;

  /** The tables begin at `byteOffset` of `buffer`, where ENGINE_BYTES.predictor bytes are theirs. */
  constructor(profile: Profile, buffer: ArrayBufferLike = new ArrayBuffer(ENGINE_BYTES.predictor), byteOffset = 0) {
    const { returnStackEntries, indirectTargets } = profile;
    if ((1 + returnStackEntries + 2 * indirectTargets) * 8 > ENGINE_BYTES.predictor) {
      throw new Error(
        `branch prediction with ${returnStackEntries} returns and ${indirectTargets} targets has no room`,
      );
    }
    this.#top = new Int32Array(buffer, byteOffset, 1);
    this.#returns = new Int32Array(buffer, byteOffset + 8, 2 * returnStackEntries).fill(NONE);
    this.#sources = new Float64Array(buffer, this.#returns.byteOffset + this.#returns.byteLength, indirectTargets).fill(
      -1,
    );
    this.#targets = new Float64Array(buffer, this.#sources.byteOffset + 8 * indirectTargets, indirectTargets);
  }

  /** Follows a branch from `source` to `target`; `next` is what a call pushes. Returns whether it was mispredicted. */
  follow(kind: number, source: number, target: number, next: number): boolean {
    const returns = this.#returns;
    const entries = returns.length >> 1;
    const top = this.#top[0] as number;
    if (kind === BRANCH.RETURN) {
      const last = (top + entries - 1) % entries;
      this.#top[0] = last;
      const predicted = returns[2 * last + 1] === SOME && returns[2 * last] === (target | 0);
      returns[2 * last] = NONE;
      returns[2 * last + 1] = NONE;
      return !predicted;
    }
    if (kind === BRANCH.CALL || kind === BRANCH.CALL_INDIRECT) {
      returns[2 * top] = next | 0;
      returns[2 * top + 1] = SOME;
      this.#top[0] = (top + 1) % entries;
    }
    return kind !== BRANCH.CALL && this.#lastTargetDiffers(source >>> 0, target >>> 0);
  }

  #lastTargetDiffers(source: number, target: number): boolean {
    const slot = source % this.#sources.length;
    const hit = this.#sources[slot] === source && this.#targets[slot] === target;
    this.#sources[slot] = source;
    this.#targets[slot] = target;
    return !hit;
  }

  /** Byte offsets and sizes of the tables, for compiled code. */
  layout(): {
    readonly returnTop: number;
    readonly returns: number;
    readonly returnEntries: number;
    readonly indirectSources: number;
    readonly indirectTargets: number;
    readonly indirectEntries: number;
  } {
    return {
      returnTop: this.#top.byteOffset,
      returns: this.#returns.byteOffset,
      returnEntries: this.#returns.length >> 1,
      indirectSources: this.#sources.byteOffset,
      indirectTargets: this.#targets.byteOffset,
      indirectEntries: this.#sources.length,
    };
  }

  save(): SavedPredictor {
    return {
      returns: this.#savedReturns(),
      top: this.#top[0] as number,
      sources: [...this.#sources],
      targets: [...this.#targets],
    };
  }

  #savedReturns(): number[] {
    const saved: number[] = [];
    for (let n = 0; n < this.#returns.length; n += 2) {
      saved.push(this.#returns[n + 1] === SOME ? (this.#returns[n] as number) >>> 0 : -1);
    }
    return saved;
  }

  restore(saved: SavedPredictor): void {
    for (const [n, address] of saved.returns.entries()) {
      this.#returns[2 * n] = address;
      this.#returns[2 * n + 1] = address < 0 ? NONE : SOME;
    }
    this.#top[0] = saved.top;
    this.#sources.set(saved.sources);
    this.#targets.set(saved.targets);
  }
}
