// Processor profiles as data: every value has a source, published ones equal the row that they name, fitted ones are as
// few as the design allows, and the costs add up to the published native column that is their input.

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { PROFILES, profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import type { CostName, Profile, Sourced } from "../../sim/cpu/profiles/profile.ts";
import { COST_NAMES, costTicks } from "../../sim/cpu/profiles/profile.ts";

const root = resolve(import.meta.dirname, "../..");
const published = readPublished();

describe.each(PROFILES.map((profile) => [profile.name, profile] as const))("profile %s", (_, profile) => {
  const values = Object.entries(sourced(profile));

  test("gives every cost of the list, and no other", () => {
    expect(Object.keys(profile.costs).sort()).toEqual([...COST_NAMES].sort());
  });

  test("says of every value where it comes from", () => {
    for (const [name, value] of values) expect(value.source.length, name).toBeGreaterThan(8);
  });

  test("has costs that the clock can count: no less than 0, multiples of 1/12 cycle", () => {
    for (const [name, value] of values) {
      expect(value.value, name).toBeGreaterThanOrEqual(0);
      // A step's instructions x monitorCpi is rounded to a tick; the factor itself need not be a whole number of them.
      if (name === "monitorCpi") continue;
      expect(Math.abs(value.value * 12 - Math.round(value.value * 12)), name).toBeLessThan(1e-6);
    }
    expect(Object.values(costTicks(profile)).every(Number.isInteger)).toBe(true);
  });

  test("takes published values from rows that exist and say the same", () => {
    for (const [name, value] of values) {
      if (value.mark !== "published") continue;
      const [, row, how] = /^([A-Z0-9]+-\d{3}) \((exact|nearest 1\/12 of [\d.]+)\)/.exec(value.source) ?? [];
      const printed = published.get(row ?? "");
      expect(printed, `${name}: ${value.source}`).toBeDefined();
      if (how === "exact") expect(value.value, name).toBe(Number(printed));
      else expect(value.value, name).toBe(Math.round(Number(printed) * 12) / 12);
    }
  });

  test("names only rows that exist, in reasoning too", () => {
    for (const [name, value] of values) {
      for (const [row] of value.source.matchAll(/\b(?:AA06[NTM]|ATC12|AGNER|ILX|ILM|RI00)-\d+/g)) {
        expect(published.has(row), `${name}: ${row}`).toBe(true);
      }
    }
  });

  test("has TLBs whose ways divide their entries into a power of two of sets", () => {
    for (const side of [profile.instructionTlb, profile.dataTlb]) {
      for (const geometry of [side.small, side.large, side.secondSmall, side.secondLarge]) {
        if (geometry === undefined) continue;
        const sets = geometry.entries / geometry.ways;
        expect(Number.isInteger(Math.log2(sets)), JSON.stringify(geometry)).toBe(true);
      }
    }
  });

  test("reports by CPUID what it is", () => {
    const leaf = (number: number) => profile.cpuid[number]!;
    const vendor = [leaf(0).ebx, leaf(0).edx, leaf(0).ecx].map(characters).join("");
    expect(vendor).toBe("GenuineIntel");
    for (let number = 0; number <= leaf(0).eax; number++) expect(leaf(number), `leaf ${number}`).toBeDefined();
    const brand = [2, 3, 4].flatMap((n) => Object.values(leaf(0x8000_0000 + n)).map(characters)).join("");
    const [, clock] = /(\d\.\d\d)GHz\0+$/.exec(brand) ?? [];
    expect(Math.abs(Number(clock) * 1000 - profile.frequencyMHz)).toBeLessThan(5);
    expect(leaf(0x8000_0008).eax & 0xff).toBe(profile.physicalAddressBits);
    expect((leaf(0x8000_0008).eax >> 8) & 0xff).toBe(profile.linearAddressBits);
    expect((leaf(1).ecx >> 5) & 1, "VMX").toBe(profile.vmx === null ? 0 : 1);
    expect(profile.features.includes("vmx")).toBe(profile.vmx !== null);
    for (const [, registers] of Object.entries(profile.cpuid)) {
      for (const value of Object.values(registers)) expect(value).toBe(value >>> 0);
    }
  });
});

test("at most one software number is fitted per technique, on the Pentium 4, and it names an existing cell", () => {
  const allowed = new Map([["pentium4-672 monitorCpi", "AA06N-006"]]);
  for (const profile of PROFILES) {
    for (const [name, value] of Object.entries(sourced(profile))) {
      if (value.mark !== "calibrated") {
        expect(value.cell, `${profile.name} ${name}`).toBeUndefined();
        continue;
      }
      expect(value.cell, `${profile.name} ${name}`).toBe(allowed.get(`${profile.name} ${name}`));
      expect(published.has(value.cell ?? "")).toBe(true);
    }
  }
});

// What workloads/nano executes, added up. READ is `mov r,[m]`, WRITE `mov [m],r`, MODIFY a read-modify-write.
describe("costs of the Pentium 4 add up to the native column that they come from", () => {
  const READ: CostName[] = ["alu", "load"];
  const WRITE: CostName[] = ["alu", "store"];
  const MODIFY: CostName[] = ["alu", "load", "store"];
  const walk: CostName[] = ["walkStart", "walkReference", "walkReference"];
  const pageFaultHandler: CostName[] = ["readCr", "alu", ...MODIFY, "pop", "alu", ...MODIFY, ...MODIFY, ...MODIFY];
  test.each<[string, string, CostName[]]>([
    ["AA06N-001", "sysenter, inc, sysexit", ["sysenter", ...MODIFY, "sysexit"]],
    ["AA06N-007", "TPR write (the paper's is MOV to CR8)", [...WRITE, "apicWrite"]],
    ["AA06N-010", "call, ret", ["call", "ret"]],
    ["AA06N-013", "page fault", [...READ, ...walk, "pageFault", ...pageFaultHandler, "iretOuter"]],
    ["AA06N-016", "divide error", ["divide", "exception", ...MODIFY, ...MODIFY, "iretOuter"]],
    ["AA06N-019", "PTE store", WRITE],
  ])("%s: %s", (row, _, costs) => {
    const ticks = costTicks(profileNamed("pentium4-672"));
    expect(costs.reduce((sum, cost) => sum + ticks[cost], 0)).toBe(Number(published.get(row)) * 12);
  });

  test("the port read leaves most of AA06N-004 to the bus", () => {
    const core = costTicks(profileNamed("pentium4-672")).portCore / 12;
    expect(core).toBeLessThan(Number(published.get("AA06N-004")) / 20);
  });
});

test("the Core 2's monitor software follows the Pentium 4's by a published ratio, so that refitting moves both", () => {
  const ratio = Number(published.get("ILM-009")) / Number(published.get("ILM-002"));
  const expected = profileNamed("pentium4-672").monitorCpi.value * ratio;
  expect(Math.abs(profileNamed("core2-e6700").monitorCpi.value - expected)).toBeLessThanOrEqual(1 / 24);
});

function sourced(profile: Profile): Record<string, Sourced> {
  return { ...profile.costs, monitorCpi: profile.monitorCpi };
}

function characters(register: number): string {
  return String.fromCharCode(...[0, 8, 16, 24].map((shift) => (register >>> shift) & 0xff));
}

/** Values by row id of all published tables. */
function readPublished(): Map<string, string> {
  const folder = join(root, "results", "published");
  const rows = new Map<string, string>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".csv"))) {
    const [header, ...lines] = readFileSync(join(folder, file), "utf8").trim().split(/\r?\n/);
    expect(header).toMatch(/^id,.*,value,unit$/);
    for (const line of lines) {
      const fields = line.match(/"[^"]*"|[^,]+/g) ?? [];
      expect(rows.has(fields[0]!), `${file}: ${fields[0]} twice`).toBe(false);
      rows.set(fields[0]!, fields.at(-2)!);
    }
  }
  return rows;
}
