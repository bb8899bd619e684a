// VM entries and exits: what is loaded, saved and recorded (SDM vol. 3, 27.3.2 to 27.6, 28.2 to 28.6).
import { describe, expect, test } from "vitest";
import {
  ACTIVITY,
  BLOCKING,
  CELL,
  EFER,
  FLAG,
  GPR,
  NO_ERROR_CODE,
  OUTCOME,
  RIGHTS,
  raisePageFault,
  SEG,
} from "../../../sim/cpu/state.ts";
import { EVENT, INTERRUPTION, PIN_BASED } from "../../../sim/cpu/vmx/controls.ts";
import type { VmxEvent } from "../../../sim/cpu/vmx/exits.ts";
import { FIELD, REGION, type VmcsField } from "../../../sim/cpu/vmx/fields.ts";
import { REASON } from "../../../sim/cpu/vmx/reasons.ts";
import {
  CODE,
  createGuest,
  createHost,
  DATA,
  guestRegisters,
  type Machine,
  MSR_LIST,
  setBits,
  TSS,
  VMCS,
} from "./fixture.ts";

/** Makes the guest exit as CPUID does. */
function cpuid({ vmx }: Machine): void {
  vmx.nonRoot?.instruction(REASON.cpuid, 0);
  vmx.exitInstruction(2);
}

describe("entry", () => {
  test("loads the guest's state", () => {
    const { state } = createGuest();
    expect(state.eip).toBe(0x400000);
    expect(state.get(GPR.esp)).toBe(0x500000);
    expect(state.flags).toBe(2 | FLAG.IF);
    expect(state.get(CELL.cr3)).toBe(0xb000);
    expect(state.get(CELL.gdtrBase)).toBe(0x700000);
    expect(state.get(CELL.idtrLimit)).toBe(0x7ff);
    expect(state.get(CELL.sysenterEip)).toBe(0x703000);
    expect(state.cpl).toBe(3);
    expect(state.selector(SEG.cs)).toBe(0x1b);
    expect(state.segmentRights(SEG.gs)).toBe(RIGHTS.UNUSABLE);
    expect(state.segmentBase(SEG.tr)).toBe(0x607000);
  });

  test("keeps CR0.ET, NW and CD of the processor, fixes DR7's constant bits, clears LME", () => {
    const machine = createHost();
    machine.state.set(CELL.cr0, 0xe0000031);
    machine.state.set(CELL.efer, EFER.LME | EFER.NXE);
    machine.vmcs.set(FIELD.guestCr0, 0x80050021);
    machine.vmcs.set(FIELD.guestDr7, 0xf355);
    machine.vmx.vmenter(true);
    expect(machine.state.get(CELL.cr0)).toBe(0xe0050031);
    expect(machine.state.get(CELL.dr7)).toBe(0x2755);
    expect(machine.state.get(CELL.efer)).toBe(EFER.NXE);
  });

  test("loads the PDPTE registers of a guest with PAE paging from memory, and an exit those of such a host", () => {
    const PAE = 1 << 5;
    const table = (m: Machine, at: number, words: readonly number[]) => {
      for (const [n, word] of words.entries()) m.write(at + 4 * n, word);
    };
    const registers = (m: Machine) => Array.from(m.state.i32.subarray(CELL.pdpte0, CELL.pdpte0 + 8));
    const guestTable = [0x1001, 0xf, 0, 0, 0x2e01, 0, 6, -1];
    const hostTable = [0, 0, 0x3001, 0, 0x4019, 0, 0, 0];
    const machine = createGuest((m) => {
      setBits(m, FIELD.guestCr4, PAE);
      setBits(m, FIELD.hostCr4, PAE);
      table(m, 0xb000, guestTable);
      table(m, 0xa000, hostTable);
    });
    expect(registers(machine)).toEqual(guestTable.map((word) => word | 0));
    cpuid(machine);
    expect(registers(machine)).toEqual(hostTable);
    machine.vmx.vmenter(false);
    machine.write(0xa008, 0x3021);
    cpuid(machine);
    expect([machine.read(VMCS + REGION.abort), machine.state.get(CELL.activity)]).toEqual([2, ACTIVITY.SHUTDOWN]);
  });

  test("flushes the whole TLB, once for the entry and once for the exit", () => {
    const machine = createHost();
    machine.vmx.vmenter(true);
    expect(machine.log).toEqual(["vmentry", "flush 1"]);
    cpuid(machine);
    expect(machine.log).toEqual(["vmentry", "flush 1", "vmexit", "flush 1"]);
  });

  test("VMRESUME works after a launch, VMLAUNCH does not", () => {
    const machine = createGuest();
    cpuid(machine);
    expect(machine.vmx.vmenter(true)).toBe(false);
    expect(machine.vmcs.get(FIELD.instructionError)).toBe(4);
    expect(machine.vmx.vmenter(false)).toBe(true);
  });
});

describe("a round trip", () => {
  test("saves exactly what the guest changed, and loads it again", () => {
    const machine = createGuest();
    const { state } = machine;
    state.eip = 0x401234;
    state.set(GPR.esp, 0x4ffff0);
    state.flags = 2 | FLAG.IF | FLAG.CF | FLAG.DF | FLAG.IOPL;
    state.set(CELL.cr0, 0x8005003b);
    state.set(CELL.cr3, 0xc000);
    state.set(CELL.cr4, 0x2090);
    state.set(CELL.dr7, 0x455);
    state.set(CELL.sysenterCs, 0x60);
    state.set(CELL.sysenterEsp, 0x111000);
    state.set(CELL.gdtrLimit, 0xff);
    state.set(CELL.idtrBase, 0x222000);
    state.set(CELL.interruptibility, BLOCKING.STI);
    state.setSegment(SEG.gs, 0x2b, 0x333000, 0xfffff, (DATA & ~RIGHTS.G) | 0x60);
    state.setSegment(SEG.ldtr, 0x48, 0x444000, 0x1f, 2 | RIGHTS.P);
    const before = guestRegisters(state);
    cpuid(machine);
    expect(guestRegisters(state)).not.toEqual(before);
    machine.vmx.vmenter(false);
    expect(machine.vmx.failedCheck).toBeNull();
    expect(guestRegisters(state)).toEqual(before);
  });

  test("leaves what is not in the VMCS alone: general registers, CR2, DR0 to DR3, DR6", () => {
    const machine = createGuest();
    const cells = [GPR.eax, GPR.ebp, GPR.edi, CELL.cr2, CELL.dr0, CELL.dr3, CELL.dr6];
    cells.forEach((cell, n) => {
      machine.state.set(cell, 0x1000 + n);
    });
    cpuid(machine);
    expect(cells.map((cell) => machine.state.get(cell))).toEqual(cells.map((_, n) => 0x1000 + n));
  });
});

describe("exit", () => {
  test("loads the host's state", () => {
    const machine = createGuest();
    machine.state.set(CELL.interruptibility, BLOCKING.STI | BLOCKING.NMI);
    machine.state.set(CELL.dr7, 0x455);
    machine.state.set(CELL.efer, EFER.LME | EFER.NXE);
    cpuid(machine);
    const { state } = machine;
    expect(state.get(CELL.efer)).toBe(EFER.NXE);
    expect(state.eip).toBe(0xc0001000);
    expect(state.get(GPR.esp)).toBe(0xc0002000);
    expect(state.flags).toBe(2);
    expect(state.cpl).toBe(0);
    expect(state.get(CELL.cr3)).toBe(0xa000);
    expect(state.get(CELL.dr7)).toBe(0x400);
    expect(state.get(CELL.gdtrBase)).toBe(0xc0004000);
    expect(state.get(CELL.gdtrLimit)).toBe(0xffff);
    expect(state.get(CELL.idtrLimit)).toBe(0xffff);
    expect(state.get(CELL.sysenterEsp)).toBe(0xc0006000);
    expect(state.get(CELL.interruptibility)).toBe(BLOCKING.NMI);
    const segment = (n: number) => [
      state.selector(n),
      state.segmentBase(n),
      state.segmentLimit(n),
      state.segmentRights(n),
    ];
    expect(segment(SEG.cs)).toEqual([0x08, 0, 0xffffffff, CODE]);
    expect(segment(SEG.ss)).toEqual([0x10, 0, 0xffffffff, DATA]);
    expect(segment(SEG.fs)).toEqual([0x18, 0x1234, 0xffffffff, DATA]);
    expect(segment(SEG.gs)).toEqual([0, 0, 0, RIGHTS.UNUSABLE]);
    expect(segment(SEG.tr)).toEqual([0x20, 0xc0003000, 0x67, TSS]);
    expect(segment(SEG.ldtr)).toEqual([0, 0, 0, RIGHTS.UNUSABLE]);
  });

  test("records reason, qualification, instruction length and information", () => {
    const machine = createGuest();
    machine.vmx.nonRoot?.instruction(REASON.vmclear, 0x10);
    machine.state.signal.exitDetail = 0x12345;
    machine.vmx.exitInstruction(7);
    const { vmcs } = machine;
    expect(vmcs.get(FIELD.exitReason)).toBe(19);
    expect(vmcs.get(FIELD.qualification)).toBe(0x10);
    expect(vmcs.get(FIELD.exitInstructionLength)).toBe(7);
    expect(vmcs.get(FIELD.exitInstructionInfo)).toBe(0x12345);
    expect(vmcs.get(FIELD.guestRip)).toBe(0x400000);
    expect(machine.vmx.lastExit).toEqual({ reason: 19, qualification: 0x10, interruption: 0, cs: 0x1b, eip: 0x400000 });
    expect(machine.vmx.exits).toBe(1);
    expect(machine.state.signal.outcome).toBe(OUTCOME.NONE);
  });

  test("INT3 exits as a software exception with its length", () => {
    const machine = createGuest(({ vmcs }) => vmcs.set(FIELD.exceptionBitmap, 1 << 3));
    const details = { softwareKind: EVENT.softwareException, instructionLength: 1 };
    machine.vmx.exitException(3, NO_ERROR_CODE, 0, details);
    expect(machine.vmcs.get(FIELD.exitInterruption)).toBe(0x80000603);
    expect(machine.vmcs.get(FIELD.exitInstructionLength)).toBe(1);
  });

  test("a page fault tells its address and error code", () => {
    const machine = createGuest(({ vmcs }) => vmcs.set(FIELD.exceptionBitmap, 1 << 14));
    machine.state.set(CELL.cr2, 0x77);
    raisePageFault(machine.state, 0xc0001234, 6);
    machine.vmx.exitException(14, 6, 0xc0001234);
    expect(machine.vmcs.get(FIELD.exitInterruption)).toBe(0x80000b0e);
    expect(machine.vmcs.get(FIELD.exitErrorCode)).toBe(6);
    expect(machine.vmcs.get(FIELD.qualification)).toBe(0xc0001234);
    expect(machine.state.get(CELL.cr2)).toBe(0x77);
    expect(machine.state.signal.outcome).toBe(OUTCOME.NONE);
  });

  test("a fault of an IRET that had unblocked NMIs says so, but not within a delivery nor for #DF", () => {
    const information = (vector: number, delivering: boolean) => {
      const machine = createGuest(({ vmcs }) => vmcs.set(FIELD.exceptionBitmap, 0xffffffff));
      const event = { type: EVENT.nmi, vector: 2, errorCode: NO_ERROR_CODE, instructionLength: 0 };
      if (delivering) machine.vmx.setIdtVectoring(event);
      machine.vmx.exitException(vector, 0, 0, { nmiUnblocking: true });
      return machine.vmcs.get(FIELD.exitInterruption) & INTERRUPTION.NMI_UNBLOCKING;
    };
    expect(information(14, false)).not.toBe(0);
    expect(information(14, true)).toBe(0);
    expect(information(8, false)).toBe(0);
  });

  test("RF is saved set for faults, clear for instructions, unchanged for interrupts and traps", () => {
    const saved = (leave: (m: Machine) => void, rf: number) => {
      const machine = createGuest((m) => {
        m.vmcs.set(FIELD.exceptionBitmap, 0xffffffff);
        setBits(m, FIELD.pinBased, PIN_BASED.externalInterruptExiting);
      });
      machine.state.flags = 2 | rf;
      leave(machine);
      return machine.vmcs.get(FIELD.guestRflags) & FLAG.RF;
    };
    for (const rf of [0, FLAG.RF]) {
      expect(saved(({ vmx }) => vmx.exitException(13, 0, 0), rf)).toBe(FLAG.RF);
      expect(saved(({ vmx }) => vmx.exitException(14, 0, 0), rf)).toBe(FLAG.RF);
      expect(saved(({ vmx }) => vmx.exitException(1, NO_ERROR_CODE, 0x4000), rf)).toBe(rf);
      expect(saved(({ vmx }) => vmx.exitException(1, NO_ERROR_CODE, 1, { resume: true }), rf)).toBe(FLAG.RF);
      expect(saved(({ vmx }) => vmx.exitExternalInterrupt(() => 0), rf)).toBe(rf);
      expect(saved(cpuid, rf)).toBe(0);
      const taskSwitch = ({ vmx }: Machine) => {
        vmx.nonRoot?.taskSwitch(0x40, 0);
        vmx.exitInstruction(5);
      };
      expect(saved(taskSwitch, rf)).toBe(rf);
    }
  });

  test("pending debug exceptions survive an interrupt's exit and not an instruction's", () => {
    const saved = (leave: (m: Machine) => void) => {
      const machine = createGuest((m) => setBits(m, FIELD.pinBased, PIN_BASED.externalInterruptExiting));
      machine.state.set(CELL.pendingDebug, 0x4000);
      leave(machine);
      expect(machine.state.get(CELL.pendingDebug)).toBe(0);
      return machine.vmcs.get(FIELD.guestPendingDebug);
    };
    expect(saved(({ vmx }) => vmx.exitExternalInterrupt(() => 0))).toBe(0x4000);
    expect(saved(cpuid)).toBe(0);
  });

  test("a halted guest is saved halted, and the host runs", () => {
    const machine = createGuest((m) => setBits(m, FIELD.pinBased, PIN_BASED.externalInterruptExiting));
    machine.state.set(CELL.activity, ACTIVITY.HLT);
    machine.vmx.exitExternalInterrupt(() => 0);
    expect(machine.vmcs.get(FIELD.guestActivity)).toBe(ACTIVITY.HLT);
    expect(machine.state.get(CELL.activity)).toBe(ACTIVITY.ACTIVE);
  });
});

describe("an exit during delivery", () => {
  const software = { type: EVENT.softwareInterrupt, vector: 0x80, errorCode: NO_ERROR_CODE, instructionLength: 2 };
  const fault = { type: EVENT.hardwareException, vector: 13, errorCode: 0x18, instructionLength: 0 };
  const delivering = (event: VmxEvent) => {
    const machine = createGuest(({ vmcs }) => vmcs.set(FIELD.exceptionBitmap, (1 << 14) | (1 << 8)));
    machine.vmx.setIdtVectoring(event);
    return machine;
  };
  const recorded = ({ vmcs }: Machine) => [
    vmcs.get(FIELD.idtVectoring),
    vmcs.get(FIELD.idtVectoringErrorCode),
    vmcs.get(FIELD.exitInstructionLength),
  ];

  test("records a software interrupt with its length", () => {
    const machine = delivering(software);
    machine.vmx.exitException(14, 2, 0x1000);
    expect(recorded(machine)).toEqual([0x80000480, 0, 2]);
  });

  test("records an exception with its error code", () => {
    const machine = delivering(fault);
    machine.vmx.exitException(14, 2, 0x1000);
    expect(recorded(machine)).toEqual([0x80000b0d, 0x18, 0]);
  });

  test("records it for a task switch", () => {
    const machine = delivering(software);
    machine.vmx.nonRoot?.taskSwitch(0x40, 3);
    machine.vmx.exitInstruction(0);
    expect(recorded(machine)).toEqual([0x80000480, 0, 2]);
  });

  test("records nothing for a double or triple fault", () => {
    const double = delivering(fault);
    double.vmx.exitException(8, 0, 0);
    expect(recorded(double)).toEqual([0, 0, 0]);
    const triple = delivering(fault);
    triple.vmx.exitTripleFault();
    expect(recorded(triple)).toEqual([0, 0, 0]);
  });

  test("is forgotten by the next exit, and when the delivery has ended", () => {
    const machine = delivering(fault);
    machine.vmx.exitException(14, 2, 0x1000);
    machine.vmx.vmenter(false);
    cpuid(machine);
    expect(recorded(machine)).toEqual([0, 0, 2]);
    const ended = delivering(fault);
    ended.vmx.setIdtVectoring(null);
    ended.vmx.exitException(14, 2, 0x1000);
    expect(recorded(ended)).toEqual([0, 0, 0]);
  });

  test("can be injected again as it was recorded", () => {
    const machine = delivering(software);
    machine.vmx.exitException(14, 2, 0x1000);
    const { vmx, vmcs } = machine;
    vmcs.set(FIELD.entryInterruption, vmcs.get(FIELD.idtVectoring));
    vmcs.set(FIELD.entryInstructionLength, vmcs.get(FIELD.exitInstructionLength));
    vmx.vmenter(false);
    expect(vmx.injection).toEqual(software);
  });
});

describe("event injection", () => {
  const injected = (info: number, prepare: (m: Machine) => void = () => undefined) =>
    createGuest((machine) => {
      machine.vmcs.set(FIELD.entryInterruption, (INTERRUPTION.VALID | info) >>> 0);
      prepare(machine);
    });

  test("nothing is injected without the valid bit", () => {
    expect(createGuest(({ vmcs }) => vmcs.set(FIELD.entryInterruption, 0x30)).vmx.injection).toBeNull();
  });

  test("an external interrupt has neither error code nor length", () => {
    const machine = injected(0x30, ({ vmcs }) => vmcs.set(FIELD.entryInstructionLength, 9));
    expect(machine.vmx.injection).toEqual({ type: 0, vector: 0x30, errorCode: NO_ERROR_CODE, instructionLength: 0 });
  });

  test("a page fault has its error code", () => {
    const machine = injected(0xb0e, ({ vmcs }) => vmcs.set(FIELD.entryErrorCode, 7));
    expect(machine.vmx.injection).toEqual({ type: 3, vector: 14, errorCode: 7, instructionLength: 0 });
  });

  test("an NMI blocks NMIs, and any event wakes a halted guest", () => {
    const machine = injected(0x202, ({ vmcs }) => {
      vmcs.set(FIELD.guestActivity, ACTIVITY.HLT);
      for (const n of [SEG.cs, SEG.ss]) {
        const rights = FIELD.guestRights[n] as VmcsField;
        const selector = FIELD.guestSelectors[n] as VmcsField;
        vmcs.set(rights, vmcs.get(rights) & ~0x60);
        vmcs.set(selector, vmcs.get(selector) & ~3);
      }
    });
    expect(machine.state.get(CELL.interruptibility)).toBe(BLOCKING.NMI);
    expect(machine.state.get(CELL.activity)).toBe(ACTIVITY.ACTIVE);
  });

  test("the exit clears the valid bit, so that the next entry injects nothing", () => {
    const machine = injected(0x30);
    machine.vmx.injection = null;
    cpuid(machine);
    expect(machine.vmcs.get(FIELD.entryInterruption)).toBe(0x30);
    machine.vmx.vmenter(false);
    expect(machine.vmx.injection).toBeNull();
  });
});

describe("MSR lists", () => {
  const entry = ({ write }: Machine, n: number, index: number, value: number, reserved = 0) => {
    [index, reserved, value, 0].forEach((word, i) => {
      write(MSR_LIST + 16 * n + 4 * i, word);
    });
  };
  const list = (machine: Machine, count: VmcsField, address: VmcsField, entries: number) => {
    machine.vmcs.set(count, entries);
    machine.vmcs.set(address, MSR_LIST);
  };

  test("an entry loads guest MSRs after guest state", () => {
    const machine = createGuest((m) => {
      list(m, FIELD.entryMsrLoadCount, FIELD.entryMsrLoadAddress, 2);
      entry(m, 0, 0x174, 0x99);
      entry(m, 1, 0x277, 0x1234);
    });
    expect(machine.state.get(CELL.sysenterCs)).toBe(0x99);
    expect(machine.state.get(CELL.pat)).toBe(0x1234);
  });

  test("an entry that cannot load one fails with its number", () => {
    for (const [index, reserved] of [
      [0x9999, 0],
      [0xc0000100, 0],
      [0x175, 1],
    ] as const) {
      const machine = createHost();
      list(machine, FIELD.entryMsrLoadCount, FIELD.entryMsrLoadAddress, 2);
      entry(machine, 0, 0x174, 0x99);
      entry(machine, 1, index, 0, reserved);
      expect(machine.vmx.vmenter(true)).toBe(true);
      expect(machine.vmx.nonRoot).toBeNull();
      expect(machine.vmcs.get(FIELD.exitReason)).toBe(0x80000022);
      expect(machine.vmcs.get(FIELD.qualification)).toBe(2);
      expect(machine.state.eip).toBe(0xc0001000);
      // VMLAUNCH makes the VMCS launched only once the MSRs are loaded.
      expect(machine.vmcs.launchState).toBe(0);
    }
  });

  test("an exit stores the guest's and loads the host's", () => {
    const machine = createGuest((m) => {
      list(m, FIELD.exitMsrStoreCount, FIELD.exitMsrStoreAddress, 1);
      entry(m, 0, 0x277, 0);
      m.vmcs.set(FIELD.exitMsrLoadCount, 1);
      m.vmcs.set(FIELD.exitMsrLoadAddress, MSR_LIST + 16);
      entry(m, 1, 0x277, 0x5678);
    });
    machine.state.set(CELL.pat, 0x1111);
    cpuid(machine);
    expect(machine.read(MSR_LIST + 8)).toBe(0x1111);
    expect(machine.state.get(CELL.pat)).toBe(0x5678);
  });

  test("IA32_EFER changes by the lists only: NXE and SCE, while LMA is ignored and LME fails the entry", () => {
    const machine = createGuest((m) => {
      list(m, FIELD.entryMsrLoadCount, FIELD.entryMsrLoadAddress, 1);
      entry(m, 0, 0xc0000080, EFER.NXE | EFER.LMA);
    });
    expect(machine.state.get(CELL.efer)).toBe(EFER.NXE);
    machine.vmcs.set(FIELD.exitMsrLoadCount, 1);
    machine.vmcs.set(FIELD.exitMsrLoadAddress, MSR_LIST + 16);
    entry(machine, 1, 0xc0000080, EFER.SCE);
    cpuid(machine);
    expect(machine.state.get(CELL.efer)).toBe(EFER.SCE);
    entry(machine, 0, 0xc0000080, EFER.LME);
    expect(machine.vmx.vmenter(false)).toBe(true);
    expect(machine.vmx.failedCheck).toBe("VM-entry MSR-load list");
  });

  const ABORTS: [string, VmcsField, VmcsField, number][] = [
    ["store", FIELD.exitMsrStoreCount, FIELD.exitMsrStoreAddress, 1],
    ["load", FIELD.exitMsrLoadCount, FIELD.exitMsrLoadAddress, 4],
  ];
  for (const [what, count, address, indicator] of ABORTS) {
    test(`an exit that cannot ${what} one is a VMX abort`, () => {
      const machine = createGuest((m) => {
        list(m, count, address, 1);
        entry(m, 0, 0x9999, 0);
      });
      cpuid(machine);
      expect(machine.read(VMCS + REGION.abort)).toBe(indicator);
      expect(machine.state.get(CELL.activity)).toBe(ACTIVITY.SHUTDOWN);
      expect(machine.vmx.nonRoot).toBeNull();
    });
  }
});

test("an exit without a signal is a bug of the caller", () => {
  expect(() => createGuest().vmx.exitInstruction(1)).toThrow("signalled");
});
