// A guest that executes VMX itself (workloads/tests/vmx-guest.c): on bare hardware it is a small monitor whose every
// expectation is the SDM's, where VMX is hidden it finds none. vmx-guest.expected is what it prints in the first case;
// RINGLAB_UPDATE_EXPECTED=1 writes it anew.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { FEATURE_CONTROL } from "../../sim/cpu/system/msr.ts";
import { imagesFolder } from "../guests.ts";
import { account, boot, CELL, emptyMachine, LIMIT, PENTIUM4, PROFILES, type Rig, stateOf, text } from "./rig.ts";

const GUEST = "vmx-guest";
const EXPECTED = join(import.meta.dirname, "vmx-guest.expected");
const ENDED_WELL = { kind: "exit", status: 0 };

interface Run {
  readonly rig: Rig;
  readonly account: object;
  /** Charges by what they were for. */
  readonly charges: ReadonlyMap<string, number>;
}

const runs = new Map<string, Run>();

function runNatively(profile: string): Run {
  const rig = boot({ technique: "native", profile, guest: GUEST });
  const charges = new Map<string, number>();
  rig.machine.ledger.onCharge = (_account, _ticks, label) => {
    charges.set(label, (charges.get(label) ?? 0) + 1);
  };
  const end = rig.machine.run(LIMIT);
  return { rig, account: account(rig, end), charges };
}

describe.each(PROFILES)("on a bare %s", (profile) => {
  beforeAll(() => {
    runs.set(profile, runNatively(profile));
  });
  const run = (): Run => runs.get(profile) as Run;

  test("every VMX instruction, entry and exit is as the manual says", () => {
    const serial = text(run().rig.serial, false);
    if (process.env["RINGLAB_UPDATE_EXPECTED"] === "1") writeFileSync(EXPECTED, serial);
    expect(serial).toBe(readFileSync(EXPECTED, "utf8"));
    expect(run().account).toMatchObject({ end: ENDED_WELL });
  });

  test("every entry and exit is paid for, by the guest that makes them", () => {
    const { rig, charges } = run();
    const exits = rig.machine.core.vmx?.exits as number;
    expect(exits).toBeGreaterThan(100);
    expect(charges.get("vmexit")).toBe(exits);
    // Entries that fail early are paid for, too, and lead to no exit.
    expect(charges.get("vmentry")).toBeGreaterThan(exits);
    const totals = rig.machine.ledger.totals();
    const ticks = totals.reduce((sum, row) => sum + (row.activity === "transition" ? row.ticks : 0), 0);
    const { vmentry, vmexit } = rig.machine.core.env.profile.costs;
    const entries = charges.get("vmentry") as number;
    expect(ticks).toBe(TICKS_PER_CYCLE * (exits * vmexit.value + entries * vmentry.value));
    expect(totals.filter(({ domain, ticks }) => domain === "monitor" && ticks > 0)).toEqual([]);
  });

  test("the processor has left VMX operation, and VMX stays enabled and locked", () => {
    const { core } = run().rig.machine;
    expect(core.vmx?.inOperation).toBe(false);
    expect(core.vmx?.nonRoot).toBeNull();
    expect(stateOf(run().rig.machine).get(CELL.featureControl)).toBe(FEATURE_CONTROL.LOCK | FEATURE_CONTROL.VMX);
  });
});

test("blocks of one instruction change nothing", () => {
  const rig = boot({ technique: "native", guest: GUEST, maxBlock: 1 });
  const end = rig.machine.run(LIMIT);
  expect(account(rig, end)).toEqual(runs.get(PENTIUM4)?.account);
});

test("saved and restored in VMX root and non-root operation, it ends the same", () => {
  const setup = { technique: "native", guest: GUEST } as const;
  let rig = boot(setup);
  const serial: number[] = [];
  const moved = { root: 0, "non-root": 0 };
  let end = rig.machine.run(LIMIT, 997);
  while (end.kind === "limit") {
    const { vmx } = rig.machine.core;
    const where = vmx?.nonRoot != null ? "non-root" : vmx?.inOperation === true ? "root" : null;
    if (where !== null && moved[where] < 5) {
      moved[where]++;
      const saved = structuredClone(rig.machine.save());
      serial.push(...rig.serial);
      rig = emptyMachine(setup);
      rig.machine.restore(saved);
    }
    end = rig.machine.run(LIMIT, 997);
  }
  expect(moved).toEqual({ root: 5, "non-root": 5 });
  const { machine } = rig;
  expect(account({ machine, serial: [...serial, ...rig.serial] }, end)).toEqual(runs.get(PENTIUM4)?.account);
});

describe.each(PROFILES)("under the VT-x monitor on a %s", (profile) => {
  test("there is no VMX: its instructions are undefined, its bits and registers reserved", () => {
    const rig = boot({ technique: "vtx", profile, guest: GUEST, commandLine: "strict=1" });
    expect(rig.machine.run(LIMIT)).toMatchObject(ENDED_WELL);
    const lines = text(rig.serial, false).split("\n");
    expect(lines.slice(0, 7)).toEqual([
      "no VMX",
      "VMX instructions: vector 6",
      "VMX instructions at CPL 3: vector 6",
      "setting CR4.VMXE: vector 13",
      "RDMSR of IA32_FEATURE_CONTROL: vector 13",
      "RDMSR of IA32_VMX_BASIC: vector 13",
      "no VMX: 23 checks",
    ]);
  });

  test("it prints what it prints on another processor without VMX", () => {
    const rig = boot({ technique: "vtx", profile, guest: GUEST });
    expect(rig.machine.run(LIMIT)).toMatchObject(ENDED_WELL);
    expect(text(rig.serial, false)).toBe(readFileSync(join(imagesFolder, `${GUEST}.expected`), "utf8"));
  });
});
