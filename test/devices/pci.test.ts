import { describe, expect, test } from "vitest";
import { PCI_FUNCTIONS, PciConfiguration } from "../../sim/devices/pci.ts";
import { sequence } from "./fixtures.ts";

function configuration() {
  const seen = { resets: 0 };
  const pci = new PciConfiguration(PCI_FUNCTIONS, () => seen.resets++);
  const select = (bus: number, device: number, fn: number, register: number): void => {
    pci.writePort(0xcf8, 4, (0x8000_0000 | (bus << 16) | (device << 11) | (fn << 8) | (register & 0xfc)) >>> 0);
  };
  const read = (device: number, fn: number, register: number, bytes = 4): number => {
    select(0, device, fn, register);
    return pci.readPort(0xcfc + (register & 3), bytes);
  };
  const write = (device: number, fn: number, register: number, bytes: number, value: number): void => {
    select(0, device, fn, register);
    pci.writePort(0xcfc + (register & 3), bytes, value);
  };
  return { pci, seen, select, read, write };
}

describe("mechanism #1", () => {
  test("a scan of all buses, devices and functions finds the board's and nothing else", () => {
    const { pci, select } = configuration();
    const found: string[] = [];
    for (const bus of [0, 1, 255]) {
      for (let device = 0; device < 32; device++) {
        for (let fn = 0; fn < 8; fn++) {
          select(bus, device, fn, 0);
          const id = pci.readPort(0xcfc, 4);
          if (id !== 0xffff_ffff) found.push(`${bus}:${device}.${fn} ${id.toString(16)}`);
        }
      }
    }
    expect(found).toEqual(["0:0.0 27748086", "0:31.0 27b88086", "0:31.1 27df8086"]);
  });

  test("the address reads back without its reserved bits: how software finds out that the mechanism exists", () => {
    const { pci } = configuration();
    pci.writePort(0xcf8, 4, 0x8000_0000);
    expect(pci.readPort(0xcf8, 4)).toBe(0x8000_0000);
    pci.writePort(0xcf8, 4, 0xffff_ffff);
    expect(pci.readPort(0xcf8, 4)).toBe(0x80ff_fffc);
  });

  test("narrow accesses do not reach the address, and data without its enable bit is absent", () => {
    const { pci, select } = configuration();
    select(0, 0, 0, 0);
    pci.writePort(0xcf8, 1, 0x04);
    pci.writePort(0xcfa, 2, 0xffff);
    expect(pci.readPort(0xcf8, 4)).toBe(0x8000_0000);
    expect([pci.readPort(0xcf8, 1), pci.readPort(0xcfa, 2)]).toEqual([0xff, 0xffff]);
    pci.writePort(0xcf8, 4, 0);
    expect(pci.readPort(0xcfc, 4)).toBe(0xffff_ffff);
  });

  test("the data window takes bytes, words and double words", () => {
    const { read } = configuration();
    expect([read(31, 0, 2, 2), read(31, 0, 3, 1), read(31, 0, 1, 1)]).toEqual([0x27b8, 0x27, 0x80]);
  });
});

describe("functions", () => {
  test("class codes and header types say host bridge and ISA bridge", () => {
    const { read } = configuration();
    expect([read(0, 0, 8), read(31, 0, 8)]).toEqual([0x0600_0000, 0x0601_0001]);
    expect([read(0, 0, 0x0e, 1), read(31, 0, 0x0e, 1)]).toEqual([0x00, 0x80]);
  });

  test("software changes the bits that are writable and no others", () => {
    const { read, write } = configuration();
    write(0, 0, 0, 4, 0);
    expect(read(0, 0, 0)).toBe(0x2774_8086);
    write(0, 0, 4, 2, 0xffff);
    expect(read(0, 0, 4, 2)).toBe(0x0106);
    write(0, 0, 0x90, 4, 0xffff_ffff);
    expect(read(0, 0, 0x90)).toBe(0x3333_3333);
    write(31, 0, 0x61, 1, 0x0b);
    expect(read(31, 0, 0x60)).toBe(0x8080_0b80);
  });

  test("base address registers are absent: sizing them reads zero", () => {
    const { read, write } = configuration();
    for (let register = 0x10; register < 0x28; register += 4) {
      write(31, 0, register, 4, 0xffff_ffff);
      expect(read(31, 0, register)).toBe(0);
    }
  });

  test("reset brings the registers back", () => {
    const { pci, read, write } = configuration();
    write(0, 0, 0x90, 1, 0x30);
    pci.reset();
    expect(pci.readPort(0xcf8, 4)).toBe(0);
    expect(read(0, 0, 0x90, 1)).toBe(0);
  });
});

test("bit 2 of port CF9h resets by its rise, and the other bits read back", () => {
  const { pci, seen } = configuration();
  pci.writePort(0xcf9, 1, 0x0a);
  expect([pci.readPort(0xcf9, 1), seen.resets]).toEqual([0x0a, 0]);
  pci.writePort(0xcf9, 1, 0x0e);
  pci.writePort(0xcf9, 1, 0x0e);
  expect(seen.resets).toBe(1);
});

test("a configuration restored at any moment goes on alike", () => {
  const random = sequence(8086);
  const first = configuration();
  for (let i = 0; i < 300; i++) {
    const second = configuration();
    second.pci.restore(JSON.parse(JSON.stringify(first.pci.save())) as ReturnType<PciConfiguration["save"]>);
    const [choice, device, register, value] = [random(2), random(2) * 31, random(256), random(2 ** 32)];
    const act = ({ read, write }: ReturnType<typeof configuration>): number => {
      if (choice === 0) write(device, 0, register & ~3, 4, value);
      else return read(device, 0, register & ~3);
      return 0;
    };
    expect(act(second)).toBe(act(first));
    expect(second.pci.save()).toEqual(first.pci.save());
  }
});
