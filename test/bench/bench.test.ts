// The benchmarks' arithmetic: intervals, comparison with the run before, what is timed.
import { expect, test } from "vitest";
import { compileTimes } from "../../bench/compile-times.ts";
import type { Measured } from "../../bench/record.ts";
import { cautions, measuredLine } from "../../bench/report.ts";
import { apart, intervalOf } from "../../bench/statistics.ts";

const upTo = (count: number) => Array.from({ length: count }, (_, index) => count - index);

test("the interval of a median lies between the ranks of the binomial distribution", () => {
  // Ranks of the sign test at 95 %, from tables: of 10 the 2nd and 9th, of 20 the 6th and 15th, of 30 the 10th and 21st.
  expect(intervalOf(upTo(10))).toEqual({ median: 5.5, low: 2, high: 9 });
  expect(intervalOf(upTo(20))).toEqual({ median: 10.5, low: 6, high: 15 });
  expect(intervalOf(upTo(30))).toEqual({ median: 15.5, low: 10, high: 21 });
});

test("a few samples have an interval of all of them", () => {
  expect(intervalOf([7])).toEqual({ median: 7, low: 7, high: 7 });
  expect(intervalOf([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3 });
});

test("intervals that touch are not apart", () => {
  expect(apart(intervalOf([1, 2, 3]), intervalOf([3, 4, 5]))).toBe(false);
  expect(apart(intervalOf([1, 2, 3]), intervalOf([4, 5, 6]))).toBe(true);
});

test("a quantity is better or worse than before only if the intervals are apart", () => {
  const of = (samples: readonly number[], better?: "more" | "less"): Measured => ({
    ...{ name: "compute", unit: "M instructions/s", samples },
    ...(better === undefined ? {} : { better }),
  });
  expect(measuredLine(of([20, 21, 22], "more"), of([10, 10.5, 11], "more"))).toMatch(/x 2\.00 {2}better$/);
  expect(measuredLine(of([20, 21, 22], "less"), of([10, 10.5, 11], "less"))).toMatch(/x 2\.00 {2}worse$/);
  expect(measuredLine(of([20, 21, 22], "more"), of([10, 20, 30], "more"))).toMatch(/x 1\.05 {2}within the intervals$/);
  expect(measuredLine(of([34]), of([17]))).toMatch(/x 2\.00$/);
  expect(measuredLine(of([34]), of([34]))).toMatch(/same$/);
  expect(measuredLine(of([34]), undefined)).not.toContain("x");
});

test("a busy host and another machine are said", () => {
  const machine = { processor: "P", cores: 2, memoryMb: 8192, system: "linux", node: "v20" };
  const before = {
    when: "2026-11-30T08:00:00.000Z",
    code: "abc",
    machine: { ...machine, cores: 8 },
    load: 0,
    measured: [],
  };
  expect(cautions({ machine, load: 0.1 }, undefined)).toEqual([]);
  const lines = cautions({ machine, load: 3 }, { path: "/p.json", record: before });
  expect(lines).toHaveLength(3);
  expect(lines[0]).toContain("load 3.0");
  expect(lines[2]).toContain("another machine: P, 8 cores");
});

test("compiling WebAssembly is timed while it is looked at, and as before afterwards", () => {
  const { Module } = WebAssembly;
  const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
  const times = compileTimes();
  expect(new WebAssembly.Instance(new WebAssembly.Module(empty))).toBeInstanceOf(WebAssembly.Instance);
  times.stop();
  expect(times.milliseconds).toBeGreaterThan(0);
  expect(WebAssembly.Module).toBe(Module);
});
