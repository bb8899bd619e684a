// The guests that come with a BIOS: disks and kernels boot natively and under vtx, by the same firmware, and print what they
// print on QEMU.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readImage } from "../../experiments/images.ts";
import { simulate } from "../../experiments/simulate.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { guestNames, imagesFolder, readManifest } from "../guests.ts";

const { images } = readManifest();
const GUESTS = guestNames({ images } as ReturnType<typeof readManifest>).filter(
  (name) => images[name]?.format === "disk",
);

describe.each(["pentium4-672", "core2-e6700"])("on %s", (profile) => {
  describe.each(["native", "vtx"])("%s", (technique) => {
    test.each(GUESTS)("%s boots and prints what is expected", (name) => {
      const result = simulate({
        image: readImage(join(imagesFolder, images[name]?.file ?? "")),
        ...{ commandLine: "", profile: profileNamed(profile), technique },
        ...{ memoryModel: technique === "native" ? "direct" : "shadow", guestMemoryBytes: 64 * 2 ** 20 },
        ...{ maxCycles: 4e9, seed: 1, timerPhase: 0 },
      });
      expect(result.serial.replaceAll("\r", "")).toBe(readFileSync(join(imagesFolder, `${name}.expected`), "utf8"));
      expect(result.end).toEqual({ kind: "exit", status: 0 });
    });
  });
});
