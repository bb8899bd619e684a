// The VMX instructions: what each does, and every way in which it fails (SDM vol. 3, 31.3, 31.4).
import { describe, expect, test } from "vitest";
import { pentium4_672 } from "../../../sim/cpu/profiles/pentium4-672.ts";
import { BLOCKING, CELL, FLAG, OUTCOME } from "../../../sim/cpu/state.ts";
import { capabilityMsr } from "../../../sim/cpu/vmx/capabilities.ts";
import { PROCESSOR_BASED } from "../../../sim/cpu/vmx/controls.ts";
import { FIELD, FIELDS, LATER_FIELDS, REGION, REGION_BYTES_USED } from "../../../sim/cpu/vmx/fields.ts";
import { REASON, VM_ERROR_NAMES } from "../../../sim/cpu/vmx/reasons.ts";
import { NO_POINTER } from "../../../sim/cpu/vmx/vmcs.ts";
import {
  createGuest,
  createHost,
  createMachine,
  type Machine,
  OTHER_VMCS,
  outcomeOf,
  setBits,
  VMCS,
  VMXON_REGION,
} from "./fixture.ts";

const PF_AND_ALL = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF;

/** Each instruction with operands that succeed on `createHost` (for VMXON: on `createMachine`). */
const INSTRUCTIONS: Record<string, { reason: number; run: (m: Machine) => void }> = {
  VMXON: { reason: REASON.vmxon, run: ({ vmx }) => vmx.vmxon(VMXON_REGION) },
  VMXOFF: { reason: REASON.vmxoff, run: ({ vmx }) => vmx.vmxoff() },
  VMCLEAR: { reason: REASON.vmclear, run: ({ vmx }) => vmx.vmclear(OTHER_VMCS) },
  VMPTRLD: { reason: REASON.vmptrld, run: ({ vmx }) => vmx.vmptrld(OTHER_VMCS) },
  VMPTRST: { reason: REASON.vmptrst, run: ({ vmx }) => void vmx.vmptrst() },
  VMREAD: { reason: REASON.vmread, run: ({ vmx }) => void vmx.vmread(0x6800) },
  VMWRITE: { reason: REASON.vmwrite, run: ({ vmx }) => vmx.vmwrite(0x6800, 0x80000031) },
  VMLAUNCH: { reason: REASON.vmlaunch, run: ({ vmx }) => void vmx.vmenter(true) },
  VMRESUME: { reason: REASON.vmresume, run: ({ vmx }) => void vmx.vmenter(false) },
  VMCALL: { reason: REASON.vmcall, run: ({ vmx }) => vmx.vmcall() },
};

describe("privilege and mode", () => {
  for (const [name, { reason, run }] of Object.entries(INSTRUCTIONS)) {
    if (name !== "VMXON") {
      test(`${name} outside VMX operation is #UD`, () => {
        const machine = createMachine();
        run(machine);
        expect(outcomeOf(machine)).toBe("fault 6 -1");
        expect(machine.log).toEqual([]);
      });
    }
    test(`${name} above CPL 0 is #GP(0)`, () => {
      const machine = name === "VMXON" ? createMachine() : createHost();
      machine.state.set(CELL.cpl, 3);
      run(machine);
      expect(outcomeOf(machine)).toBe("fault 13 0");
      expect(machine.log).toEqual([]);
    });
    test(`${name} in a guest exits, at any CPL`, () => {
      for (const cpl of [0, 3]) {
        const machine = createGuest();
        machine.state.set(CELL.cpl, cpl);
        run(machine);
        expect(outcomeOf(machine)).toBe(`exit ${reason}`);
        expect(machine.log).toEqual([]);
      }
    });
    if (name !== "VMCALL") {
      test(`${name} in virtual-8086 mode is #UD, in a guest too`, () => {
        for (const machine of [createHost(), createGuest()]) {
          machine.state.flags |= FLAG.VM;
          run(machine);
          expect(outcomeOf(machine)).toBe("fault 6 -1");
        }
      });
    }
  }

  test("VMCALL exits from virtual-8086 mode", () => {
    const machine = createGuest();
    machine.state.flags |= FLAG.VM;
    machine.vmx.vmcall();
    expect(outcomeOf(machine)).toBe(`exit ${REASON.vmcall}`);
  });
});

describe("VMXON", () => {
  test("enters VMX operation without a current VMCS and clears the status flags", () => {
    const machine = createMachine();
    machine.state.flags |= PF_AND_ALL;
    machine.vmx.vmxon(VMXON_REGION);
    expect(machine.vmx.inOperation).toBe(true);
    expect(machine.vmx.currentVmcs).toBe(NO_POINTER);
    expect(machine.state.flags).toBe(2);
    expect(machine.log).toEqual(["vmxon"]);
  });

  const refusals: [name: string, spoil: (m: Machine) => void, expected: string][] = [
    ["CR4.VMXE clear", (m) => m.state.set(CELL.cr4, 0x10), "fault 6 -1"],
    ["an unlocked IA32_FEATURE_CONTROL", (m) => m.state.set(CELL.featureControl, 4), "fault 13 0"],
    ["VMX disabled by IA32_FEATURE_CONTROL", (m) => m.state.set(CELL.featureControl, 1), "fault 13 0"],
    ["CR0.NE clear", (m) => m.state.set(CELL.cr0, 0x80000011), "fault 13 0"],
    ["paging off", (m) => m.state.set(CELL.cr0, 0x31), "fault 13 0"],
    ["an unsupported CR4 bit", (m) => m.state.set(CELL.cr4, 0x2010 | (1 << 20)), "fault 13 0"],
    ["a region with another revision", (m) => m.write(VMXON_REGION, 99), "fail-invalid"],
  ];
  for (const [name, spoil, expected] of refusals) {
    test(`refuses ${name}`, () => {
      const machine = createMachine();
      spoil(machine);
      machine.vmx.vmxon(VMXON_REGION);
      expect(outcomeOf(machine)).toBe(expected);
      expect(machine.vmx.inOperation).toBe(false);
    });
    if (!expected.startsWith("fault")) continue;
    test(`refuses ${name} before it looks at its operand`, () => {
      const machine = createMachine();
      spoil(machine);
      expect(machine.vmx.permits(REASON.vmxon)).toBe(false);
      expect(outcomeOf(machine)).toBe(expected);
    });
  }

  for (const pointer of [VMXON_REGION + 4, 2 ** 36]) {
    test(`fails with the region at ${pointer.toString(16)}`, () => {
      const machine = createMachine();
      machine.vmx.vmxon(pointer);
      expect(outcomeOf(machine)).toBe("fail-invalid");
      expect(machine.vmx.inOperation).toBe(false);
    });
  }

  test("makes CR0 and CR4 bits fixed", () => {
    const { vmx } = createMachine();
    expect(vmx.supportsCr(0, 0x31)).toBe(true);
    vmx.vmxon(VMXON_REGION);
    expect(vmx.supportsCr(0, 0x31)).toBe(false);
    expect(vmx.supportsCr(0, 0x80000031)).toBe(true);
    expect(vmx.supportsCr(4, 0x10)).toBe(false);
    expect(vmx.supportsCr(4, 0x2010)).toBe(true);
  });
});

/** Failures in root operation: error numbers where there is a current VMCS. */
const FAILURES: [name: string, error: number, run: (m: Machine) => void][] = [
  ["VMCALL in root operation", 1, ({ vmx }) => vmx.vmcall()],
  ["VMCLEAR of a misaligned address", 2, ({ vmx }) => vmx.vmclear(OTHER_VMCS + 8)],
  ["VMCLEAR beyond the physical-address width", 2, ({ vmx }) => vmx.vmclear(2 ** 36)],
  ["VMCLEAR of the VMXON region", 3, ({ vmx }) => vmx.vmclear(VMXON_REGION)],
  [
    "VMLAUNCH of a launched VMCS",
    4,
    ({ vmx, vmcs }) => {
      vmcs.launchState = 1;
      vmx.vmenter(true);
    },
  ],
  ["VMRESUME of a clear VMCS", 5, ({ vmx }) => void vmx.vmenter(false)],
  [
    "VM entry with bad controls",
    7,
    ({ vmx }) => {
      vmx.vmwrite(FIELD.pinBased.encoding, 0);
      vmx.vmenter(true);
    },
  ],
  [
    "VM entry with a bad host",
    8,
    ({ vmx }) => {
      vmx.vmwrite(FIELD.hostCr0.encoding, 0);
      vmx.vmenter(true);
    },
  ],
  ["VMPTRLD of a misaligned address", 9, ({ vmx }) => vmx.vmptrld(1)],
  ["VMPTRLD of the VMXON region", 10, ({ vmx }) => vmx.vmptrld(VMXON_REGION)],
  [
    "VMPTRLD of another revision",
    11,
    ({ vmx, write }) => {
      write(OTHER_VMCS, 0x80000000);
      vmx.vmptrld(OTHER_VMCS);
    },
  ],
  ["VMREAD of no field", 12, ({ vmx }) => void vmx.vmread(0x6840)],
  ["VMREAD of the upper half of a natural-width field", 12, ({ vmx }) => void vmx.vmread(0x6801)],
  ["VMREAD with reserved bits", 12, ({ vmx }) => void vmx.vmread(0x16800)],
  ["VMWRITE of no field", 12, ({ vmx }) => vmx.vmwrite(0x6840, 1)],
  ["VMWRITE of exit information", 13, ({ vmx }) => vmx.vmwrite(FIELD.exitReason.encoding, 1)],
  ["VMXON in root operation", 15, ({ vmx }) => vmx.vmxon(VMXON_REGION)],
  [
    "VM entry blocked by MOV SS",
    26,
    ({ vmx, state }) => {
      state.set(CELL.interruptibility, BLOCKING.MOV_SS);
      vmx.vmenter(true);
    },
  ],
];

describe("failures", () => {
  for (const [name, error, run] of FAILURES) {
    test(`${name} is VMfailValid ${error} (${VM_ERROR_NAMES[error]})`, () => {
      const machine = createHost();
      machine.state.flags |= PF_AND_ALL;
      const before = machine.state.eip;
      run(machine);
      expect(machine.state.flags).toBe(2 | FLAG.ZF);
      expect(outcomeOf(machine)).toBe(error);
      expect(machine.state.eip).toBe(before);
      expect(machine.vmx.exits).toBe(0);
    });
  }

  const withoutVmcs: [string, (m: Machine) => void][] = [
    ["VMREAD", ({ vmx }) => void vmx.vmread(0x6800)],
    ["VMWRITE", ({ vmx }) => vmx.vmwrite(0x6800, 0)],
    ["VMLAUNCH", ({ vmx }) => void vmx.vmenter(true)],
    ["VMRESUME", ({ vmx }) => void vmx.vmenter(false)],
    ["VMCALL", ({ vmx }) => vmx.vmcall()],
    ["VMPTRLD of a bad address", ({ vmx }) => vmx.vmptrld(1)],
  ];
  for (const [name, run] of withoutVmcs) {
    test(`${name} without a current VMCS is VMfailInvalid`, () => {
      const machine = createMachine();
      machine.vmx.vmxon(VMXON_REGION);
      machine.state.flags |= PF_AND_ALL;
      run(machine);
      expect(machine.state.flags).toBe(2 | FLAG.CF);
    });
  }

  test("success and failure leave the other flags", () => {
    const machine = createHost();
    machine.state.flags |= FLAG.IF | FLAG.DF;
    machine.vmx.vmread(0x6840);
    expect(machine.state.flags).toBe(2 | FLAG.IF | FLAG.DF | FLAG.ZF);
    machine.vmx.vmread(0x6800);
    expect(machine.state.flags).toBe(2 | FLAG.IF | FLAG.DF);
  });
});

describe("the current VMCS", () => {
  test("VMPTRST gives what VMPTRLD set, and nothing after VMCLEAR", () => {
    const { vmx } = createHost();
    expect(vmx.vmptrst()).toBe(VMCS);
    vmx.vmptrld(OTHER_VMCS);
    expect(vmx.vmptrst()).toBe(OTHER_VMCS);
    vmx.vmclear(VMCS);
    expect(vmx.vmptrst()).toBe(OTHER_VMCS);
    vmx.vmclear(OTHER_VMCS);
    expect(vmx.vmptrst()).toBe(NO_POINTER);
  });

  test("VMCLEAR makes a launched VMCS launchable again", () => {
    const machine = createGuest();
    machine.vmx.vmcall();
    machine.vmx.exitInstruction(3);
    machine.vmx.vmenter(true);
    expect(outcomeOf(machine)).toBe(4);
    machine.vmx.vmclear(VMCS);
    machine.vmx.vmptrld(VMCS);
    expect(machine.vmx.vmenter(true)).toBe(true);
    expect(machine.vmx.nonRoot).not.toBeNull();
  });

  test("VMXOFF forgets it", () => {
    const machine = createHost();
    machine.vmx.vmxoff();
    expect(machine.vmx.inOperation).toBe(false);
    expect(machine.vmx.currentVmcs).toBe(NO_POINTER);
  });

  test("costs are charged by name", () => {
    const machine = createHost();
    const { vmx, log } = machine;
    vmx.vmptrst();
    vmx.vmread(0x6800);
    vmx.vmwrite(0x6800, 0x80000031);
    vmx.vmenter(true);
    vmx.vmcall();
    vmx.exitInstruction(3);
    vmx.vmxoff();
    expect(log).toEqual(["vmptrld", "vmread", "vmwrite", "vmentry", "flush 1", "vmexit", "flush 1", "vmxon"]);
  });
});

describe("fields", () => {
  test("every field of the first generation reads back what was written, and no other changes", () => {
    const machine = createHost();
    const { vmx } = machine;
    const expected = new Map<number, number>();
    FIELDS.forEach((field, n) => {
      const value = field.width === "16-bit" ? 0x8000 + n : 0x9abc0000 + n;
      if (field.type === "exit-information") return;
      vmx.vmwrite(field.encoding, value);
      expect(outcomeOf(machine)).toBe("ok");
      expected.set(field.encoding, value);
      if (field.width === "64-bit") {
        vmx.vmwrite(field.encoding + 1, 0x12340000 + n);
        expected.set(field.encoding + 1, 0x12340000 + n);
      }
    });
    for (const [encoding, value] of expected) expect(vmx.vmread(encoding)).toBe(value);
  });

  test("a write of the lower half clears the upper half", () => {
    const { vmx } = createHost();
    vmx.vmwrite(0x2011, 5);
    vmx.vmwrite(0x2010, 7);
    expect(vmx.vmread(0x2011)).toBe(0);
  });

  test("the layout fits the region, without overlaps", () => {
    const used = new Set<number>();
    for (const field of FIELDS) {
      const bytes = field.width === "64-bit" || field.width === "natural" ? 8 : 4;
      expect(field.offset % bytes).toBe(0);
      expect(field.offset).toBeGreaterThanOrEqual(REGION.firstField);
      for (let byte = field.offset; byte < field.offset + bytes; byte++) {
        expect(used.has(byte)).toBe(false);
        used.add(byte);
      }
    }
    expect(REGION_BYTES_USED).toBeLessThanOrEqual(1024);
    expect(new Set(FIELDS.map((field) => field.encoding)).size).toBe(FIELDS.length);
  });

  test("later fields do not exist", () => {
    const machine = createHost();
    for (const field of LATER_FIELDS) {
      machine.vmx.vmread(field.encoding);
      expect(outcomeOf(machine)).toBe(12);
    }
  });

  test("the Pentium 4 has no MSR-bitmap address, the Core 2 has", () => {
    const pentium4 = createHost(pentium4_672);
    pentium4.vmx.vmread(FIELD.msrBitmaps.encoding);
    expect(outcomeOf(pentium4)).toBe(12);
    const core2 = createHost();
    core2.vmx.vmread(FIELD.msrBitmaps.encoding);
    expect(outcomeOf(core2)).toBe("ok");
  });

  test("the capability MSRs say what the profile does", () => {
    const read = (index: number) => capabilityMsr(pentium4_672, index);
    expect(read(0x480)).toEqual([pentium4_672.vmx?.revision, 0x00180400]);
    expect(read(0x482)).toEqual([0x0401e172, 0x67b9fffe]);
    expect(read(0x486)).toEqual([0x80000021, 0]);
    expect(read(0x487)).toEqual([0xffffffff, 0]);
    expect(read(0x48a)).toEqual([0x2a, 0]);
    expect(read(0x48b)).toBeNull();
    expect(read(0x47f)).toBeNull();
    expect(capabilityMsr({ ...pentium4_672, vmx: null }, 0x480)).toBeNull();
  });
});

describe("save and restore in mid-guest", () => {
  const event = { type: 0, vector: 0x30, errorCode: -1, instructionLength: 0 };

  test("take hidden state as plain data, the delivery under way included", () => {
    const machine = createGuest();
    machine.vmx.setIdtVectoring(event);
    const saved = JSON.parse(JSON.stringify(machine.vmx.save()));
    const registers = machine.state.save();
    machine.vmx.vmcall();
    machine.vmx.exitInstruction(3);
    machine.vmx.vmxoff();
    machine.state.restore(registers);
    machine.vmx.restore(saved);
    expect(machine.vmx.save()).toEqual(saved);
    expect(machine.vmx.nonRoot?.instruction(REASON.cpuid, 0)).toBe(true);
    machine.vmx.exitInstruction(2);
    expect(machine.vmcs.get(FIELD.idtVectoring)).toBe(0x80000030);
    expect(machine.state.signal.outcome).toBe(OUTCOME.NONE);
  });

  test("bring the controls back on another machine", () => {
    const machine = createGuest((m) => setBits(m, FIELD.processorBased, PROCESSOR_BASED.hltExiting));
    const other = createMachine();
    for (let address = 0; address < 0x10000; address += 4) other.write(address, machine.read(address));
    other.state.restore(machine.state.save());
    other.vmx.restore(machine.vmx.save());
    expect(other.vmx.nonRoot?.instruction(REASON.hlt, 0)).toBe(true);
    expect(other.vmx.nonRoot?.instruction(REASON.rdtsc, 0)).toBe(false);
    expect(other.vmx.nonRoot?.readCr(3, 0)).toBe(true);
  });
});
