// Images: which files can be loaded, and what is said of those that cannot.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkFits, classify, guestImage, readImage } from "../../experiments/images.ts";
import { IMAGES_FOLDER } from "../../experiments/paths.ts";
import { Problem } from "../../experiments/problem.ts";
import type { KernelImage } from "../../sim/boot/image.ts";

const inElf = new Uint8Array(readFileSync(join(IMAGES_FOLDER, "in.elf")));

function problem(act: () => unknown): Problem {
  try {
    act();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("accepted");
}

/** A copy of in.elf with a 16-bit word changed. */
function changed(...words: [offset: number, value: number][]): Uint8Array {
  const bytes = inElf.slice();
  const view = new DataView(bytes.buffer);
  for (const [offset, value] of words) view.setUint16(offset, value, true);
  return bytes;
}

/** An ELF32 executable with the given segments (address, size in memory), each of four bytes in the file. */
function elf(...segments: [address: number, memoryBytes: number][]): Uint8Array {
  const bytes = new Uint8Array(52 + 32 * segments.length + 4);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  view.setUint32(24, 0x100000, true);
  view.setUint32(28, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, segments.length, true);
  segments.forEach(([address, memoryBytes], index) => {
    const at = 52 + 32 * index;
    view.setUint32(at, 1, true);
    view.setUint32(at + 4, bytes.length - 4, true);
    view.setUint32(at + 12, address, true);
    view.setUint32(at + 16, 4, true);
    view.setUint32(at + 20, memoryBytes, true);
  });
  return bytes;
}

test("an ELF file with a multiboot header is multiboot, one without is plain, anything with a load address is flat", () => {
  expect(readImage(join(IMAGES_FOLDER, "in.elf")).kind).toBe("multiboot");
  expect(classify(elf([0x100000, 16]), "x").kind).toBe("elf32");
  expect(classify(new Uint8Array([0x90, 0xf4]), "x", 0x7c00)).toMatchObject({ kind: "flat", loadAddress: 0x7c00 });
});

test("a multiboot header with a wrong checksum is none", () => {
  const bytes = inElf.slice();
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 8192 && at + 12 <= bytes.length; at += 4) {
    if (view.getUint32(at, true) === 0x1badb002) view.setUint32(at + 8, 1, true);
  }
  expect(classify(bytes, "x").kind).toBe("elf32");
});

describe("files that cannot be loaded", () => {
  const cases: [name: string, bytes: Uint8Array, message: RegExp][] = [
    ["empty", new Uint8Array(), /^x: empty/],
    ["cut in its header", inElf.slice(0, 40), /^x: truncated: 40 bytes/],
    ["cut in its program headers", inElf.slice(0, 60), /^x: truncated: program headers end at byte/],
    ["cut in a segment", inElf.slice(0, inElf.length >> 1), /^x: truncated: segment \d ends at byte/],
    ["for ARM", changed([18, 40]), /^x: an image for ARM, not for x86/],
    ["for x86-64", changed([18, 62]), /^x: an image for x86-64, not for x86/],
    ["not linked", changed([16, 1]), /^x: a relocatable object, not an executable/],
    ["without segments", elf(), /^x: no segment to load/],
    [
      "with overlapping segments",
      elf([0x100000, 64], [0x100020, 64]),
      /^x: segments overlap at physical address 100020h/,
    ],
    [
      "text",
      new TextEncoder().encode("hello"),
      /^x: neither ELF nor multiboot nor a Linux kernel, and no disk .*--load-address/,
    ],
  ];
  test.each(cases)("%s", (_, bytes, message) => {
    const found = problem(() => classify(bytes, "x"));
    expect(found.message).toMatch(message);
    expect(found.kind).toBe("bad-image");
  });

  test("absent", () => {
    expect(problem(() => readImage("/nowhere/x.elf")).message).toMatch(/no such file/);
  });
});

test("an image that needs more memory than the guest has says how much", () => {
  const image = classify(elf([0x100000, 40 * 2 ** 20]), "x");
  const found = problem(() => checkFits(image, "x", 32 * 2 ** 20));
  expect(found.kind).toBe("image-too-large");
  expect(found.message).toMatch(/needs memory up to 2900000h, the guest has 32 MB; give it 41 MB or more/);
  expect(() => checkFits(image, "x", 41 * 2 ** 20)).not.toThrow();
});

test("a flat image may not lie in the hole below 1 MB", () => {
  const image = classify(new Uint8Array(0x1000), "x", 0x9f800);
  expect(problem(() => checkFits(image, "x", 2 ** 26)).message).toMatch(/where a PC has no RAM/);
});

test("an image becomes segments to copy, an entry, and the end of what it needs", () => {
  const image = guestImage(classify(elf([0x100000, 64], [0x200000, 4096]), "x")) as KernelImage;
  expect(image).toMatchObject({ kind: "elf32", entry: 0x100000, end: 0x201000 });
  expect(image.segments.map((segment) => [segment.address, segment.bytes.length])).toEqual([
    [0x100000, 4],
    [0x200000, 4],
  ]);
  const flat = guestImage(classify(new Uint8Array([0x90, 0xf4]), "x", 0x7c00));
  expect(flat).toEqual({
    ...{ kind: "flat", entry: 0x7c00, end: 0x7c02 },
    segments: [{ address: 0x7c00, bytes: new Uint8Array([0x90, 0xf4]) }],
  });
  const kernel = guestImage(readImage(join(IMAGES_FOLDER, "in.elf"))) as KernelImage;
  expect(kernel.entry).toBeGreaterThanOrEqual(0x100000);
  expect(kernel.end).toBeLessThan(16 * 2 ** 20);
});
