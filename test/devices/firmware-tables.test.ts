import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { pentium4_672 } from "../../sim/cpu/profiles/pentium4-672.ts";
import { dsdt, fadt, madt } from "../../sim/devices/tables/acpi.ts";
import { withTables } from "../../sim/devices/tables/firmware-tables.ts";

const BASE = 0xf0000;
const MEMORY = 16 * 2 ** 20;
const ROM = withTables(new Uint8Array(0x10000), pentium4_672, MEMORY);
const VIEW = new DataView(ROM.buffer);
const text = (at: number, length: number): string => String.fromCharCode(...ROM.subarray(at, at + length));
const sum = (at: number, length: number): number =>
  ROM.subarray(at, at + length).reduce((total, byte) => (total + byte) & 0xff, 0);
const u16 = (at: number): number => VIEW.getUint16(at, true);
const u32 = (at: number): number => VIEW.getUint32(at, true);

/** Searches as kernels do: on multiples of 16. */
function search(signature: string): number {
  for (let at = 0; at < ROM.length; at += 16) if (text(at, signature.length) === signature) return at;
  return -1;
}

describe("ACPI", () => {
  const rsdp = search("RSD PTR ");
  const rsdt = u32(rsdp + 16) - BASE;
  const entries = Array.from({ length: (u32(rsdt + 4) - 36) / 4 }, (_, n) => u32(rsdt + 36 + 4 * n) - BASE);
  const find = (signature: string): number => entries.find((at) => text(at, 4) === signature) ?? -1;

  test("the RSDP is found in the ROM, its checksum is right, and it leads to an RSDT", () => {
    expect([sum(rsdp, 20), ROM[rsdp + 15], text(rsdt, 4)]).toEqual([0, 0, "RSDT"]);
  });

  test("every table has its length and its checksum", () => {
    const facp = find("FACP");
    const tables = [rsdt, ...entries, u32(facp + 40) - BASE];
    expect(tables.map((at) => text(at, 4))).toEqual(["RSDT", "FACP", "APIC", "DSDT"]);
    expect(tables.map((at) => sum(at, u32(at + 4)))).toEqual([0, 0, 0, 0]);
    expect([text(u32(facp + 36) - BASE, 4), u32(facp + 36) % 64]).toEqual(["FACS", 0]);
  });

  test("the FADT gives the registers that the board has", () => {
    const facp = find("FACP");
    expect([u16(facp + 46), u32(facp + 48)]).toEqual([9, 0]);
    expect([56, 64, 76].map((offset) => u32(facp + offset))).toEqual([0x600, 0x604, 0x608]);
    expect([88, 89, 91].map((offset) => ROM[facp + offset])).toEqual([4, 2, 4]);
  });

  test("the MADT lists one processor, one I/O APIC and the two overrides", () => {
    const madtAt = find("APIC");
    const kinds: number[] = [];
    for (let at = madtAt + 44; at < madtAt + u32(madtAt + 4); at += ROM[at + 1] as number)
      kinds.push(ROM[at] as number);
    expect([u32(madtAt + 36), u32(madtAt + 40), kinds]).toEqual([0xfee00000, 1, [0, 1, 2, 2, 4]]);
  });

  test("small readers of AML find _S5 and its sleep type", () => {
    const at = u32(find("FACP") + 40) - BASE;
    const s5 = text(at, u32(at + 4)).indexOf("_S5_");
    // NameOp, root prefix before; PackageOp, length, elements, BytePrefix, type after.
    expect([...ROM.subarray(at + s5 - 2, at + s5)]).toEqual([0x08, 0x5c]);
    expect([...ROM.subarray(at + s5 + 4, at + s5 + 9)]).toEqual([0x12, 0x08, 0x04, 0x0a, 0x07]);
  });
});

describe("MP", () => {
  const pointer = search("_MP_");
  const table = u32(pointer + 4) - BASE;

  test("the floating pointer says revision 1.4, a table, and no IMCR", () => {
    expect([sum(pointer, 16), ROM[pointer + 8], ROM[pointer + 9]]).toEqual([0, 1, 4]);
    expect([...ROM.subarray(pointer + 11, pointer + 16)]).toEqual([0, 0, 0, 0, 0]);
  });

  test("the configuration table's entries are as many and as long as its header says", () => {
    expect([text(table, 4), sum(table, u16(table + 4)), u32(table + 36)]).toEqual(["PCMP", 0, 0xfee00000]);
    const kinds: number[] = [];
    let at = table + 44;
    while (at < table + u16(table + 4)) {
      kinds.push(ROM[at] as number);
      at += ROM[at] === 0 ? 20 : 8;
    }
    expect([at, kinds.length]).toEqual([table + u16(table + 4), u16(table + 34)]);
    expect([0, 1, 2, 3, 4].map((kind) => kinds.filter((k) => k === kind).length)).toEqual([1, 2, 1, 16, 2]);
  });

  test("the processor is the profile's, and the I/O APIC the board's", () => {
    expect([ROM[table + 46], ROM[table + 47], u32(table + 48)]).toEqual([0x14, 3, pentium4_672.cpuid[1]?.eax]);
    const ioApic = table + 44 + 20 + 16;
    expect([ROM[ioApic], ROM[ioApic + 1], u32(ioApic + 4)]).toEqual([2, 1, 0xfec00000]);
  });
});

test("firmware that uses the place keeps its own tables; one of 128 KB gets them in its upper half", () => {
  const used = new Uint8Array(0x10000);
  used[0x3fff] = 1;
  expect(withTables(used, pentium4_672, MEMORY)).toBe(used);
  const large = withTables(new Uint8Array(0x20000), pentium4_672, MEMORY);
  expect(large.subarray(0x10000)).toEqual(ROM);
});

const iasl = spawnSync("iasl", ["-v"]).status === 0;
test.skipIf(!iasl)("ACPICA disassembles the tables and compiles the DSDT again without errors", () => {
  const folder = mkdtempSync(join(tmpdir(), "ringlab-acpi-"));
  try {
    for (const [name, bytes] of [
      ["dsdt", dsdt(MEMORY)],
      ["facp", fadt(BASE, BASE)],
      ["apic", madt()],
    ] as const) {
      const path = join(folder, `${name}.aml`);
      writeFileSync(path, Uint8Array.from(bytes));
      const run = spawnSync("iasl", ["-d", path], { encoding: "utf8" });
      expect([name, run.status]).toEqual([name, 0]);
    }
    const source = readFileSync(join(folder, "dsdt.dsl"), "utf8");
    for (const part of ["PNP0A03", "PNP0303", "PNP0501", "_S5, Package", "0x0CF8"]) expect(source).toContain(part);
    const again = spawnSync("iasl", ["-p", join(folder, "again"), join(folder, "dsdt.dsl")], { encoding: "utf8" });
    expect(`${again.stdout}${again.stderr}`).toContain("0 Errors");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
