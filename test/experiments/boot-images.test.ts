// Kernels of the Linux boot protocol, disks, multiboot kernels with modules and with addresses in the header: what they
// are, whether they fit, and what is put where.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkCommandLine,
  checkFits,
  classify,
  guestImage,
  type Image,
  withInitrd,
  withModules,
} from "../../experiments/images.ts";
import { Problem } from "../../experiments/problem.ts";
import { memoryRanges } from "../../sim/boot/memory-map.ts";
import { type Boot, planBoot } from "../../sim/boot.ts";

const MB = 2 ** 20;

function problem(act: () => unknown): Problem {
  try {
    act();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("accepted");
}

interface LinuxFacts {
  readonly version?: number;
  readonly setupSectors?: number;
  readonly loadFlags?: number;
  readonly ramdiskMax?: number;
  readonly commandLineSize?: number;
  readonly preferredAddress?: number;
  readonly initSize?: number;
  readonly kernelBytes?: number;
}

function linux(facts: LinuxFacts = {}): Uint8Array {
  const setupSectors = facts.setupSectors ?? 1;
  const bytes = new Uint8Array(((setupSectors || 4) + 1) * 512 + (facts.kernelBytes ?? 1000));
  const view = new DataView(bytes.buffer);
  view.setUint8(0x1f1, setupSectors);
  view.setUint16(0x1fe, 0xaa55, true);
  bytes.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x206, facts.version ?? 0x20f, true);
  view.setUint8(0x211, facts.loadFlags ?? 1);
  view.setUint32(0x22c, facts.ramdiskMax ?? 0x7fffffff, true);
  view.setUint32(0x238, facts.commandLineSize ?? 2047, true);
  view.setUint32(0x258, facts.preferredAddress ?? 0x100000, true);
  view.setUint32(0x260, facts.initSize ?? 0x8000, true);
  bytes.fill(0x4b, ((setupSectors || 4) + 1) * 512);
  return bytes;
}

const plan = (image: Image, commandLine = "", memoryBytes = 64 * MB): Boot =>
  planBoot(guestImage(image), { commandLine, memoryBytes });

/** A view of the bytes that a boot puts at an address. */
function at(boot: Boot, address: number): DataView {
  const found = boot.segments.find(
    (segment) => address >= segment.address && address < segment.address + segment.bytes.length,
  );
  if (found === undefined) throw new Error(`nothing is put at ${address.toString(16)}h`);
  const { bytes } = found;
  return new DataView(bytes.buffer, bytes.byteOffset + address - found.address, bytes.length - address + found.address);
}

function textAt(boot: Boot, address: number): string {
  const view = at(boot, address);
  let text = "";
  for (let i = 0; view.getUint8(i) !== 0; i++) text += String.fromCharCode(view.getUint8(i));
  return text;
}

describe("a kernel of the Linux boot protocol", () => {
  test("is known by its header, and has its setup code at 10000h, the rest at 1 MB", () => {
    const image = classify(linux({ setupSectors: 3 }), "x");
    expect(image.kind).toBe("bzimage");
    const boot = plan(image);
    expect(boot.cpu).toBeNull();
    expect(at(boot, 0x10000).byteLength).toBe(4 * 512);
    expect(at(boot, 0x100000).byteLength).toBe(1000);
    expect(at(boot, 0x100000).getUint8(0)).toBe(0x4b);
  });

  test("with no number of setup sectors has four", () => {
    expect(at(plan(classify(linux({ setupSectors: 0 }), "x")), 0x10000).byteLength).toBe(5 * 512);
  });

  test("gets loader type, heap, command line and video mode in its header; the file's bytes stay", () => {
    const bytes = linux();
    const before = bytes.slice();
    const boot = plan(classify(bytes, "x"), "console=ttyS0 vga=ask");
    const header = at(boot, 0x10000);
    expect(header.getUint8(0x210)).toBe(0xff);
    expect(header.getUint8(0x211)).toBe(0x81);
    expect(header.getUint16(0x224, true)).toBe(0xde00);
    expect(header.getUint16(0x1fa, true)).toBe(0xfffd);
    expect(textAt(boot, header.getUint32(0x228, true))).toBe("console=ttyS0 vga=ask");
    expect(bytes).toEqual(before);
  });

  test("is entered by the BIOS at its second sector with equal data segments and a stack below the command line", () => {
    const [file] = plan(classify(linux(), "x")).firmwareFiles;
    expect(file?.name).toBe("opt/ringlab/boot");
    const target = new DataView((file as { bytes: Uint8Array }).bytes.buffer);
    expect(target.getUint32(0, true)).toBe(1);
    expect([4, 6, 8, 10, 12].map((offset) => target.getUint16(offset, true))).toEqual([
      0, 0x1020, 0xe000, 0x1000, 0x1000,
    ]);
  });

  test("of protocol 2.01 lies at 90000h and finds its command line by magic number and offset", () => {
    const boot = plan(classify(linux({ version: 0x201 }), "x"), "root=/dev/hda");
    const header = at(boot, 0x90000);
    expect([header.getUint16(0x20, true), header.getUint16(0x22, true)]).toEqual([0xa33f, 0x9800]);
    expect(header.getUint16(0x224, true)).toBe(0x9600);
    expect(textAt(boot, 0x99800)).toBe("root=/dev/hda");
  });

  test("of protocol 2.00 has no heap to be told of", () => {
    const header = at(plan(classify(linux({ version: 0x200 }), "x")), 0x90000);
    expect(header.getUint8(0x211)).toBe(1);
    expect(header.getUint16(0x224, true)).toBe(0);
  });

  test("gets its initial RAM disk on the highest page that memory and header allow, in random sizes", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: 256 }),
        fc.integer({ min: 1, max: 3 * MB }),
        fc.integer({ min: 8 * MB, max: 0xffffffff }),
        (megabytes, size, ramdiskMax) => {
          const memoryBytes = megabytes * MB;
          const image = withInitrd(classify(linux({ ramdiskMax }), "x"), new Uint8Array(size).fill(7), "x");
          if (size > memoryBytes - 0x108000) return;
          checkFits(image, "x", memoryBytes);
          const header = at(plan(image, "", memoryBytes), 0x10000);
          const address = header.getUint32(0x218, true);
          expect(header.getUint32(0x21c, true)).toBe(size);
          expect(address % 4096).toBe(0);
          const top = Math.min(memoryBytes, ramdiskMax + 1);
          expect(address + size).toBeLessThanOrEqual(top);
          expect(address + size).toBeGreaterThan(top - 8192);
        },
      ),
    );
  });

  test.each([
    ["a zImage", linux({ loadFlags: 0 }), /^x: a zImage, which loads low/],
    ["a version before 2.00", linux({ version: 0x1ff }), /^x: a Linux kernel of boot protocol 1\.255/],
    ["without its kernel", linux({ kernelBytes: 0 }), /^x: truncated: 1024 bytes, and its setup code alone has 1024/],
  ])("%s is refused", (_, bytes, message) => {
    expect(problem(() => classify(bytes, "x")).message).toMatch(message);
  });

  test("that needs more memory than there is, with or without its RAM disk, says how much", () => {
    const image = classify(linux({ preferredAddress: 16 * MB, initSize: 20 * MB }), "x");
    expect(problem(() => checkFits(image, "x", 32 * MB)).message).toMatch(/^x: needs memory up to 2400000h/);
    expect(() => checkFits(image, "x", 36 * MB)).not.toThrow();
    const both = withInitrd(image, new Uint8Array(5 * MB), "x");
    const found = problem(() => checkFits(both, "x", 40 * MB));
    expect(found.kind).toBe("image-too-large");
    expect(found.message).toMatch(/^x: with its initial RAM disk needs memory up to 2900000h.*give it 41 MB/);
    expect(() => checkFits(both, "x", 41 * MB)).not.toThrow();
  });

  test("whose RAM disk does not fit below the kernel's limit is refused", () => {
    const image = withInitrd(classify(linux({ ramdiskMax: 4 * MB - 1 }), "x"), new Uint8Array(3 * MB), "x");
    expect(problem(() => checkFits(image, "x", 64 * MB)).message).toMatch(/no room for the initial RAM disk/);
  });

  test("takes a command line of its own length and no longer one", () => {
    const image = classify(linux({ commandLineSize: 10 }), "x");
    expect(() => checkCommandLine(image, "x", "0123456789")).not.toThrow();
    expect(problem(() => checkCommandLine(image, "x", "0123456789a")).message).toMatch(
      /10 characters, this one has 11/,
    );
    const old = classify(linux({ version: 0x205, commandLineSize: 10 }), "x");
    expect(() => checkCommandLine(old, "x", "x".repeat(255))).not.toThrow();
  });

  test("takes no modules, and no other kernel takes a RAM disk", () => {
    expect(problem(() => withModules(classify(linux(), "x"), [], "x")).message).toMatch(/no multiboot kernel/);
    const flat = classify(new Uint8Array(4), "x", 0x100000);
    expect(problem(() => withInitrd(flat, new Uint8Array(4), "x")).message).toMatch(/no Linux kernel/);
  });
});

describe("a disk", () => {
  const disk = new Uint8Array(1024);
  disk.set([0x55, 0xaa], 510);

  test("is what ends its first sector with 55AAh; the BIOS boots it as the first one", () => {
    const image = classify(disk, "x");
    expect(image.kind).toBe("disk");
    checkFits(image, "x", MB);
    const second = new Uint8Array(512);
    const boot = planBoot(guestImage(image), { commandLine: "", memoryBytes: MB, disks: [second], echoScreen: true });
    expect(boot).toMatchObject({ segments: [], cpu: null, disks: [disk, second] });
    expect(boot.firmwareFiles[0]?.bytes[0]).toBe(2);
  });

  test("is one even if its boot loader has a multiboot header, as GRUB has", () => {
    const bytes = new Uint8Array(4096);
    bytes.set(disk);
    const view = new DataView(bytes.buffer);
    const words = [0x1badb002, 0x10003, -(0x1badb002 + 0x10003), 0x100400, 0x100000, 0, 0, 0x100000];
    for (const [index, word] of words.entries()) view.setUint32(1024 + 4 * index, word >>> 0, true);
    expect(classify(bytes, "x").kind).toBe("disk");
    bytes[510] = 0;
    expect(classify(bytes, "x").kind).toBe("multiboot");
  });

  test("of an odd size is one, too; without the signature it is none", () => {
    expect(classify(disk.slice(0, 513), "x").kind).toBe("disk");
    const blank = new Uint8Array(1024);
    expect(problem(() => classify(blank, "x")).message).toMatch(/does not end with 55AAh/);
  });
});

describe("a multiboot kernel", () => {
  /** A file with a header of flag 16 at byte 64: load_addr, load_end_addr, bss_end_addr, entry_addr. */
  function kludge(load: number, loadEnd: number, bssEnd: number, entry: number, flags = 0x10003): Uint8Array {
    const bytes = new Uint8Array(4096);
    const view = new DataView(bytes.buffer);
    const words = [0x1badb002, flags, -(0x1badb002 + flags), load + 64, load, loadEnd, bssEnd, entry];
    for (const [index, word] of words.entries()) view.setUint32(64 + 4 * index, word >>> 0, true);
    return bytes;
  }

  test("with addresses in its header is loaded as they say", () => {
    const bytes = kludge(0x200000, 0x200800, 0x204000, 0x200100);
    const image = classify(bytes, "x");
    expect(image.kind).toBe("multiboot");
    expect(guestImage(image)).toEqual({
      ...{ kind: "multiboot", entry: 0x200100, end: 0x204000 },
      segments: [{ address: 0x200000, bytes: bytes.subarray(0, 0x800) }],
    });
    const whole = guestImage(classify(kludge(0x200000, 0, 0, 0x200100), "x"));
    expect(whole).toMatchObject({ end: 0x201000, segments: [{ bytes: { length: 4096 } }] });
  });

  test.each([
    ["loads more than the file has", kludge(0x200000, 0x202000, 0, 0x200100), /loads the file up to byte 8192/],
    ["is entered elsewhere", kludge(0x200000, 0, 0, 0x100), /has an entry at 100h, outside/],
    ["asks for what there is not", kludge(0x200000, 0, 0, 0x200100, 0x10008), /asks for what we do not offer/],
    ["has neither addresses nor ELF", kludge(0, 0, 0, 0, 3), /not ELF and has no addresses/],
  ])("that %s is refused", (_, bytes, message) => {
    expect(problem(() => classify(bytes, "x")).message).toMatch(message);
  });

  test("of version 2 is refused by name", () => {
    const bytes = new Uint8Array(64);
    const view = new DataView(bytes.buffer);
    for (const [index, word] of [0xe85250d6, 0, 24, -(0xe85250d6 + 24)].entries()) {
      view.setUint32(8 + 4 * index, word >>> 0, true);
    }
    expect(problem(() => classify(bytes, "x")).message).toMatch(/^x: a multiboot 2 kernel/);
  });

  test("gets its modules on pages of their own behind it, with their names", () => {
    const modules = [
      { bytes: Uint8Array.of(1, 2, 3), commandLine: "first" },
      { bytes: new Uint8Array(5000), commandLine: "second with=arguments" },
    ];
    const image = withModules(classify(kludge(0x200000, 0, 0x204001, 0x200100), "x"), modules, "x");
    const boot = plan(image, "line");
    const information = at(boot, 0x9000);
    const word = (offset: number): number => information.getUint32(offset, true);
    expect(word(0) & 8).toBe(8);
    expect(word(20)).toBe(2);
    const list = at(boot, word(24));
    const entries = [0, 16].map((offset) => [0, 4, 8].map((field) => list.getUint32(offset + field, true)));
    expect(entries.map(([start, end]) => [start, end])).toEqual([
      [0x205000, 0x205003],
      [0x206000, 0x207388],
    ]);
    expect(entries.map(([, , name]) => textAt(boot, name as number))).toEqual(["first", "second with=arguments"]);
    expect(at(boot, 0x205000).getUint8(2)).toBe(3);
    expect(problem(() => checkFits(image, "x", 0x206000)).message).toMatch(
      /^x: its modules: needs memory up to 207388h/,
    );
  });

  test("gets command line, loader name and a memory map without holes in what it may use", () => {
    const boot = plan(classify(kludge(0x200000, 0, 0, 0x200100), "x"), "a=1 b");
    const information = at(boot, 0x9000);
    const word = (offset: number): number => information.getUint32(offset, true);
    expect(word(0)).toBe(0x245);
    expect([word(4), word(8)]).toEqual([639, 63 * 1024]);
    expect(textAt(boot, word(16))).toBe("a=1 b");
    expect(textAt(boot, word(64))).toBe("ringlab");
    const map = at(boot, word(48));
    const ranges = [];
    for (let offset = 0; offset < word(44); offset += 24) {
      expect(map.getUint32(offset, true)).toBe(20);
      ranges.push({
        base: map.getUint32(offset + 4, true),
        length: map.getUint32(offset + 12, true),
        type: map.getUint32(offset + 20, true),
      });
    }
    expect(ranges).toEqual(memoryRanges(64 * MB));
  });

  test("is told of a boot device when there is a disk", () => {
    const image = guestImage(classify(kludge(0x200000, 0, 0, 0x200100), "x"));
    const boot = planBoot(image, { commandLine: "", memoryBytes: 64 * MB, disks: [new Uint8Array(512)] });
    const information = at(boot, 0x9000);
    expect(information.getUint32(0, true) & 2).toBe(2);
    expect(information.getUint8(15)).toBe(0x80);
    expect(at(boot, 0x475).getUint8(0)).toBe(1);
  });
});

test("what is put into memory for any kernel does not overlap", () => {
  const images = [
    withInitrd(classify(linux(), "x"), new Uint8Array(9999), "x"),
    withInitrd(classify(linux({ version: 0x201 }), "x"), new Uint8Array(9999), "x"),
  ];
  for (const image of images) {
    const segments = [...plan(image, "x".repeat(255)).segments].sort((a, b) => a.address - b.address);
    for (const [index, { address, bytes }] of segments.entries()) {
      expect(address + bytes.length).toBeLessThanOrEqual(segments[index + 1]?.address ?? 64 * MB);
    }
  }
});
