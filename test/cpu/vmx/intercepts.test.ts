// Which guest events exit under which controls, and with what qualification (SDM vol. 3, 26.1, 26.2, 28.2.1).
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pentium4_672 } from "../../../sim/cpu/profiles/pentium4-672.ts";
import type { Profile } from "../../../sim/cpu/profiles/profile.ts";
import { BLOCKING, CELL, FLAG, NO_ERROR_CODE, OUTCOME } from "../../../sim/cpu/state.ts";
import { EXIT_CONTROL, PIN_BASED, PROCESSOR_BASED } from "../../../sim/cpu/vmx/controls.ts";
import { FIELD, type VmcsField } from "../../../sim/cpu/vmx/fields.ts";
import type { NonRoot } from "../../../sim/cpu/vmx/non-root.ts";
import { REASON } from "../../../sim/cpu/vmx/reasons.ts";
import {
  BITMAP_A,
  BITMAP_B,
  clearBits,
  createGuest,
  createHost,
  type Machine,
  MSR_BITMAP,
  setBits,
  VIRTUAL_APIC,
} from "./fixture.ts";

const nonRoot = (machine: Machine): NonRoot => {
  if (machine.vmx.nonRoot === null) throw new Error("no guest runs");
  return machine.vmx.nonRoot;
};

/** A guest with processor-based controls set, and fields written. */
function guestWith(controls: number, fields: readonly (readonly [VmcsField, number])[] = []): Machine {
  return createGuest((machine) => {
    setBits(machine, FIELD.processorBased, controls);
    for (const [field, value] of fields) machine.vmcs.set(field, value);
  });
}

/** What the last question signalled: null, or [reason, qualification, detail]. */
function signalled(machine: Machine): readonly [number, number, number] | null {
  const { signal } = machine.state;
  if (signal.outcome !== OUTCOME.EXIT) return null;
  return [signal.exitReason, signal.qualification, signal.exitDetail];
}

describe("instructions", () => {
  const UNCONDITIONAL: (keyof typeof REASON)[] = [
    ...(["cpuid", "invd", "vmcall", "vmclear", "vmlaunch", "vmptrld", "vmptrst"] as const),
    ...(["vmread", "vmresume", "vmwrite", "vmxoff", "vmxon"] as const),
  ];
  for (const name of UNCONDITIONAL) {
    test(`${name} exits whatever the controls are`, () => {
      const machine = createGuest();
      expect(nonRoot(machine).instruction(REASON[name], 9)).toBe(true);
      expect(signalled(machine)).toEqual([REASON[name], 9, 0]);
    });
  }

  const CONDITIONAL: [name: string, control: number, ask: (n: NonRoot) => boolean, expected: number[]][] = [
    ["HLT", PROCESSOR_BASED.hltExiting, (n) => n.instruction(REASON.hlt, 0), [12, 0, 0]],
    ["INVLPG", PROCESSOR_BASED.invlpgExiting, (n) => n.invlpg(0xc0001234), [14, 0xc0001234, 0]],
    ["MWAIT", PROCESSOR_BASED.mwaitExiting, (n) => n.instruction(REASON.mwait, 0), [36, 0, 0]],
    ["RDPMC", PROCESSOR_BASED.rdpmcExiting, (n) => n.instruction(REASON.rdpmc, 0), [15, 0, 0]],
    ["RDTSC", PROCESSOR_BASED.rdtscExiting, (n) => n.instruction(REASON.rdtsc, 0), [16, 0, 0]],
    ["MONITOR", PROCESSOR_BASED.monitorExiting, (n) => n.instruction(REASON.monitor, 0), [39, 0, 0]],
    ["PAUSE", PROCESSOR_BASED.pauseExiting, (n) => n.instruction(REASON.pause, 0), [40, 0, 0]],
    ["MOV to DR3 from EBX", PROCESSOR_BASED.movDrExiting, (n) => n.movDr(3, true, 3), [29, 0x303, 0]],
    ["MOV from DR7 to EDI", PROCESSOR_BASED.movDrExiting, (n) => n.movDr(7, false, 7), [29, 0x717, 0]],
    ["MOV to CR8", PROCESSOR_BASED.cr8LoadExiting, (n) => n.writeCr(8, 5, 1), [28, 0x108, 0]],
    ["MOV from CR8", PROCESSOR_BASED.cr8StoreExiting, (n) => n.readCr(8, 2), [28, 0x218, 0]],
    [
      "IN",
      PROCESSOR_BASED.unconditionalIoExiting,
      (n) => n.portIo(0x80, 1, true, false, false, true, 0),
      [30, 0x800048, 0],
    ],
  ];
  for (const [name, control, ask, expected] of CONDITIONAL) {
    test(`${name} exits exactly under its own control`, () => {
      for (const [other, mask] of Object.entries(PROCESSOR_BASED)) {
        if (mask === PROCESSOR_BASED.nmiWindowExiting || mask === PROCESSOR_BASED.useIoBitmaps) continue;
        const machine = guestWith(mask, [[FIELD.ioBitmapA, BITMAP_A]]);
        expect(ask(nonRoot(machine)), other).toBe(mask === control);
        expect(signalled(machine), other).toEqual(mask === control ? expected : null);
      }
    });
  }

  test("WBINVD, RSM and unknown reasons do not exit here", () => {
    const machine = guestWith(0x77b9fffe & ~PROCESSOR_BASED.useIoBitmaps & ~PROCESSOR_BASED.useMsrBitmaps);
    for (const reason of [54, 17, 99]) expect(nonRoot(machine).instruction(reason, 0)).toBe(false);
  });

  test("a task switch always exits with selector and source", () => {
    const machine = createGuest();
    expect(nonRoot(machine).taskSwitch(0x58, 3)).toBe(true);
    expect(signalled(machine)).toEqual([9, 0xc0000058, 0]);
  });
});

describe("control registers", () => {
  const CR0_VALUE = 0x80000031;
  /** Mask owns PE, TS, NW, CD; the shadow shows TS set and the others clear. */
  const masked = (shadow = 0x8) =>
    guestWith(0, [
      [FIELD.cr0Mask, 0x60000009],
      [FIELD.cr0Shadow, shadow],
      [FIELD.cr4Mask, 0x2010],
      [FIELD.cr4Shadow, 0],
    ]);

  test("reads show the shadow where the host owns the bit", () => {
    const machine = masked();
    expect(nonRoot(machine).visibleCr(0, CR0_VALUE) >>> 0).toBe(0x80000038);
    expect(nonRoot(machine).visibleCr(4, 0x2090)).toBe(0x80);
  });

  test("a MOV to CR0 exits exactly if an owned bit differs from its shadow", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer(), fc.integer(), fc.constantFrom(0, 4), (mask, shadow, value, cr) => {
        const machine = guestWith(
          0,
          cr === 0
            ? [
                [FIELD.cr0Mask, mask],
                [FIELD.cr0Shadow, shadow],
              ]
            : [
                [FIELD.cr4Mask, mask],
                [FIELD.cr4Shadow, shadow],
              ],
        );
        let differs = false;
        for (let bit = 0; bit < 32; bit++) {
          const owned = ((mask >>> bit) & 1) === 1;
          if (owned && ((value >>> bit) & 1) !== ((shadow >>> bit) & 1)) differs = true;
        }
        expect(nonRoot(machine).writeCr(cr, value, 6)).toBe(differs);
        if (differs) expect(signalled(machine)).toEqual([28, 0x600 | cr, 0]);
      }),
      { numRuns: 100 },
    );
  });

  test("a write that does not exit leaves the host's bits", () => {
    const machine = masked();
    expect(nonRoot(machine).mergeCr(0, CR0_VALUE, 0x8005002a) >>> 0).toBe(0x80050023);
  });

  test("MOV to CR3 exits unless it writes a CR3-target value in use", () => {
    const targets = FIELD.cr3Targets.map((field, n) => [field, 0x1000 * (n + 1)] as const);
    for (let count = 0; count <= 4; count++) {
      const machine = guestWith(0, [...targets, [FIELD.cr3TargetCount, count]]);
      for (let n = 0; n < 4; n++) {
        expect(nonRoot(machine).writeCr(3, 0x1000 * (n + 1), 0)).toBe(n >= count);
      }
      expect(nonRoot(machine).writeCr(3, 0x9000, 5)).toBe(true);
      expect(signalled(machine)).toEqual([28, 0x503, 0]);
    }
  });

  test("MOV from CR3 exits, MOV from CR0 and CR4 do not", () => {
    const machine = createGuest();
    expect(nonRoot(machine).readCr(0, 0)).toBe(false);
    expect(nonRoot(machine).readCr(4, 0)).toBe(false);
    expect(nonRoot(machine).readCr(3, 1)).toBe(true);
    expect(signalled(machine)).toEqual([28, 0x113, 0]);
  });

  test("CLTS exits if TS is owned and shown set, and changes nothing if owned and shown clear", () => {
    const shownSet = masked(0x8);
    expect(nonRoot(shownSet).clts()).toBe(true);
    expect(signalled(shownSet)).toEqual([28, 0x20, 0]);
    const shownClear = masked(0);
    expect(nonRoot(shownClear).clts()).toBe(false);
    expect(nonRoot(shownClear).mergeCr(0, 0x80000039, 0x80000031) >>> 0).toBe(0x80000039);
    expect(nonRoot(createGuest()).clts()).toBe(false);
  });

  test("LMSW exits if it sets an owned PE shown clear, or changes an owned TS, EM or MP", () => {
    for (let mask = 0; mask < 16; mask++) {
      for (let shadow = 0; shadow < 16; shadow++) {
        const machine = guestWith(0, [
          [FIELD.cr0Mask, mask],
          [FIELD.cr0Shadow, shadow],
        ]);
        for (let source = 0; source < 16; source++) {
          const setsPe = (mask & 1) === 1 && (shadow & 1) === 0 && (source & 1) === 1;
          const changes = [1, 2, 3].some(
            (bit) => ((mask >>> bit) & 1) === 1 && ((source >>> bit) & 1) !== ((shadow >>> bit) & 1),
          );
          expect(nonRoot(machine).lmsw(source, -1)).toBe(setsPe || changes);
        }
      }
    }
  });

  test("LMSW tells its source, and its memory operand", () => {
    const machine = masked(0);
    nonRoot(machine).lmsw(0xabc9, -1);
    expect(signalled(machine)).toEqual([28, 0xabc90030, 0]);
    nonRoot(machine).lmsw(0x9, 0xc0001000);
    expect(signalled(machine)).toEqual([28, 0x00090070, 0xc0001000]);
    machine.vmx.exitInstruction(3);
    expect(machine.vmcs.get(FIELD.guestLinearAddress)).toBe(0xc0001000);
    expect(machine.vmcs.get(FIELD.exitInstructionInfo)).toBe(0);
  });
});

describe("the TPR shadow", () => {
  const shadowed = () =>
    createGuest((machine) => {
      setBits(machine, FIELD.processorBased, PROCESSOR_BASED.useTprShadow);
      machine.vmcs.set(FIELD.tprThreshold, 4);
      machine.write(VIRTUAL_APIC + 0x80, 0x65);
    });

  test("is what CR8 reads and writes", () => {
    const machine = shadowed();
    expect(nonRoot(machine).readTprShadow()).toBe(6);
    expect(nonRoot(machine).writeTprShadow(9)).toBe(false);
    expect(machine.read(VIRTUAL_APIC + 0x80)).toBe(0x90);
    expect(nonRoot(createGuest()).readTprShadow()).toBeNull();
  });

  test("exits after the instruction when it falls below the threshold", () => {
    const machine = shadowed();
    expect(nonRoot(machine).writeTprShadow(4)).toBe(false);
    expect(machine.vmx.exitTprBelowThreshold()).toBe(false);
    expect(nonRoot(machine).writeTprShadow(3)).toBe(true);
    expect(signalled(machine)).toBeNull();
    expect(machine.vmx.exitTprBelowThreshold()).toBe(true);
    expect(machine.vmcs.get(FIELD.exitReason)).toBe(43);
    machine.write(VIRTUAL_APIC + 0x80, 0x70);
    machine.vmx.vmenter(false);
    expect(machine.vmx.nonRoot).not.toBeNull();
    expect(machine.vmx.exitTprBelowThreshold()).toBe(false);
  });
});

test("the TSC offset is a signed 64-bit value, and 0 when not in use", () => {
  const offset = (controls: number) =>
    nonRoot(
      createGuest((machine) => {
        setBits(machine, FIELD.processorBased, controls);
        machine.vmcs.set(FIELD.tscOffset, 0xfffffff0);
        machine.vmcs.setHigh(FIELD.tscOffset, 0xffffffff);
      }),
    ).tscOffset();
  expect(offset(PROCESSOR_BASED.useTscOffsetting)).toBe(-16);
  expect(offset(0)).toBe(0);
});

describe("ports", () => {
  const withBitmaps = (ports: number[], controls = 0) =>
    createGuest((machine) => {
      setBits(machine, FIELD.processorBased, PROCESSOR_BASED.useIoBitmaps | controls);
      for (const port of ports) {
        const bitmap = port < 0x8000 ? BITMAP_A : BITMAP_B;
        const word = bitmap + ((port & 0x7fff) >>> 5) * 4;
        machine.write(word, (machine.read(word) | (1 << (port & 31))) >>> 0);
      }
    });
  const exits = (machine: Machine, port: number, bytes: number) =>
    nonRoot(machine).portIo(port, bytes, false, false, false, false, 0);

  test("without either control no access exits", () => {
    for (const port of [0, 0x80, 0x7fff, 0xffff]) expect(exits(createGuest(), port, 4)).toBe(false);
  });

  for (const port of [0, 0x1f, 0x20, 0x80, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff]) {
    test(`a bit for port ${port.toString(16)} makes every access that touches it exit, and no other`, () => {
      const machine = withBitmaps([port]);
      for (const bytes of [1, 2, 4]) {
        for (let first = Math.max(0, port - 5); first <= Math.min(0xffff, port + 2); first++) {
          const wraps = first + bytes > 0x10000;
          const touches = first <= port && port < first + bytes;
          expect(exits(machine, first, bytes), `${bytes} bytes at ${first.toString(16)}`).toBe(touches || wraps);
        }
      }
    });
  }

  test("an access across the end of the port space exits with clear bitmaps", () => {
    const machine = withBitmaps([]);
    expect(exits(machine, 0xfffd, 4)).toBe(true);
    expect(exits(machine, 0xffff, 2)).toBe(true);
    expect(exits(machine, 0xffff, 1)).toBe(false);
    expect(exits(machine, 0xfffc, 4)).toBe(false);
  });

  test("bitmaps win over unconditional I/O exiting", () => {
    const machine = withBitmaps([0x80], PROCESSOR_BASED.unconditionalIoExiting);
    expect(exits(machine, 0x81, 1)).toBe(false);
    expect(exits(machine, 0x80, 1)).toBe(true);
  });

  test("the qualification tells size, direction, string, REP, operand and port", () => {
    const machine = guestWith(PROCESSOR_BASED.unconditionalIoExiting);
    const ask = nonRoot(machine);
    ask.portIo(0x3f8, 1, false, false, false, false, 0);
    expect(signalled(machine)).toEqual([30, 0x03f80000, 0]);
    ask.portIo(0xcf8, 4, true, false, false, false, 0);
    expect(signalled(machine)).toEqual([30, 0x0cf8000b, 0]);
    ask.portIo(0x1f0, 2, true, true, true, false, 0xc0100000);
    expect(signalled(machine)).toEqual([30, 0x01f00039, 0xc0100000]);
    machine.vmx.exitInstruction(3);
    expect(machine.vmcs.get(FIELD.guestLinearAddress)).toBe(0xc0100000);
    expect(machine.vmcs.get(FIELD.exitInstructionLength)).toBe(3);
  });
});

describe("MSRs", () => {
  const bitmapped = (offset: number, bit: number) =>
    createGuest((machine) => {
      setBits(machine, FIELD.processorBased, PROCESSOR_BASED.useMsrBitmaps);
      machine.write(MSR_BITMAP + offset + (bit >>> 5) * 4, (1 << (bit & 31)) >>> 0);
    });

  test("exit always without bitmaps, as on the Pentium 4", () => {
    const profiles: (Profile | undefined)[] = [undefined, pentium4_672];
    for (const profile of profiles) {
      const machine = createGuest(() => undefined, profile);
      expect(nonRoot(machine).msr(0x174, false)).toBe(true);
      expect(signalled(machine)).toEqual([31, 0, 0]);
      expect(nonRoot(machine).msr(0x174, true)).toBe(true);
      expect(signalled(machine)).toEqual([32, 0, 0]);
    }
  });

  const RANGES: [offset: number, index: number, write: boolean][] = [
    [0, 0x174, false],
    [0, 0x1fff, false],
    [1024, 0xc0000080, false],
    [2048, 0x174, true],
    [3072, 0xc0001fff, true],
  ];
  for (const [offset, index, write] of RANGES) {
    test(`the bit at ${offset} for ${index.toString(16)} stops ${write ? "writes" : "reads"} of it only`, () => {
      const ask = nonRoot(bitmapped(offset, index & 0x1fff));
      for (const other of [0x174, 0x1fff, 0xc0000080, 0xc0001fff]) {
        for (const writes of [false, true]) {
          expect(ask.msr(other, writes)).toBe(other === index && writes === write);
        }
      }
    });
  }

  test("outside the ranges every access exits", () => {
    const ask = nonRoot(bitmapped(0, 5));
    for (const index of [0x2000, 0xbfffffff, 0xc0002000, 0xffffffff]) {
      expect(ask.msr(index, false)).toBe(true);
      expect(ask.msr(index | 0, true)).toBe(true);
    }
  });
});

describe("exceptions", () => {
  test("each vector exits exactly by its own bit", () => {
    for (let bit = 0; bit < 32; bit++) {
      for (let vector = 0; vector < 32; vector++) {
        // mask 0, match 0: page faults follow their bit
        const machine = createGuest(({ vmcs }) => vmcs.set(FIELD.exceptionBitmap, 2 ** bit));
        expect(machine.vmx.exitException(vector, NO_ERROR_CODE, 0)).toBe(vector === bit);
        expect(machine.vmx.nonRoot === null).toBe(vector === bit);
      }
    }
  });

  test("page faults: the bit decides if the masked error code matches, its opposite if not", () => {
    for (const bit of [0, 1]) {
      for (let mask = 0; mask < 8; mask++) {
        for (let match = 0; match < 8; match++) {
          for (let errorCode = 0; errorCode < 8; errorCode++) {
            const machine = createGuest(({ vmcs }) => {
              vmcs.set(FIELD.exceptionBitmap, bit << 14);
              vmcs.set(FIELD.pageFaultMask, mask);
              vmcs.set(FIELD.pageFaultMatch, match);
            });
            const expected = (errorCode & mask) === match ? bit === 1 : bit === 0;
            expect(machine.vmx.exitException(14, errorCode, 0x1000)).toBe(expected);
          }
        }
      }
    }
  });

  test("mask 0 and match all ones turns the bit round", () => {
    const machine = createGuest(({ vmcs }) => {
      vmcs.set(FIELD.pageFaultMask, 0);
      vmcs.set(FIELD.pageFaultMatch, 0xffffffff);
    });
    expect(machine.vmx.exitException(14, 2, 0)).toBe(true);
  });

  test("nothing exits in root operation", () => {
    const { vmx } = createHost();
    expect(vmx.exitException(14, 0, 0)).toBe(false);
    expect(vmx.exitExternalInterrupt(() => 0)).toBe(false);
    expect(vmx.exitNmi()).toBe(false);
    expect(vmx.exitInterruptWindow()).toBe(false);
    expect(vmx.exitTripleFault()).toBe(false);
    expect(vmx.exitTprBelowThreshold()).toBe(false);
  });
});

describe("interrupts", () => {
  const withPin = (pin: number, exitControls = 0) =>
    createGuest((machine) => {
      setBits(machine, FIELD.pinBased, pin);
      setBits(machine, FIELD.exitControls, exitControls);
    });
  const unexpected = (): number => {
    throw new Error("acknowledged");
  };

  test("an external interrupt exits by its control, unacknowledged, even with IF clear", () => {
    expect(createGuest().vmx.exitExternalInterrupt(unexpected)).toBe(false);
    const machine = withPin(PIN_BASED.externalInterruptExiting);
    machine.state.flags = 2;
    expect(machine.vmx.exitExternalInterrupt(unexpected)).toBe(true);
    expect(machine.vmcs.get(FIELD.exitReason)).toBe(1);
    expect(machine.vmcs.get(FIELD.exitInterruption)).toBe(0);
  });

  test("acknowledge on exit records the vector", () => {
    const machine = withPin(PIN_BASED.externalInterruptExiting, EXIT_CONTROL.acknowledgeInterruptOnExit);
    expect(machine.vmx.exitExternalInterrupt(() => 0x31)).toBe(true);
    expect(machine.vmcs.get(FIELD.exitInterruption)).toBe(0x80000031);
  });

  test("an external interrupt waits while STI or MOV SS blocks", () => {
    const machine = withPin(PIN_BASED.externalInterruptExiting);
    for (const blocking of [BLOCKING.STI, BLOCKING.MOV_SS]) {
      machine.state.set(CELL.interruptibility, blocking);
      expect(machine.vmx.exitExternalInterrupt(unexpected)).toBe(false);
    }
  });

  test("an NMI exits by its control and blocks NMIs in the host", () => {
    expect(createGuest().vmx.exitNmi()).toBe(false);
    const machine = withPin(PIN_BASED.nmiExiting);
    expect(machine.vmx.exitNmi()).toBe(true);
    expect(machine.vmcs.get(FIELD.exitReason)).toBe(0);
    expect(machine.vmcs.get(FIELD.exitInterruption)).toBe(0x80000202);
    expect(machine.vmcs.get(FIELD.guestInterruptibility)).toBe(0);
    expect(machine.state.get(CELL.interruptibility)).toBe(BLOCKING.NMI);
  });

  test("an NMI waits while NMIs are blocked", () => {
    const machine = withPin(PIN_BASED.nmiExiting);
    machine.state.set(CELL.interruptibility, BLOCKING.NMI);
    expect(machine.vmx.exitNmi()).toBe(false);
  });

  test("the interrupt window opens with IF set and no blocking", () => {
    const open = (control: number, flags: number, blocking: number) => {
      const machine = guestWith(control);
      machine.state.flags = 2 | flags;
      machine.state.set(CELL.interruptibility, blocking);
      return machine.vmx.exitInterruptWindow() && machine.vmcs.get(FIELD.exitReason) === 7;
    };
    const window = PROCESSOR_BASED.interruptWindowExiting;
    expect(open(window, FLAG.IF, 0)).toBe(true);
    expect(open(window, FLAG.IF, BLOCKING.NMI)).toBe(true);
    expect(open(window, 0, 0)).toBe(false);
    expect(open(window, FLAG.IF, BLOCKING.STI)).toBe(false);
    expect(open(window, FLAG.IF, BLOCKING.MOV_SS)).toBe(false);
    expect(open(0, FLAG.IF, 0)).toBe(false);
  });

  test("a triple fault always exits", () => {
    const machine = createGuest();
    expect(machine.vmx.exitTripleFault()).toBe(true);
    expect(machine.vmcs.get(FIELD.exitReason)).toBe(2);
  });

  test("controls are those of the entry, whatever is written while the guest runs", () => {
    const machine = createGuest();
    clearBits(machine, FIELD.processorBased, PROCESSOR_BASED.cr3LoadExiting);
    expect(nonRoot(machine).writeCr(3, 0, 0)).toBe(true);
  });
});
