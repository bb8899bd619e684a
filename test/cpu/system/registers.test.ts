import { describe, expect, test } from "vitest";
import type { Intercepts, VmxInstructions } from "../../../sim/cpu/environment.ts";
import { pentium4_672 } from "../../../sim/cpu/profiles/pentium4-672.ts";
import { ACTIVITY, BLOCKING, CELL, CR0, CR4, FLAG, GPR, NO_ERROR_CODE, OUTCOME, SEG } from "../../../sim/cpu/state.ts";
import {
  clearTaskSwitched,
  cr4Bits,
  loadMachineStatus,
  readControl,
  storeMachineStatus,
  writeControl,
} from "../../../sim/cpu/system/control.ts";
import { DR6_BD, readDebug, writeDebug } from "../../../sim/cpu/system/debug.ts";
import { clearInterruptFlag, flagsForPush, popFlags, setInterruptFlag } from "../../../sim/cpu/system/flags.ts";
import {
  adjustRpl,
  cpuid,
  halt,
  invalidateCaches,
  invalidatePage,
  readPerformanceCounter,
  readTimeStamp,
  writeBackCaches,
} from "../../../sim/cpu/system/misc.ts";
import { MSR, readMsr, writeMsr } from "../../../sim/cpu/system/msr.ts";
import { inputPort, outputPort } from "../../../sim/cpu/system/ports.ts";
import { GDTR, IDTR, loadTable, storeTable } from "../../../sim/cpu/system/tables.ts";
import { AT, Fixture, noIntercepts } from "./fake-environment.ts";

const BASE_CR0 = CR0.PE | CR0.ET | CR0.NE;

/** Intercepts of which `names` exit. */
function exiting(f: Fixture, ...names: (keyof Intercepts)[]): Intercepts {
  const exit = (): boolean => {
    f.state.signal.outcome = OUTCOME.EXIT;
    return true;
  };
  return noIntercepts(Object.fromEntries(names.map((name) => [name, exit])));
}

/** Every instruction here that is reserved to CPL 0, and the intercept that it asks. */
const PRIVILEGED: readonly [string, keyof Intercepts | null, (f: Fixture) => void][] = [
  ["MOV to CR0", "writeCr", (f) => writeControl(f.state, f.env, 0, BASE_CR0, 0)],
  ["MOV to CR2", null, (f) => writeControl(f.state, f.env, 2, 5, 0)],
  ["MOV to CR3", "writeCr", (f) => writeControl(f.state, f.env, 3, 0x5000, 0)],
  ["MOV to CR4", "writeCr", (f) => writeControl(f.state, f.env, 4, CR4.PGE, 0)],
  ["MOV from CR0", null, (f) => void readControl(f.state, f.env, 0, 0)],
  ["MOV from CR3", "readCr", (f) => void readControl(f.state, f.env, 3, 0)],
  ["LMSW", "lmsw", (f) => loadMachineStatus(f.state, f.env, 3, -1)],
  ["CLTS", "clts", (f) => clearTaskSwitched(f.state, f.env)],
  ["LGDT", null, (f) => loadTable(f.state, f.env, GDTR, 0x6000, 32)],
  ["LIDT", null, (f) => loadTable(f.state, f.env, IDTR, 0x6000, 32)],
  ["HLT", "instruction", (f) => halt(f.state, f.env)],
  ["INVLPG", "invlpg", (f) => invalidatePage(f.state, f.env, 0x6000)],
  ["INVD", "instruction", (f) => invalidateCaches(f.state, f.env)],
  ["WBINVD", null, (f) => writeBackCaches(f.state)],
  ["RDPMC without CR4.PCE", "instruction", (f) => readPerformanceCounter(f.state, f.env)],
  ["RDMSR", "msr", (f) => readMsr(f.state, f.env)],
  ["WRMSR", "msr", (f) => writeMsr(f.state, f.env)],
];

describe("privilege comes before the VM exit, and the exit before any effect", () => {
  test.each(PRIVILEGED)("%s", (_what, intercept, run) => {
    for (const cpl of [1, 2, 3]) {
      const f = new Fixture(cpl);
      if (intercept !== null) f.env.intercepts = exiting(f, intercept);
      const before = f.snapshot();
      run(f);
      expect(f.outcome()).toBe("#GP(0)");
      expect(f.changes(before)).toEqual([]);
      expect(f.env.log).toEqual([]);
    }
    if (intercept === null) return;
    const f = new Fixture(0);
    f.env.intercepts = exiting(f, intercept);
    const before = f.snapshot();
    run(f);
    expect(f.outcome()).toBe("exit");
    expect(f.changes(before)).toEqual([]);
    expect(f.env.log).toEqual([]);
  });
});

describe("control registers", () => {
  const write = (cr: number, value: number, prepare?: (f: Fixture) => void): Fixture => {
    const f = new Fixture();
    prepare?.(f);
    writeControl(f.state, f.env, cr, value, 0);
    return f;
  };

  test("CR0 keeps ET, drops bits that do not exist, and flushes when PG changes", () => {
    const f = write(0, 0x0000ffc1 | CR0.PG);
    expect(f.outcome()).toBe("ok");
    expect(f.state.cr0).toBe(CR0.PG | CR0.PE | CR0.ET);
    expect(f.env.log).toEqual(["flush 1"]);
    writeControl(f.state, f.env, 0, CR0.PG | CR0.PE | CR0.WP, 0);
    expect(f.env.log).toEqual(["flush 1", "paging changed"]);
  });

  test.each([
    ["PG without PE", 0, CR0.PG, "#GP(0)"],
    ["NW without CD", 0, BASE_CR0 | CR0.NW, "#GP(0)"],
    ["CD without NW", 0, BASE_CR0 | CR0.CD, "ok"],
    ["PE cleared", 0, CR0.ET, "ok"],
    ["CR4 bits that exist", 4, CR4.PSE | CR4.PGE | CR4.DE | CR4.TSD | CR4.PCE | CR4.VMXE, "ok"],
    ["CR4 reserved bit", 4, 1 << 11, "#GP(0)"],
    ["CR4 bit 31", 4, 1 << 31, "#GP(0)"],
    ["CR4.PAE with paging off", 4, CR4.PAE, "ok"],
    ["CR1", 1, 0, "#UD"],
    ["CR5", 5, 0, "#UD"],
  ])("%s", (_what, cr, value, expected) => {
    expect(write(cr, value).outcome()).toBe(expected);
  });

  test("CR4 has the bits that CPUID announces", () => {
    const leaf = { eax: 0, ebx: 0, ecx: 0, edx: 1 << 3 };
    expect(cr4Bits({ ...pentium4_672, cpuid: { 1: leaf } })).toBe(CR4.PSE | CR4.PCE);
    expect(cr4Bits(pentium4_672) & CR4.VMXE).toBe(CR4.VMXE);
  });

  test("CR4 flushes when PSE, PAE or PGE change, CR3 all but global entries", () => {
    const f = write(4, CR4.PGE);
    writeControl(f.state, f.env, 4, CR4.PGE | CR4.TSD, 0);
    writeControl(f.state, f.env, 3, 0x12345678, 0);
    expect(f.env.log).toEqual(["flush 1", "flush 0"]);
    expect(readControl(f.state, f.env, 3, 0)).toBe(0x12345678);
  });

  test("bits that VMX operation fixes are #GP(0)", () => {
    const vmx = { supportsCr: (cr: 0 | 4, value: number) => cr === 0 || (value & CR4.VMXE) !== 0 };
    const inVmx = (f: Fixture) => {
      f.env.vmx = vmx as unknown as VmxInstructions;
    };
    expect(write(4, CR4.PGE, inVmx).outcome()).toBe("#GP(0)");
    expect(write(4, CR4.PGE | CR4.VMXE, inVmx).outcome()).toBe("ok");
  });

  test("in non-root operation host-owned bits stay and reads go through the shadow", () => {
    const owned = CR0.TS | CR0.WP;
    const f = write(0, BASE_CR0 | CR0.AM | CR0.TS, (g) => {
      g.env.intercepts = noIntercepts({
        mergeCr: (_cr, actual, written) => (actual & owned) | (written & ~owned),
        visibleCr: (_cr, actual) => actual | CR0.WP,
      });
    });
    expect(f.state.cr0).toBe(BASE_CR0 | CR0.AM);
    expect(readControl(f.state, f.env, 0, 0)).toBe(BASE_CR0 | CR0.AM | CR0.WP);
    expect(storeMachineStatus(f.state, f.env)).toBe(BASE_CR0 | CR0.AM | CR0.WP);
    f.state.set(CELL.cr0, BASE_CR0 | CR0.TS);
    clearTaskSwitched(f.state, f.env);
    expect(f.state.cr0).toBe(BASE_CR0 | CR0.TS);
  });

  test("LMSW loads MP, EM, TS and cannot clear PE; CLTS clears TS", () => {
    const f = new Fixture();
    loadMachineStatus(f.state, f.env, CR0.TS | CR0.MP | 0xfff0, -1);
    expect(f.state.cr0).toBe(BASE_CR0 | CR0.TS | CR0.MP);
    clearTaskSwitched(f.state, f.env);
    expect(f.state.cr0).toBe(BASE_CR0 | CR0.MP);
  });
});

describe("debug registers", () => {
  test("DR4 and DR5 are DR6 and DR7 unless CR4.DE", () => {
    const f = new Fixture();
    writeDebug(f.state, f.env, 4, 0xffffffff, 0);
    writeDebug(f.state, f.env, 5, 0, 0);
    expect([readDebug(f.state, f.env, 6, 0), readDebug(f.state, f.env, 7, 0)]).toEqual([0xffffefff, 0x400]);
    f.state.set(CELL.cr4, CR4.DE);
    writeDebug(f.state, f.env, 4, 0, 0);
    expect(f.outcome()).toBe("#UD");
  });

  test("DR7.GD makes any access #DB with BD, and nothing is written", () => {
    const f = new Fixture();
    f.state.set(CELL.dr7, 1 << 13);
    writeDebug(f.state, f.env, 0, 5, 0);
    expect(f.outcome()).toBe("#DB");
    expect(f.state.signal.errorCode).toBe(NO_ERROR_CODE);
    expect(f.state.signal.address).toBe(DR6_BD);
    expect(f.state.get(CELL.dr0)).toBe(0);
  });

  test("privilege is checked before GD, and the VM exit before both", () => {
    const f = new Fixture(3);
    f.state.set(CELL.dr7, 1 << 13);
    readDebug(f.state, f.env, 0, 0);
    expect(f.outcome()).toBe("#GP(0)");
    const g = new Fixture(3);
    g.env.intercepts = exiting(g, "movDr");
    readDebug(g.state, g.env, 0, 0);
    expect(g.outcome()).toBe("exit");
  });
});

describe("EFLAGS", () => {
  const EVERYTHING = 0xffffffff;
  const status = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF | FLAG.DF | FLAG.TF | FLAG.NT;
  const pop = (cpl: number, iopl: number, value: number, width: 16 | 32): number => {
    const f = new Fixture(cpl);
    f.state.flags = FLAG.ONE | (iopl << 12) | FLAG.RF | FLAG.VIP;
    popFlags(f.state, f.env, value, width);
    expect(f.outcome()).toBe("ok");
    return f.state.flags;
  };

  test("POPF changes IOPL at CPL 0, IF up to IOPL, never VM, VIF, VIP, and clears RF", () => {
    const base = FLAG.ONE | FLAG.VIP | status;
    expect(pop(0, 0, EVERYTHING, 32)).toBe(base | FLAG.IF | FLAG.IOPL | FLAG.AC | FLAG.ID);
    expect(pop(0, 0, EVERYTHING, 16)).toBe(base | FLAG.IF | FLAG.IOPL);
    expect(pop(3, 0, EVERYTHING, 32)).toBe(base | FLAG.AC | FLAG.ID);
    expect(pop(2, 2, EVERYTHING, 32)).toBe(base | FLAG.IF | (2 << 12) | FLAG.AC | FLAG.ID);
    expect(pop(0, 3, 0, 32)).toBe(FLAG.ONE | FLAG.VIP);
  });

  test("PUSHF hides RF and VM", () => {
    const f = new Fixture();
    f.state.flags = FLAG.ONE | FLAG.RF | FLAG.AC | FLAG.IF;
    expect(flagsForPush(f.state, 32)).toBe(FLAG.ONE | FLAG.AC | FLAG.IF);
  });

  test("CLI and STI follow IOPL; STI blocks interrupts only when it sets IF", () => {
    const f = new Fixture(3);
    setInterruptFlag(f.state, f.env);
    expect(f.outcome()).toBe("#GP(0)");
    const g = new Fixture(3);
    clearInterruptFlag(g.state);
    expect(g.outcome()).toBe("#GP(0)");
    const h = new Fixture(3);
    h.state.flags |= FLAG.IOPL;
    setInterruptFlag(h.state, h.env);
    expect(h.state.get(CELL.interruptibility)).toBe(BLOCKING.STI);
    h.state.set(CELL.interruptibility, 0);
    setInterruptFlag(h.state, h.env);
    expect(h.state.get(CELL.interruptibility)).toBe(0);
    clearInterruptFlag(h.state);
    expect(h.state.flags & FLAG.IF).toBe(0);
  });
});

describe("descriptor-table registers", () => {
  test("LGDT reads limit and base, 24 bits of it with a 16-bit operand", () => {
    const f = new Fixture();
    f.env.poke(0x6000, 2, 0x1234);
    f.env.poke(0x6002, 4, 0x89abcdef);
    loadTable(f.state, f.env, GDTR, 0x6000, 32);
    expect([f.state.get(CELL.gdtrLimit), f.state.get(CELL.gdtrBase)]).toEqual([0x1234, 0x89abcdef]);
    loadTable(f.state, f.env, IDTR, 0x6000, 16);
    expect(f.state.get(CELL.idtrBase)).toBe(0xabcdef);
  });

  test("LGDT that faults on its second page changes nothing", () => {
    const f = new Fixture();
    f.env.absent.add(7);
    const before = f.snapshot();
    loadTable(f.state, f.env, GDTR, 0x6ffd, 32);
    expect(f.outcome()).toBe("#PF(0) at 7000");
    expect(f.changes(before)).toEqual([]);
  });

  test("SGDT whose base is misaligned, with alignment checks, stores nothing", () => {
    const f = new Fixture(3);
    f.env.checkAlignment = true;
    storeTable(f.state, f.env, GDTR, 0x6002);
    expect(f.outcome()).toBe("ok");
    const before = f.snapshot();
    storeTable(f.state, f.env, GDTR, 0x6008);
    expect(f.outcome()).toBe("#AC(0)");
    expect(f.changes(before)).toEqual([]);
  });

  test("SGDT stores six bytes at any privilege, with the user's rights", () => {
    const f = new Fixture(3);
    storeTable(f.state, f.env, GDTR, 0x6000);
    expect([f.env.peek(0x6000, 2), f.env.peek(0x6002, 4)]).toEqual([0x1ff, AT.gdt]);
    f.env.supervisorOnly.add(7);
    const before = f.snapshot();
    storeTable(f.state, f.env, IDTR, 0x6ffe);
    expect(f.outcome()).toBe("#PF(7) at 7000");
    expect(f.changes(before)).toEqual([]);
  });
});

describe("MSRs", () => {
  const access = (index: number, value?: bigint, prepare?: (f: Fixture) => void): Fixture => {
    const f = new Fixture();
    prepare?.(f);
    f.state.set(GPR.ecx, index);
    if (value !== undefined) {
      f.state.set(GPR.eax, Number(value & 0xffffffffn));
      f.state.set(GPR.edx, Number(value >> 32n));
      writeMsr(f.state, f.env);
      if (f.outcome() !== "ok") return f;
    }
    f.state.set(GPR.eax, 0xdead);
    f.state.set(GPR.edx, 0xdead);
    readMsr(f.state, f.env);
    return f;
  };
  const value = (f: Fixture): bigint => (BigInt(f.state.get(GPR.edx)) << 32n) | BigInt(f.state.get(GPR.eax));

  test.each([
    ["SYSENTER_CS", MSR.SYSENTER_CS, 0x8n],
    ["SYSENTER_ESP", MSR.SYSENTER_ESP, 0xc0001000n],
    ["SYSENTER_EIP", MSR.SYSENTER_EIP, 0xc0100000n],
    ["APIC_BASE", MSR.APIC_BASE, 0xf_fee00900n],
    ["MISC_ENABLE", MSR.MISC_ENABLE, 0x1_00000089n],
    ["PAT", MSR.PAT, 0x00070406_00070406n],
    ["first variable MTRR", MSR.MTRR_PHYSBASE0, 0x6n],
    ["last variable MTRR", 0x20f, 0xf_ff000800n],
    ["last fixed MTRR", 0x26f, 0x05050505_05050505n],
    ["MTRR_DEF_TYPE", MSR.MTRR_DEF_TYPE, 0xc06n],
    ["FEATURE_CONTROL", MSR.FEATURE_CONTROL, 5n],
    ["EFER.NXE and SCE", MSR.EFER, 0x801n],
  ])("%s keeps what is written", (_what, index, written) => {
    const f = access(index, written);
    expect(f.outcome()).toBe("ok");
    expect(value(f)).toBe(written);
  });

  test.each([
    ["unknown, read", 0x12345, undefined, "#GP(0)"],
    ["unknown, write", 0x12345, 0n, "#GP(0)"],
    ["APIC_BASE reserved bit", MSR.APIC_BASE, 0xfee00400n, "#GP(0)"],
    ["APIC_BASE beyond physical memory", MSR.APIC_BASE, 0x10_fee00800n, "#GP(0)"],
    ["PAT type 2", MSR.PAT, 0x2n, "#GP(0)"],
    ["PAT type 8 in the upper half", MSR.PAT, 0x08000000_00000000n, "#GP(0)"],
    ["MTRRCAP", MSR.MTRRCAP, 0n, "#GP(0)"],
    ["MCG_CAP", MSR.MCG_CAP, 0n, "#GP(0)"],
    ["MCG_CAP, read", MSR.MCG_CAP, undefined, "ok"],
    ["MCG_STATUS", MSR.MCG_STATUS, 0n, "ok"],
    ["PLATFORM_ID", MSR.PLATFORM_ID, 0n, "#GP(0)"],
    ["THERM_INTERRUPT", MSR.THERM_INTERRUPT, 3n, "ok"],
    ["VMX capability", 0x480, 0n, "#GP(0)"],
    ["beyond the VMX capabilities", 0x48b, undefined, "#GP(0)"],
    ["FEATURE_CONTROL reserved bit", MSR.FEATURE_CONTROL, 8n, "#GP(0)"],
    ["EFER.LME", MSR.EFER, 0x100n, "unmodelled"],
    ["EFER as it is", MSR.EFER, 0n, "ok"],
    ["EFER.LMA, which is ignored", MSR.EFER, 0x400n, "ok"],
    ["EFER bit 1", MSR.EFER, 2n, "#GP(0)"],
    ["EFER bit 12", MSR.EFER, 0x1000n, "#GP(0)"],
    ["EFER bit 32", MSR.EFER, 0x1_00000000n, "#GP(0)"],
  ])("%s", (_what, index, written, expected) => {
    expect(access(index, written).outcome()).toBe(expected);
  });

  test("a change of EFER.NXE flushes everything, one of SCE nothing", () => {
    expect(access(MSR.EFER, 0x800n).env.log).toEqual(["flush 1"]);
    expect(access(MSR.EFER, 1n).env.log).toEqual([]);
  });

  test("setting EFER.LME is #GP(0) while paging is on", () => {
    expect(access(MSR.EFER, 0x100n, (g) => g.state.set(CELL.cr0, CR0.PE | CR0.PG)).outcome()).toBe("#GP(0)");
  });

  test("MISC_ENABLE.XD_DISABLE hides execute-disable from CPUID, and EFER.NXE with it", () => {
    const f = access(MSR.MISC_ENABLE, 1n << 34n, (g) => g.state.set(CELL.efer, 0x801));
    expect([f.state.get(CELL.efer), f.env.log]).toEqual([1, ["flush 1"]]);
    const announced = (): number => {
      f.state.set(GPR.eax, 0x80000001);
      cpuid(f.state, f.env);
      return (f.state.get(GPR.edx) >>> 20) & 1;
    };
    expect(announced()).toBe(0);
    const disable = (g: Fixture) => g.state.setNumber(CELL.miscEnable, 2 ** 34);
    expect(access(MSR.EFER, 0x800n, disable).outcome()).toBe("#GP(0)");
    expect(access(MSR.EFER, 1n, disable).outcome()).toBe("ok");
    f.state.set(CELL.miscEnable, 0);
    expect(announced()).toBe(1);
  });

  test("FEATURE_CONTROL cannot be written once locked", () => {
    const f = access(MSR.FEATURE_CONTROL, 5n, (g) => g.state.set(CELL.featureControl, 1));
    expect(f.outcome()).toBe("#GP(0)");
    expect(f.state.get(CELL.featureControl)).toBe(1);
  });

  test("VMX capabilities come from the profile, and are absent without VMX", () => {
    const f = access(0x480);
    expect(f.state.get(GPR.eax)).toBe(pentium4_672.vmx?.revision);
    expect(access(0x480, undefined, (g) => (g.env.profile = { ...pentium4_672, vmx: null })).outcome()).toBe("#GP(0)");
  });

  test("writing APIC_BASE tells the environment", () => {
    expect(access(MSR.APIC_BASE, 0xfee00000n).env.log).toEqual(["apic base"]);
  });

  test("the time-stamp counter can be set, runs on, and gets the offset of non-root operation", () => {
    const f = access(MSR.TSC, 0xffffffff_fffffff0n, (g) => (g.env.time = 1000));
    expect(value(f)).toBe(0xffffffff_fffffff0n);
    f.env.time = 1020;
    readTimeStamp(f.state, f.env);
    expect(value(f)).toBe(4n);
    f.env.intercepts = noIntercepts({ tscOffset: () => -5 });
    readTimeStamp(f.state, f.env);
    expect(value(f)).toBe(0xffffffff_ffffffffn);
    const g = new Fixture();
    g.env.time = 2 ** 40 + 7;
    readTimeStamp(g.state, g.env);
    expect(value(g)).toBe(2n ** 40n + 7n);
  });
});

describe("CPUID, RDTSC, RDPMC, HLT, ARPL", () => {
  const leaf = (index: number, prepare?: (f: Fixture) => void): Fixture => {
    const f = new Fixture(3);
    prepare?.(f);
    f.state.set(GPR.eax, index);
    cpuid(f.state, f.env);
    return f;
  };
  const registers = (f: Fixture): number[] => [GPR.eax, GPR.ebx, GPR.ecx, GPR.edx].map((r) => f.state.get(r));

  test("CPUID returns the profile's leaf, and beyond the last the highest basic one", () => {
    const { eax, ebx, ecx, edx } = pentium4_672.cpuid[2]!;
    expect(registers(leaf(2))).toEqual([eax, ebx, ecx, edx].map((n) => n >>> 0));
    expect(registers(leaf(0x777))).toEqual(registers(leaf(pentium4_672.cpuid[0]!.eax)));
    expect(registers(leaf(0x80000777))).toEqual(registers(leaf(pentium4_672.cpuid[0]!.eax)));
  });

  test("CPUID shows the APIC while it is enabled, and the limit of IA32_MISC_ENABLE", () => {
    const apic = (base: number): number => leaf(1, (f) => f.state.set(CELL.apicBase, base)).state.get(GPR.edx) & 0x200;
    expect([apic(0xfee00900), apic(0xfee00100)]).toEqual([0x200, 0]);
    expect(leaf(0, (f) => f.state.set(CELL.miscEnable, 1 << 22)).state.get(GPR.eax)).toBe(3);
  });

  test("CPUID exits at any privilege", () => {
    const f = leaf(1, (g) => (g.env.intercepts = exiting(g, "instruction")));
    expect(f.outcome()).toBe("exit");
    expect(f.state.get(GPR.eax)).toBe(1);
  });

  test("RDTSC is open to ring 3 unless CR4.TSD", () => {
    const f = new Fixture(3);
    readTimeStamp(f.state, f.env);
    expect(f.outcome()).toBe("ok");
    f.state.set(CELL.cr4, CR4.TSD);
    f.env.intercepts = exiting(f, "instruction");
    readTimeStamp(f.state, f.env);
    expect(f.outcome()).toBe("#GP(0)");
  });

  test("RDPMC is open to ring 3 with CR4.PCE, and #GP(0) for a counter that does not exist", () => {
    const f = new Fixture(3);
    f.state.set(CELL.cr4, CR4.PCE);
    f.state.set(GPR.ecx, 1);
    readPerformanceCounter(f.state, f.env);
    expect(f.outcome()).toBe("ok");
    f.state.set(GPR.ecx, 18);
    readPerformanceCounter(f.state, f.env);
    expect(f.outcome()).toBe("#GP(0)");
  });

  test("HLT enters the HLT activity state; INVLPG names its page", () => {
    const f = new Fixture();
    halt(f.state, f.env);
    invalidatePage(f.state, f.env, 0xc0001234);
    expect(f.state.get(CELL.activity)).toBe(ACTIVITY.HLT);
    expect(f.env.log).toEqual(["flush page c0001234"]);
  });

  test("ARPL raises the RPL", () => {
    const f = new Fixture();
    expect(adjustRpl(f.state, 0x21, 3)).toBe(0x23);
    expect(f.state.flags & FLAG.ZF).toBe(FLAG.ZF);
    expect(adjustRpl(f.state, 0x23, 1)).toBe(0x23);
    expect(f.state.flags & FLAG.ZF).toBe(0);
  });
});

describe("ports", () => {
  const bitmap = (f: Fixture, port: number, denied: boolean): void => {
    const at = AT.tss + 0x68 + (port >>> 3);
    const bit = 1 << (port & 7);
    f.env.memory[at] = denied ? f.env.memory[at]! | bit : f.env.memory[at]! & ~bit;
  };
  const input = (f: Fixture, port: number, bytes: number): string => {
    inputPort(f.state, f.env, port, bytes, false);
    return f.outcome();
  };

  test("up to IOPL no bitmap is read", () => {
    const f = new Fixture();
    f.env.absent.add(AT.tss >>> 12);
    f.env.portValue = 0x5a;
    expect(inputPort(f.state, f.env, 0x10080, 1, true)).toBe(0x5a);
    outputPort(f.state, f.env, 0x80, 2, 0x12345678, false);
    outputPort(f.state, f.env, 0x80, 4, -1, false);
    expect(f.env.log).toEqual(["in 80 1", "out 80 2 5678", "out 80 4 ffffffff"]);
  });

  test("above IOPL every bit of the access must be clear, across bytes", () => {
    for (const [denied, expected] of [
      [0x12, "ok"],
      [0x13, "#GP(0)"],
      [0x16, "#GP(0)"],
      [0x17, "ok"],
    ] as const) {
      const f = new Fixture(3);
      bitmap(f, denied, true);
      expect(input(f, 0x13, 4), denied.toString(16)).toBe(expected);
    }
    const f = new Fixture(3);
    bitmap(f, 0x18, true);
    expect(input(f, 0x15, 4)).toBe("#GP(0)");
    const g = new Fixture(3);
    bitmap(g, 0x19, true);
    expect(input(g, 0x15, 4)).toBe("ok");
  });

  test("both bitmap bytes must lie inside the TSS limit", () => {
    const f = new Fixture(3);
    expect(input(f, 0x77, 1)).toBe("ok");
    expect(input(f, 0x78, 1)).toBe("#GP(0)");
  });

  test("a TSS without room for a bitmap, or of the 286, permits nothing", () => {
    const f = new Fixture(3);
    f.state.setSegment(SEG.tr, 0x48, AT.tss, 0x66, 0x8b);
    expect(input(f, 0, 1)).toBe("#GP(0)");
    const g = new Fixture(3);
    g.state.setSegment(SEG.tr, 0x48, AT.tss, 0xff, 0x83);
    expect(input(g, 0, 1)).toBe("#GP(0)");
  });

  test("an absent TSS page is a supervisor page fault", () => {
    const f = new Fixture(3);
    f.env.absent.add(AT.tss >>> 12);
    expect(input(f, 0, 1)).toBe(`#PF(0) at ${(AT.tss + 0x66).toString(16)}`);
  });

  test("permission comes before the VM exit, the exit before the port", () => {
    const f = new Fixture(3);
    bitmap(f, 0x80, true);
    f.env.intercepts = exiting(f, "portIo");
    expect(input(f, 0x80, 1)).toBe("#GP(0)");
    const g = new Fixture(3);
    g.env.intercepts = exiting(g, "portIo");
    expect(input(g, 0x20, 1)).toBe("exit");
    const h = new Fixture(0);
    h.env.intercepts = exiting(h, "portIo");
    outputPort(h.state, h.env, 0x80, 1, 0, true);
    expect(h.outcome()).toBe("exit");
    expect([...f.env.log, ...g.env.log, ...h.env.log]).toEqual([]);
  });
});
