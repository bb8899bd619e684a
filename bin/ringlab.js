#!/usr/bin/env node
// The ringlab command. In a clone it first brings packages and compiled code up to date (scripts/setup.mjs is not part
// of an installed package, which holds dist/ as built), then hands over to the command line in cli/.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const setupScript = new URL("../scripts/setup.mjs", import.meta.url);

async function main() {
  if (existsSync(setupScript)) {
    const { setup, SetupError } = await import(setupScript.href);
    try {
      setup();
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      process.stderr.write(`ringlab: ${error.message.trimEnd()}\n`);
      process.exitCode = error.exitCode;
      return;
    }
  }
  const { load } = await import("./load.js");
  await load(fileURLToPath(new URL("../dist/start/main.cjs", import.meta.url))).main();
}

await main();
