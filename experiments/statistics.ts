/**
 * Mean, standard deviation and a 95 % interval over repetitions. The interval is a percentile bootstrap of the mean,
 * seeded, so that the same repetitions always give the same interval. Repetitions that are equal have none: the
 * simulator adds no noise, and zero variance is reported as zero.
 */
import { mean, quantileSorted, sampleStandardDeviation, sampleWithReplacement } from "simple-statistics";

const RESAMPLES = 2000;
const SEED = 0x52494e47;

export interface Statistics {
  readonly repetitions: number;
  readonly mean: number;
  /** Of the sample; absent for a single repetition, which says nothing about spread. */
  readonly standardDeviation?: number;
  readonly low?: number;
  readonly high?: number;
}

/** Statistics of at least one value. */
export function statisticsOf(values: readonly number[]): Statistics {
  const sample = [...values];
  const average = mean(sample);
  if (sample.length === 1) return { repetitions: 1, mean: average };
  const first = sample[0] as number;
  if (sample.every((value) => value === first)) {
    return { repetitions: sample.length, mean: first, standardDeviation: 0, low: first, high: first };
  }
  const random = mulberry32(SEED);
  const means = Array.from({ length: RESAMPLES }, () => mean(sampleWithReplacement(sample, sample.length, random)));
  means.sort((a, b) => a - b);
  return {
    repetitions: sample.length,
    mean: average,
    standardDeviation: sampleStandardDeviation(sample),
    low: quantileSorted(means, 0.025),
    high: quantileSorted(means, 0.975),
  };
}

/** T. Ettinger's 32-bit generator: uniform in [0, 1). */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
