/** Ourselves, as a user starts us. */
import { join } from "node:path";
import { ROOT } from "../../experiments/paths.ts";
import type { Peer } from "./peer.ts";

/** ringlab under a technique. */
export function ringlab(technique: string): Peer {
  return {
    name: technique === "native" ? "ringlab" : `ringlab, ${technique}`,
    counts: "every cycle",
    present: () => ({ version: "this code" }),
    start: ({ image, commandLine, memoryMb }) => ({
      command: process.execPath,
      args: [
        ...[join(ROOT, "bin", "ringlab.js"), "boot", image, "--append", commandLine, "--memory", `${memoryMb}M`],
        ...["--technique", technique, "--max-cycles", "1e12"],
      ],
    }),
  };
}
