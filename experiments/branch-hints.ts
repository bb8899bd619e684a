/**
 * Asks V8 to look at which branches of WebAssembly are rarely taken (sim/cpu/engine/wasm.ts): paths that compiled code
 * seldom goes then stay out of the way of the others, registers included. A tenth faster; without it everything works. V8
 * has had this behind a flag in the versions named here; others are left alone, because they complain of flags that they
 * do not know.
 */
import { setFlagsFromString } from "node:v8";

const VERSIONS = ["11", "12"];

/** Before the first WebAssembly is compiled; once for the process and its threads. */
export function useBranchHints(): void {
  if (VERSIONS.includes(process.versions.v8.split(".")[0] as string)) {
    setFlagsFromString("--experimental-wasm-branch-hinting");
  }
}
