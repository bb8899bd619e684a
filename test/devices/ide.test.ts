import { describe, expect, test } from "vitest";
import { DiskImage } from "../../sim/devices/disk-image.ts";
import { IdeChannel } from "../../sim/devices/ide.ts";
import { sequence } from "./fixtures.ts";

/** An image of which each sector holds its number in its first four bytes and its low byte in all others. */
function image(sectors: number): Uint8Array {
  const bytes = new Uint8Array(sectors * 512);
  for (let i = 0; i < sectors; i++) {
    bytes.fill(i & 0xff, i * 512, i * 512 + 512);
    new DataView(bytes.buffer).setUint32(i * 512, i, true);
  }
  return bytes;
}

const SECTORS = 3000;
const BASE = image(SECTORS);

function channel(bases: readonly Uint8Array[] = [BASE]) {
  const line = { level: false, edges: 0 };
  const set = (level: boolean): void => {
    if (level && !line.level) line.edges++;
    line.level = level;
  };
  const ide = new IdeChannel(
    bases.map((base) => new DiskImage(base)),
    { set },
  );
  const out = (register: number, value: number): void => ide.writePort(0x1f0 + register, 1, value);
  const input = (register: number): number => ide.readPort(0x1f0 + register, 1);
  const control = (value: number): void => ide.writePort(0x3f6, 1, value);
  const alternate = (): number => ide.readPort(0x3f6, 1);
  /** A command with a 28-bit address. */
  const lba = (command: number, sector: number, count: number, device = 0): void => {
    out(6, 0xe0 | (device << 4) | (sector >> 24));
    out(2, count & 0xff);
    out(3, sector & 0xff);
    out(4, (sector >> 8) & 0xff);
    out(5, (sector >> 16) & 0xff);
    out(7, command);
  };
  /** Reads words of the data register; the first 32 bits of each sector. */
  const readSectors = (count: number): number[] =>
    Array.from({ length: count }, () => {
      const first = ide.readPort(0x1f0, 2) + ide.readPort(0x1f0, 2) * 65_536;
      for (let i = 2; i < 256; i++) ide.readPort(0x1f0, 2);
      return first;
    });
  const writeSectors = (...values: number[]): void => {
    for (const value of values) for (let i = 0; i < 128; i++) ide.writePort(0x1f0, 4, value);
  };
  return { ide, line, out, input, control, alternate, lba, readSectors, writeSectors };
}

/** Everything that a command reads, one block at a time, counting the blocks. */
function drain({ ide, alternate, input }: ReturnType<typeof channel>): { words: number[]; interrupts: number } {
  const words: number[] = [];
  let interrupts = 0;
  while ((alternate() & 8) !== 0) {
    if (ide.disks[0]?.interrupt === true) interrupts++;
    input(7);
    while ((alternate() & 8) !== 0 && ide.disks[0]?.interrupt === false) words.push(ide.readPort(0x1f0, 2));
  }
  return { words, interrupts };
}

describe("reading", () => {
  test("READ SECTORS interrupts for each sector and ends ready", () => {
    const { line, input, lba, readSectors } = channel();
    lba(0x20, 1000, 3);
    for (const sector of [1000, 1001, 1002]) {
      expect([line.level, input(7), line.level]).toEqual([true, 0x58, false]);
      expect(readSectors(1)).toEqual([sector]);
    }
    expect([line.edges, input(7)]).toEqual([3, 0x50]);
    expect([input(2), input(3), input(4), input(6)]).toEqual([0, 1002 & 0xff, 1002 >> 8, 0xe0]);
  });

  test("a count of zero is 256 sectors", () => {
    const parts = channel();
    parts.lba(0x20, 0, 0);
    const { words, interrupts } = drain(parts);
    expect([words.length, interrupts, words[255 * 256]]).toEqual([256 * 256, 256, 255]);
  });

  test("cylinder, head and sector name the same sectors, and count on over tracks", () => {
    const { out, input, readSectors } = channel();
    out(6, 0xa0 | 15);
    out(2, 2);
    out(3, 63);
    out(4, 1);
    out(5, 0);
    out(7, 0x20);
    expect(readSectors(2)).toEqual([2 * 1008 - 1, 2 * 1008]);
    expect([input(3), input(4), input(6)]).toEqual([1, 2, 0xa0]);
  });

  test("INITIALIZE DEVICE PARAMETERS changes the translation", () => {
    const { out, readSectors } = channel();
    out(6, 0xa0 | 3);
    out(2, 17);
    out(7, 0x91);
    out(6, 0xa0 | 2);
    out(2, 1);
    out(3, 5);
    out(4, 3);
    out(7, 0x20);
    expect(readSectors(1)).toEqual([(3 * 4 + 2) * 17 + 4]);
  });

  test("READ MULTIPLE interrupts for each block, the last one being shorter", () => {
    const parts = channel();
    parts.lba(0xc6, 0, 8);
    parts.lba(0xc4, 100, 20);
    const { words, interrupts } = drain(parts);
    expect([interrupts, words.length, words[19 * 256]]).toEqual([3, 20 * 256, 119]);
  });

  test("the data register gives words, double words and bytes in order", () => {
    const { ide, lba } = channel();
    lba(0x20, 0x102, 1);
    expect([ide.readPort(0x1f0, 1), ide.readPort(0x1f0, 1), ide.readPort(0x1f0, 2)]).toEqual([2, 1, 0]);
    expect(ide.readPort(0x1f0, 4)).toBe(0x02020202);
  });
});

describe("writing", () => {
  test("WRITE SECTORS asks without an interrupt, and interrupts when each sector has come", () => {
    const { ide, line, input, lba, writeSectors, readSectors } = channel();
    lba(0x30, 7, 2);
    expect([line.level, input(7)]).toEqual([false, 0x58]);
    writeSectors(0x11111111);
    expect([line.level, input(7)]).toEqual([true, 0x58]);
    writeSectors(0x22222222);
    expect([line.level, input(7)]).toEqual([true, 0x50]);
    lba(0x20, 6, 4);
    expect(readSectors(4)).toEqual([6, 0x11111111, 0x22222222, 9]);
    expect(ide.disks[0]?.image.writtenSectors).toBe(2);
  });

  test("the image itself is never modified", () => {
    const before = BASE.slice(0, 8192);
    const { lba, writeSectors } = channel();
    lba(0x30, 3, 1);
    writeSectors(0xdeadbeef);
    expect(BASE.subarray(0, 8192)).toEqual(before);
  });

  test("WRITE MULTIPLE interrupts when each block has come", () => {
    const { line, input, lba, writeSectors, readSectors } = channel();
    lba(0xc6, 0, 4);
    lba(0xc5, 50, 6);
    expect([line.level, input(7)]).toEqual([false, 0x58]);
    writeSectors(1, 2, 3);
    expect(line.level).toBe(false);
    writeSectors(4);
    expect([line.level, input(7)]).toEqual([true, 0x58]);
    writeSectors(5, 6);
    expect([line.level, input(7)]).toEqual([true, 0x50]);
    lba(0x20, 55, 2);
    expect(readSectors(2)).toEqual([6, 56]);
  });
});

describe("errors", () => {
  test("an address beyond the disk is IDNF, after the sectors that are there", () => {
    const { line, input, lba, readSectors } = channel();
    lba(0x20, SECTORS - 1, 3);
    expect(input(7)).toBe(0x58);
    expect(readSectors(1)).toEqual([SECTORS - 1]);
    expect([line.level, input(7), input(1), input(2), input(3)]).toEqual([true, 0x51, 0x10, 2, SECTORS & 0xff]);
    lba(0x30, SECTORS, 1);
    expect([input(7), input(1)]).toEqual([0x51, 0x10]);
    lba(0x20, 0, 1);
    expect([input(7), input(1)]).toEqual([0x58, 0]);
  });

  test("sector 0 of a track does not exist, nor a head beyond the last", () => {
    const { out, input } = channel();
    out(6, 0xa0);
    out(2, 1);
    out(3, 0);
    out(7, 0x20);
    expect([input(7), input(1)]).toEqual([0x51, 0x10]);
    out(2, 4);
    out(6, 0xa1);
    out(7, 0x91);
    out(3, 1);
    out(6, 0xa2);
    out(7, 0x20);
    expect([input(7), input(1)]).toEqual([0x51, 0x10]);
  });

  test.each([0x00, 0x22, 0xa0, 0xa1, 0xc7, 0xcc, 0x26, 0xb0, 0xff])("command %i is aborted", (command) => {
    const { line, input, lba } = channel();
    lba(command, 0, 1);
    expect([line.level, input(7), input(1)]).toEqual([true, 0x51, 0x04]);
  });

  test("MULTIPLE without a block size is aborted, and so is a block that is no power of two or too long", () => {
    const { input, lba } = channel();
    lba(0xc4, 0, 1);
    expect([input(7), input(1)]).toEqual([0x51, 0x04]);
    for (const count of [3, 32]) {
      lba(0xc6, 0, count);
      expect([input(7), input(1)]).toEqual([0x51, 0x04]);
    }
  });

  test("SET FEATURES takes PIO and DMA modes and caches, and refuses what is not known", () => {
    const { out, input, lba } = channel();
    const set = (feature: number, count: number): number => {
      out(1, feature);
      lba(0xef, 0, count);
      return input(7);
    };
    expect([set(3, 0x0c), set(3, 0x00), set(0x02, 0), set(0x82, 0), set(0x55, 0)]).toEqual(new Array(5).fill(0x50));
    expect([set(3, 0x45), set(3, 0x20)]).toEqual([0x50, 0x50]);
    expect([set(3, 0x46), set(3, 0x23), set(0x99, 0)]).toEqual([0x51, 0x51, 0x51]);
  });
});

describe("48-bit addresses", () => {
  test("the registers are two deep: READ SECTORS EXT takes both halves, and HOB shows the older ones", () => {
    const { out, input, control, readSectors } = channel();
    for (const [register, value] of [
      [2, 0],
      [2, 2],
      [3, 0],
      [3, 0x34],
      [4, 0],
      [4, 0x06],
      [5, 0],
      [5, 0],
    ] as const) {
      out(register, value);
    }
    out(6, 0x40);
    out(7, 0x24);
    expect(readSectors(2)).toEqual([0x634, 0x635]);
    expect([input(2), input(3), input(4), input(5)]).toEqual([0, 0x35, 0x06, 0]);
    out(3, 0xaa);
    out(3, 0xbb);
    control(0x80);
    expect(input(3)).toBe(0xaa);
    out(2, 0);
    expect(input(3)).toBe(0xbb);
  });

  test("an address beyond 32 bits is not a small one", () => {
    const { out, input } = channel();
    out(3, 1);
    out(3, 0);
    out(4, 1);
    out(4, 0);
    out(2, 0);
    out(2, 1);
    out(6, 0x40);
    out(7, 0x24);
    expect([input(7), input(1)]).toEqual([0x51, 0x10]);
  });

  test("READ NATIVE MAX ADDRESS gives the last sector", () => {
    const { out, input } = channel();
    out(6, 0x40);
    out(7, 0xf8);
    expect([input(3), input(4), input(5), input(6) & 0xf]).toEqual([(SECTORS - 1) & 0xff, (SECTORS - 1) >> 8, 0, 0]);
  });
});

describe("other commands", () => {
  test("IDENTIFY DEVICE tells size, geometry, modes and names", () => {
    const { ide, line, lba } = channel();
    lba(0xc6, 0, 8);
    lba(0xec, 0, 0);
    expect(line.level).toBe(true);
    const words = Array.from({ length: 256 }, () => ide.readPort(0x1f0, 2));
    expect([0, 1, 3, 6, 60, 61, 59, 47].map((i) => words[i])).toEqual([0x40, 2, 16, 63, SECTORS, 0, 0x108, 0x8010]);
    expect((words[49] as number) & 0x300).toBe(0x300);
    // Multiword DMA 0 to 2, Ultra DMA 0 to 5 with 5 selected, 48-bit addresses.
    expect([63, 88].map((i) => words[i])).toEqual([0x0007, 0x203f]);
    expect([83, 86].map((i) => (words[i] as number) & 0x2400)).toEqual([0x2400, 0x2400]);
    expect([100, 101, 102, 103].map((i) => words[i])).toEqual([SECTORS, 0, 0, 0]);
    const model = words.slice(27, 47).map((word) => String.fromCharCode(word >> 8, word & 0xff));
    expect(model.join("").trimEnd()).toBe("RINGLAB DISK");
    expect(ide.readPort(0x1f7, 1)).toBe(0x50);
  });

  test("seek, verify, recalibrate, flush and the power commands complete with an interrupt", () => {
    const { line, input, lba } = channel();
    for (const command of [0x10, 0x1f, 0x40, 0x70, 0xe7, 0xe0, 0xe1, 0xe5]) {
      lba(command, 5, 1);
      expect([line.level, input(7)]).toEqual([true, 0x50]);
    }
    expect(input(2)).toBe(0xff);
    lba(0x40, SECTORS - 1, 2);
    expect([input(7), input(1)]).toEqual([0x51, 0x10]);
  });

  test("the diagnostic and a software reset leave the signature of a disk", () => {
    const { out, input, control, alternate, line } = channel();
    out(7, 0x90);
    expect([input(1), input(2), input(3), input(4), input(5), input(7)]).toEqual([1, 1, 1, 0, 0, 0x50]);
    out(4, 0x55);
    control(0x04);
    expect(alternate()).toBe(0x80);
    out(7, 0xec);
    control(0);
    expect([input(1), input(2), input(3), input(4), input(5), alternate()]).toEqual([1, 1, 1, 0, 0, 0x50]);
    expect(line.level).toBe(false);
  });

  test("nIEN keeps IRQ14 low, and the alternate status does not acknowledge", () => {
    const { line, input, control, alternate, lba } = channel();
    control(0x02);
    lba(0x20, 0, 1);
    expect([line.level, alternate()]).toEqual([false, 0x58]);
    control(0);
    expect([line.level, alternate(), line.level]).toEqual([true, 0x58, true]);
    input(7);
    expect(line.level).toBe(false);
  });
});

describe("two devices and none", () => {
  test("a device 1 that is absent has status 0 and takes no command", () => {
    const { input, lba, out } = channel();
    lba(0xec, 0, 0, 1);
    expect(input(7)).toBe(0);
    out(6, 0xe0);
    expect(input(7)).toBe(0x50);
  });

  test("two disks answer by the device bit, each with its own contents", () => {
    const { lba, input, readSectors, writeSectors, ide } = channel([BASE, image(64)]);
    lba(0x30, 5, 1, 1);
    writeSectors(0x77777777);
    lba(0x20, 5, 1, 0);
    expect(readSectors(1)).toEqual([5]);
    lba(0x20, 5, 1, 1);
    expect(readSectors(1)).toEqual([0x77777777]);
    lba(0x20, 64, 1, 1);
    expect([input(7), input(1)]).toEqual([0x51, 0x10]);
    expect(ide.disks.map((disk) => disk.image.writtenSectors)).toEqual([0, 1]);
    expect(() => channel([BASE, BASE, BASE])).toThrow("takes two");
  });
});

describe("images", () => {
  test("an image of odd size ends with zeros, and an empty one is refused", () => {
    const { lba, ide } = channel([new Uint8Array(700).fill(0xee)]);
    lba(0x20, 1, 1);
    const bytes = Array.from({ length: 512 }, () => ide.readPort(0x1f0, 1));
    expect([bytes[187], bytes[188], bytes[511]]).toEqual([0xee, 0, 0]);
    expect(() => new DiskImage(new Uint8Array(0))).toThrow("empty");
  });

  test("saved state is what has been written, in order, and goes with an image of the same size", () => {
    const { ide, lba, writeSectors } = channel();
    for (const sector of [9, 2]) {
      lba(0x30, sector, 1);
      writeSectors(sector * 0x01010101);
    }
    const { written } = (ide.save().disks[0] as { image: { written: readonly (readonly [number, string])[] } }).image;
    expect(written.map(([sector, bytes]) => [sector, bytes.length, bytes.charCodeAt(0)])).toEqual([
      [2, 512, 2],
      [9, 512, 9],
    ]);
    expect(() => channel([image(10)]).ide.restore(ide.save())).toThrow("3000 sectors");
    expect(() => channel([BASE, BASE]).ide.restore(ide.save())).toThrow("1 disks");
  });
});

test("a channel restored at any moment goes on alike", () => {
  const random = sequence(14);
  const first = channel();
  const commands = [0x20, 0x30, 0xc4, 0xc5, 0xc6, 0xec, 0x90, 0xe7];
  for (let i = 0; i < 500; i++) {
    const second = channel();
    second.ide.restore(JSON.parse(JSON.stringify(first.ide.save())) as ReturnType<IdeChannel["save"]>);
    const [choice, at, value, words] = [random(6), random(SECTORS + 2), random(2 ** 32), random(700)];
    const command = commands[random(8)] as number;
    const act = ({ ide, lba, input }: ReturnType<typeof channel>): number => {
      let sum = 0;
      if (choice === 0) lba(command, at, 1 << (at & 3));
      else if (choice === 1) return input(at & 7);
      else if (choice <= 3) for (let k = 0; k < words; k++) sum = (sum + ide.readPort(0x1f0, 2)) % 65_521;
      else for (let k = 0; k < words; k++) ide.writePort(0x1f0, 4, value);
      return sum;
    };
    expect(act(second)).toBe(act(first));
    expect(second.ide.save()).toEqual(first.ide.save());
  }
});
