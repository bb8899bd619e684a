// Whole machines for tests: guests of workloads/ or hand-assembled ones, booted, run, and compared.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Elf, readElf } from "../../experiments/elf.ts";
import type { KernelImage } from "../../sim/boot/image.ts";
import { planBoot } from "../../sim/boot.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import type { EnginePolicy } from "../../sim/cpu/engine/policy.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { CELL, CpuState, FLAG, GPR, SEGMENT_NAMES } from "../../sim/cpu/state.ts";
import { boardFor } from "../../sim/devices/board.ts";
import { Machine, type MachineOptions, type TechniqueName } from "../../sim/machine.ts";
import type { Observer } from "../../sim/observer.ts";
import type { RunEnd } from "../../sim/result.ts";
import type { BtParameters } from "../../sim/techniques/bt/parameters.ts";
import { DeprivilegedMonitor } from "../../sim/techniques/deprivileged/monitor.ts";
import { VtxMonitor } from "../../sim/techniques/vtx/monitor.ts";
import { imagesFolder, readManifest } from "../guests.ts";

export const PROFILES = ["pentium4-672", "core2-e6700"] as const;
export const PENTIUM4 = PROFILES[0];
const { images } = readManifest();

/** Images of the manifest whose files exist. */
export const GUESTS: readonly string[] = Object.keys(images).filter((name) =>
  existsSync(join(imagesFolder, `${name}.elf`)),
);
export const NANOBENCHMARKS = GUESTS.filter((name) => images[name]?.kind === "nanobenchmark");
export const isTimeless = (guest: string): boolean => images[guest]?.timeless === true;

/** A few iterations are enough to see what a nanobenchmark does. */
export function shortCommandLine(guest: string): string {
  if (guest === "compute" || guest === "kstorm") return "scale=1";
  if (guest === "timer-interrupt") return "iterations=3 hz=4000";
  return images[guest]?.kind === "nanobenchmark" ? "iterations=20 warm-up=5" : "";
}

const MEGABYTE = 2 ** 20;
/** Long enough for any guest here, short enough to notice one that does not end. */
export const LIMIT = 150_000_000 * TICKS_PER_CYCLE;

export interface Setup {
  readonly technique: TechniqueName;
  readonly profile?: string;
  /** Name of a guest of workloads/; or code for address 0x100000. */
  readonly guest?: string;
  readonly code?: Uint8Array;
  readonly commandLine?: string;
  readonly guestBytes?: number;
  readonly maxBlock?: number;
  readonly firmware?: Uint8Array;
  readonly disks?: readonly Uint8Array[];
  readonly pmapLayout?: "linear" | "shuffled";
  readonly seed?: number;
  readonly observer?: Observer;
  readonly emulateAlways?: boolean;
  /** Of binary translation. */
  readonly bt?: Partial<BtParameters>;
  /** When code is compiled; null: never. */
  readonly engine?: EnginePolicy | null;
  /** Changes what the boot loader leaves in the processor. */
  readonly prepare?: (state: CpuState) => void;
}

export const CODE_BASE = 0x100000;

/** A machine and what has left its serial port. */
export interface Rig {
  readonly machine: Machine;
  readonly serial: number[];
}

function readImage(guest: string): KernelImage {
  const bytes = new Uint8Array(readFileSync(join(imagesFolder, `${guest}.elf`)));
  const elf: Elf = readElf(bytes, guest);
  return {
    kind: "multiboot",
    segments: elf.segments.map(({ physicalAddress, fileOffset, fileBytes }) => ({
      address: physicalAddress,
      bytes: bytes.subarray(fileOffset, fileOffset + fileBytes),
    })),
    entry: elf.entry,
    end: Math.max(...elf.segments.map((segment) => segment.physicalAddress + segment.memoryBytes)),
  };
}

/** A machine with nothing in it, for a guest that comes from elsewhere. */
export function emptyMachine(setup: Setup): Rig {
  const serial: number[] = [];
  const profile = profileNamed(setup.profile ?? PENTIUM4);
  const megabytes = setup.guest === undefined ? 4 : (images[setup.guest]?.memoryMb ?? 16);
  const options: MachineOptions = {
    profile,
    board: boardFor(profile),
    technique: setup.technique,
    guestBytes: setup.guestBytes ?? megabytes * MEGABYTE,
    seed: setup.seed ?? 1,
    onSerial: (byte) => serial.push(byte),
    ...(setup.maxBlock === undefined ? {} : { maxBlock: setup.maxBlock }),
    ...(setup.firmware === undefined ? {} : { firmware: setup.firmware }),
    ...(setup.disks === undefined ? {} : { disks: setup.disks }),
    ...(setup.pmapLayout === undefined ? {} : { pmapLayout: setup.pmapLayout }),
    ...(setup.emulateAlways === undefined ? {} : { emulateAlways: setup.emulateAlways }),
    ...(setup.bt === undefined ? {} : { bt: setup.bt }),
    ...(setup.engine === undefined ? {} : { engine: setup.engine }),
    ...(setup.observer === undefined ? {} : { observer: setup.observer }),
  };
  return { machine: new Machine(options), serial };
}

/** A machine with its guest loaded, ready to run. */
export function boot(setup: Setup): Rig {
  const rig = emptyMachine(setup);
  const { machine } = rig;
  const code = setup.code ?? new Uint8Array();
  const image: KernelImage =
    setup.guest === undefined
      ? {
          kind: "flat",
          segments: [{ address: CODE_BASE, bytes: code }],
          entry: CODE_BASE,
          end: CODE_BASE + code.length,
        }
      : readImage(setup.guest);
  const commandLine = setup.commandLine ?? (setup.guest === undefined ? "" : shortCommandLine(setup.guest));
  const { segments, cpu } = planBoot(image, { commandLine, memoryBytes: machine.guestBytes });
  for (const { address, bytes } of segments) machine.technique.writeGuest(address, bytes);
  machine.board.firmware();
  const state = new CpuState();
  if (cpu !== null) state.restore(cpu.cpu);
  setup.prepare?.(state);
  machine.technique.importCpu({ cpu: state.save() });
  return rig;
}

/** Serial output as text; `timed: false` leaves out the lines that begin `t:`. */
export function text(serial: readonly number[], timed = true): string {
  const all = String.fromCharCode(...serial);
  if (timed) return all;
  return all
    .split(/(?<=\n)/)
    .filter((line) => !line.startsWith("t:"))
    .join("");
}

/** What must not depend on the technique. */
export function verdict({ machine, serial }: Rig, end: RunEnd): object {
  const { kind } = end;
  return { end: kind === "exit" ? end : { kind }, serial: text(serial, false), digest: machine.board.digest.words };
}

/** Everything countable that a run leaves behind, block statistics excepted. */
export function account({ machine, serial }: Rig, end: RunEnd): object {
  return {
    end,
    serial: text(serial),
    digest: machine.board.digest.words,
    now: machine.ledger.clock.now,
    totals: byName(machine),
    exits: machine.technique.exits(),
    counters: { ...machine.technique.counters(), ...machine.core.mmu.counters(), ...machine.memory.counters() },
    ticksLost: machine.board.ticksLost,
    registers: registers(machine),
  };
}

/** Accounts by name. */
export function byName(machine: Machine): Record<string, { ticks: number; retired: number }> {
  const rows = machine.ledger.totals().map(({ domain, activity, ticks, retired }) => {
    return [`${domain}/${activity}`, { ticks, retired }] as const;
  });
  return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const REGISTER_CELLS: Readonly<Record<string, number>> = (() => {
  // Not architectural, and spent with the instruction that wrote it.
  const { zero: _zero, resumeLoaded: _resumeLoaded, ...cells } = CELL;
  return { ...GPR, ...cells };
})();

/** The guest's architectural registers by name, as the guest sees them. */
export function registers(machine: Machine): Record<string, string> {
  const state = new CpuState();
  state.restore(machine.technique.exportCpu().cpu);
  const values: Record<string, string> = {};
  for (const [name, cell] of Object.entries(REGISTER_CELLS)) values[name] = state.getNumber(cell).toString(16);
  for (const [n, name] of SEGMENT_NAMES.entries()) {
    const [base, limit] = [state.segmentBase(n), state.segmentLimit(n)];
    values[name] = [state.selector(n), base, limit, state.segmentRights(n)].map((x) => x.toString(16)).join(" ");
  }
  return values;
}

/** All of the guest's RAM as words. */
export function guestRam(machine: Machine): Uint32Array {
  const bytes = new Uint8Array(machine.guestBytes);
  machine.technique.readGuest(0, bytes);
  return new Uint32Array(bytes.buffer);
}

export function guestWord(machine: Machine, address: number): number {
  const bytes = new Uint8Array(4);
  machine.technique.readGuest(address, bytes);
  return new DataView(bytes.buffer).getUint32(0, true);
}

/** Addresses of the words that differ. */
export function differences(a: Uint32Array, b: Uint32Array): number[] {
  const different: number[] = [];
  for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) different.push(n * 4);
  return different;
}

export function stateOf(machine: Machine): CpuState {
  return machine.core.state;
}

export function monitorOf(machine: Machine): VtxMonitor {
  if (machine.technique instanceof VtxMonitor) return machine.technique;
  throw new Error("this machine has no VT-x monitor");
}

export function deprivilegingMonitorOf(machine: Machine): DeprivilegedMonitor {
  if (machine.technique instanceof DeprivilegedMonitor) return machine.technique;
  throw new Error("this machine's guest is not de-privileged");
}

export { CELL, FLAG };
