// The guest that talks (guest/console.c), as requests and sessions.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readImage } from "../../experiments/images.ts";
import type { ScriptStep } from "../../experiments/script.ts";
import { Session } from "../../experiments/session.ts";
import type { SimulationRequest } from "../../experiments/simulate.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";

export const GUEST_FOLDER = join(import.meta.dirname, "guest");
export const CONSOLE_GUEST = join(GUEST_FOLDER, "console.elf");

/** Addresses of symbols of console.elf. */
export const SYMBOL = { command: addressOf("command"), interrupts: addressOf("interrupts") } as const;

/** From the symbol table of a 32-bit ELF file: section type 2, entries of 16 bytes, names in the section that it links. */
function addressOf(symbol: string): number {
  const file = readFileSync(CONSOLE_GUEST);
  const sections = Array.from({ length: file.readUInt16LE(48) }, (_, n) => file.readUInt32LE(32) + n * 40);
  const table = sections.find((at) => file.readUInt32LE(at + 4) === 2) as number;
  const names = file.readUInt32LE((sections[file.readUInt32LE(table + 24)] as number) + 16);
  const first = file.readUInt32LE(table + 16);
  for (let at = first; at < first + file.readUInt32LE(table + 20); at += 16) {
    const name = names + file.readUInt32LE(at);
    if (file.toString("latin1", name, file.indexOf(0, name)) === symbol) return file.readUInt32LE(at + 4);
  }
  throw new Error(`console.elf has no symbol ${symbol}`);
}

const bytes = (text: string): number[] => [...Buffer.from(text)];
export const expects = (text: string): ScriptStep => ({ kind: "expect", text });
export const sends = (text: string): ScriptStep => ({ kind: "send", bytes: bytes(text) });

/** A run of a guest, whichever. */
export function requestFor(technique: string, more: Partial<SimulationRequest> = {}): SimulationRequest {
  return {
    image: readImage(CONSOLE_GUEST),
    commandLine: "",
    profile: profileNamed("pentium4-672"),
    technique,
    memoryModel: technique === "native" ? "direct" : "shadow",
    guestMemoryBytes: 4 * 2 ** 20,
    maxCycles: 1e9,
    seed: 1,
    timerPhase: 0,
    ...more,
  };
}

export function sessionOf(
  technique: string,
  script: readonly ScriptStep[] = [],
  more: Partial<SimulationRequest> = {},
) {
  return new Session(requestFor(technique, { script, ...more }));
}
