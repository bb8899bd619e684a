// What a quick start rests on: which files a command reads before it does anything. How long that takes is measured by
// `npm run bench`; here it is what must not creep in.
import { existsSync, readFileSync, statSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { expect, test } from "vitest";
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
    for (const [, source] of readFileSync(join(start, name), "utf8").matchAll(/^import .*?"([^"]+)";$/gm)) {
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
  const { own, others } = reads("main.js");
  expect([...others]).toEqual([]);
  const packages = [...own].flatMap(packagesIn);
  expect(packages).toContain("yargs");
  expect(packages.filter((name) => /^(zod|yaml|iced-x86|vega|csv)/.test(name))).toEqual([]);
  const bytes = [...own].reduce((sum, name) => sum + statSync(join(start, name)).size, 0);
  expect(bytes).toBeLessThan(400_000);
});

test("to boot a guest neither schemas nor YAML nor figures are read", () => {
  for (const file of ["boot.js", "session.js"]) {
    const { own, others } = reads(file);
    expect([...others], file).toEqual([]);
    expect(
      [...own].flatMap(packagesIn).filter((name) => /^(zod|yaml|csv|cli-progress)/.test(name)),
      file,
    ).toEqual([]);
  }
});

test("a position in compiled code is said as that of its source", () => {
  const lines = readFileSync(join(start, "main.js"), "utf8").split("\n");
  const line = lines.findIndex((text) => text.includes("a bug of ringlab, please report it")) + 1;
  const stack = `Error: gone\n    at report (file://${join(start, "main.js")}:${line}:2)\n    at node:internal:1:1`;
  expect(sourcePositions(stack)).toMatch(/at report \(.*cli\/ringlab\.ts:\d+:\d+\)\n {4}at node:internal:1:1$/);
});

test("a position without a map stays as it is", () => {
  expect(existsSync("/nowhere/a.js.map")).toBe(false);
  expect(sourcePositions("at /nowhere/a.js:1:2")).toBe("at /nowhere/a.js:1:2");
});
