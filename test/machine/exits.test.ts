// VM exits per iteration of every nanobenchmark: what the architecture demands of a first-generation monitor, as
// docs/nanobenchmarks/README.md derives it, and nothing else.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Measurement } from "../../experiments/measure.ts";
import { root } from "../guests.ts";
import { boot, LIMIT, NANOBENCHMARKS, PROFILES } from "./rig.ts";

const EXITS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "syscall-int": {},
  "syscall-sysenter": {},
  in: { "port-io": 1 },
  tprwr: { "device-memory": 1 },
  callret: {},
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

const cases = PROFILES.flatMap((profile) => NANOBENCHMARKS.map((guest) => [guest, profile] as const));

test.each(cases)(
  "an iteration of %s exits as the architecture demands, its baseline never, on %s",
  (guest, profile) => {
    const measurement = new Measurement();
    const { machine } = boot({ technique: "vtx", guest, profile, observer: measurement });
    measurement.attach({ ledger: machine.ledger, walks: () => 0 });
    machine.run(LIMIT);
    const [region] = measurement.regions();
    const iterations = region?.iterations ?? 0;
    expect(iterations).toBeGreaterThan(1);
    const exits = Object.entries(EXITS[guest] ?? { unknown: 1 }).map(([cause, count]) => [cause, count * iterations]);
    expect(region?.exits).toEqual(Object.fromEntries(exits));
    expect(region?.baselineExits).toEqual({});
  },
);

test.each(cases)(
  "an iteration of %s has the same instructions under VT-x, the emulated ones excepted, on %s",
  (guest, profile) => {
    if (guest === "timer-interrupt") return;
    let iterations = 0;
    const instructions = (technique: "native" | "vtx"): number => {
      const measurement = new Measurement();
      const { machine } = boot({ technique, guest, profile, observer: measurement });
      measurement.attach({ ledger: machine.ledger, walks: () => 0 });
      machine.run(LIMIT);
      iterations = measurement.regions()[0]?.iterations ?? 0;
      return measurement.regions()[0]?.instructions ?? 0;
    };
    const completed = Object.entries(EXITS[guest] ?? {}).filter(([cause]) => cause !== "guest-page-fault").length;
    expect(instructions("native") - instructions("vtx")).toBe(completed * iterations);
  },
);

test("the documented table has the same exits", () => {
  const page = readFileSync(join(root, "docs", "nanobenchmarks", "README.md"), "utf8");
  const rows = [...page.matchAll(/^\| \[([\w-]+)\]\([\w-]+\.md\) *\|[^|]*\|[^|]*\|[^|]*\| *(\d+) *\|/gm)];
  const documented = Object.fromEntries(rows.map(([, name, count]) => [name, Number(count)]));
  const ours = Object.entries(EXITS).map(([name, causes]) => [name, Object.values(causes).reduce((a, b) => a + b, 0)]);
  expect(documented).toEqual(Object.fromEntries(ours));
});
