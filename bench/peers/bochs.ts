/** Bochs, an interpreter. It boots disks only, by SeaBIOS, and has no display here. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bootSector, GEOMETRY, writeBootDisk } from "./boot-disk.ts";
import { firstLine, type Peer } from "./peer.ts";

const BIOS = "/usr/share/seabios/bios.bin";
const VGA_BIOS = "/usr/share/seabios/vgabios-stdvga.bin";

export const BOCHS: Peer = {
  name: "Bochs",
  counts: "instructions",
  present() {
    if (firstLine("bochs", ["--help"]) === undefined) return { absent: "bochs is not installed" };
    if (!existsSync(BIOS)) return { absent: "seabios is not installed" };
    const folder = mkdtempSync(join(tmpdir(), "ringlab-boot-sector-"));
    try {
      const sector = bootSector(folder);
      return typeof sector === "string" ? { absent: sector } : { version: bochsVersion() };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  start({ image, commandLine, memoryMb, folder }) {
    const sector = bootSector(folder) as Buffer;
    // One that was ended leaves its lock.
    rmSync(join(folder, "disk.img.lock"), { force: true });
    const [disk, serial, rc] = [join(folder, "disk.img"), join(folder, "serial.txt"), join(folder, "rc")];
    const cylinders = writeBootDisk(disk, sector, image, commandLine, memoryMb);
    const configuration = join(folder, "bochsrc");
    writeFileSync(
      configuration,
      [
        ...[`megs: ${memoryMb}`, `romimage: file=${BIOS}`, `vgaromimage: file=${VGA_BIOS}`],
        'display_library: rfb, options="timeout=0"',
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
        `ata0-master: type=disk, path=${disk}, mode=flat, cylinders=${cylinders}, heads=${GEOMETRY.heads}, spt=${GEOMETRY.sectors}`,
        ...["boot: disk", `com1: enabled=1, mode=file, dev=${serial}`],
        ...["cpu: count=1, ips=100000000, reset_on_triple_fault=0", "clock: sync=none, time0=0"],
        ...[`log: ${join(folder, "bochs.log")}`, "panic: action=fatal", "error: action=ignore", "info: action=ignore"],
        ...["speaker: enabled=0, mode=none", "sound: driver=dummy"],
        "",
      ].join("\n"),
    );
    // A build with the debugger waits to be told so.
    writeFileSync(rc, "continue\n");
    const debugger_ = hasDebugger() ? ["-rc", rc] : [];
    return { command: "bochs", args: ["-q", "-f", configuration, ...debugger_], serial };
  },
};

const help = (): string => `${firstLine("sh", ["-c", "bochs --help 2>&1 | tr '\\n' ' '"])}`;
const hasDebugger = (): boolean => help().includes("-rc ");

/** It tells its version only when it runs. */
function bochsVersion(): string {
  const version = firstLine("sh", [
    "-c",
    "bochs -q -f /nowhere 2>&1 </dev/null | grep -o 'Emulator [0-9.]*' | head -1",
  ]);
  return `${version?.replace("Emulator", "Bochs") || "Bochs"}${hasDebugger() ? ", built with its debugger" : ""}`;
}
