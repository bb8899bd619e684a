/**
 * Everything that two machines with the same options and the same past must have in common, compared: processor, clock,
 * accounts with their retired instructions, TLBs and their counters, branch predictor, VMX hardware, devices, the
 * monitor's own state, and all of RAM. What only the engine knows (what is lifted, what is compiled) is left out, as are
 * cells that hold nothing between two instructions.
 */
import { isDeepStrictEqual } from "node:util";
import { CELL, GPR, SEGMENT_NAMES, selectorCell, X87, X87_CELLS, xmmCell } from "../../sim/cpu/state.ts";
import type { Machine, SavedMachine } from "../../sim/machine.ts";
import { RAM_OFFSET } from "../../sim/memory/physical.ts";

/** One value that the two have different; as text, addresses and words in hex. */
export interface Difference {
  readonly name: string;
  readonly left: string;
  readonly right: string;
}

/** So many differences are told of each part; there may be thousands of bytes. */
const TOLD = 16;

type Parts = Omit<SavedMachine, "memory"> & { readonly references: readonly number[] };

/** What a machine holds but its RAM. */
function partsOf(machine: Machine): Parts {
  const { core, ...rest } = machine.saveWithoutMemory();
  // The x87's operands pass through this cell.
  const state = core.state.map((word, index) => (index >> 1 === X87.transfer >> 1 ? 0 : word));
  const references = Array.from(machine.memory.references);
  return { core: { ...core, state }, ...rest, references };
}

function ramOf({ memory }: Machine): Buffer {
  return Buffer.from(memory.buffer, RAM_OFFSET, memory.ramBytes);
}

/** Whether two machines are in the same state. */
export function alike(left: Machine, right: Machine): boolean {
  return isDeepStrictEqual(partsOf(left), partsOf(right)) && ramOf(left).equals(ramOf(right));
}

/** What two machines have different; nothing when they are alike. */
export function differencesOf(left: Machine, right: Machine): Difference[] {
  const [a, b] = [partsOf(left), partsOf(right)];
  const found: Difference[] = [];
  words(a.core.state, b.core.state, found);
  const { state: _a, ...coreA } = a.core;
  const { state: _b, ...coreB } = b.core;
  values("", { ...a, core: coreA }, { ...b, core: coreB }, found);
  bytes(ramOf(left), ramOf(right), found);
  return found;
}

/** Words of the processor's state by name. */
function words(left: readonly number[], right: readonly number[], found: Difference[]): void {
  left.forEach((word, index) => {
    if (word === right[index]) return;
    found.push({ name: CELL_NAMES.get(index) ?? `word ${index}`, left: hex(word), right: hex(right[index] as number) });
  });
}

/** Names of 32-bit words of the state. */
const CELL_NAMES: ReadonlyMap<number, string> = (() => {
  const names = new Map<number, string>();
  const name = (cell: number, text: string) => {
    names.set(cell, text);
    names.set(cell + 1, `${text} (upper half)`);
  };
  for (const [text, cell] of Object.entries({ ...GPR, ...CELL })) name(cell, text);
  SEGMENT_NAMES.forEach((segment, n) => {
    ["selector", "base", "limit", "rights", "fast"].forEach((part, at) => {
      name(selectorCell(n) + at * 2, `${segment} ${part}`);
    });
  });
  for (let n = 0; n < 8; n++) {
    name(X87_CELLS.first + 4 * n, `R${n} significand`);
    name(X87_CELLS.first + 4 * n + 2, `R${n} sign and exponent`);
    for (let word = 0; word < 4; word++) names.set(xmmCell(n) + word, `xmm${n}[${word}]`);
  }
  for (const [text, cell] of Object.entries(X87)) name(cell, `x87 ${text}`);
  return names;
})();

/** Differences of plain data, each named by the path to it. */
function values(path: string, left: unknown, right: unknown, found: Difference[]): void {
  if (isDeepStrictEqual(left, right)) return;
  if (!isObject(left) || !isObject(right)) {
    found.push({ name: path, left: textOf(left), right: textOf(right) });
    return;
  }
  const before = found.length;
  const [a, b] = [entriesOf(left), entriesOf(right)];
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    values(path === "" ? key : `${path}.${key}`, a.get(key), b.get(key), found);
    if (path !== "" && found.length - before >= TOLD) return;
  }
  // Of the same content, but of another shape.
  if (found.length === before) found.push({ name: path, left: textOf(left), right: textOf(right) });
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function entriesOf(value: object): Map<string, unknown> {
  if (value instanceof Map) return new Map([...value].map(([key, each]) => [String(key), each]));
  // Accounts by name: of which there is another number when one has not been used.
  if (Array.isArray(value)) return new Map(value.map((each, n) => [accountName(each) ?? String(n), each]));
  return new Map(Object.entries(value));
}

function accountName(value: unknown): string | null {
  if (!isObject(value) || !("domain" in value) || !("activity" in value)) return null;
  return `${value.domain}/${value.activity}`;
}

function textOf(value: unknown): string {
  if (value === undefined) return "nothing";
  return JSON.stringify(value) ?? String(value);
}

/** Words of RAM. */
function bytes(left: Buffer, right: Buffer, found: Difference[]): void {
  if (left.equals(right)) return;
  const [a, b] = [left, right].map((ram) => new Int32Array(ram.buffer, ram.byteOffset, ram.length / 4));
  let count = 0;
  for (const [at, word] of (a as Int32Array).entries()) {
    const other = (b as Int32Array)[at] as number;
    if (word === other) continue;
    if (count++ < TOLD) found.push({ name: `host memory ${hex(at * 4)}`, left: hex(word), right: hex(other) });
  }
  if (count > TOLD) {
    const more = `${count - TOLD} more words`;
    found.push({ name: "host memory", left: more, right: more });
  }
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, "0");
}
