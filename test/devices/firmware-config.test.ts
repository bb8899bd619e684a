import { expect, test } from "vitest";
import { FirmwareConfig } from "../../sim/devices/firmware-config.ts";

const SELECTOR = 0x510;
const DATA = 0x511;
const file = { name: "opt/ringlab/boot", bytes: Uint8Array.of(1, 2, 3) };

function device(files = [file]): FirmwareConfig {
  return new FirmwareConfig({ memoryBytes: 0x1_2345_6000, files });
}

function select(config: FirmwareConfig, item: number): void {
  config.writePort(SELECTOR, 1, item & 0xff);
  config.writePort(SELECTOR + 1, 1, item >> 8);
}

function read(config: FirmwareConfig, bytes: number): number[] {
  return Array.from({ length: bytes }, () => config.readPort(DATA));
}

const text = (bytes: readonly number[]): string => String.fromCharCode(...bytes.filter((byte) => byte !== 0));

test("item 0 is the signature, and an item reads as zeros after its end", () => {
  const config = device();
  select(config, 0);
  expect(text(read(config, 4))).toBe("QEMU");
  expect(read(config, 3)).toEqual([0, 0, 0]);
});

test("memory size and number of processors are little-endian", () => {
  const config = device();
  select(config, 3);
  expect(read(config, 8)).toEqual([0x00, 0x60, 0x45, 0x23, 0x01, 0, 0, 0]);
  for (const item of [5, 15]) {
    select(config, item);
    expect(read(config, 2)).toEqual([1, 0]);
  }
});

test("the directory names each file with its size and item, big-endian", () => {
  const config = device([file, { name: "etc/other", bytes: new Uint8Array(0x1234) }]);
  select(config, 0x19);
  expect(read(config, 4)).toEqual([0, 0, 0, 2]);
  for (const [size, item, name] of [
    [[0, 0, 0, 3], 0x20, file.name],
    [[0, 0, 0x12, 0x34], 0x21, "etc/other"],
  ] as const) {
    expect(read(config, 4)).toEqual(size);
    expect(read(config, 4)).toEqual([0, item, 0, 0]);
    expect(text(read(config, 56))).toBe(name);
  }
  select(config, 0x20);
  expect(read(config, 3)).toEqual([1, 2, 3]);
});

test("selecting an item begins at its first byte; an absent one is all zeros", () => {
  const config = device();
  select(config, 0x20);
  read(config, 2);
  select(config, 0x20);
  expect(read(config, 1)).toEqual([1]);
  select(config, 0x7000);
  expect(read(config, 2)).toEqual([0, 0]);
});

test("saved in the middle of an item, it goes on there", () => {
  const config = device();
  select(config, 0x20);
  read(config, 1);
  const other = device();
  other.restore(config.save());
  expect(read(other, 2)).toEqual([2, 3]);
});

test("a name that is too long is refused", () => {
  expect(() => device([{ name: "x".repeat(56), bytes: new Uint8Array(1) }])).toThrow(/name is too long/);
});
