// Every guest of the tree in lockstep (experiments/verify): code that is compiled at once against the interpreter, compared
// in everything from boundary to boundary. One file for each technique calls this, so that they run side by side.
import { describe, expect, test } from "vitest";
import { Session } from "../../experiments/session.ts";
import { lockstepOf } from "../../experiments/verify/sessions.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import type { TechniqueName } from "../../sim/machine.ts";
import { companyOf, guestNames, imageOf, readManifest } from "../guests.ts";
import { expectAlike } from "./lockstep.ts";
import { GUESTS, type PROFILES, shortCommandLine } from "./rig.ts";

const { images } = readManifest();
/** What a loader starts in another way than an ELF file. */
const LOADED = guestNames(readManifest()).filter((name) =>
  ["disk", "bzimage", "multiboot"].includes(images[name]?.format ?? ""),
);

/** One of them waits for seconds of its own time. */
const MOST_CYCLES = 3e8;

/** Tests of all guests under a technique, but for those that take too long under it. */
export function verifyGuests(
  technique: TechniqueName,
  profile: (typeof PROFILES)[number],
  long: readonly string[] = [],
): void {
  describe(`compiled code does what the interpreter does, ${technique}`, () => {
    test.each(GUESTS.filter((guest) => !long.includes(guest)))("%s", (guest) => {
      const machine = expectAlike({ technique, profile, guest, commandLine: shortCommandLine(guest) });
      expect(machine.core.engineStatistics()["engine.regions.compiled"]).toBeGreaterThan(0);
    });

    test.each(LOADED.filter((name) => !long.includes(name)))("%s, from its loader", (name) => {
      const request = {
        image: imageOf(name),
        ...{ commandLine: companyOf(name).commandLine, profile: profileNamed(profile), technique },
        ...{ memoryModel: technique === "native" ? "direct" : "shadow", guestMemoryBytes: 64 * 2 ** 20 },
        ...{ maxCycles: MOST_CYCLES, seed: 1, timerPhase: 0, engine: EAGER_POLICY },
      };
      const session = new Session(request);
      const both = lockstepOf(session, request);
      const end = both.run(Number.POSITIVE_INFINITY);
      expect(both.divergence?.report).toBe(undefined);
      if (end?.kind === "limit") expect(session.now).toBeGreaterThanOrEqual(MOST_CYCLES * TICKS_PER_CYCLE);
      else expect(end).toEqual({ kind: "exit", status: 0 });
    });
  });
}
