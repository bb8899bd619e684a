/**
 * Branch prediction that costs are made of: a return stack and a last-target table for indirect branches, both
 * deterministic. Conditional and direct branches are taken as predicted.
 */
import { BRANCH } from "./micro-ops.ts";
import type { Profile } from "./profiles/profile.ts";

export interface SavedPredictor {
  readonly returns: readonly number[];
  readonly top: number;
  readonly sources: readonly number[];
  readonly targets: readonly number[];
}

export class Predictor {
  /** Ring of return addresses; overflow overwrites the oldest, as the hardware's does. */
  readonly #returns: Float64Array;
  #top = 0;
  /** Direct-mapped by source address. */
  readonly #sources: Float64Array;
  readonly #targets: Float64Array;

  constructor(profile: Profile) {
    this.#returns = new Float64Array(profile.returnStackEntries).fill(-1);
    this.#sources = new Float64Array(profile.indirectTargets).fill(-1);
    this.#targets = new Float64Array(profile.indirectTargets);
  }

  /** Follows a branch from `source` to `target`; `next` is what a call pushes. Returns whether it was mispredicted. */
  follow(kind: number, source: number, target: number, next: number): boolean {
    if (kind === BRANCH.RETURN) {
      this.#top = (this.#top + this.#returns.length - 1) % this.#returns.length;
      const predicted = this.#returns[this.#top];
      this.#returns[this.#top] = -1;
      return predicted !== target >>> 0;
    }
    if (kind === BRANCH.CALL || kind === BRANCH.CALL_INDIRECT) {
      this.#returns[this.#top] = next >>> 0;
      this.#top = (this.#top + 1) % this.#returns.length;
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

  save(): SavedPredictor {
    return {
      returns: [...this.#returns],
      top: this.#top,
      sources: [...this.#sources],
      targets: [...this.#targets],
    };
  }

  restore(saved: SavedPredictor): void {
    this.#returns.set(saved.returns);
    this.#top = saved.top;
    this.#sources.set(saved.sources);
    this.#targets.set(saved.targets);
  }
}
