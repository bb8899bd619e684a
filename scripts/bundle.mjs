// `node scripts/bundle.mjs FOLDER`: the command and its worker as a few files, for a quick start. What Node takes to find,
// read and link three hundred modules one by one is longer than a nanobenchmark runs.
//
// They are CommonJS, for bin/load.js. Packages with binaries or threads of their own stay where they are. The rest of dist/ is the same code module by module;
// tests and benchmarks use that.

import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const external = [/^@resvg\//, /^piscina$/];

/** iced-x86 finds its WebAssembly beside itself: here that is where the package is. */
const decoder = {
  name: "iced-x86",
  transform(code, id) {
    if (!/[\\/]iced_x86\.js$/.test(id)) return null;
    const beside = "require('path').join(__dirname, 'iced_x86_bg.wasm')";
    if (!code.includes(beside)) throw new Error("iced-x86: where does it read its WebAssembly?");
    const there = "require('path').join(require.resolve('iced-x86'), '..', 'iced_x86_bg.wasm')";
    return { code: code.replace(beside, there), map: { mappings: "" } };
  },
};

/** vega-canvas looks for a package that draws on bitmaps, and waits for the answer; our figures are SVG, and texts are measured by us. */
const canvas = {
  name: "vega-canvas",
  resolveId: (source, importer) =>
    source === "vega-canvas"
      ? createRequire(importer)
          .resolve(source)
          .replace(/node\.js$/, "browser.js")
      : null,
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
  plugins: [decoder, canvas, textWidth],
  // yargs resolves configuration files with it, which we have not.
  checks: { emptyImportMeta: false },
});
const { output } = await bundle.generate({
  format: "cjs",
  sourcemap: true,
  entryFileNames: "[name].cjs",
  chunkFileNames: "[name].cjs",
  // Memory that is read is memory that is paid for.
  comments: { legal: true, annotation: false, jsdoc: false },
});

/** As a function of what a module of CommonJS may use, in ASCII: such a file is neither copied nor decoded when it is loaded. */
const asFunction = (code) => `(function (exports, require, module, __filename, __dirname) {${escaped(code)}\n})`;
const escaped = (code) =>
  code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

const folder = join(process.argv[2], "start");
mkdirSync(folder, { recursive: true });
for (const file of output) {
  writeFileSync(join(folder, file.fileName), file.type === "chunk" ? asFunction(file.code) : file.source);
}
