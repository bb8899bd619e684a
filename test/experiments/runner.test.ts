// Running points: order, cache, addresses, failures and interruption.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ROOT } from "../../experiments/paths.ts";
import { addressOf, expand, type Point } from "../../experiments/point.ts";
import { workerPool } from "../../experiments/pool.ts";
import type { Problem } from "../../experiments/problem.ts";
import { Interrupted, type Outcome, runPoints } from "../../experiments/runner.ts";
import { folderStore, writeOnly } from "../../experiments/store.ts";
import { parseSuite } from "../../experiments/suite.ts";
import { fakeExecutor } from "./fake-simulator.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ringlab-runner-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function pointsOf(extra = ""): readonly Point[] {
  const text = `name: small
profiles: [pentium4-672, core2-e6700]
techniques: [{ technique: native }, { technique: vtx }]
workloads: [in, cpuid]
repetitions: 2
${extra}`;
  return expand(parseSuite(text, "s.yaml", ROOT));
}
const [points] = [pointsOf()];

test("outcomes come in the order of the points, whatever finishes first", async () => {
  const executor = fakeExecutor(async (point, result) => {
    await new Promise((resolve) => setTimeout(resolve, point.repetition === 0 ? 8 : 0));
    return result;
  });
  const outcomes = await runPoints(points, { store: folderStore(folder), executor, code: "c" });
  expect(outcomes.map((outcome) => outcome.point)).toEqual(points);
});

test("two lanes begin at either end of the techniques, so that each keeps to its own", async () => {
  const executor = fakeExecutor();
  await runPoints(points, { store: folderStore(folder), executor, code: "c" });
  const ofLane = (lane: number) => executor.ran.filter((_, n) => n % 2 === lane).map(({ technique }) => technique);
  expect(ofLane(0)).toEqual(Array(points.length / 2).fill("native"));
  expect(ofLane(1)).toEqual(Array(points.length / 2).fill("vtx"));
});

test("a second run reads every point from the store and gives the same results", async () => {
  const store = folderStore(folder);
  const first = await runPoints(points, { store, executor: fakeExecutor(), code: "c" });
  const again = fakeExecutor();
  const second = await runPoints(points, { store, executor: again, code: "c" });
  expect(again.ran).toEqual([]);
  expect(second.every((outcome) => outcome.cached)).toBe(true);
  expect(second.map((outcome) => outcome.result)).toEqual(first.map((outcome) => outcome.result));
  expect(readdirSync(folder).filter((file) => !file.endsWith(".json"))).toEqual([]);
});

test("without the cache every point runs, and is kept", async () => {
  const store = folderStore(folder);
  await runPoints(points, { store, executor: fakeExecutor(), code: "c" });
  const again = fakeExecutor();
  await runPoints(points, { store: writeOnly(store), executor: again, code: "c" });
  expect(again.ran.length).toBe(points.length);
});

test("a damaged file in the store is run again and replaced", async () => {
  const store = folderStore(folder);
  await runPoints(points.slice(0, 1), { store, executor: fakeExecutor(), code: "c" });
  const file = join(folder, readdirSync(folder)[0] as string);
  const whole = readFileSync(file, "utf8");
  writeFileSync(file, whole.slice(0, 100));
  const again = fakeExecutor();
  await runPoints(points.slice(0, 1), { store, executor: again, code: "c" });
  expect(again.ran.length).toBe(1);
  expect(readFileSync(file, "utf8")).toBe(whole);
});

test("an address depends on everything that a result depends on, and not on where the image lies", () => {
  const point = points[0] as Point;
  const address = addressOf(point, "code");
  const others: [string, string][] = [
    ["code", addressOf(point, "other code")],
    ["image", addressOf({ ...point, imageHash: "0" }, "code")],
    ["seed", addressOf({ ...point, seed: 1 }, "code")],
    ["phase", addressOf({ ...point, timerPhase: 1 }, "code")],
    ["memory", addressOf({ ...point, guestMemoryMb: 65 }, "code")],
    ["cycles", addressOf({ ...point, maxCycles: 5 }, "code")],
    ["explain", addressOf({ ...point, explainRegion: 0 }, "code")],
    ["profile value", addressOf({ ...point, values: { vmread: 100 } }, "code")],
    ["parameters", addressOf({ ...point, parameters: "iterations=1" }, "code")],
  ];
  for (const [what, other] of others) expect(other, what).not.toBe(address);
  expect(new Set(others.map(([, other]) => other)).size).toBe(others.length);
  expect(addressOf({ ...point, imagePath: "/elsewhere" }, "code")).toBe(address);
  expect(new Set(points.map((each) => addressOf(each, "code"))).size).toBe(points.length);
});

test("guests that do not end well are problems of their own kind, and the other points go on", async () => {
  const ends = [
    { kind: "exit", status: 1 },
    { kind: "triple-fault", cs: 8, eip: 0x100123, detail: "#GP(0) while delivering #DF" },
    { kind: "dead-halt", cs: 8, eip: 0x100200 },
    { kind: "limit", cs: 8, eip: 0x100300 },
    { kind: "unmodelled", cs: 8, eip: 0x100400, detail: "0F 01 D0 (XGETBV)" },
  ] as const;
  const executor = fakeExecutor((point, result) => {
    const end = ends[points.indexOf(point)];
    return end === undefined ? result : { ...result, end };
  });
  const outcomes = await runPoints(points, { store: folderStore(folder), executor, code: "c" });
  expect(outcomes.map((outcome) => outcome.problem?.kind)).toEqual([
    ...["guest-failed", "triple-fault", "dead-halt", "cycle-limit", "unmodelled"],
    ...Array(points.length - ends.length).fill(undefined),
  ]);
  const messages = outcomes.flatMap((outcome) => outcome.problem?.message ?? []);
  expect(messages[1]).toMatch(/^in, pentium4-672, native, repetition 2: triple fault at 0008:00100123: #GP\(0\)/);
  expect(messages[3]).toMatch(/not done after 4000000000 cycles, at 0008:00100300; .*--max-cycles/);
  for (const message of messages) expect(message).not.toContain("\n");
});

test("a simulator that throws fails its point alone, and that point is not kept", async () => {
  const executor = fakeExecutor((point, result) => {
    if (point.repetition === 1 && point.workload === "in") throw new Error("index out of range\n  at somewhere");
    return result;
  });
  const outcomes = await runPoints(points, { store: folderStore(folder), executor, code: "c" });
  const failed = outcomes.filter((outcome) => outcome.problem !== undefined);
  expect(failed.length).toBe(4);
  expect(failed[0]?.problem?.message).toBe("in, pentium4-672, native, repetition 2: index out of range");
  expect(failed[0]?.problem?.kind).toBe("simulator-error");
  expect(readdirSync(folder).length).toBe(points.length - 4);
});

test("an interrupted run keeps what is finished, and the next one goes on from there", async () => {
  const store = folderStore(folder);
  const stop = new AbortController();
  const first = fakeExecutor(async (_, result) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return result;
  });
  let count = 0;
  const onOutcome = () => {
    if (++count === 5) stop.abort();
  };
  const run = runPoints(points, { store, executor: first, code: "c", signal: stop.signal, onOutcome });
  await expect(run).rejects.toThrow(Interrupted);
  const kept = readdirSync(folder).length;
  expect(kept).toBeGreaterThanOrEqual(5);
  expect(kept).toBeLessThan(points.length);
  const second = fakeExecutor();
  await runPoints(points, { store, executor: second, code: "c" });
  expect(second.ran.length).toBe(points.length - kept);
});

test("a traced point is run although the store has it", async () => {
  const store = folderStore(folder);
  const vtx = points.filter((point) => point.technique === "vtx").slice(0, 4);
  await runPoints(vtx, { store, executor: fakeExecutor(), code: "c" });
  const executor = fakeExecutor();
  const traceFile = (point: Point) => (point === vtx[0] ? join(folder, "trace", "exits.jsonl") : undefined);
  await runPoints(vtx, { store, executor, code: "c", traceFile });
  expect(executor.ran).toEqual([vtx[0]]);
  expect(existsSync(join(folder, "trace", "exits.jsonl"))).toBe(true);
});

// --- the pool of worker threads, with a worker of its own ---

const workerFile = join(import.meta.dirname, "fake-worker.mjs");

function withPool<T>(act: (pool: ReturnType<typeof workerPool>) => Promise<T>): Promise<T> {
  const pool = workerPool(2, workerFile);
  return act(pool).finally(() => pool.close());
}

test("a worker that dies fails its point with one line, and the others go on", async () => {
  const doomed = points.map((point, index) => (index === 3 ? { ...point, parameters: "die" } : point));
  const outcomes = await withPool((executor) => runPoints(doomed, { store: folderStore(folder), executor, code: "c" }));
  const failed = outcomes.filter((outcome): outcome is Outcome & { problem: Problem } => outcome.problem !== undefined);
  expect(failed.map((outcome) => outcome.point)).toEqual([doomed[3]]);
  expect(failed[0]?.problem.kind).toBe("worker-crashed");
  expect(failed[0]?.problem.message).toMatch(/^cpuid die, pentium4-672, native, repetition 2: the worker died/);
  expect(outcomes.filter((outcome) => outcome.result !== undefined).length).toBe(points.length - 1);
});

test("serial output arrives while the guest runs, all of it before the result", async () => {
  const point = { ...(points[0] as Point), parameters: "talk" };
  const heard: string[] = [];
  await withPool((pool) => pool.run({ point }, (text) => heard.push(text)));
  expect(heard.join("")).toBe("one\ntwo\nthree\n");
});

test("stopping a run that is busy in a worker does not wait for it", async () => {
  const busy = points.map((point) => ({ ...point, parameters: "spin" }));
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 300);
  const run = withPool((executor) =>
    runPoints(busy, { store: folderStore(folder), executor, code: "c", signal: stop.signal }),
  );
  await expect(run).rejects.toThrow("interrupted: 0 of 16 points finished");
});

// --- with the real worker ---

test("a worker tells how large it was, its guest's memory included", async () => {
  const pool = workerPool(1);
  try {
    expect(pool.memoryMb?.()).toBe(0);
    const { end } = await pool.run({ point: { ...(points[0] as Point), parameters: "iterations=1" } });
    expect(end).toMatchObject({ kind: "exit", status: 0 });
    expect(pool.memoryMb?.()).toBeGreaterThan(64);
    expect(pool.memoryMb?.()).toBeLessThan(64 + 300);
  } finally {
    await pool.close();
  }
});
