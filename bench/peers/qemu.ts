/** QEMU's translator: as it is, with a plugin that counts instructions (as we do, and cycles besides), and with -icount. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "../../experiments/paths.ts";
import { firstLine, type Peer } from "./peer.ts";

const QEMU = "qemu-system-i386";
const SOURCE = join(ROOT, "bench", "peers", "count-instructions.c");
const PLUGIN = join(ROOT, ".cache", "bench", "count-instructions.so");

export const QEMU_PLAIN = qemu("QEMU", "nothing", () => []);
export const QEMU_PLUGIN = qemu("QEMU, plugin", "instructions", () => ["-plugin", PLUGIN], builtPlugin);
export const QEMU_ICOUNT = qemu("QEMU, -icount", "instructions", () => ["-icount", "shift=0,sleep=off"]);

function qemu(
  name: string,
  counts: string,
  more: () => readonly string[],
  missing: () => string | undefined = () => undefined,
): Peer {
  return {
    name,
    counts,
    present() {
      const version = firstLine(QEMU, ["--version"]);
      if (version === undefined) return { absent: `${QEMU} is not installed` };
      const why = missing();
      return why === undefined ? { version: version.replace(/ \(.*/, "") } : { absent: why };
    },
    start: ({ image, commandLine, memoryMb }) => ({
      command: QEMU,
      args: [
        ...["-cpu", "qemu32,+nx,+pse36", "-accel", "tcg,thread=single", "-kernel", image, "-append", commandLine],
        ...["-m", String(memoryMb), "-vga", "none", "-display", "none", "-serial", "stdio", "-no-reboot"],
        ...["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", ...more()],
      ],
    }),
  };
}

/** Compiles the plugin; why not, when it cannot be. */
function builtPlugin(): string | undefined {
  mkdirSync(dirname(PLUGIN), { recursive: true });
  const { status, error, stderr } = spawnSync("gcc", ["-shared", "-fPIC", "-O2", "-o", PLUGIN, SOURCE], {
    encoding: "utf8",
  });
  if (error !== undefined) return "no C compiler for the plugin";
  return status === 0 && existsSync(PLUGIN) ? undefined : `the plugin does not compile: ${stderr.split("\n")[0]}`;
}
