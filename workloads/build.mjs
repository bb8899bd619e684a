// Builds the guest images: node workloads/build.mjs [--out DIR] [name ...]
//
// programs.json says which sources make which image: the kernel, the library and one program, or with "kernel": false the
// program alone, linked by its own "script". "format" (flat, multiboot, bzimage, disk) gives a raw binary instead of ELF32; "mode": "real" compiles
// for real mode on a 386.
// Writes <name>.elf (<name>.bin where flat, <name>.img where a disk) and MANIFEST.json (toolchain versions, SHA-256, what each image is) to
// workloads/images, or to DIR.
// The bytes depend on the sources and on the versions of gcc and binutils alone: compilation runs with relative
// paths, without build-id, debug information, time or date.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = process.env.CC ?? "gcc";
const compilerFlags = [
  ..."-m32 -march=i686 -O2 -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror -ffreestanding -fno-builtin -fno-pic".split(
    " ",
  ),
  ..."-fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident -fno-tree-loop-distribute-patterns".split(" "),
  ..."-fcf-protection=none -mno-sse -mno-mmx -mno-80387 -mpreferred-stack-boundary=2 -Iinclude".split(" "),
];
/** Real-mode code has no segment for constants of the compiler's own making, and string instructions would use any ES. */
const realModeFlags = compilerFlags
  .filter((flag) => flag !== "-m32" && flag !== "-march=i686")
  .concat(
    "-m16 -march=i386 -mregparm=3 -fno-jump-tables -fno-tree-switch-conversion".split(" "),
    "-mmemcpy-strategy=unrolled_loop:-1:noalign -mmemset-strategy=unrolled_loop:-1:noalign".split(" "),
  );
const linkerFlags = "-m32 -static -nostdlib -no-pie -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--strip-debug".split(
  " ",
);

/** Of an image's file, by its format. */
const EXTENSION = { elf32: "elf", flat: "bin", multiboot: "bin", bzimage: "bin", disk: "img" };

/** First line of `tool --version`: what MANIFEST.json records and a rebuild compares. */
function version(tool) {
  return execFileSync(tool, ["--version"], { encoding: "utf8" }).split("\n")[0];
}

function sources(folder) {
  return readdirSync(join(here, folder))
    .filter((file) => /\.[cS]$/.test(file))
    .sort()
    .map((file) => `${folder}/${file}`);
}

function main(args) {
  const wanted = [];
  let out = join(here, "images");
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--out") out = resolve(args[++i]);
    else wanted.push(args[i]);
  }
  const programs = JSON.parse(readFileSync(join(here, "programs.json"), "utf8"));
  for (const name of wanted) {
    if (!Object.hasOwn(programs, name)) throw new Error(`${name} is not in programs.json`);
  }
  mkdirSync(out, { recursive: true });
  const objects = mkdtempSync(join(tmpdir(), "ringlab-workloads-"));
  const compiled = new Map();
  const compile = (source, flags = compilerFlags) => {
    if (!compiled.has(source)) {
      const object = join(objects, `${source.replaceAll("/", "_")}.o`);
      execFileSync(compiler, [...flags, "-c", source, "-o", object], {
        cwd: here,
        stdio: ["ignore", "inherit", "inherit"],
      });
      compiled.set(source, object);
    }
    return compiled.get(source);
  };

  try {
    const common = [...sources("kernel"), ...sources("lib")];
    const images = {};
    for (const [name, program] of Object.entries(programs)) {
      const raw = program.format !== undefined;
      const file = `${name}.${EXTENSION[program.format ?? "elf32"]}`;
      if (wanted.length === 0 || wanted.includes(name)) {
        const flags = program.mode === "real" ? realModeFlags : compilerFlags;
        const inputs = [...(program.kernel === false ? [] : common), ...program.sources].map((source) =>
          compile(source, flags),
        );
        const layout = [`-Wl,-T,${program.script ?? "kernel.ld"}`, ...(raw ? ["-Wl,--oformat=binary"] : [])];
        execFileSync(compiler, [...linkerFlags, ...layout, "-o", join(out, file), ...inputs], {
          cwd: here,
          stdio: ["ignore", "inherit", "inherit"],
        });
      }
      if (wanted.length > 0 && !existsSync(join(out, file))) {
        console.log(`${name} is not built yet: not in the manifest`);
        continue;
      }
      const bytes = readFileSync(join(out, file));
      images[name] = { file, sha256: createHash("sha256").update(bytes).digest("hex"), ...program };
    }
    const manifest = {
      toolchain: {
        compiler: version(compiler),
        linker: version("ld"),
        flags: [...compilerFlags, ...linkerFlags].join(" "),
        realModeFlags: realModeFlags.join(" "),
      },
      images,
    };
    writeFileSync(join(out, "MANIFEST.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    console.log(`${Object.keys(images).length} images in ${basename(out)}`);
  } finally {
    rmSync(objects, { recursive: true, force: true });
  }
}

main(process.argv.slice(2));
