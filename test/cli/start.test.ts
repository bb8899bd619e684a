// What a quick start rests on: which files a command reads before it does anything. How long that takes is measured by
// `npm run bench`; here it is what must not creep in.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { cachedDataVersionTag } from "node:v8";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sourcePositions } from "../../cli/stack.ts";
import { ROOT } from "../../experiments/paths.ts";

const start = join(ROOT, "dist", "start");

/** What a file imports before it runs: our own files and the others. */
function reads(file: string): { readonly own: Set<string>; readonly others: Set<string> } {
  const own = new Set<string>();
  const others = new Set<string>();
  const visit = (name: string) => {
    if (own.has(name)) return;
    own.add(name);
    const text = readFileSync(join(start, name), "utf8").replace(/^\(function \(.*?\) \{/, "");
    for (const [, source] of text.matchAll(/^(?:(?:const|let) \w+ = )?require\("([^"]+)"\);$/gm)) {
      if (source?.startsWith("./")) visit(source.slice(2));
      else if (!isBuiltin(source as string)) others.add(source as string);
    }
  };
  visit(file);
  return { own, others };
}

/** Packages that are part of a file. */
const packagesIn = (file: string): readonly string[] => {
  const modules = readFileSync(join(start, file), "utf8").matchAll(/^\/\/ node_modules\/((?:@[^/\n]+\/)?[^/\n]+)/gm);
  return [...modules].map(([, name]) => name as string);
};

test("--help reads the command line and yargs, and nothing of the simulator", () => {
  const { own, others } = reads("main.cjs");
  expect([...others]).toEqual([]);
  const packages = [...own].flatMap(packagesIn);
  expect(packages).toContain("yargs");
  expect(packages.filter((name) => /^(zod|yaml|iced-x86|vega|csv)/.test(name))).toEqual([]);
  expect(own).toContain("exit-codes.cjs");
  const bytes = [...own].reduce((sum, name) => sum + statSync(join(start, name)).size, 0);
  expect(bytes).toBeLessThan(400_000);
});

test("to boot a guest neither schemas nor YAML nor figures are read", () => {
  for (const file of ["boot.cjs", "session.cjs"]) {
    const { own, others } = reads(file);
    expect([...others], file).toEqual([]);
    expect(
      [...own].flatMap(packagesIn).filter((name) => /^(zod|yaml|csv|cli-progress)/.test(name)),
      file,
    ).toEqual([]);
  }
});

test("a position in compiled code is said as that of its source", () => {
  const lines = readFileSync(join(start, "main.cjs"), "utf8").split("\n");
  const line = lines.findIndex((text) => text.includes("a bug of ringlab, please report it")) + 1;
  const stack = `Error: gone\n    at report (file://${join(start, "main.cjs")}:${line}:2)\n    at node:internal:1:1`;
  expect(sourcePositions(stack)).toMatch(/at report \(.*cli\/ringlab\.ts:\d+:\d+\)\n {4}at node:internal:1:1$/);
});

test("a position without a map stays as it is", () => {
  expect(existsSync("/nowhere/a.js.map")).toBe(false);
  expect(sourcePositions("at /nowhere/a.js:1:2")).toBe("at /nowhere/a.js:1:2");
});

describe("code that V8 compiled before", () => {
  interface Loader {
    load(path: string): { readonly answer: number };
    keepCode(): void;
    loadedFiles(): readonly { readonly path: string; readonly taken: boolean | undefined }[];
  }
  let loader: Loader;
  let folder: string;
  const taken = (name: string) => loader.loadedFiles().find(({ path }) => path === join(folder, name))?.taken;
  const code = (name: string) => join(folder, `${name}-${cachedDataVersionTag().toString(16)}.code`);
  const write = (name: string, answer: number) =>
    writeFileSync(join(folder, name), `(function (exports) {exports.answer = ${answer};\n})`);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "ringlab-load-"));
    loader = (await import(pathToFileURL(join(ROOT, "bin", "load.js")).href)) as Loader;
    write("a.cjs", 1);
    expect(loader.load(join(folder, "a.cjs")).answer).toBe(1);
    loader.keepCode();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("is taken with the source that it was made of", () => {
    expect(taken("a.cjs")).toBeUndefined();
    cpSync(join(folder, "a.cjs"), join(folder, "copy.cjs"));
    cpSync(code("a"), code("copy"));
    expect(loader.load(join(folder, "copy.cjs")).answer).toBe(1);
    expect(taken("copy.cjs")).toBe(true);
  });

  test("is not taken with another source of the same length, nor when it is spoiled", () => {
    write("other.cjs", 2);
    cpSync(code("a"), code("other"));
    expect(loader.load(join(folder, "other.cjs")).answer).toBe(2);
    expect(taken("other.cjs")).toBeUndefined();

    write("spoiled.cjs", 1);
    writeFileSync(code("spoiled"), readFileSync(code("a")).fill(0, 32));
    expect(loader.load(join(folder, "spoiled.cjs")).answer).toBe(1);
    expect(taken("spoiled.cjs")).toBe(false);
  });

  test("is there for whatever a boot loads, and V8 takes it", () => {
    const script = `
      import { load, loadedFiles } from ${JSON.stringify(pathToFileURL(join(ROOT, "bin", "load.js")).href)};
      const { ringlab, hostEnvironment } = load(${JSON.stringify(join(start, "main.cjs"))});
      const status = await ringlab(["boot", "in"], { ...hostEnvironment(), out() {}, err() {} });
      console.log(JSON.stringify({ status, files: loadedFiles() }));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    const { status, files } = JSON.parse(stdout) as { status: number; files: ReturnType<Loader["loadedFiles"]> };
    expect(status).toBe(0);
    expect(files.map(({ path }) => basename(path))).toEqual(expect.arrayContaining(["main.cjs", "session.cjs"]));
    expect(files.filter((file) => file.taken !== true)).toEqual([]);
  });
});

/** Runs `in` with so many workers, of which one is there. Whether figures could be drawn before the guest had ended. */
function readsWhileRunning(width: number): boolean {
  const folder = mkdtempSync(join(tmpdir(), "ringlab-run-"));
  const script = `
    import { load, loadedFiles } from ${JSON.stringify(pathToFileURL(join(ROOT, "bin", "load.js")).href)};
    const start = ${JSON.stringify(start)};
    const { ringlab, hostEnvironment } = load(start + "/main.cjs");
    const { work } = load(start + "/worker.cjs");
    const memory = new Int32Array(new SharedArrayBuffer(4));
    let read;
    const executor = {
      width: ${width},
      async run(task) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        read = loadedFiles().some(({ path }) => path.endsWith("render.cjs"));
        return work({ task, memory });
      },
      async close() {},
    };
    const world = { out() {}, err() {}, runs: ${JSON.stringify(folder)}, executor: async () => executor };
    const status = await ringlab(["run", "in", "-t", "native", "-p", "core2-e6700"], { ...hostEnvironment(), ...world });
    console.log(JSON.stringify({ status, read }));`;
  try {
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    const { status, read } = JSON.parse(stdout) as { status: number; read: boolean };
    expect(status).toBe(0);
    return read;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("what shows results is read while guests run if a processor has nothing to do, and else after them", () => {
  expect(readsWhileRunning(2)).toBe(true);
  expect(readsWhileRunning(1)).toBe(false);
});
