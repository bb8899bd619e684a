// What a worker thread of experiments/pool.ts runs.

import { fileURLToPath } from "node:url";
import { load } from "./load.js";

export const { work } = load(fileURLToPath(new URL("../dist/start/worker.cjs", import.meta.url)));
