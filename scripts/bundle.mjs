// `node scripts/bundle.mjs FOLDER`: the command and its worker as a few files, for a quick start. What Node takes to find,
// read and link three hundred modules one by one is longer than a nanobenchmark runs.
//
// Packages that are large or read files of their own stay where they are. The rest of dist/ is the same code module by module;
// tests and benchmarks use that.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const external = [/^@resvg\//, /^piscina$/, /^vega/];

/**
 * iced-x86 is CommonJS of a megabyte, which `import` reads twice, once to guess its exports. They are known here.
 * Nothing is bundled of it: it finds its WebAssembly beside itself.
 */
const decoder = {
  name: "iced-x86",
  resolveId: (source) => (source === "iced-x86" ? "\0iced-x86" : null),
  load(id) {
    if (id !== "\0iced-x86") return null;
    const names = Object.keys(require("iced-x86")).filter((name) => /^[A-Z]/.test(name));
    return [
      `import { createRequire } from "node:module";`,
      `const iced = createRequire(import.meta.url)("iced-x86");`,
      ...names.map((name) => `export const ${name} = iced.${name};`),
    ].join("\n");
  },
};

/**
 * string-width, of which yargs has two, spends 35 ms on preparing for emoji before it measures the first word of
 * a help page. A help page is ASCII.
 */
const textWidth = {
  name: "string-width",
  resolveId: (source) => (source === "string-width" ? "\0string-width" : null),
  load: (id) =>
    id === "\0string-width"
      ? `const controls = /\\u001b\\[[0-9;]*m|[\\u0000-\\u001f\\u007f-\\u009f]|\\p{Mark}/gu;
         const wide = /[\\u1100-\\u115f\\u2e80-\\ua4cf\\uac00-\\ud7a3\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff00-\\uff60\\uffe0-\\uffe6\\u{1f300}-\\u{1faff}]/u;
         export default function stringWidth(text) {
           if (/^[ -~]*$/.test(text)) return text.length;
           let width = 0;
           for (const character of text.replace(controls, "")) width += wide.test(character) ? 2 : 1;
           return width;
         }`
      : null,
};

const bundle = await rolldown({
  cwd: root,
  input: { main: "cli/main.ts", worker: "experiments/worker.ts" },
  platform: "node",
  external,
  plugins: [decoder, textWidth],
});
await bundle.write({
  dir: join(process.argv[2], "start"),
  format: "esm",
  sourcemap: true,
  chunkFileNames: "[name].js",
});
