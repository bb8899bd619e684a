// The layer rule: memory -> cpu -> devices -> techniques -> machine -> experiments -> cli (docs/ARCHITECTURE.md).
//
// biome.json states it as import restrictions on the text of a specifier. The first half of this file shows that every
// forbidden pair is caught, by running Biome with the project's configuration over small files that break the rule; the
// second half resolves the imports of the real tree and checks them against the table below, whatever way they are
// written.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** Each layer with what it may import besides itself. */
const mayImport: Record<string, readonly string[]> = {
  leaves: [],
  memory: ["leaves"],
  cpu: ["leaves", "memory"],
  devices: ["leaves", "memory", "cpu"],
  techniques: ["leaves", "memory", "cpu", "devices", "vm"],
  vm: ["leaves", "memory", "cpu", "devices", "techniques"],
  machine: ["leaves", "memory", "cpu", "devices", "techniques", "vm"],
  experiments: ["leaves", "memory", "cpu", "devices", "techniques", "vm", "machine"],
  cli: ["leaves", "memory", "cpu", "devices", "techniques", "vm", "machine", "experiments"],
};
const layers = Object.keys(mayImport);

/** A file in each layer, one folder down where a layer has folders. */
const sample: Record<string, string> = {
  leaves: "sim/clock.ts",
  memory: "sim/memory/walker.ts",
  cpu: "sim/cpu/vmx/entry.ts",
  devices: "sim/devices/serial.ts",
  techniques: "sim/techniques/vtx/monitor.ts",
  vm: "sim/vm.ts",
  machine: "sim/machine.ts",
  experiments: "experiments/runner.ts",
  cli: "cli/main.ts",
};

function layerOf(path: string): string {
  if (/^sim\/(clock|ledger|observer|resources|result)\.ts$/.test(path)) return "leaves";
  const folder = /^sim\/(memory|cpu|devices|techniques)\//.exec(path)?.[1];
  if (folder !== undefined) return folder;
  if (path === "sim/vm.ts") return "vm";
  return path.startsWith("sim/") ? "machine" : (path.split("/")[0] as string);
}

function specifier(from: string, to: string): string {
  const relative = posix.relative(posix.dirname(from), to);
  return relative.startsWith(".") ? relative : `./${relative}`;
}

describe("the lint rule", () => {
  let folder: string;
  let diagnosed: Map<string, string[]>;

  const forbiddenInSim = {
    "a Node built-in": `import { readFileSync } from "node:fs";\nexport const use = readFileSync;\n`,
    "a Node built-in loaded later": `export const use = (): unknown => import("node:os");\n`,
    "the wall clock by Date": "export const use = (): number => Date.now();\n",
    "the wall clock by performance": "export const use = (): number => performance.now();\n",
    "Math.random": "export const use = (): number => Math.random();\n",
    "the environment": "export const use = (): unknown => process.env.HOME;\n",
    "host entropy": "export const use = (): unknown => crypto.randomUUID();\n",
    "a timer of the host": "export const use = (): unknown => setTimeout(() => {}, 1);\n",
  };
  const forbiddenAnywhere = {
    "a default export": "export default 1;\n",
    "a barrel file": `export { other } from "./other.ts";\n`,
    any: "export const use = (value: any): unknown => value;\n",
  };

  const pairs = layers.flatMap((from) =>
    layers
      .filter((to) => from !== to)
      .map((to) => ({ from, to, allowed: (mayImport[from] as readonly string[]).includes(to) })),
  );
  // A path of the sample's folder, so that the rules for that folder hold, with a name of its own.
  const pairFile = (from: string, to: string): string => {
    const path = sample[from] as string;
    // The leaves and the top of sim/ are named one by one in biome.json: those files are written under their own names.
    return ["leaves", "vm", "machine"].includes(from) ? join(`to-${to}`, path) : path.replace(/\.ts$/, `-${to}.ts`);
  };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "ringlab-layers-"));
    const write = (where: string, path: string, text: string): void => {
      mkdirSync(dirname(join(folder, where, path)), { recursive: true });
      writeFileSync(join(folder, where, path), text);
    };
    const configuration = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
    configuration.vcs = { enabled: false };
    const trees = ["all", ...layers.map((to) => `to-${to}`)];
    for (const tree of trees) {
      write(tree, "biome.json", JSON.stringify(configuration));
      cpSync(join(root, "lint"), join(folder, tree, "lint"), { recursive: true });
    }
    for (const { from, to } of pairs) {
      const path = sample[from] as string;
      const text = `import { a } from "${specifier(path, sample[to] as string)}";\nexport const use = a;\n`;
      const file = pairFile(from, to);
      if (file.startsWith("to-")) write(`to-${to}`, path, text);
      else write("all", file, text);
    }
    for (const [name, text] of Object.entries(forbiddenInSim)) {
      for (const layer of ["memory", "cpu", "devices", "techniques"]) {
        write("all", join("sim", layer, `${name}.ts`), text);
      }
    }
    for (const [name, text] of Object.entries(forbiddenAnywhere)) write("all", join("experiments", `${name}.ts`), text);

    diagnosed = new Map();
    for (const tree of trees) {
      for (const [file, rules] of biomeLint(join(folder, tree))) {
        diagnosed.set(tree === "all" ? file : `${tree}/${file}`, rules);
      }
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(pairs.filter((pair) => pair.allowed))("lets $from import $to", ({ from, to }) => {
    expect(diagnosed.get(pairFile(from, to)) ?? []).not.toContain("lint/style/noRestrictedImports");
  });

  test.each(pairs.filter((pair) => !pair.allowed))("does not let $from import $to", ({ from, to }) => {
    expect(diagnosed.get(pairFile(from, to)) ?? []).toContain("lint/style/noRestrictedImports");
  });

  describe.each(["memory", "cpu", "devices", "techniques"])("in sim/%s", (layer) => {
    test.each(Object.keys(forbiddenInSim))("refuses %s", (name) => {
      const rules = diagnosed.get(`sim/${layer}/${name}.ts`) ?? [];
      expect(rules.filter((rule) => /noRestrictedImports|noRestrictedGlobals|plugin/.test(rule))).not.toEqual([]);
    });
  });

  test.each(Object.keys(forbiddenAnywhere))("refuses %s anywhere", (name) => {
    expect(diagnosed.get(`experiments/${name}.ts`) ?? []).not.toEqual([]);
  });
});

/** Diagnostics of severity error by file. */
function biomeLint(folder: string): Map<string, string[]> {
  const biome = join(root, "node_modules", "@biomejs", "biome", "bin", "biome");
  const args = [biome, "lint", "--max-diagnostics=none", "--reporter=github", "--diagnostic-level=error", "."];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  const found = new Map<string, string[]>();
  for (const [, rule, file] of stdout.matchAll(/^::error title=([^,]+),file=([^,]+),/gm)) {
    const path = posix.relative(folder.replaceAll("\\", "/"), posix.resolve(folder, file as string));
    found.set(path, [...(found.get(path) ?? []), rule as string]);
  }
  if (/configuration/.test(stderr)) throw new Error(`Biome refuses the configuration:\n${stderr}`);
  return found;
}

describe("the real tree", () => {
  interface Import {
    from: string;
    specifier: string;
    typeOnly: boolean;
  }

  const tops = ["sim", "experiments", "cli"].filter((top) => existsSync(join(root, top)));
  const files = tops.flatMap((top) =>
    readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => posix.join(top, name.replaceAll("\\", "/"))),
  );

  const imports = files.flatMap((from): Import[] => {
    const text = withoutComments(readFileSync(join(root, from), "utf8"));
    const statements = [...text.matchAll(/^\s*(?:import|export)\s(?:(type)\s)?[^;"']*?from\s*["']([^"']+)["']/gm)];
    const bare = [...text.matchAll(/^\s*import\s+()["']([^"']+)["']/gm)];
    const dynamic = [...text.matchAll(/\bimport()\(\s*["']([^"']+)["']/g)];
    return [...statements, ...bare, ...dynamic].map(([, type, specifier]) => ({
      from,
      specifier: specifier as string,
      typeOnly: type === "type",
    }));
  });
  const local = imports
    .filter((edge) => edge.specifier.startsWith("."))
    .map((edge) => ({ ...edge, to: posix.join(posix.dirname(edge.from), edge.specifier) }));

  test("has sources", () => {
    expect(files.length).toBeGreaterThan(0);
    expect(imports.length).toBeGreaterThan(0);
  });

  test("imports only downwards", () => {
    const upwards = local.filter(({ from, to }) => {
      const [above, below] = [layerOf(from), layerOf(to)];
      return above !== below && !(mayImport[above] ?? []).includes(below);
    });
    expect(upwards.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test("techniques know a virtual machine by its type only", () => {
    const values = local.filter(
      ({ from, to, typeOnly }) => layerOf(from) === "techniques" && layerOf(to) === "vm" && !typeOnly,
    );
    expect(values.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test("sim/ takes nothing from outside but the decoder", () => {
    const outside = imports.filter(({ from, specifier }) => from.startsWith("sim/") && !specifier.startsWith("."));
    expect([...new Set(outside.map(({ specifier }) => specifier))].filter((name) => name !== "iced-x86")).toEqual([]);
  });

  test.each([
    ["Math.random", /\bMath\s*(\.|\[\s*["'])\s*random/],
    ["Date", /\bDate\b/],
    ["performance", /\bperformance\s*\./],
    ["process", /\bprocess\s*\./],
    ["globalThis", /\bglobalThis\b/],
  ])("sim/ does not use %s", (_name, pattern) => {
    const users = files.filter(
      (file) => file.startsWith("sim/") && pattern.test(withoutComments(readFileSync(join(root, file), "utf8"))),
    );
    expect(users).toEqual([]);
  });
});

/** Source text without comments; `//` within a string (an address) is left alone. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|[^:"'`])\/\/.*$/gm, "$1");
}
