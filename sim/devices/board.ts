/**
 * Board files: what the processor's surroundings take, in nanoseconds, with sources. A processor's profile converts
 * them to its own ticks, so that the same board is slow in cycles for a fast processor.
 *
 * The reference board is of the class of the published measurements' HP xw4300 (AA06N): front-side bus, north bridge,
 * hub link, ICH7 south bridge with the 8259s and the 8254 inside, and an LPC bus (the "ISA bus" of software) with the
 * serial ports. What no publication gives is derived from AA06N-004 and the bus cycles of the LPC specification 1.1.
 */
import { nanosecondsToTicks } from "../clock.ts";
import { costTicks, type Profile, type Sourced } from "../cpu/profiles/profile.ts";
import { derived } from "../cpu/profiles/sourced.ts";
import type { Frequency } from "./time.ts";
import type { SerialTransmitter } from "./uart16550.ts";

/** Times of the board, by name. Each is of one bus cycle, without what the core itself adds (`portCore`). */
export const BOARD_COSTS = {
  slowPortRead: "IN from the LPC bus: port 80h, serial ports, debug ports, ports where nothing is",
  slowPortWrite: "OUT to the LPC bus",
  chipsetPortRead: "IN from a register inside the south bridge: 8259, 8254, port 61h",
  chipsetPortWrite: "OUT to a register inside the south bridge",
  northBridgePortRead: "IN from the PCI configuration ports CF8h to CFFh, and from the display's",
  northBridgePortWrite: "OUT to the PCI configuration ports and the display's",
  interruptAcknowledge: "interrupt acknowledge cycle to the 8259s",
  ioApicRead: "read of a register of the I/O APIC",
  ioApicWrite: "write to a register of the I/O APIC",
  displayRead: "read of the display's memory",
  displayWrite: "write to the display's memory",
  absentMemoryRead: "read of physical address space that nothing claims",
  absentMemoryWrite: "write to physical address space that nothing claims",
} as const;

export type BoardCostName = keyof typeof BOARD_COSTS;
export const BOARD_COST_NAMES = Object.keys(BOARD_COSTS) as BoardCostName[];

export interface BoardFile {
  readonly name: string;
  readonly title: string;
  readonly costs: Readonly<Record<BoardCostName, Sourced>>;
  /** Front-side bus clock (a quarter of its transfer rate), exactly; the local APIC's timer counts it. */
  readonly busClock: Frequency;
  /** The same in MHz, with its source, for the page of costs. */
  readonly busClockMHz: Sourced;
  readonly serialTransmitter: SerialTransmitter;
  /** DMA transfers of its disks. */
  readonly disk: Readonly<Record<DiskTimeName, Sourced>>;
}

/** Times of a disk, by name; the same on a machine and on a virtual one, whose disk is a real one somewhere. */
export const DISK_TIMES = {
  diskAccess: "from a DMA command to the first sector of its transfer",
  diskSector: "DMA transfer of one sector of 512 bytes",
} as const;
export type DiskTimeName = keyof typeof DISK_TIMES;

/** AA06N-004 gives 3209 cycles at 3.8 GHz, of which 40 are the core's (`portCore`). */
const SLOW_PORT = 833.95;
/** LPC I/O cycle: start 1, type 1, address 4, turn-around 2, sync 1, data 2, turn-around 2 = 13 clocks of 30 ns. */
const LPC_IO = 390;
/** LPC memory read: the same with 8 clocks of address. */
const LPC_MEMORY = 510;
const NORTH_BRIDGE = 100;
const CHIPSET = Number((SLOW_PORT - LPC_IO).toFixed(2));

const REFERENCE_COSTS: Readonly<Record<BoardCostName, Sourced>> = {
  slowPortRead: derived(SLOW_PORT, "AA06N-004: (3209 - 40 of portCore) cycles at 3.8 GHz", "ns"),
  slowPortWrite: derived(
    SLOW_PORT,
    "as slowPortRead: port writes are not posted, and an LPC write has 13 clocks too",
    "ns",
  ),
  chipsetPortRead: derived(CHIPSET, "slowPortRead without its LPC cycle of 13 clocks of 30 ns", "ns"),
  chipsetPortWrite: derived(CHIPSET, "as chipsetPortRead: port writes are not posted", "ns"),
  northBridgePortRead: derived(
    NORTH_BRIDGE,
    "no value published: a front-side bus transaction, like a read of memory",
    "ns",
  ),
  northBridgePortWrite: derived(NORTH_BRIDGE, "as northBridgePortRead", "ns"),
  interruptAcknowledge: derived(CHIPSET, "as chipsetPortRead: the same way to the south bridge and back", "ns"),
  ioApicRead: derived(CHIPSET, "as chipsetPortRead: it is in the south bridge too", "ns"),
  ioApicWrite: derived(NORTH_BRIDGE, "posted: the front-side bus transaction alone, as northBridgePortWrite", "ns"),
  displayRead: derived(NORTH_BRIDGE, "as northBridgePortRead: the link from there to the display is not counted", "ns"),
  displayWrite: derived(NORTH_BRIDGE, "as displayRead", "ns"),
  absentMemoryRead: derived(
    Number((CHIPSET + LPC_MEMORY).toFixed(2)),
    "chipsetPortRead and an LPC memory read of 17 clocks of 30 ns, which nothing answers",
    "ns",
  ),
  absentMemoryWrite: derived(
    NORTH_BRIDGE,
    "posted: the front-side bus transaction alone, as northBridgePortWrite",
    "ns",
  ),
};

const REFERENCE_DISK: Readonly<Record<DiskTimeName, Sourced>> = {
  diskAccess: derived(
    100_000,
    "no value published: the drive's command overhead; seeks and rotation are left out, as if its buffer always had the sector",
    "ns",
  ),
  diskSector: derived(5120, "Ultra DMA mode 5: 512 bytes at 100 MB/s", "ns"),
};

/** The board of the Pentium 4 measurements: 800 MT/s. */
export const REFERENCE_BOARD: BoardFile = {
  name: "pc-2005",
  title: "PC of 2005: front-side bus, hub link, ICH7, LPC bus",
  costs: REFERENCE_COSTS,
  busClock: { numerator: 200_000_000, denominator: 1 },
  busClockMHz: derived(200, "Pentium 4 672 data sheet: 800 MT/s, quad-pumped", "MHz"),
  serialTransmitter: "instant",
  disk: REFERENCE_DISK,
};

/** The same board with the 1 066 MT/s front-side bus of the Core 2 Duo E6700. */
export const REFERENCE_BOARD_1066: BoardFile = {
  ...REFERENCE_BOARD,
  name: "pc-2006",
  title: "PC of 2006: as pc-2005 with a front-side bus of 1066 MT/s",
  busClock: { numerator: 800_000_000, denominator: 3 },
  busClockMHz: derived(266.67, "Core 2 Duo E6700 data sheet: 1066 MT/s, quad-pumped; counted as 800/3 MHz", "MHz"),
};

export const BOARDS: readonly BoardFile[] = [REFERENCE_BOARD, REFERENCE_BOARD_1066];

/** The board on which a processor is measured. */
export function boardFor(profile: Profile): BoardFile {
  return profile.name === "core2-e6700" ? REFERENCE_BOARD_1066 : REFERENCE_BOARD;
}

/** Times of a bus access in ticks: the board's, and the core's own for its local APIC. */
export type BusCost = BoardCostName | "apicRead" | "apicWrite";
export type BusTicks = Readonly<Record<BusCost, number>>;

/** What accesses take on a board with a processor. */
export function busTicks(board: BoardFile, profile: Profile): BusTicks {
  const { apicRead, apicWrite } = costTicks(profile);
  const ticks = { apicRead, apicWrite } as Record<BusCost, number>;
  for (const name of BOARD_COST_NAMES) ticks[name] = nanosecondsToTicks(board.costs[name].value, profile.frequencyMHz);
  return ticks;
}

/** For a virtual board: the monitor charges its own software for an access, and no bus is involved. */
export function freeTicks(): BusTicks {
  const ticks = { apicRead: 0, apicWrite: 0 } as Record<BusCost, number>;
  for (const name of BOARD_COST_NAMES) ticks[name] = 0;
  return ticks;
}
