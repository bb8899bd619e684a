/**
 * The median of samples and a 95 % interval of it, from order statistics: the ranks between which the median lies with
 * that probability whatever the distribution is, for host times are not normally distributed.
 */
import { binomialDistribution, medianSorted } from "simple-statistics";

export interface Interval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

const CONFIDENCE = 0.95;

/** Of at least one sample. With fewer than six the interval is all of them, and less certain than 95 %. */
export function intervalOf(samples: readonly number[]): Interval {
  const sorted = [...samples].sort((a, b) => a - b);
  const below = ranksBelow(sorted.length);
  const last = sorted.length - 1;
  return {
    median: medianSorted(sorted),
    low: sorted[below] as number,
    high: sorted[last - below] as number,
  };
}

/** Samples at either end that the interval leaves out: as many as the median lies among with less than 2.5 %. */
function ranksBelow(count: number): number {
  if (count < 6) return 0;
  const density = binomialDistribution(count, 0.5) as readonly number[];
  let tail = 0;
  for (let rank = 0; ; rank++) {
    tail += density[rank] ?? 1;
    if (tail > (1 - CONFIDENCE) / 2) return rank - 1;
  }
}

/** Neither interval reaches into the other. */
export function apart(a: Interval, b: Interval): boolean {
  return a.high < b.low || b.high < a.low;
}
