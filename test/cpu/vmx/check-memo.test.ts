// Entry checks that are made again only where something changed find what all of them would find, at the same references.
import fc from "fast-check";
import { expect, test } from "vitest";
import { core2_e6700 } from "../../../sim/cpu/profiles/core2-e6700.ts";
import type { VmxCapabilities } from "../../../sim/cpu/profiles/profile.ts";
import { CheckMemo } from "../../../sim/cpu/vmx/check-memo.ts";
import { CONTROL_CHECKS, type EntryContext, HOST_CHECKS } from "../../../sim/cpu/vmx/entry-checks.ts";
import { FIELD, type VmcsField } from "../../../sim/cpu/vmx/fields.ts";
import { GUEST_CHECKS } from "../../../sim/cpu/vmx/guest-checks.ts";
import { Vmcs } from "../../../sim/cpu/vmx/vmcs.ts";
import { createMachine, fillVmcs, OTHER_VMCS, VIRTUAL_APIC, VMCS } from "./fixture.ts";

const FIELDS: readonly VmcsField[] = Object.values(FIELD).flatMap((field) => field as VmcsField | VmcsField[]);
const VMCS_BYTES = 0x1000;

const change = fc.record({
  field: fc.constantFrom(...FIELDS),
  /** Bits to turn over, most often few; in the low or the high word. */
  bits: fc.oneof(
    fc.integer({ min: 0, max: 31 }).map((bit) => 1 << bit),
    fc.integer(),
  ),
  high: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
  /** Takes all earlier changes back first, so that checks pass again. */
  heal: fc.boolean(),
  /** The VMCS beside it becomes the current one, or the first one again. */
  turn: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
  threshold: fc.integer({ min: 0, max: 0xff }),
});

test("the same check fails, and as many references are counted, whatever changes between two entries", () => {
  const failures = new Set<string>();
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40, size: "max" }), (changes) => {
      const machine = createMachine();
      const { memory, state } = machine;
      fillVmcs(machine);
      const words = Array.from({ length: VMCS_BYTES / 4 }, (_, n) => machine.read(VMCS + 4 * n));
      const fill = (region: number): void => {
        for (const [n, word] of words.entries()) machine.write(region + 4 * n, word);
      };
      fill(OTHER_VMCS);
      const vmcs = new Vmcs(memory);
      const entry: EntryContext = {
        vmcs,
        state,
        capabilities: core2_e6700.vmx as VmxCapabilities,
        physicalAddressBits: core2_e6700.physicalAddressBits,
      };
      vmcs.pointer = VMCS;
      const lists = [CONTROL_CHECKS, HOST_CHECKS, GUEST_CHECKS];
      const memo = new CheckMemo(lists, entry, vmcs, memory);
      for (const { field, bits, high, heal: healed, turn, threshold } of changes) {
        if (healed) fill(VMCS);
        if (turn) vmcs.pointer = vmcs.pointer === VMCS ? OTHER_VMCS : VMCS;
        machine.write(VIRTUAL_APIC + 0x80, threshold);
        const at = VMCS + field.offset + (high && field.width !== "16-bit" && field.width !== "32-bit" ? 4 : 0);
        // Addresses that the checks follow stay within the machine's memory.
        if (field !== FIELD.linkPointer && field !== FIELD.virtualApicAddress)
          machine.write(at, machine.read(at) ^ bits);
        memo.compare();
        for (const [list, checks] of lists.entries()) {
          const before = memory.references;
          const wanted = checks.find((check) => !check.passes(entry)) ?? null;
          const references = memory.references - before;
          const found = memo.firstFailure(list);
          expect(found?.name).toBe(wanted?.name);
          expect(memory.references - before - references).toBe(references);
          failures.add(wanted?.name ?? "none");
        }
      }
    }),
    { numRuns: 200, seed: 1 },
  );
  expect(failures.size).toBeGreaterThan(60);
});
