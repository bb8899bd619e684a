// `npm run lock`: after a change of dependencies, writes package-lock.json so that `npm ci` works on every platform.
//
// A package with binaries names one optional package per platform. npm leaves those out of the lock file that it cannot
// look up at the time (a mirror that carries only some platforms), and `npm ci` then refuses the whole lock file. This
// adds them by version and platform, which the name of such a package tells; npm skips them where they do not fit.

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const lockPath = join(root, "package-lock.json");

const systems = ["android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const processors = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"];

const npm = spawnSync("npm", ["install", "--package-lock-only"], { cwd: root, stdio: "inherit", shell: true });
if (npm.status !== 0) process.exit(npm.status ?? 1);

const lock = JSON.parse(readFileSync(lockPath, "utf8"));
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (lock.packages[key] !== undefined || lock.packages[`${path}/${key}`] !== undefined) continue;
    const platform = platformOf(name);
    if (platform === undefined || !/^\d/.test(version)) {
      console.error(`cannot tell the platform of ${name}@${version}, an optional package of ${path}`);
      process.exitCode = 1;
      continue;
    }
    lock.packages[key] = { version, ...(entry.dev ? { dev: true } : {}), optional: true, ...platform };
    console.log(`added ${name} ${version}`);
  }
}
const inOrder = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1));
lock.packages = Object.fromEntries(inOrder);
writeFileSync(lockPath, `${JSON.stringify(lock, undefined, 2)}\n`);

/** `@scope/name-linux-arm64-musl` runs on linux, arm64, musl. */
function platformOf(name) {
  const words = name.split(/[-/]/);
  const os = systems.find((word) => words.includes(word));
  const cpu = processors.find((word) => words.includes(word));
  if (os === undefined || cpu === undefined) return undefined;
  if (os !== "linux") return { cpu: [cpu], os: [os] };
  const musl = words.some((word) => word.startsWith("musl"));
  return { cpu: [cpu], libc: [musl ? "musl" : "glibc"], os: [os] };
}
