// VM exits per iteration of every nanobenchmark: what the architecture demands of a first-generation monitor, as
// docs/nanobenchmarks/README.md derives it, and nothing else.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Measurement } from "../../experiments/measure.ts";
import type { RegionMeasure } from "../../sim/result.ts";
import { root } from "../guests.ts";
import { boot, LIMIT, NANOBENCHMARKS, PENTIUM4, PROFILES } from "./rig.ts";

const EXITS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "syscall-int": {},
  "syscall-sysenter": {},
  in: { "port-io": 1 },
  tprwr: { "device-memory": 1 },
  callret: {},
  "callret-sites": {},
  pgfault: { "guest-page-fault": 1 },
  divzero: {},
  "ptemod-unchanged": { "traced-write": 1 },
  "ptemod-p2np": { "traced-write": 1 },
  "ptemod-np2p": { "traced-write": 1 },
  "cli-sti": {},
  "pushf-popf": {},
  cpuid: { cpuid: 1 },
  rdtsc: {},
  invlpg: { invlpg: 1 },
  "mov-cr3": { "write-cr3": 1 },
  "timer-interrupt": { "physical-interrupt": 1, "port-io": 1 },
};

function measure(technique: "native" | "vtx", guest: string, profile: string): RegionMeasure {
  const measurement = new Measurement();
  const { machine } = boot({ technique, guest, profile, observer: measurement });
  measurement.attach({ ledger: machine.ledger, walks: () => 0 });
  machine.run(LIMIT);
  return measurement.regions()[0] as RegionMeasure;
}

const cases = PROFILES.flatMap((profile) => NANOBENCHMARKS.map((guest) => [guest, profile] as const));

test.each(cases)(
  "an iteration of %s exits as the architecture demands, its baseline never, on %s",
  (guest, profile) => {
    const vtx = measure("vtx", guest, profile);
    expect(vtx.iterations).toBeGreaterThan(1);
    const causes = Object.entries(EXITS[guest] ?? { unknown: 1 });
    expect(vtx.exits).toEqual(Object.fromEntries(causes.map(([cause, count]) => [cause, count * vtx.iterations])));
    expect(vtx.baselineExits).toEqual({});
    // How often a timer's guest spins depends on time; on one profile it is enough to see that the guest executes the same.
    if (guest === "timer-interrupt" || profile !== PENTIUM4) return;
    const completed = causes.filter(([cause]) => cause !== "guest-page-fault").length;
    const native = measure("native", guest, profile);
    expect(native.instructions - vtx.instructions).toBe(completed * vtx.iterations);
  },
);

test("the documented table has the same exits", () => {
  const page = readFileSync(join(root, "docs", "nanobenchmarks", "README.md"), "utf8");
  const rows = [...page.matchAll(/^\| \[([\w-]+)\]\([\w-]+\.md\) *\|[^|]*\|[^|]*\|[^|]*\| *(\d+) *\|/gm)];
  const documented = Object.fromEntries(rows.map(([, name, count]) => [name, Number(count)]));
  const ours = Object.entries(EXITS).map(([name, causes]) => [name, Object.values(causes).reduce((a, b) => a + b, 0)]);
  expect(documented).toEqual(Object.fromEntries(ours));
});
