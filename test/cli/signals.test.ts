// A suite stopped by a signal, as a user would: a process of its own, worker threads, a kill in the middle.
// It needs the compiled command line, which `npm test` builds first.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ROOT } from "../../experiments/paths.ts";

const dist = process.env["RINGLAB_TEST_DIST"] ?? join(ROOT, "dist");
const launcher = join(import.meta.dirname, "launcher.mjs");
const worker = join(ROOT, "test", "experiments", "fake-worker.mjs");

let runs: string;
beforeEach(() => {
  runs = mkdtempSync(join(tmpdir(), "ringlab-signals-"));
});
afterEach(() => rmSync(runs, { recursive: true, force: true }));

const stored = () => (existsSync(join(runs, "points")) ? readdirSync(join(runs, "points")) : []);
const args = (parameter: string, workers = "2") => [
  ...[launcher, dist, worker, runs],
  ...["run", "in", "-n", "4", "-p", "core2-e6700", "--workers", workers, "--param", `pause=${parameter}`],
];

/** Starts a run of which some points finish and some never do; waits until those that can are stored. */
async function startAndWait(): Promise<{
  child: ChildProcess;
  ended: Promise<{ status: number | null; err: string }>;
}> {
  const child = spawn(process.execPath, args("1"), { stdio: ["ignore", "pipe", "pipe"] });
  let err = "";
  child.stderr?.on("data", (data: Buffer) => {
    err += data.toString();
  });
  const ended = new Promise<{ status: number | null; err: string }>((resolve) => {
    child.on("close", (status) => resolve({ status, err }));
  });
  for (let waited = 0; stored().length < 2; waited += 20) {
    if (waited > 20_000) throw new Error(`nothing was stored: ${err}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { child, ended };
}

describe.skipIf(!existsSync(join(dist, "cli", "host.js")))("a run in a process of its own", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s keeps finished points, says so in one line, and exits with %i", async (signal, status) => {
    const { child, ended } = await startAndWait();
    child.kill(signal);
    const answer = await ended;
    expect(answer.status).toBe(status);
    expect(answer.err).toMatch(/^ringlab: interrupted: 2 of 12 points finished; they are kept[^\n]*\n$/m);
    expect(stored().every((name) => name.endsWith(".json"))).toBe(true);
    expect(stored().length).toBe(2);
    expect(existsSync(join(runs, "in"))).toBe(false);
  });

  test("a kill that cannot be heard keeps finished points whole", async () => {
    const { child, ended } = await startAndWait();
    child.kill("SIGKILL");
    await ended;
    expect(stored().filter((name) => name.endsWith(".json")).length).toBe(2);
  });

  test("worker threads in any number write the same bytes", () => {
    for (const workers of ["1", "3"]) {
      const out = join(runs, `out-${workers}`);
      const argv = [...args("0", workers), "--no-cache", "--out", out];
      const answer = spawnSync(process.execPath, argv, { encoding: "utf8" });
      expect(answer.stderr).not.toContain("bug");
      expect(answer.status).toBe(0);
    }
    for (const name of ["measurements.csv", "summary.csv", "run.json", "table.txt"]) {
      const [one, three] = ["1", "3"].map((workers) => readFileSync(join(runs, `out-${workers}`, name)));
      expect(three?.equals(one as Buffer), name).toBe(true);
    }
  });
});
