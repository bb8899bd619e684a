// Guests that come in other ways than as ELF files: disks and Linux kernels, which our BIOS boots, and raw multiboot kernels
// with modules. Natively and under every technique that runs any guest they print what they print on QEMU.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { simulate } from "../../experiments/simulate.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { companyOf, guestNames, imageOf, imagesFolder, readManifest } from "../guests.ts";

const manifest = readManifest();
const GUESTS = guestNames(manifest).filter((name) =>
  ["disk", "bzimage", "multiboot"].includes(manifest.images[name]?.format ?? ""),
);

describe.each(["pentium4-672", "core2-e6700"])("on %s", (profile) => {
  const techniques = ["native", "vtx", ...(profile === "pentium4-672" ? ["bt"] : [])];
  describe.each(techniques)("%s", (technique) => {
    test.each(GUESTS)("%s boots and prints what is expected", (name) => {
      const result = simulate({
        image: imageOf(name),
        ...{ commandLine: companyOf(name).commandLine, profile: profileNamed(profile), technique },
        ...{ memoryModel: technique === "native" ? "direct" : "shadow", guestMemoryBytes: 64 * 2 ** 20 },
        ...{ maxCycles: 6e10, seed: 1, timerPhase: 0 },
      });
      const lines = result.serial.replaceAll("\r", "").replaceAll(/^t:.*\n/gm, "");
      expect(lines).toBe(readFileSync(join(imagesFolder, `${name}.expected`), "utf8"));
      expect(result.end).toEqual({ kind: "exit", status: 0 });
    });
  });
});
