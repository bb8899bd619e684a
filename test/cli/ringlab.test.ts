// The command line: what each command prints and writes, and the exit status and line of everything that can go wrong.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { EXIT_CODES, PROBLEM_CODES } from "../../cli/exit-codes.ts";
import { ringlab } from "../../cli/ringlab.ts";
import { PROBLEM_KINDS } from "../../experiments/problem.ts";
import type { RunEnd, RunResult } from "../../sim/result.ts";
import { run, runIn } from "./environment.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ringlab-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let out: string;
let count = 0;
beforeEach(() => {
  out = join(folder, `out-${count++}`);
  mkdirSync(out);
});

/** `run` with its results in a folder of their own. */
const fresh = (...argv: string[]) => ["run", ...argv, "--out", out];

function fileWith(name: string, content: string | Uint8Array): string {
  const path = join(out, name);
  writeFileSync(path, content);
  return path;
}

describe("run", () => {
  test("a workload runs on all profiles and techniques, prints its table and says what it wrote", async () => {
    const answer = await run(fresh("in"));
    expect(answer.status).toBe(0);
    // Two lanes, from either end of the techniques.
    expect(answer.ran.map((point) => `${point.profile} ${point.technique}`)).toEqual([
      ...["pentium4-672 native", "core2-e6700 vtx", "core2-e6700 native", "pentium4-672 vtx"],
      ...["pentium4-672 bt", "core2-e6700 bt"],
    ]);
    expect(answer.out).toMatch(/^in: read of the POST port/);
    expect(answer.out).toMatch(/\nin +[\d ]+ +3 209 i /);
    expect(readdirSync(out).sort()).toEqual([
      "accounts.csv",
      "counters.csv",
      "exits.csv",
      "figures",
      "measurements.csv",
      "run.json",
      "summary.csv",
      "table.txt",
    ]);
    expect(
      readdirSync(join(out, "figures"))
        .filter((name) => name.startsWith("nano"))
        .sort(),
    ).toEqual(["nanobenchmarks.png", "nanobenchmarks.svg", "nanobenchmarks.vl.json"]);
    for (const name of ["measurements.csv", "table.txt", "nanobenchmarks.png"]) expect(answer.out).toContain(name);
  });

  test("options narrow a suite, and parameters given as lists are swept", async () => {
    const answer = await run(
      fresh(
        "compute",
        "-p",
        "core2-e6700",
        "-t",
        "native",
        "-n",
        "2",
        "--param",
        "scale=1,3",
        "--memory",
        "32",
        "--max-cycles",
        "1e6",
        "--seed",
        "9",
      ),
    );
    expect(answer.ran.map((point) => `${point.parameters} ${point.repetition}`)).toEqual([
      ...["scale=1 0", "scale=3 1", "scale=1 1", "scale=3 0"],
    ]);
    expect(answer.ran[0]).toMatchObject({ guestMemoryMb: 32, maxCycles: 1e6 });
  });

  test("the default suite is found by name", async () => {
    // What does not survive the classical monitor fails, as the suite says.
    const answer = await run(fresh("adams-agesen-2006", "-n", "1"), {
      behave: ({ fails }, result) => (fails === undefined ? result : { ...result, end: { kind: "exit", status: 1 } }),
    });
    expect(answer.status).toBe(0);
    expect(answer.ran.length).toBe(2 * 4 * 19);
    expect(answer.err).toMatch(/ringlab: 152 of 152 points\n$/);
    expect(answer.out).toContain("ptemod-np2p");
    expect(answer.out).toMatch(/\ncli-sti .* fails /);
    expect(answer.out).toMatch(/\nfails {2}pushf-popf, classical\+shadow: PUSHF and POPF/);
  });

  test("a guest that survives where its suite says that it does not is a failed point", async () => {
    const answer = await run(fresh("adams-agesen-2006", "-n", "1", "-p", "core2-e6700", "-t", "classical"));
    expect(answer.status).toBe(28);
    expect(answer.err).toMatch(
      /\nringlab: cli-sti, core2-e6700, classical\+shadow, repetition 1: the guest survived, /,
    );
    expect(answer.err).toMatch(/ringlab: 2 of 19 points failed\n$/);
  });

  test("--trace writes a line for each exit; with several points a file for each", async () => {
    const trace = join(out, "exits.jsonl");
    await run([...fresh("in", "-t", "vtx", "-p", "core2-e6700"), "--trace", trace]);
    await run([...fresh("in", "-t", "vtx"), "--trace", trace]);
    expect(
      readdirSync(out)
        .filter((name) => name.startsWith("exits"))
        .sort(),
    ).toEqual([
      ...["exits-in-core2-e6700-vtx-shadow-0.jsonl", "exits-in-pentium4-672-vtx-shadow-0.jsonl"],
      ...["exits.csv", "exits.jsonl"],
    ]);
    const lines = readFileSync(trace, "utf8")
      .trim()
      .split("\n")
      .filter((line) => line !== "");
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({
        cycle: 100,
        reason: "io-instruction",
        qualification: "0x800000",
        cs: "0x8",
        eip: "0x100123",
      });
    }
  });

  test("--set reaches the simulator and is marked", async () => {
    const answer = await run(fresh("in", "--set", "core2-e6700.vmread=100", "--set", "profile.vmexit=1000"));
    const [pentium, core] = ["pentium4-672", "core2-e6700"].map((name) =>
      answer.ran.find(({ profile }) => profile === name),
    );
    expect(pentium?.values).toEqual({ vmexit: 1000 });
    expect(core?.values).toEqual({ vmread: 100, vmexit: 1000 });
    expect(answer.out).toContain("NOT THE PROFILES AS PUBLISHED");
  });
});

describe("boot, explain and the rest", () => {
  test("boot prints the serial output and nothing else on stdout, the summary on stderr", async () => {
    const answer = await run(["boot", "in", "-t", "vtx", "-p", "core2-e6700"]);
    expect(answer.status).toBe(0);
    expect(answer.out).toBe("fake guest\nt: 12\nexit 0\n");
    expect(answer.err).toMatch(
      /in, core2-e6700, vtx\+shadow: exit status 0\n[\d ]+ cycles \([\d.]+ ms\), 5 000 guest instructions/,
    );
  });

  test("--verify runs every point anew, and a difference is status 27 with its story", async () => {
    const runs = join(out, "runs");
    const command = ["run", "in", "-t", "native", "--out", join(out, "run")];
    await runIn(runs, command);
    const same = await runIn(runs, [...command, "--verify"]);
    expect(same).toMatchObject({ status: 0, ran: [{ workload: "in" }, { workload: "in" }] });
    const different = await runIn(runs, [...command, "--verify"], {
      behave: (point, result) => (point.profile === "core2-e6700" ? { ...result, difference: "eax 1 2" } : result),
    });
    expect(different.status).toBe(27);
    expect(different.err).toMatch(/ringlab: in, core2-e6700, native, repetition 1: eax 1 2\n/);
    // What differs is not a result.
    expect((await runIn(runs, command)).ran).toEqual([]);
  });

  test("boot takes flat code with a load address", async () => {
    const answer = await run(["boot", fileWith("code.bin", new Uint8Array([0xf4])), "--load-address", "0x100000"]);
    expect(answer.ran[0]).toMatchObject({ imageKind: "flat", loadAddress: 0x100000 });
    expect(answer.status).toBe(0);
  });

  test("explain prints an additive list", async () => {
    const answer = await run(["explain", "in", "-t", "vtx", "--set", "vmread=100"]);
    expect(answer.status).toBe(0);
    expect(answer.out).toMatch(/^in on pentium4-672, vtx\+shadow, with vmread=100: /);
    expect(answer.out).toMatch(/count +cost +cycles\n/);
    expect(answer.out).toMatch(/total +[\d ]+\n/);
    expect(answer.out).toContain("The mean over 1000 iterations is");
  });

  test("list names everything there is, and each list alone", async () => {
    const all = await run(["list"]);
    for (const name of ["adams-agesen-2006", "ptemod-p2np", "core2-e6700", "vtx"]) expect(all.out).toContain(name);
    const profiles = await run(["list", "profiles"]);
    expect(profiles.out.trim().split("\n").length).toBe(2);
  });

  test("table and figure work from a folder alone, and diff compares two", async () => {
    const first = await run(fresh("in"));
    const table = await run(["table", out]);
    expect(first.out.startsWith(table.out)).toBe(true);
    const figures = join(out, "again");
    const drawn = await run(["figure", out, "--only", "nanobenchmarks", "--out", figures]);
    expect(drawn.out.trim().split("\n").length).toBe(3);
    expect(
      readFileSync(join(figures, "nanobenchmarks.svg")).equals(
        readFileSync(join(out, "figures", "nanobenchmarks.svg")),
      ),
    ).toBe(true);
    const other = join(out, "other");
    await run(["run", "in", "--out", other, "--set", "vmexit=1"]);
    expect((await run(["diff", out, out])).status).toBe(0);
    const different = await run(["diff", out, other]);
    expect(different.status).toBe(3);
    expect(different.out).toContain("set in the first: nothing; in the second: vmexit=1\n");
  });

  test("validation writes its document", async () => {
    const path = join(out, "VALIDATION.md");
    const answer = await run(["validation", "--out", path]);
    expect(answer.status).toBe(0);
    expect(readFileSync(path, "utf8")).toMatch(/^# Validation\n/);
  });
});

test("every exit code is its own, and --help shows them all", async () => {
  const codes = EXIT_CODES.map(({ code }) => code);
  expect(new Set(codes).size).toBe(codes.length);
  expect(Object.keys(PROBLEM_CODES)).toEqual([...PROBLEM_KINDS]);
  const log = vi.spyOn(console, "log").mockImplementation(() => undefined);
  expect((await run(["--help"])).status).toBe(0);
  const help = log.mock.calls.flat().join("\n");
  log.mockRestore();
  for (const { code, meaning } of EXIT_CODES) {
    expect(help).toContain(String(code));
    expect(help.replace(/\s+/g, " ")).toContain(meaning);
  }
  for (const command of ["run", "boot", "explain", "table", "figure", "diff", "list", "validation"])
    expect(help).toContain(`ringlab ${command}`);
});

describe("bad input is one line with its own exit status", () => {
  const suite = (text: string) => ["run", fileWith("s.yaml", text)];
  const cases: [name: string, argv: () => string[], status: number, line: RegExp][] = [
    ["nothing to do", () => [], 2, /say what to do/],
    ["a misspelt command", () => ["rum", "in"], 2, /no command "rum"; did you mean "run"\?/],
    [
      "an unknown option",
      () => ["run", "in", "--wrokers", "2"],
      2,
      /Unknown argument: wrokers; did you mean --workers\? \(ringlab run --help\)/,
    ],
    ["a missing argument", () => ["run"], 2, /an argument is missing \(ringlab run --help\)/],
    [
      "a number that is none",
      () => ["run", "in", "--max-cycles", "lots"],
      2,
      /--max-cycles takes a whole number from 1, not "lots"/,
    ],
    ["a parameter that is none", () => ["run", "in", "--param", "scale"], 2, /--param takes name=value, not "scale"/],
    [
      "an unknown profile",
      () => ["run", "in", "-p", "pentium4-762"],
      10,
      /no processor profile "pentium4-762"; did you mean "pentium4-672"\?/,
    ],
    [
      "an unknown profile of --set",
      () => ["run", "in", "--set", "core3-e1.vmread=1"],
      10,
      /no processor profile "core3-e1"/,
    ],
    ["an unknown technique", () => ["run", "in", "-t", "vt-x"], 11, /no technique "vt-x"; did you mean "vtx"\?/],
    [
      "an unknown memory model",
      () => ["run", "in", "-t", "vtx+shadows"],
      11,
      /no memory model "shadows"; did you mean "shadow"\?/,
    ],
    [
      "an unknown workload",
      () => ["run", "sycall-int"],
      12,
      /no suite or workload "sycall-int"; did you mean "syscall-int"\?/,
    ],
    ["an unknown suite file", () => ["run", "nowhere.yaml"], 12, /no suite file nowhere\.yaml/],
    [
      "an unknown region",
      () => ["explain", "compute", "--region", "sorts"],
      12,
      /compute has no region "sorts"; did you mean "sort"\?/,
    ],
    [
      "a malformed suite",
      () => suite("name: x\nprofile: [core2-e6700]\n"),
      13,
      /s\.yaml:2:1: unknown key "profile"; did you mean "profiles"\?/,
    ],
    [
      "a value that a profile has not",
      () => ["run", "in", "--set", "vmred=1"],
      14,
      /no value "vmred" \(did you mean vmread\?\)/,
    ],
    [
      "a value that cannot be",
      () => ["run", "in", "--set", "vmread=lots"],
      14,
      /--set takes name=number.*not "vmread=lots"/,
    ],
    ["an image that is not there", () => ["boot", "/nowhere/x.elf"], 15, /x\.elf: no such file/],
    [
      "a truncated image",
      () => ["boot", fileWith("x.elf", new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 1]))],
      15,
      /x\.elf: truncated/,
    ],
    [
      "what is no image",
      () => ["boot", fileWith("x.bin", "hello")],
      15,
      /x\.bin: neither ELF nor multiboot .*--load-address/,
    ],
    [
      "bare hardware over shadow tables",
      () => ["run", "in", "-t", "native+shadow"],
      16,
      /native never ran over memory model shadow: .*use direct/,
    ],
    [
      "VT-x over EPT before there was any",
      () => ["run", "in", "-t", "vtx+ept"],
      16,
      /vtx never ran over memory model ept: .*2008.*use shadow/,
    ],
    [
      "a guest too small for its image",
      () => ["run", "in", "--guest-memory", "1"],
      17,
      /in: needs memory up to .*give it \d+ MB or more \(--memory\)/,
    ],
    ["results that are not there", () => ["table", "nowhere"], 18, /nowhere: no results there/],
    ["an unknown figure", () => ["figure", "nowhere", "--only", "pie"], 18, /nowhere: no results there/],
  ];
  test.each(cases)("%s", async (_, argv, status, line) => {
    const answer = await run(argv());
    expect(answer.err).toMatch(line);
    expect(answer.err).toMatch(/^ringlab: [^\n]*\n$/);
    expect(answer.status).toBe(status);
    expect(answer.out).toBe("");
    expect(answer.ran).toEqual([]);
  });
});

describe("guests that do not end well", () => {
  const cases: [end: RunEnd, status: number, line: RegExp][] = [
    [{ kind: "exit", status: 1 }, 20, /exited with status 1; its serial output says why/],
    [{ kind: "triple-fault", cs: 8, eip: 0x100000, detail: "#DF" }, 21, /triple fault at 0008:00100000: #DF/],
    [{ kind: "limit", cs: 8, eip: 0x100000 }, 22, /not done after \d+ cycles, at 0008:00100000; .*--max-cycles/],
    [{ kind: "dead-halt", cs: 8, eip: 0x100000 }, 23, /halted with interrupts off at 0008:00100000/],
    [{ kind: "unmodelled", cs: 8, eip: 0x100000, detail: "FLD1 (D9 E8)" }, 24, /not modelled at 0008:00100000: FLD1/],
  ];
  test.each(cases)("%j", async (end, status, line) => {
    const behave = (point: { technique: string }, result: RunResult) =>
      point.technique === "vtx" ? { ...result, end } : result;
    const ran = await run(fresh("in", "-p", "core2-e6700"), { behave });
    expect(ran.status).toBe(status);
    expect(ran.err).toMatch(line);
    expect(ran.err).toMatch(
      /^ringlab: in, core2-e6700, vtx\+shadow, repetition 1: [^\n]*\nringlab: 1 of 3 points failed\n$/,
    );
    // what was good is in the files
    expect(readFileSync(join(out, "summary.csv"), "utf8")).toContain("core2-e6700,native");
    const booted = await run(["boot", "in", "-t", "vtx"], { behave });
    expect(booted.status).toBe(status);
    expect(booted.err).toMatch(line);
  });

  test("a bug in the simulator is told in one line, and is status 30", async () => {
    const behave = () => {
      throw new Error("undefined is not a function\n    at x");
    };
    const ran = await run(fresh("in", "-p", "core2-e6700", "-t", "native"), { behave });
    expect(ran).toMatchObject({
      status: 30,
      err: "ringlab: in, core2-e6700, native, repetition 1: undefined is not a function\n",
    });
  });
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s ends a run with one line and status %i", async (signal, status) => {
  let send: (signal: "SIGINT" | "SIGTERM") => void = () => undefined;
  let ran = 0;
  const answer = await run(fresh("in", "-n", "3", "--seed", String(status)), {
    signals: (sender) => {
      send = sender;
    },
    behave: async (_, result) => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (++ran === 4) send(signal);
      return result;
    },
  });
  expect(answer.status).toBe(status);
  expect(answer.err.split("\n").at(-2)).toMatch(
    /^ringlab: interrupted: [4-6] of 18 points finished; they are kept, and the same command goes on from there$/,
  );
  expect(answer.out).toBe("");
  expect(existsSync(join(out, "run.json"))).toBe(false);
});

test("a run finds in the store what an earlier one finished; --no-cache runs it again", async () => {
  const runs = join(out, "runs");
  expect((await runIn(runs, fresh("in"))).ran.length).toBe(6);
  const table = readFileSync(join(out, "table.txt"), "utf8");
  expect((await runIn(runs, fresh("in"))).ran.length).toBe(0);
  expect(readFileSync(join(out, "table.txt"), "utf8")).toBe(table);
  expect((await runIn(runs, fresh("in", "-n", "2"))).ran.length).toBe(6);
  expect((await runIn(runs, fresh("in", "--no-cache"))).ran.length).toBe(6);
});

test("results are named by their folder or by the run", async () => {
  const runs = join(out, "runs");
  await runIn(runs, ["run", "in"]);
  expect((await runIn(runs, ["table", "in"])).out).toMatch(/^in: read of/);
  expect((await runIn(runs, ["table", join(runs, "in")])).out).toMatch(/^in: read of/);
  expect((await runIn(runs, ["table"])).err).toMatch(/adams-agesen-2006: no results there/);
});

test("an error that nobody foresaw is reported as a bug, status 1", async () => {
  let err = "";
  const environment = {
    ...{ out: () => undefined, isTerminal: false, runs: out, onStop: () => () => undefined, code: async () => "c" },
    err: (text: string) => {
      err += text;
    },
    executor: () => Promise.reject(new Error("no threads today")),
    session: () => Promise.reject(new Error("no guests today")),
    console: { interactive: false, listen: () => () => undefined, readAll: async () => new Uint8Array() },
  };
  expect(await ringlab(["run", "in"], environment)).toBe(1);
  expect(err).toMatch(/a bug of ringlab, please report it: Error: no threads today/);
});
