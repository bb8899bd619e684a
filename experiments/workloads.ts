/** Workloads by name (workloads/images/MANIFEST.json), or any image by its path. */
import { existsSync, readFileSync } from "node:fs";
import { basename, extname, join, resolve } from "node:path";
import { type Image, readImage } from "./images.ts";
import { IMAGES_FOLDER } from "./paths.ts";
import { Problem } from "./problem.ts";
import { hint } from "./suggest.ts";

/** What workloads/build.mjs writes. */
interface Manifest {
  readonly images: Readonly<
    Record<string, Omit<Workload, "name" | "kind" | "path"> & { readonly file: string; readonly kind: string }>
  >;
}

export type WorkloadKind = "nanobenchmark" | "compute" | "test" | "image";

export interface Workload {
  /** The manifest's name, or the path as it was given. */
  readonly name: string;
  readonly kind: WorkloadKind;
  readonly description: string;
  /** File of the image. */
  readonly path: string;
  /** Guest memory that it needs, in MB; 0 when nobody says. */
  readonly memoryMb: number;
  /** Names of its measured regions by number. */
  readonly regions: Readonly<Record<string, string>>;
}

/** All workloads of the project, in the manifest's order; the BIOS is none. */
export function workloadCatalogue(): readonly Workload[] {
  const manifest = JSON.parse(readFileSync(join(IMAGES_FOLDER, "MANIFEST.json"), "utf8")) as Manifest;
  return Object.entries(manifest.images).flatMap(([name, { file, kind, description, memoryMb, regions }]) =>
    kind === "bios"
      ? []
      : [{ name, kind: kind as WorkloadKind, description, memoryMb, regions, path: join(IMAGES_FOLDER, file) }],
  );
}

/** A name that is meant as a path: it has a folder or an extension. */
export function looksLikePath(name: string): boolean {
  return name.includes("/") || extname(name) !== "";
}

/**
 * The workload of this name, or the image at this path (relative to `base`). An image of the project keeps its name
 * and regions when it is given by path. Throws a Problem (`unknown-workload`).
 */
export function findWorkload(name: string, base: string = process.cwd()): Workload {
  const catalogue = workloadCatalogue();
  const byName = catalogue.find((workload) => workload.name === name);
  if (byName !== undefined) return byName;
  const path = resolve(base, name);
  if (looksLikePath(name) || existsSync(path)) {
    const byPath = catalogue.find((workload) => workload.path === path);
    if (byPath !== undefined) return byPath;
    return { name, kind: "image", description: basename(path), path, memoryMb: 0, regions: {} };
  }
  const names = catalogue.map((workload) => workload.name);
  throw new Problem("unknown-workload", `no workload "${name}"${hint(name, names)}; an image is named by its path`);
}

/** The workload's image. Throws a Problem. */
export function loadWorkload(workload: Workload, loadAddress?: number): Image {
  return readImage(workload.path, loadAddress);
}

/** The name of a region: the manifest's, or its number. */
export function regionName(workload: string, region: number, catalogue: readonly Workload[]): string {
  const known = catalogue.find((each) => each.name === workload);
  return known?.regions[String(region)] ?? `region ${region}`;
}
