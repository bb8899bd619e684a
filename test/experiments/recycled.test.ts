// Memory and modules of one run after another: the results are those of fresh ones.
import { join } from "node:path";
import { expect, test } from "vitest";
import { readImage } from "../../experiments/images.ts";
import { IMAGES_FOLDER } from "../../experiments/paths.ts";
import { Recycled } from "../../experiments/recycled.ts";
import { type SimulationRequest, simulate } from "../../experiments/simulate.ts";
import { EAGER_POLICY } from "../../sim/cpu/engine/policy.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";

const request = (workload: string, technique: string, commandLine: string): SimulationRequest => ({
  image: readImage(join(IMAGES_FOLDER, `${workload}.elf`)),
  commandLine,
  profile: profileNamed("pentium4-672"),
  technique,
  memoryModel: technique === "native" ? "direct" : "shadow",
  guestMemoryBytes: 16 * 2 ** 20,
  maxCycles: 1e9,
  seed: 1,
  timerPhase: 0,
  engine: EAGER_POLICY,
});

test("runs that share memory and modules give what each gives alone", () => {
  const recycled = new Recycled();
  const requests = [
    request("kstorm", "native", "scale=1"),
    request("in", "vtx", "iterations=20"),
    request("kstorm", "native", "scale=1"),
    request("pgfault", "native", "iterations=20"),
    request("in", "vtx", "iterations=20"),
  ];
  for (const each of requests) {
    const result = simulate({ ...each, resources: recycled });
    recycled.release();
    expect(result.end).toEqual({ kind: "exit", status: 0 });
    expect(JSON.stringify(result)).toBe(JSON.stringify(simulate(each)));
  }
});

test("a memory is given again when it is released, all zeroes, and a larger one is made when it must be", () => {
  const recycled = new Recycled();
  const first = recycled.memory(2);
  const bytes = new Uint8Array(first.buffer);
  bytes.fill(1);
  expect(recycled.memory(2)).not.toBe(first);
  recycled.release();
  expect(recycled.memory(1)).toBe(first);
  expect(bytes.subarray(0, 65536).every((byte) => byte === 0)).toBe(true);
  recycled.release();
  expect(recycled.memory(2)).toBe(first);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  recycled.release();
  expect(recycled.memory(3).buffer.byteLength).toBe(3 * 65536);
});

test("the same bytes are the same module, until too many others have been asked for", () => {
  const recycled = new Recycled();
  // A custom section of a megabyte, with a name of one letter.
  const large = (letter: number): Uint8Array => {
    const bytes = new Uint8Array(13 + 2 ** 20);
    // Magic, version, custom section, its length in LEB128.
    bytes.set([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, 0x80, 0x80, 0xc0, 0x00, 1, letter]);
    return bytes;
  };
  const first = recycled.module(large(65));
  expect(recycled.module(large(65))).toBe(first);
  for (let letter = 66; letter < 69; letter++) recycled.module(large(letter));
  expect(recycled.module(large(68))).toBe(recycled.module(large(68)));
  expect(recycled.module(large(65))).not.toBe(first);
});
