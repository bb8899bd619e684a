/**
 * A disk that starts a multiboot kernel with its command line, for a simulator that has no loader of its own: boot-sector.S,
 * a sector with the multiboot information, the kernel as it lies in memory.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../experiments/paths.ts";

const SECTOR = 512;
/** Where the boot sector keeps its numbers. */
const FACTS = 8;
/** Where it puts the information, and the command line within it. */
const INFORMATION = 0x7e00;
const COMMAND_LINE = 0x80;
/** Of the multiboot specification: memory sizes and command line are valid. */
const FLAGS = (1 << 0) | (1 << 2);

export const GEOMETRY = { heads: 16, sectors: 63 } as const;

/** The assembled boot sector; why not, when it cannot be made. */
export function bootSector(folder: string): Buffer | string {
  const object = join(folder, "boot-sector.o");
  const binary = join(folder, "boot-sector.bin");
  const commands: readonly [string, ...string[]][] = [
    ["gcc", "-m32", "-c", join(ROOT, "bench", "peers", "boot-sector.S"), "-o", object],
    ["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", binary, object],
  ];
  for (const [command, ...args] of commands) {
    const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
    if (error !== undefined) return `${command} is not installed, which makes its boot disk`;
    if (status !== 0) return `${command}: ${stderr.split("\n")[0]}`;
  }
  return readFileSync(binary);
}

/** Writes the disk of a kernel (ELF32). Returns its cylinders. */
export function writeBootDisk(
  path: string,
  sector: Buffer,
  image: string,
  commandLine: string,
  memoryMb: number,
): number {
  const { address, bytes, cleared, entry } = kernelOf(readFileSync(image));
  const information = Buffer.alloc(SECTOR);
  information.writeUInt32LE(FLAGS, 0);
  information.writeUInt32LE(640, 4);
  information.writeUInt32LE((memoryMb - 1) * 1024, 8);
  information.writeUInt32LE(INFORMATION + COMMAND_LINE, 16);
  information.write(`kernel ${commandLine}\0`, COMMAND_LINE, "latin1");

  const sectors = 1 + Math.ceil(bytes.length / SECTOR);
  const boot = Buffer.from(sector);
  [sectors, address, bytes.length, cleared, entry].forEach((number, index) => {
    boot.writeUInt32LE(number, FACTS + index * 4);
  });
  const cylinders = Math.max(20, Math.ceil((1 + sectors) / (GEOMETRY.heads * GEOMETRY.sectors)));
  const disk = Buffer.alloc(cylinders * GEOMETRY.heads * GEOMETRY.sectors * SECTOR);
  boot.copy(disk);
  information.copy(disk, SECTOR);
  bytes.copy(disk, 2 * SECTOR);
  writeFileSync(path, disk);
  return cylinders;
}

interface Kernel {
  readonly address: number;
  readonly bytes: Buffer;
  /** Bytes of zeros behind them. */
  readonly cleared: number;
  readonly entry: number;
}

/** The loadable segments of an ELF32 file in one piece. */
function kernelOf(elf: Buffer): Kernel {
  const [table, size, count] = [elf.readUInt32LE(28), elf.readUInt16LE(42), elf.readUInt16LE(44)];
  const segments = Array.from({ length: count }, (_, index) => table + index * size)
    .filter((header) => elf.readUInt32LE(header) === 1)
    .map((header) => ({
      ...{ offset: elf.readUInt32LE(header + 4), address: elf.readUInt32LE(header + 12) },
      ...{ inFile: elf.readUInt32LE(header + 16), inMemory: elf.readUInt32LE(header + 20) },
    }));
  const address = Math.min(...segments.map((each) => each.address));
  const end = Math.max(...segments.map((each) => each.address + each.inFile));
  const top = Math.max(...segments.map((each) => each.address + each.inMemory));
  const bytes = Buffer.alloc(end - address);
  for (const each of segments) elf.copy(bytes, each.address - address, each.offset, each.offset + each.inFile);
  return { address, bytes, cleared: top - end, entry: elf.readUInt32LE(24) };
}
