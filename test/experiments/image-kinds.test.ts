import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readImage } from "../../experiments/images.ts";
import { simulate } from "../../experiments/simulate.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";

const images = new URL("../../workloads/images/", import.meta.url).pathname;

const KINDS = [
  { name: "multiboot-hello", file: "multiboot-hello.elf", kind: "multiboot", loadAddress: undefined },
  { name: "elf-hello", file: "elf-hello.elf", kind: "elf32", loadAddress: undefined },
  { name: "flat-hello", file: "flat-hello.bin", kind: "flat", loadAddress: 0x100000 },
] as const;

describe("an image by path", () => {
  for (const { name, file, kind, loadAddress } of KINDS) {
    test.each(["native", "vtx"])(`of kind ${kind} boots with paging off and prints, under %s`, (technique) => {
      const image = readImage(`${images}${file}`, loadAddress);
      expect(image.kind).toBe(kind);
      const result = simulate({
        image,
        commandLine: "",
        profile: profileNamed("core2-e6700"),
        technique,
        memoryModel: technique === "native" ? "direct" : "shadow",
        guestMemoryBytes: 16 << 20,
        maxCycles: 1e8,
        seed: 1,
        timerPhase: 0,
      });
      expect(result.end).toEqual({ kind: "exit", status: 0 });
      expect(result.serial).toBe(readFileSync(`${images}${name}.expected`, "utf8"));
    });
  }
});
