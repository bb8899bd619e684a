import { describe, expect, test } from "vitest";
import { DiskImage } from "../../sim/devices/disk-image.ts";
import type { DmaPort } from "../../sim/devices/dma.ts";
import { IdeChannel } from "../../sim/devices/ide.ts";
import { IdeBusMaster } from "../../sim/devices/ide-bus-master.ts";

const ACCESS = 1000;
const SECTOR = 10;
const BM = 0xc000;
const TABLE = 0x800;

/** A controller whose primary channel has a disk of 64 sectors, each filled with its number; 64 KB of memory. */
function controller() {
  const base = new Uint8Array(64 * 512).map((_, i) => i >> 9);
  const memory = new Uint8Array(0x10000);
  const dma: DmaPort = {
    read: (address, into) => into.set(memory.subarray(address, address + into.length)),
    write: (address, bytes) => memory.set(bytes, address),
  };
  const time = { now: 0 };
  const line = { level: false };
  const pci = { master: true };
  const channels = [0, 1].map((n) => {
    const images = n === 0 ? [new DiskImage(base)] : [];
    const set = (level: boolean): void => {
      if (n === 0) line.level = level;
    };
    return new IdeChannel(images, { set }, () => master.activity(n));
  });
  const master: IdeBusMaster = new IdeBusMaster({
    channels,
    dma,
    times: { access: ACCESS, sector: SECTOR },
    now: () => time.now,
    mayMaster: () => pci.master,
  });
  master.reset();
  const ide = channels[0] as IdeChannel;
  const command = (code: number, sector: number, count: number): void => {
    for (const [register, value] of [
      [6, 0xe0],
      [2, count],
      [3, sector],
      [4, 0],
      [5, 0],
      [7, code],
    ] as const) {
      ide.writePort(0x1f0 + register, 1, value);
    }
  };
  const table = (...regions: readonly (readonly [address: number, bytes: number])[]): void => {
    const view = new DataView(memory.buffer);
    for (const [n, [address, bytes]] of regions.entries()) {
      view.setUint32(TABLE + 8 * n, address, true);
      view.setUint32(TABLE + 8 * n + 4, bytes | (n === regions.length - 1 ? 0x8000_0000 : 0), true);
    }
    master.writePort(BM + 4, 4, TABLE);
  };
  const pass = (ticks: number): void => {
    time.now += ticks;
    if (master.nextDeadline() <= time.now) master.due(time.now);
  };
  const status = (): number => master.readPort(BM + 2, 1);
  return { pci, memory, master, ide, line, command, table, pass, status };
}

describe("READ DMA", () => {
  test("fills the regions in order when its time has passed, ends with an interrupt, and clears active", () => {
    const { memory, master, ide, line, command, table, pass, status } = controller();
    table([0x2000, 700], [0x4000, 836]);
    command(0xc8, 5, 3);
    expect([line.level, ide.readPort(0x3f6, 1) & 0x88]).toEqual([false, 0x08]);
    expect(status() & 7).toBe(0);
    master.writePort(BM, 1, 0x09);
    expect(status() & 7).toBe(1);
    pass(ACCESS + 3 * SECTOR - 1);
    expect([status() & 7, memory[0x2000]]).toEqual([1, 0]);
    pass(1);
    expect([status() & 7, line.level, ide.readPort(0x3f6, 1)]).toEqual([4, true, 0x50]);
    expect([memory[0x2000], memory[0x21ff], memory[0x2200], memory[0x22bb], memory[0x22bc]]).toEqual([5, 5, 6, 6, 0]);
    expect([memory[0x4000], memory[0x4000 + 835], memory[0x4000 + 836]]).toEqual([6, 7, 0]);
    // The interrupt bit goes by writing it as one, the line by reading the disk's status.
    master.writePort(BM + 2, 1, 0x04);
    ide.readPort(0x1f7, 1);
    expect([status() & 7, line.level]).toEqual([0, false]);
  });

  test("may be started before the disk has its command", () => {
    const { memory, master, command, table, pass, status } = controller();
    table([0x2000, 512]);
    master.writePort(BM, 1, 0x09);
    pass(100_000);
    command(0xc8, 9, 1);
    pass(ACCESS + SECTOR);
    expect([status() & 7, memory[0x2000]]).toEqual([4, 9]);
  });

  test("a table that is too long leaves active set, one that is too short leaves the disk waiting", () => {
    const long = controller();
    long.table([0x2000, 512], [0x3000, 512]);
    long.command(0xc8, 1, 1);
    long.master.writePort(BM, 1, 0x09);
    long.pass(ACCESS + SECTOR);
    expect(long.status() & 7).toBe(5);
    const short = controller();
    short.table([0x2000, 512]);
    short.command(0xc8, 1, 2);
    short.master.writePort(BM, 1, 0x09);
    short.pass(ACCESS + 2 * SECTOR);
    expect([short.status() & 7, short.line.level, short.ide.readPort(0x3f6, 1) & 8]).toEqual([0, false, 8]);
  });

  test("stopping, and a reset of the disks, end a transfer without an interrupt", () => {
    const { memory, master, ide, line, command, table, pass, status } = controller();
    table([0x2000, 512]);
    command(0xc8, 1, 1);
    master.writePort(BM, 1, 0x09);
    master.writePort(BM, 1, 0);
    pass(10 * ACCESS);
    expect([status() & 7, line.level, memory[0x2000]]).toEqual([0, false, 0]);
    master.writePort(BM, 1, 0x09);
    ide.writePort(0x3f6, 1, 4);
    ide.writePort(0x3f6, 1, 0);
    pass(10 * ACCESS);
    expect([line.level, memory[0x2000], ide.readPort(0x3f6, 1)]).toEqual([false, 0, 0x50]);
  });
});

test("WRITE DMA takes the regions, and the image is not modified", () => {
  const { memory, master, ide, command, table, pass, status } = controller();
  memory.fill(0xa1, 0x2000, 0x2200);
  memory.fill(0xa2, 0x2200, 0x2400);
  table([0x2000, 1024]);
  command(0xca, 7, 2);
  master.writePort(BM, 1, 0x01);
  pass(ACCESS + 2 * SECTOR);
  expect(status() & 7).toBe(4);
  const { image } = ide.disks[0] as (typeof ide.disks)[number];
  const contents = image.contents();
  expect([6, 7, 8, 9].map((sector) => contents[sector * 512])).toEqual([6, 0xa1, 0xa2, 9]);
  expect(image.writtenSectors).toBe(2);
});

test("nothing moves while the function may not be master of the bus", () => {
  const { pci, master, line, command, table, pass, memory } = controller();
  pci.master = false;
  table([0x2000, 512]);
  command(0xc8, 3, 1);
  master.writePort(BM, 1, 0x09);
  pass(10 * ACCESS);
  expect([line.level, memory[0x2000]]).toEqual([false, 0]);
  pci.master = true;
  master.activity(0);
  pass(ACCESS + SECTOR);
  expect([line.level, memory[0x2000]]).toEqual([true, 3]);
});

test("a direction that contradicts the disk's is an error", () => {
  const { master, command, table, pass, status } = controller();
  table([0x2000, 512]);
  command(0xc8, 1, 1);
  master.writePort(BM, 1, 0x01);
  pass(10 * ACCESS);
  expect(status() & 7).toBe(2);
});

test("a PIO command's interrupt shows in the status too, and a disk's presence in the capable bits", () => {
  const { master, command, status } = controller();
  expect([status(), master.readPort(BM + 10, 1)]).toEqual([0x20, 0]);
  command(0xec, 0, 0);
  expect(status()).toBe(0x24);
});

test("saved and restored in the middle of a transfer it goes on", () => {
  const first = controller();
  first.table([0x2000, 512]);
  first.command(0xc8, 3, 1);
  first.master.writePort(BM, 1, 0x09);
  const second = controller();
  second.memory.set(first.memory);
  second.ide.restore(first.ide.save());
  second.master.restore(JSON.parse(JSON.stringify(first.master.save())) as ReturnType<IdeBusMaster["save"]>);
  second.pass(ACCESS + SECTOR);
  expect([second.status() & 7, second.memory[0x2000]]).toEqual([4, 3]);
});
