// The guest images on QEMU: the same images and the same expected output as on the simulated machine.
// RINGLAB_UPDATE_EXPECTED=1 writes workloads/images/<name>.expected instead of comparing with it.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  bootOnQemu,
  companyOf,
  guestNames,
  imagesFolder,
  qemuVersion,
  readManifest,
  root,
  runOnQemu,
  runWithCompany,
} from "./guests.ts";

const manifest = readManifest();
const nanobenchmarks = Object.keys(manifest.images).filter((name) => manifest.images[name]?.kind === "nanobenchmark");
const image = (name: string): string => join(imagesFolder, `${name}.elf`);
const isDisk = (name: string): boolean => manifest.images[name]?.format === "disk";
const update = process.env["RINGLAB_UPDATE_EXPECTED"] === "1";

/** The table of docs/nanobenchmarks/README.md: instructions per iteration by nanobenchmark. */
function documentedInstructions(): Map<string, number> {
  const page = readFileSync(join(root, "docs", "nanobenchmarks", "README.md"), "utf8");
  const rows = page.matchAll(/^\| \[([\w-]+)\]\(\1\.md\) *\| [03] *\|[^|]*\| (\d+) *\|/gm);
  return new Map([...rows].map((row) => [row[1] ?? "", Number(row[2])]));
}

test("every nanobenchmark has a page and a row in the index", () => {
  expect([...documentedInstructions().keys()].sort()).toEqual([...nanobenchmarks].sort());
  for (const name of nanobenchmarks)
    expect(existsSync(join(root, "docs", "nanobenchmarks", `${name}.md`)), name).toBe(true);
});

test("every image in the folder is in the manifest and has its expected output", () => {
  const files = readdirSync(imagesFolder).filter((file) => /\.(elf|bin|img)$/.test(file));
  expect(files.sort()).toEqual(
    Object.values(manifest.images)
      .map(({ file }) => file)
      .sort(),
  );
  if (!update)
    for (const name of guestNames(manifest))
      expect(existsSync(join(imagesFolder, `${name}.expected`)), name).toBe(true);
});

test("an image that QEMU does not run says why", () => {
  for (const [name, { qemu, qemuReason }] of Object.entries(manifest.images))
    expect(qemuReason !== undefined, name).toBe(qemu === false);
});

describe.skipIf(qemuVersion === "")(`on ${qemuVersion === "" ? "QEMU (not installed: skipped)" : qemuVersion}`, () => {
  const bootable = guestNames(manifest).filter((name) => manifest.images[name]?.qemu !== false && !isDisk(name));
  test.for(bootable)("%s exits with status 0 and prints what is expected", (name) => {
    const run = runWithCompany(join(imagesFolder, manifest.images[name]?.file ?? ""), companyOf(name));
    const expected = join(imagesFolder, `${name}.expected`);
    if (update) writeFileSync(expected, run.lines);
    expect(run.lines).toBe(readFileSync(expected, "utf8"));
    expect(run.status).toBe(0);
  });

  test.for(guestNames(manifest).filter(isDisk))(
    "the disk %s boots by our BIOS and by SeaBIOS, with the same output",
    (name) => {
      const disk = join(imagesFolder, `${name}.img`);
      const run = bootOnQemu(disk, "ours");
      const expected = join(imagesFolder, `${name}.expected`);
      if (update) writeFileSync(expected, run.lines);
      expect(run.lines).toBe(readFileSync(expected, "utf8"));
      expect(run.status).toBe(0);
      // SeaBIOS has no keys by Alt and a number on the keypad.
      const common = (lines: string): string => lines.replace(/^16h alt and a number: .*\n/m, "");
      expect(common(bootOnQemu(disk, "SeaBIOS").lines)).toEqual(common(run.lines));
    },
  );

  test.for(nanobenchmarks.filter((name) => name !== "timer-interrupt"))(
    "one iteration of %s executes as many instructions as its page says",
    (name) => {
      const perIteration = runOnQemu(image(name))
        .timed.join("")
        .match(/per-iteration=(-?[\d.]+)/)?.[1];
      expect(Number(perIteration)).toBe(documentedInstructions().get(name));
    },
  );

  test("the number of iterations comes from the command line", () => {
    const run = runOnQemu(image("in"), "iterations=200 warm-up=7");
    expect(run.lines).toContain("iterations 200, warm-up 7\n");
    expect(run.timed.join("")).toMatch(/base=6\d\d /); // three instructions an iteration
  });

  test("a parameter that is not a number is a panic with status 1", () => {
    const run = runOnQemu(image("in"), "iterations=many");
    expect(run.status).toBe(1);
    expect(run.lines).toContain("panic: command line: iterations needs a decimal number\n");
  });

  test("16 MB of memory are enough for the largest guest, and 8 MB are refused", () => {
    expect(runOnQemu(image("ptemod-p2np"), "iterations=2048", 16).status).toBe(0);
    const run = runOnQemu(image("in"), "", 8);
    expect(run.status).toBe(1);
    expect(run.lines).toContain("panic: a machine of 16 MB is needed");
  });

  test("more PTE stores than there are PTEs are refused", () => {
    const run = runOnQemu(image("ptemod-p2np"), "iterations=2049");
    expect(run.status).toBe(1);
    expect(run.lines).toContain("panic: ptemod-p2np: at most 2048 iterations\n");
  });

  test.for(["compute", "kstorm"])("another scale of %s gives another digest", (name) => {
    const digestOf = (scale: number): string | undefined =>
      runOnQemu(image(name), `scale=${scale}`).lines.match(/digest (0x[\da-f]{8})/)?.[1];
    expect(digestOf(1)).toBeDefined();
    expect(digestOf(1)).not.toBe(digestOf(2));
  });
});
