// De-privileging alone: kernels that use no sensitive instruction in earnest run as on bare hardware; a kernel that relies
// on POPF does not; and everything between is real hardware state: descriptors, page tables, the monitor's own region.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SUITES_FOLDER } from "../../experiments/paths.ts";
import { printedRows } from "../../experiments/rows.ts";
import { readSuite } from "../../experiments/suite.ts";
import { Program } from "./assemble.ts";
import { AT, bootKernel, epilogue, prologue, SELECTOR } from "./kernel-frame.ts";
import { boot, deprivilegingMonitorOf, GUESTS, LIMIT, PROFILES, type Rig, type Setup, text, verdict } from "./rig.ts";

/** Kernels that survive: they neither read nor restore what de-privileging changes. */
const SURVIVORS = [
  ...[
    "syscall-int",
    "syscall-sysenter",
    "in",
    "tprwr",
    "callret",
    "callret-sites",
    "pgfault",
    "divzero",
    "cpuid",
    "rdtsc",
    "invlpg",
  ],
  ...["mov-cr3", "timer-interrupt", "compute", "kstorm", "kernel", "t-paging", "t-pae", "t-pagetables", "t-smc"],
  ...["t-sse", "t-debug", "t-v86-monitor", "multiboot-hello", "elf-hello"],
];

describe.each(PROFILES)("on %s", (profile) => {
  test.each(SURVIVORS.filter((guest) => GUESTS.includes(guest)))(
    "%s ends the same under the classical monitor as on bare hardware",
    (guest) => {
      const native = boot({ technique: "native", profile, guest });
      const expected = verdict(native, native.machine.run(LIMIT));
      const rig = boot({ technique: "classical", profile, guest, pmapLayout: "shuffled" });
      expect(verdict(rig, rig.machine.run(3 * LIMIT))).toEqual(expected);
      expect(rig.machine.ledger.totals().reduce((sum, { ticks }) => sum + ticks, 0)).toBe(rig.machine.ledger.clock.now);
    },
    60_000,
  );
});

test.each(["t-paging", "t-pae", "kstorm"])(
  "shadow tables of %s are what a naive derivation gives, after every seventh exit",
  (guest) => {
    let exits = 0;
    const rig: Rig = boot({
      ...{ technique: "classical", guest, pmapLayout: "shuffled" },
      observer: {
        exit() {
          if (exits++ % 7 === 0) expect(deprivilegingMonitorOf(rig.machine).shadow.verify()).toEqual([]);
        },
      },
    });
    expect(rig.machine.run(3 * LIMIT)).toMatchObject({ kind: "exit", status: 0 });
    expect(exits).toBeGreaterThan(100);
  },
  60_000,
);

test("each exit is recorded by the cause of its own instruction, however often that has been met", () => {
  const p = new Program();
  prologue(p, false);
  // Segment registers are loaded: until then there is no descriptor of what is in them, and the guest is emulated.
  p.code(0x66, 0xb8, SELECTOR.userData, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8);
  p.code(0x66, 0xb8, SELECTOR.data, 0, 0x8e, 0xd0).mov("esp", AT.stackTop);
  // call next; next: add dword [esp], 5; retf
  p.push(SELECTOR.code).code(0xe8, 0, 0, 0, 0, 0x83, 0x04, 0x24, 5, 0xcb);
  // mov ecx, 50; l: in al, 80h; cli; loop l
  p.code(0xb9, 50, 0, 0, 0, 0xe4, 0x80, 0xfa, 0xe2, 0xfb).exit();
  epilogue(p, false);
  const { machine } = bootKernel(
    { program: p, pae: false, interrupts: false, words: [], bytes: [] },
    { technique: "classical" },
  );
  expect(machine.run(LIMIT)).toMatchObject({ kind: "exit" });
  const count = (cause: string): number => machine.technique.exits().find((row) => row.cause === cause)?.count ?? 0;
  expect(count("port-io")).toBeGreaterThanOrEqual(50);
  expect(count("cli")).toBeGreaterThanOrEqual(50);
});

test("a guest that halts before its processor has ever run it is woken by its timer", () => {
  const p = new Program();
  prologue(p, true);
  // sti; hlt; cli: in segment registers that no descriptor is for yet
  p.code(0xfb, 0xf4, 0xfa).exit();
  epilogue(p, true);
  const kernel = { program: p, pae: false, interrupts: true, words: [], bytes: [] };
  expect(bootKernel(kernel, { technique: "classical" }).machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
});

test("a kernel that relies on POPF misbehaves, visibly", () => {
  const rig = boot({ technique: "classical", guest: "popf-kernel" });
  expect(rig.machine.run(LIMIT)).toMatchObject({ kind: "exit", status: 1 });
  expect(text(rig.serial)).toContain("a tick is requested, and no interrupt comes");
});

test.each([
  ["cli-sti", "IF is 0x200, not 0x0"],
  ["pushf-popf", "IF is 0x200, not 0x0"],
])("%s sees the hardware's interrupt flag in what PUSHF pushes", (guest, complaint) => {
  const rig = boot({ technique: "classical", guest });
  expect(rig.machine.run(LIMIT)).toMatchObject({ kind: "exit", status: 1 });
  expect(text(rig.serial)).toContain(complaint);
});

test("every sensitive instruction is seen to differ, or the suite says why it does not", () => {
  const rows = readSuite(join(SUITES_FOLDER, "popek-goldberg.yaml")).rows ?? [];
  const printed = (technique: Setup["technique"]): ReadonlyMap<string, string> => {
    const rig = boot({ technique, guest: "popek-goldberg" });
    rig.machine.run(3 * LIMIT);
    return printedRows(text(rig.serial));
  };
  const native = printed("native");
  const classical = printed("classical");
  const alike = rows.filter(({ row }) => native.get(row) === classical.get(row)).map(({ row }) => row);
  expect(alike).toEqual(rows.filter(({ same }) => same?.classical !== undefined).map(({ row }) => row));
});
