// The committed guest images are what their sources make: rebuilt by the toolchain that MANIFEST.json names they have the
// same bytes; rebuilt by another one they give the same results on QEMU.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  bootOnQemu,
  companyOf,
  guestNames,
  imagesFolder,
  qemuVersion,
  readManifest,
  root,
  runWithCompany,
} from "./guests.ts";

const committed = readManifest();
const names = Object.keys(committed.images);

const versionOf = (tool: string): string =>
  spawnSync(tool, ["--version"], { encoding: "utf8" }).stdout?.split("\n")[0] ?? "";
const fileOf = (name: string): string => committed.images[name]?.file ?? "";
const here = { compiler: versionOf(process.env["CC"] ?? "gcc"), linker: versionOf("ld") };
const compiles32 =
  spawnSync(process.env["CC"] ?? "gcc", ["-m32", "-ffreestanding", "-nostdlib", "-xc", "-c", "-o", "/dev/null", "-"], {
    input: "int x;",
  }).status === 0;
const sameToolchain = here.compiler === committed.toolchain.compiler && here.linker === committed.toolchain.linker;

test("the committed images have the SHA-256 that the manifest gives", () => {
  for (const name of names) {
    const bytes = readFileSync(join(imagesFolder, fileOf(name)));
    expect(createHash("sha256").update(bytes).digest("hex"), name).toBe(committed.images[name]?.sha256);
  }
});

const doing = !compiles32
  ? "no compiler for 32-bit x86: skipped"
  : sameToolchain
    ? `same toolchain (${here.compiler}; ${here.linker}): same bytes`
    : `other toolchain (${here.compiler}; ${here.linker}): same results`;

describe.skipIf(!compiles32)(`rebuilding with ${doing}`, () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "ringlab-rebuild-"));
    const built = spawnSync(process.execPath, [join(root, "workloads", "build.mjs"), "--out", folder], {
      encoding: "utf8",
    });
    if (built.status !== 0) throw new Error(`workloads/build.mjs failed:\n${built.stdout}${built.stderr}`);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.runIf(sameToolchain)("the manifest is the same", () => {
    expect(readManifest(folder)).toEqual(committed);
  });

  test.runIf(sameToolchain).for(names)("%s has the same bytes", (name) => {
    const rebuilt = readFileSync(join(folder, fileOf(name)));
    expect(rebuilt.equals(readFileSync(join(imagesFolder, fileOf(name))))).toBe(true);
  });

  test
    .runIf(!sameToolchain && qemuVersion !== "")
    .for(guestNames(committed).filter((name) => committed.images[name]?.qemu !== false))(
    "%s gives the same results on QEMU",
    (name) => {
      const file = join(folder, fileOf(name));
      const disk = committed.images[name]?.format === "disk";
      const run = disk ? bootOnQemu(file, "ours") : runWithCompany(file, companyOf(name));
      expect(run.lines).toBe(readFileSync(join(imagesFolder, `${name}.expected`), "utf8"));
      expect(run.status).toBe(0);
    },
  );
});
