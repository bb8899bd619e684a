// MWAIT on bare hardware: time passes until an interrupt comes, and is idle.
import { expect, test } from "vitest";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { bare, handlers, PLACE, Program } from "./assemble.ts";
import { byName, guestWord, LIMIT } from "./rig.ts";

/** MONITOR [5000h], `between`, STI if `sti`, MWAIT. */
function waiting(between: (program: Program) => Program, sti = true): Program {
  const program = new Program().timer(1000);
  program.mov("eax", 0x5000).mov("ecx", 0).mov("edx", 0).code(0x0f, 0x01, 0xc8);
  between(program).mov("eax", 0);
  if (sti) program.code(0xfb);
  program.code(0x0f, 0x01, 0xc9).label("woken").label("done").exit();
  handlers(program, [0x20], true);
  return program;
}

test("after MONITOR it sleeps until the timer interrupts, and goes on behind itself", () => {
  const program = waiting((p) => p);
  const rig = bare({ technique: "native", program, vectors: [0x20] });
  expect(rig.machine.run(LIMIT)).toEqual({ kind: "exit", status: 0 });
  expect(guestWord(rig.machine, PLACE.log + 12)).toBe(program.address("woken"));
  expect((byName(rig.machine)["idle/halted"]?.ticks ?? 0) / TICKS_PER_CYCLE).toBeGreaterThan(3_000_000);
});

test("with interrupts off it does not sleep, nor after an interrupt that came behind MONITOR", () => {
  for (const program of [
    waiting((p) => p, false),
    waiting((p) => p.code(0xfb).wait(5_000_000).code(0xfa)), // STI; the timer ticks meanwhile; CLI
  ]) {
    const rig = bare({ technique: "native", program, vectors: [0x20] });
    expect(rig.machine.run(100 * LIMIT)).toEqual({ kind: "exit", status: 0 });
    expect(byName(rig.machine)["idle/halted"]?.ticks ?? 0).toBe(0);
  }
});
