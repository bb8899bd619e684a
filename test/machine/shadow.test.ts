// After every exit of a run the shadow page tables equal what is derived anew from the guest's own.
import { expect, test } from "vitest";
import type { ShadowReader } from "../../sim/memory/shadow-verify.ts";
import { Pmap } from "../../sim/vm.ts";
import { boot, LIMIT, monitorOf, type Rig } from "./rig.ts";

const SEED = 3;

/** Reads guest memory and shadow tables without charging; the pmap is made again, as the machine made its own. */
function freeReader({ machine }: Rig): ShadowReader {
  const { map, firstRomPage } = machine.guestMemory;
  const pmap = new Pmap({ map, firstHostPage: 0, firstRomPage, layout: "shuffled", seed: SEED });
  return {
    readGuest32(address) {
      const host = pmap.translate(address);
      return host < 0 ? 0xffffffff : machine.memory.read32(host);
    },
    hostFrame: (page) => pmap.frame(page),
    isWritable: (page) => pmap.isWritable(page),
    readTable: (address) => machine.memory.read32(address),
  };
}

// `every`: exits between two checks, 1 where there are few.
test.each([
  ["kernel", "", 1],
  ["mov-cr3", "iterations=20 warm-up=5", 1],
  ["ptemod-unchanged", "iterations=20 warm-up=5", 5],
  ["ptemod-p2np", "iterations=20 warm-up=5", 5],
  ["ptemod-np2p", "iterations=20 warm-up=5", 5],
  ["t-paging", "", 1],
  ["t-pagetables", "", 1],
  ["t-pae", "", 7],
  ["t-strict", "", 3],
  ["t-exceptions", "", 1],
  ["t-smc", "", 1],
])("the shadow of %s equals its re-derivation after every exit", (guest, commandLine, every) => {
  let exits = 0;
  let checked = 0;
  const problems: string[] = [];
  const rig: Rig = boot({
    technique: "vtx",
    guest,
    commandLine,
    pmapLayout: "shuffled",
    seed: SEED,
    observer: {
      exit(record) {
        if (exits++ % every !== 0 || problems.length > 0) return;
        checked++;
        for (const problem of monitorOf(rig.machine).shadow.verify(reader)) {
          problems.push(`exit ${exits} (${record.cause} at ${record.eip.toString(16)}): ${problem}`);
        }
      },
    },
  });
  const reader = freeReader(rig);
  const end = rig.machine.run(LIMIT);
  expect(problems).toEqual([]);
  expect(end).toEqual({ kind: "exit", status: 0 });
  expect(checked).toBeGreaterThan(100);
});
