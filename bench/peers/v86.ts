/** v86: x86 to WebAssembly in JavaScript, as we are; counts instructions. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../experiments/paths.ts";
import type { Peer } from "./peer.ts";

export const V86_FOLDER = join(ROOT, "node_modules", "v86");

export const V86: Peer = {
  name: "v86",
  counts: "instructions",
  present() {
    try {
      const { version } = JSON.parse(readFileSync(join(V86_FOLDER, "package.json"), "utf8")) as { version: string };
      return { version: `v86 ${version}` };
    } catch {
      return { absent: "the package v86 is not installed" };
    }
  },
  start: ({ image, commandLine, memoryMb }) => ({
    command: process.execPath,
    args: [join(ROOT, "dist", "bench", "peers", "v86-guest.js"), image, commandLine, String(memoryMb)],
  }),
};
