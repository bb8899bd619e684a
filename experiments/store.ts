/**
 * Results by content address: one JSON file per point, written whole under another name and renamed, so that an
 * interrupted suite keeps every finished point and nobody reads half a file.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RunResult } from "../sim/result.ts";

export interface ResultStore {
  /** The stored result of an address; undefined when there is none (or none that can be read). */
  load(address: string): RunResult | undefined;
  save(address: string, result: RunResult): void;
}

/** A store in a folder, which is made when the first result comes. */
export function folderStore(folder: string): ResultStore {
  const fileOf = (address: string) => join(folder, `${address}.json`);
  return {
    load(address) {
      try {
        const stored = JSON.parse(readFileSync(fileOf(address), "utf8")) as { address: string; result: RunResult };
        return stored.address === address ? stored.result : undefined;
      } catch {
        return undefined; // absent, or not ours: the point runs again and is written anew
      }
    },
    save(address, result) {
      mkdirSync(folder, { recursive: true });
      const temporary = join(folder, `.${address}.${process.pid}.tmp`);
      try {
        writeFileSync(temporary, `${JSON.stringify({ address, result })}\n`);
        renameSync(temporary, fileOf(address));
      } finally {
        rmSync(temporary, { force: true });
      }
    },
  };
}

/** A store that keeps results but never gives one back: `--no-cache`. */
export function writeOnly(store: ResultStore): ResultStore {
  return { load: () => undefined, save: (address, result) => store.save(address, result) };
}
