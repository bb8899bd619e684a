// Looking at a guest that stands still, by its own page tables, and what writing there does.
import { describe, expect, test } from "vitest";
import { readImage } from "../../experiments/images.ts";
import {
  Disassembler,
  modeText,
  physicalAddress,
  processorOf,
  readLinear,
  registerLines,
  systemLines,
  writeLinear,
} from "../../experiments/inspect.ts";
import { Session } from "../../experiments/session.ts";
import { CELL, CpuState, CR0, FLAG, RIGHTS, SEG } from "../../sim/cpu/state.ts";
import { requestFor, SYMBOL, sessionOf } from "../cli/guest.ts";

describe("modes in words", () => {
  const state = (cr0: number, flags: number, rights: number): CpuState => {
    const made = new CpuState();
    made.set(CELL.cr0, cr0);
    made.flags = flags;
    made.setSegment(SEG.cs, 8, 0, 0xffff, rights);
    return made;
  };
  test.each([
    [state(0, 2, 0x9b), "real mode"],
    [state(CR0.PE, 2, 0x9b), "16-bit protected mode, CPL 0"],
    [state(CR0.PE, 2, 0x9b | RIGHTS.DB), "32-bit protected mode, CPL 0"],
    [state(CR0.PE | CR0.PG, FLAG.VM | 2, 0xf3), "virtual-8086 mode, paging"],
  ])("%#: %s", (cpu, words) => expect(modeText(cpu)).toBe(words));
});

describe.each(["native", "vtx"])("a guest that stands still under %s", (technique) => {
  test("its memory is read and written by linear address, through its page tables", () => {
    const image = readImage("workloads/images/kernel.elf");
    const session = new Session(requestFor(technique, { image, guestMemoryBytes: 16 * 2 ** 20 }));
    session.run({ until: 2_000_000 * 12 });
    const { machine } = session;
    const state = processorOf(machine);
    expect(modeText(state)).toBe("32-bit protected mode, CPL 0, paging");
    // The kernel maps its memory to itself, and nothing at 3 GB.
    expect(physicalAddress(machine, state, 0x101234)).toBe(0x101234);
    expect(physicalAddress(machine, state, 0xc0000000)).toBe(-1);
    const scratch = 0x500ffe;
    expect(writeLinear(machine, state, scratch, Uint8Array.of(1, 2, 3, 4))).toBe(true);
    expect([...readLinear(machine, state, scratch, 4)]).toEqual([1, 2, 3, 4]);
    expect(writeLinear(machine, state, 0xc0000000, Uint8Array.of(1))).toBe(false);
    expect(readLinear(machine, state, 0xc0000000, 4).length).toBe(0);
  });

  test("its registers and code are shown as text", () => {
    const session = sessionOf(technique);
    session.run({ until: Number.POSITIVE_INFINITY, breakpoints: new Set([SYMBOL.command]) });
    const state = processorOf(session.machine);
    expect(registerLines(state).join("\n")).toMatch(/eip 001\w{5} {2}eflags \w{8} \([A-Z ]*IF\)/);
    expect(systemLines(state).join("\n")).toMatch(/cs {3}0008 {2}base 00000000 {2}limit ffffffff {2}rights 0c09b/);
    const disassembler = new Disassembler();
    // It waits for input behind STI, HLT.
    expect(disassembler.next(session.machine, state)?.text).toBe("cli");
    disassembler.free();
  });
});
