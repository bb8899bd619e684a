// The set-up script (scripts/setup.mjs) in a small project of its own, with a stand-in for npm that notes how it was
// called; the compiler is the one installed here.

import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
let project: string;

const write = (path: string, text: string): void => {
  mkdirSync(dirname(join(project, path)), { recursive: true });
  writeFileSync(join(project, path), text);
};
const environment = (): NodeJS.ProcessEnv => ({ ...process.env, npm_execpath: join(project, "npm-cli.js") });
const run = (script: string): SpawnSyncReturns<string> =>
  spawnSync(process.execPath, [join(project, script)], { encoding: "utf8", env: environment() });
const setup = (): SpawnSyncReturns<string> => run("scripts/setup.mjs");
const npmCalls = (): string => readFileSync(join(project, "npm-calls"), "utf8");
const installing = "ringlab: installing packages (once; takes about half a minute)\n";
const setupAlongside = (): Promise<{ status: number | null; stderr: string }> =>
  new Promise((done) => {
    const child = spawn(process.execPath, [join(project, "scripts", "setup.mjs")], { env: environment() });
    let stderr = "";
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    child.on("close", (status) => done({ status, stderr }));
  });

beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), "ringlab-setup-"));
  for (const path of ["bin", "scripts", "package.json", "package-lock.json", "tsconfig.json"]) {
    cpSync(join(root, path), join(project, path), { recursive: true });
  }
  mkdirSync(join(project, "node_modules"));
  for (const name of ["typescript", "@typescript", "@types", "rolldown", "@rolldown", "@oxc-project", "iced-x86"]) {
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name), "junction");
  }
  write(
    "npm-cli.js",
    `import { appendFileSync } from "node:fs";
     appendFileSync(new URL("./npm-calls", import.meta.url), process.argv.slice(2).join(" ") + "\\n");\n`,
  );
  write(
    "cli/main.ts",
    `import { greeting } from "./greeting.ts";
     export const main = () => console.log(greeting);
     export const ringlab = () => 0;
     export const hostEnvironment = () => ({});\n`,
  );
  write("cli/greeting.ts", `export const greeting: string = "hello";\n`);
  write("experiments/worker.ts", "export const work = () => 1;\n");
});
afterEach(() => rmSync(project, { recursive: true, force: true }));

test("on a fresh clone it installs packages and compiles, and is quiet when nothing is to be done", () => {
  expect(setup()).toMatchObject({ status: 0, stdout: "", stderr: `${installing}ringlab: compiling\n` });
  expect(npmCalls()).toBe("ci --include=dev --no-audit --no-fund --loglevel=error\n");
  expect(readFileSync(join(project, "dist/cli/main.js"), "utf8")).toContain(`from "./greeting.js"`);
  expect(setup()).toMatchObject({ status: 0, stdout: "", stderr: "" });
});

test("a changed lock file installs again", () => {
  setup();
  write("package-lock.json", "{}\n");
  expect(setup().stderr).toContain(installing);
  expect(npmCalls().match(/^ci /gm)).toHaveLength(2);
});

test("a failing npm is reported with its own first words", () => {
  write("npm-cli.js", `console.error("npm error: no network"); process.exitCode = 1;\n`);
  expect(setup()).toMatchObject({
    status: 70,
    stderr: `${installing}ringlab: npm ci failed:\nnpm error: no network\n`,
  });
});

test("the launcher sets up and runs", () => {
  expect(run("bin/ringlab.js")).toMatchObject({ status: 0, stdout: "hello\n" });
  expect(run("bin/ringlab.js")).toMatchObject({ status: 0, stdout: "hello\n", stderr: "" });
});

test("a changed source is compiled again, other files stay, and what has no source any more goes", () => {
  write("cli/unused.ts", "export const unused = 1;\n");
  setup();
  const before = statSync(join(project, "dist/cli/main.js")).mtimeMs;
  write("cli/greeting.ts", `export const greeting: string = "good day";\n`);
  rmSync(join(project, "cli/unused.ts"));
  expect(setup().stderr).toBe("ringlab: compiling\n");
  expect(readFileSync(join(project, "dist/cli/greeting.js"), "utf8")).toContain("good day");
  expect(statSync(join(project, "dist/cli/main.js")).mtimeMs).toBe(before);
  expect(existsSync(join(project, "dist/cli/unused.js"))).toBe(false);
});

test("a file that was changed and changed back is read again, and nothing is compiled", () => {
  setup();
  setup();
  const text = readFileSync(join(project, "cli/greeting.ts"), "utf8");
  write("cli/greeting.ts", text.replace("hello", "world"));
  write("cli/greeting.ts", text);
  expect(setup().stderr).toBe("");
  write("cli/greeting.ts", text.replace("hello", "world"));
  expect(setup().stderr).toBe("ringlab: compiling\n");
});

test("a type error is shown, and the compiled code of before stays", () => {
  setup();
  write("cli/greeting.ts", "export const greeting: string = 1;\n");
  const failed = setup();
  expect(failed.status).toBe(70);
  expect(failed.stderr).toContain("cli/greeting.ts(1,14): error TS2322");
  expect(readFileSync(join(project, "dist/cli/greeting.js"), "utf8")).toContain("hello");
  expect(setup().status).toBe(70);
});

test("two at a time wait for each other and compile once", async () => {
  const both = await Promise.all([setupAlongside(), setupAlongside()]);
  expect(both.map(({ status }) => status)).toEqual([0, 0]);
  expect(both.filter(({ stderr }) => stderr.includes("compiling"))).toHaveLength(1);
});

test("a lock left by a killed set-up is taken over", () => {
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  write(".cache/setup.lock", String(pid));
  expect(setup().status).toBe(0);
  expect(existsSync(join(project, ".cache/setup.lock"))).toBe(false);
});

test("a lock whose owner lives is waited for", async () => {
  write(".cache/setup.lock", String(process.pid));
  const waiting = setupAlongside();
  await new Promise((done) => setTimeout(done, 600));
  expect(existsSync(join(project, "dist"))).toBe(false);
  rmSync(join(project, ".cache/setup.lock"));
  const { status, stderr } = await waiting;
  expect(status).toBe(0);
  expect(stderr).toBe(`ringlab: waiting for another set-up of this folder\n${installing}ringlab: compiling\n`);
});

test("too old a Node is refused in one line", () => {
  const description = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  write("package.json", JSON.stringify({ ...description, engines: { node: ">=99.1" } }));
  const refused = setup();
  expect(refused.status).toBe(70);
  expect(refused.stderr).toBe(`ringlab: ringlab needs Node 99.1 or newer; this is Node ${process.versions.node}\n`);
});
