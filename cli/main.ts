/** The command: the command line of ringlab.ts in the real world. Imports as little as it can, to answer fast. */
import { hostEnvironment } from "./host.ts";
import { ringlab } from "./ringlab.ts";

export { hostEnvironment, ringlab };

/** What bin/ringlab.js calls. */
export async function main(): Promise<void> {
  // `ringlab table | head`: the reader has gone, and that is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
  process.exitCode = await ringlab(process.argv.slice(2), hostEnvironment());
}
