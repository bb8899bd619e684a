/** Host times of operations, by the package benchmark: it warms up, repeats, and keeps every sample. */
import Benchmark from "benchmark";

export interface SamplingOptions {
  /** Samples at the least. */
  readonly least: number;
  /** Seconds after which there are enough, if there are so many. */
  readonly seconds: number;
}

/** Seconds that each sample of `operation` took. What it throws is thrown. */
export function sampleSeconds(name: string, operation: () => void, options: SamplingOptions): readonly number[] {
  let failure: unknown;
  const benchmark = new Benchmark(name, operation, {
    minSamples: options.least,
    maxTime: options.seconds,
    // One operation is long enough to be a sample.
    minTime: 0.01,
    initCount: 1,
    onError: (event: { readonly target: { readonly error?: unknown } }) => {
      failure = event.target.error ?? new Error(`${name}: failed`);
    },
  });
  benchmark.run({ async: false });
  if (failure !== undefined) throw failure;
  return benchmark.stats.sample;
}
