/**
 * The machine, as a wiring diagram. Read this first.
 *
 *     PhysicalMemory --- one WebAssembly.Memory: processor state | clock and accounts | RAM
 *          |
 *        Core ---------- Mmu (modelled TLBs, walker) -- CodeCache (decode, lift) -- interpreter
 *          |     \
 *       PcBoard   Vmx    the machine's devices; the virtualization hardware
 *          |
 *      Technique ------- native: the guest has all of the above
 *                        vtx:    a monitor has it; the guest has a Pmap over RAM, a PcBoard of its own, and the
 *                                processor between VM entry and VM exit
 *                        classical, bt: the same, but that the guest runs at CPL 1 and 3 with the monitor in the top
 *                                of its linear space
 *
 * RAM is what the guest has, plus what the monitor keeps for itself, so a guest sees the same memory map under every
 * technique. Nothing here is a singleton: machines do not know of each other.
 */
import { Alarms, Clock } from "./clock.ts";
import { Core, type SavedCore } from "./cpu/core.ts";
import { DEFAULT_POLICY, type EnginePolicy } from "./cpu/engine/policy.ts";
import type { Profile } from "./cpu/profiles/profile.ts";
import { resetState } from "./cpu/reset.ts";
import { CELL } from "./cpu/state.ts";
import { type BoardFile, busTicks, freeTicks } from "./devices/board.ts";
import type { FirmwareFile } from "./devices/firmware-config.ts";
import { APIC } from "./devices/lapic.ts";
import { PcBoard, type PcBoardState } from "./devices/pc-board.ts";
import { withTables } from "./devices/tables/firmware-tables.ts";
import { Ledger, type SavedLedger } from "./ledger.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "./memory/address.ts";
import { EXTENDED_BASE, FIRMWARE_SIZES, MemoryMap } from "./memory/memory-map.ts";
import { PhysicalMemory, type SavedMemory } from "./memory/physical.ts";
import type { Observer } from "./observer.ts";
import type { Resources } from "./resources.ts";
import type { RunEnd } from "./result.ts";
import { cacheBytes } from "./techniques/bt/cache.ts";
import { BinaryTranslation } from "./techniques/bt/kernel-code.ts";
import { BT_USUAL, type BtParameters } from "./techniques/bt/parameters.ts";
import { DeprivilegedMonitor } from "./techniques/deprivileged/monitor.ts";
import type { ClassicalParameters } from "./techniques/deprivileged/parameters.ts";
import type { GuestCpu, Technique } from "./techniques/monitor.ts";
import { Native } from "./techniques/native.ts";
import { TIMER_VECTOR } from "./techniques/physical-timer.ts";
import { VtxMonitor } from "./techniques/vtx/monitor.ts";
import { Pmap, type PmapLayout } from "./vm.ts";

/**
 * Frames that a monitor gets for shadow tables: 4 MB, as KVM had (KVM_NUM_MMU_PAGES). A table maps 4 MB of linear space,
 * or 2 MB with PAE paging; when all are taken the oldest go.
 */
const SHADOW_PAGES = 1024;
/** What a monitor has besides: VT-x's own few, or the region of one that is in its guest's linear space. */
const VTX_PAGES = 8;
const REGION_PAGES = 40;
/** Guest pages of a machine with a monitor begin here, so that guest-physical is never host-physical by accident. */
const FIRST_GUEST_PAGE = 0;

/** Interrupt command: fixed delivery, edge, to the local APIC itself (SDM vol. 3, 11.6.1). */
const ICR_SELF = 0x0004_4000;

export const TECHNIQUE_NAMES = ["native", "classical", "bt", "vtx"] as const;
export type TechniqueName = (typeof TECHNIQUE_NAMES)[number];

export interface MachineOptions {
  readonly profile: Profile;
  readonly board: BoardFile;
  readonly technique: TechniqueName;
  /** Of the binary translator, what is not as usual. */
  readonly bt?: Partial<BtParameters>;
  /** Of the classical monitor, what is not as usual. */
  readonly classical?: Partial<ClassicalParameters>;
  /** RAM of the guest in bytes; a multiple of 4 KB. */
  readonly guestBytes: number;
  /** Seeds TLB replacement. */
  readonly seed: number;
  /** Shifts the guest's timer crystal against the clock, in ticks. */
  readonly timerPhase?: number;
  /**
   * The image of the guest's firmware ROM, 64 or 128 KB, which ends at 1 MB and again at 4 GB. A machine with one begins
   * at the reset vector. If not given the ROM holds the board's MP and ACPI tables, and a HLT at the reset vector (a
   * machine with less than 1 MB has none).
   */
  readonly firmware?: Uint8Array;
  /** Contents of the guest's disks: primary master and slave, secondary master and slave; never modified. */
  readonly disks?: readonly Uint8Array[];
  /** Files of the firmware configuration device: what the BIOS is told. */
  readonly firmwareFiles?: readonly FirmwareFile[];
  /** How the guest's pages are spread over RAM; no effect on a guest, only tests use "shuffled". */
  readonly pmapLayout?: PmapLayout;
  /** Longest block in instructions; never changes a result. */
  readonly maxBlock?: number;
  /** When hot code is compiled (sim/cpu/engine); null: never. Never changes a result. */
  readonly engine?: EnginePolicy | null;
  /** Never changes a result. */
  readonly resources?: Resources;
  /** The vtx monitor emulates every instruction of its guest; for tests of the emulator. */
  readonly emulateAlways?: boolean;
  readonly observer?: Observer;
  readonly onSerial?: (byte: number) => void;
}

/** A key of the guest's keyboard goes down or up. */
export interface KeyEvent {
  readonly name: string;
  readonly down: boolean;
}

/** A guest on the move between techniques: processor, memory, devices, and the time it has reached. */
export interface GuestSnapshot {
  readonly cpu: GuestCpu;
  readonly memory: Uint8Array;
  readonly devices: PcBoardState;
  readonly now: number;
}

/** Everything that a machine is. */
export interface SavedMachine {
  readonly memory: SavedMemory;
  readonly core: SavedCore;
  readonly ledger: SavedLedger;
  readonly physicalBoard: PcBoardState;
  readonly guestBoard: PcBoardState | null;
  readonly technique: unknown;
}

export class Machine {
  readonly memory: PhysicalMemory;
  readonly ledger: Ledger;
  readonly core: Core;
  readonly technique: Technique;
  /** The guest's devices: the machine's own natively, a virtual board under a monitor. */
  readonly board: PcBoard;
  readonly guestBytes: number;
  readonly #profile: Profile;
  /** What the guest's pages are, and the host page at which a monitor keeps the guest's firmware ROM. */
  readonly guestMemory: { readonly map: MemoryMap; readonly firstRomPage: number };
  readonly #physicalBoard: PcBoard;
  #finish: (end: RunEnd) => void = () => undefined;

  constructor(options: MachineOptions) {
    const { profile, board, guestBytes } = options;
    const virtual = options.technique !== "native";
    const guestPages = guestBytes / PAGE_SIZE;
    const translation: BtParameters = { ...BT_USUAL, ...options.bt };
    const cachePages = options.technique === "bt" ? Math.ceil(cacheBytes(translation) / PAGE_SIZE) : 0;
    const monitorPages = SHADOW_PAGES + (options.technique === "vtx" ? VTX_PAGES : REGION_PAGES + cachePages);
    this.guestBytes = guestBytes;
    this.#profile = profile;
    const image = options.firmware ?? blankFirmware(guestBytes);
    const map = MemoryMap.pc(guestBytes, image.length);
    const firmware = image.length === 0 ? image : withTables(image, profile, guestBytes);
    this.guestMemory = { map, firstRomPage: virtual ? guestPages + monitorPages : map.romBase >>> PAGE_SHIFT };
    const hostBytes = guestBytes + (virtual ? monitorPages * PAGE_SIZE + firmware.length : 0);
    this.memory = new PhysicalMemory(hostBytes, virtual ? MemoryMap.pc(hostBytes, 0) : map, options.resources);
    const clock = new Clock(this.memory.timeCells, profile.frequencyMHz);
    this.ledger = new Ledger(clock);
    const alarms = new Alarms();

    const time = { now: () => clock.now, ticksPerSecond: clock.ticksPerSecond };
    const guestSide = {
      onExit: () => this.#finish({ kind: "exit", status: this.board.exit.status ?? 0 }),
      onSerial: (port: 1 | 2, byte: number) => {
        if (port === 1) options.onSerial?.(byte);
      },
      timerPhase: options.timerPhase ?? 0,
      memoryBytes: guestBytes,
      dma: {
        read: (address: number, into: Uint8Array) => this.technique.dma.read(address, into),
        write: (address: number, bytes: Uint8Array) => this.technique.dma.write(address, bytes),
      },
      onReset: () => this.reset(),
      onPowerOff: () => this.#finish({ kind: "power-off" }),
      onA20: (open: boolean) => this.technique.gateA20(open),
      ...(options.disks === undefined ? {} : { disks: options.disks }),
      ...(options.firmwareFiles === undefined ? {} : { firmwareFiles: options.firmwareFiles }),
    };
    this.#physicalBoard = new PcBoard({
      board,
      time,
      ticks: busTicks(board, profile),
      charge: {
        deviceWait: (ticks, cost) => this.ledger.charge(this.core.accounts.current["device-wait"], ticks, cost),
      },
      apicBase: () => this.core.state.get(CELL.apicBase),
      onChange: () => this.core.env.devicesChanged(),
      ...(virtual ? {} : guestSide),
    });
    alarms.add(this.#physicalBoard);
    this.core = new Core({
      index: 0,
      memory: this.memory,
      bus: this.#physicalBoard,
      ledger: this.ledger,
      alarms,
      profile,
      seed: options.seed,
      maxBlock: options.maxBlock ?? 32,
      engine: options.engine === undefined ? DEFAULT_POLICY : options.engine,
    });
    this.core.env.observer = options.observer ?? null;

    if (!virtual) {
      const native = new Native(this.core, this.memory);
      this.board = this.#physicalBoard;
      this.technique = native;
      this.#finish = (end) => native.finish(end);
      this.#load(firmware);
      if (options.firmware !== undefined) this.technique.importCpu(this.#afterReset());
      return;
    }
    this.board = new PcBoard({
      board,
      time,
      ticks: freeTicks(),
      charge: { deviceWait: () => undefined },
      apicBase: () => monitor.guestApicBase,
      ...guestSide,
    });
    const parts = {
      core: this.core,
      memory: this.memory,
      ledger: this.ledger,
      pmap: new Pmap({
        ...this.guestMemory,
        firstHostPage: FIRST_GUEST_PAGE,
        layout: options.pmapLayout ?? "linear",
        seed: options.seed,
      }),
      board: this.board,
      firstPage: guestPages,
      pages: monitorPages,
      busClock: board.busClock,
    };
    const monitor: VtxMonitor | DeprivilegedMonitor =
      options.technique === "vtx"
        ? new VtxMonitor({ ...parts, emulateAlways: options.emulateAlways === true })
        : new DeprivilegedMonitor({
            ...parts,
            name: options.technique === "bt" ? "bt" : "classical",
            bus: this.#physicalBoard,
            cachePages,
            trapsTimeStamp: options.classical?.tsc === "trap",
            translator: options.technique === "bt" ? (each) => new BinaryTranslation(each, translation) : null,
          });
    monitor.log.observer = options.observer ?? null;
    this.technique = monitor;
    this.#finish = (end) => monitor.finish(end);
    this.#load(firmware);
    // The monitor finds the machine as firmware leaves it; nothing of it is the guest's.
    this.core.state.set(CELL.apicBase, 0xfee00900);
    if (options.firmware !== undefined) this.technique.importCpu(this.#afterReset());
  }

  /**
   * Reset of the guest's processor and devices, as by the ports that software has for it, at the next instruction
   * boundary. RAM, CMOS RAM and what was written to disks stay; so does what the guest has told the laboratory.
   */
  reset(): void {
    this.technique.reset(() => {
      this.board.reset();
      return this.#afterReset();
    });
  }

  #afterReset(): GuestCpu {
    return { cpu: resetState(this.#profile).save() };
  }

  /** Puts the firmware image where the guest's ROM is. */
  #load(firmware: Uint8Array): void {
    if (firmware.length > 0) this.technique.writeGuest(EXTENDED_BASE - firmware.length, firmware);
  }

  /** Runs the guest until something ends the run or the clock has reached `until` (ticks). */
  run(until: number, instructions?: number, breakpoints?: ReadonlySet<number>): RunEnd {
    return this.technique.run({
      until,
      ...(instructions === undefined ? {} : { instructions }),
      ...(breakpoints === undefined ? {} : { breakpoints }),
    });
  }

  /** Makes `run` return at the next instruction boundary; who hears the guest's output may call it. */
  pause(): void {
    this.technique.pause();
  }

  /** Bytes arrive at the guest's COM1, between two runs. */
  sendSerial(bytes: readonly number[]): void {
    this.board.com1.receive(bytes);
    this.#tellMonitor();
  }

  /** Keys of the guest's keyboard go down and up, between two runs: names of keys or characters (scan-codes.ts). */
  sendKeys(keys: readonly KeyEvent[]): void {
    for (const { name, down } of keys) this.board.keyboardController.key(name, down);
    this.#tellMonitor();
  }

  /** Under a monitor: input has come for a guest that may be running, so another processor of the host sends an IPI. */
  #tellMonitor(): void {
    if (this.board === this.#physicalBoard) return;
    this.#physicalBoard.apic.write(APIC.icrLow, 4, ICR_SELF | TIMER_VECTOR);
    this.core.env.devicesChanged();
  }

  /** Takes the guest off this machine, free of charge. */
  exportGuest(): GuestSnapshot {
    const cpu = this.technique.exportCpu();
    const memory = new Uint8Array(this.guestBytes);
    this.technique.readGuest(0, memory);
    return { cpu, memory, devices: this.board.save(), now: this.ledger.clock.now };
  }

  /** Puts a guest onto this machine, which must be new; its time goes on from where it was. */
  importGuest(guest: GuestSnapshot): void {
    const elsewhere = guest.now - this.ledger.clock.now;
    if (elsewhere < 0) throw new Error("a guest cannot be imported into a machine whose clock is ahead of it");
    if (elsewhere > 0) this.ledger.charge(this.ledger.account("idle", "elsewhere"), elsewhere, "elsewhere");
    this.technique.writeGuest(0, guest.memory);
    this.technique.importCpu(guest.cpu);
    this.board.restore(guest.devices);
    this.technique.gateA20(this.board.a20);
  }

  save(): SavedMachine {
    return { memory: this.memory.save(), ...this.saveWithoutMemory() };
  }

  /** What `save` gives but RAM. */
  saveWithoutMemory(): Omit<SavedMachine, "memory"> {
    return {
      core: this.core.save(),
      ledger: this.ledger.save(),
      physicalBoard: this.#physicalBoard.save(),
      guestBoard: this.board === this.#physicalBoard ? null : this.board.save(),
      technique: this.technique.save(),
    };
  }

  /** Restores what `save` of a machine with the same options gave. */
  restore(saved: SavedMachine): void {
    this.memory.restore(saved.memory);
    this.ledger.restore(saved.ledger);
    this.core.restore(saved.core);
    this.#physicalBoard.restore(saved.physicalBoard);
    if (saved.guestBoard !== null) this.board.restore(saved.guestBoard);
    this.technique.restore(saved.technique);
  }
}

/** At the reset vector of a machine without firmware: CLI; HLT; JMP back. A guest that resets such a machine ends its run. */
const NOTHING_TO_START = [0xfa, 0xf4, 0xeb, 0xfd];
const RESET_VECTOR_FROM_END = 16;

/** A ROM in which nothing else is programmed; none where it would not fit below the end of RAM. */
function blankFirmware(guestBytes: number): Uint8Array {
  const image = new Uint8Array(guestBytes < EXTENDED_BASE ? 0 : (FIRMWARE_SIZES[0] as number)).fill(0xff);
  if (image.length > 0) image.set(NOTHING_TO_START, image.length - RESET_VECTOR_FROM_END);
  return image;
}
