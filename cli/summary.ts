/** The page at the end of a boot: how it ended, where the time went, VM exits, and when it ended badly where the guest is. */
import {
  bytesText,
  codeBits,
  Disassembler,
  hex,
  linearEip,
  modeText,
  placeText,
  processorOf,
  readLinear,
  registerLines,
} from "../experiments/inspect.ts";
import { exactly, grouped } from "../experiments/numbers.ts";
import { type Point, singleLabel } from "../experiments/point.ts";
import { TICKS_PER_CYCLE } from "../sim/clock.ts";
import type { CpuState } from "../sim/cpu/state.ts";
import { DOMAINS } from "../sim/ledger.ts";
import type { Machine } from "../sim/machine.ts";
import type { RunEnd, RunResult } from "../sim/result.ts";

/** How it ended (`told`), how long it took, whose time it was, and its exits by reason and cause. */
export function exitSummary(point: Point, result: RunResult, told: string): string[] {
  const cycles = result.ticks / TICKS_PER_CYCLE;
  const seconds = cycles / (result.frequencyMHz * 1e6);
  const set = point.overrides === "" ? "" : `, with ${point.overrides}`;
  const lines = [
    `${singleLabel(point)}${set}: ${told}`,
    `${grouped(Math.round(cycles))} cycles (${(seconds * 1000).toFixed(3)} ms), ${grouped(result.instructions)} guest instructions`,
    "",
    ...accountLines(result),
  ];
  if (result.exits.length > 0) lines.push("", ...exitLines(result));
  return lines;
}

/** An end in a few words. */
export function endText(end: RunEnd | { readonly kind: "quit" | "signal" }): string {
  switch (end.kind) {
    case "exit":
      return `exit status ${end.status}`;
    case "signal":
      return "interrupted";
    case "quit":
      return "ended as asked";
    case "limit":
      return "given up at --max-cycles";
    case "dead-halt":
      return end.asleep === true ? "asleep, and no device will wake it" : "halted with interrupts off";
    default:
      return end.kind.replace("-", " ");
  }
}

/** Time by domain, and within the devices' waiting and the monitor's work apart from instructions. */
function accountLines(result: RunResult): string[] {
  const rows = DOMAINS.flatMap((domain) => {
    const accounts = result.accounts.filter((each) => each.domain === domain);
    const ticks = accounts.reduce((sum, each) => sum + each.ticks, 0);
    if (ticks === 0) return [];
    const largest = [...accounts].sort((a, b) => b.ticks - a.ticks).slice(0, 3);
    const parts = largest
      .filter((each) => each.ticks > 0)
      .map((each) => `${each.activity} ${percent(each.ticks, ticks)}`);
    return [[domain, exactly(ticks / TICKS_PER_CYCLE, 0), percent(ticks, result.ticks), parts.join(", ")]];
  });
  return columns([["time of", "cycles", "share", "of which"], ...rows], [false, true, true, false]);
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)}%`;
}

function exitLines(result: RunResult): string[] {
  const mean = (ticks: number, count: number) => exactly(ticks / count / TICKS_PER_CYCLE, 0);
  const rows = [...result.exits]
    .sort((a, b) => b.count - a.count)
    .map((exit) => [
      ...[exit.reason, exit.cause, grouped(exit.count)],
      ...[mean(exit.hardwareTicks, exit.count), mean(exit.monitorTicks, exit.count)],
    ]);
  return [
    ...columns([["exit reason", "cause", "count", "hardware", "monitor"], ...rows], [false, false, true, true, true]),
    "(hardware and monitor: mean cycles per exit)",
  ];
}

/** Rows of equally many cells as lines; `right` says which columns are numbers. */
function columns(rows: readonly (readonly string[])[], right: readonly boolean[]): string[] {
  const widths = right.map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        right[column] === true ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number),
      )
      .join("  ")
      .trimEnd(),
  );
}

const SHOWN_PORTS = 16;

/** The ports that the guest tried and no device has, as ranges; null when there are none. */
export function absentLine({ board }: Machine): string | null {
  const ports = [...board.absentPorts].sort(([a], [b]) => a - b);
  if (ports.length === 0) return null;
  const ranges: { first: number; last: number; count: number }[] = [];
  for (const [port, count] of ports) {
    const range = ranges.at(-1);
    if (range === undefined || range.last + 1 !== port) ranges.push({ first: port, last: port, count });
    else Object.assign(range, { last: port, count: range.count + count });
  }
  const texts = ranges.slice(0, SHOWN_PORTS).map(({ first, last, count }) => {
    const span = first === last ? `${hex(first, 3)}h` : `${hex(first, 3)}h-${hex(last, 3)}h`;
    return `${span} (${grouped(count)})`;
  });
  const more = ranges.length > SHOWN_PORTS ? ` and ${ranges.length - SHOWN_PORTS} more` : "";
  return `ports that no device has, with accesses: ${texts.join(", ")}${more}`;
}

/** Where a guest stands: mode, registers, the last instructions that ran, the one that is next. */
export function placeLines(machine: Machine): string[] {
  const state = processorOf(machine);
  return [`at ${placeText(state)}, ${modeText(state)}`, ...registerLines(state), ...codeLines(machine, state)];
}

/** The last instructions as far as they are known, oldest first, and the next. */
function codeLines(machine: Machine, state: CpuState): string[] {
  const disassembler = new Disassembler();
  try {
    const line = (eip: number, bytes: Uint8Array, text: string, mark: string) =>
      `${mark}${hex(eip)}  ${bytesText(bytes).padEnd(24)}  ${text}`;
    const next = disassembler.next(machine, state);
    if (next === null) return [`=> ${hex(state.eip)}  (not readable at linear ${hex(linearEip(state))})`];
    const lines: string[] = [];
    const trail = machine.core.trail();
    for (const [at, from] of trail.entries()) {
      let linear = from;
      for (let n = 0; n < LONGEST_STRAIGHT; n++) {
        // What is behind has not run, or comes with the next entry.
        if (linear === linearEip(state) || (n > 0 && linear === trail[at + 1])) break;
        const bytes = readLinear(machine, state, linear, 15);
        if (bytes.length === 0) break;
        const eip = (linear - state.segmentBase(1)) >>> 0;
        const one = disassembler.one(bytes, eip, codeBits(state));
        lines.push(line(eip, one.bytes, one.text, "   "));
        const base = linear - eip;
        if (one.next === "never" || (one.next !== "always" && trail[at + 1] === one.next + base)) break;
        linear += one.bytes.length;
      }
    }
    return [...lines.slice(-SHOWN_BEFORE), line(state.eip, next.bytes, next.text, "=> ")];
  } finally {
    disassembler.free();
  }
}

const SHOWN_BEFORE = 8;
const LONGEST_STRAIGHT = 40;
