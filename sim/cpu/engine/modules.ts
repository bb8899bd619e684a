/**
 * The modules in which compiled regions live. WebAssembly modules do not come free (docs/ENGINE.md has the measurements):
 * each instance copies the table, and transfers between many modules miss the host's caches. So they are few and large.
 *
 * Regions arrive in small batches, each a module of level 0. When a level has FAN modules their regions are compiled
 * together, into one module of the next level. A region's code names nothing of its module, so it is put into another as
 * it is. What is executed settles in few large modules, which are merged when they have lost half of what they had.
 *
 * When there are too many regions the half that has been entered least since the last time is dropped: compiled code
 * counts its entries.
 *
 * A table keeps every instance that was ever made with it, and each change of it is told to all of them. So after
 * some instances there is a new table, and the modules that live are instantiated again, which compiles nothing. Nobody may
 * be in compiled code then, nor when regions are added.
 */
import type { PhysicalMemory } from "../../memory/physical.ts";
import { FUNCTION_TYPE } from "./contract.ts";
import { CAPACITY, type EngineLayout } from "./layout.ts";
import { FUNCTION_TYPES, runtimeFunctions } from "./runtime.ts";
import { encodeModule, type ModuleFunction, type ModuleParts } from "./wasm.ts";

/** Modules of a level before they are merged; and levels. */
const FAN = 16;
const LEVELS = 2;
/** Regions of a module at the most: its compilation stalls the run. */
const LARGEST = 320;
/** A module of the last level with fewer is merged with its like. */
const SMALL = LARGEST / 2;
/** Instances with one table. */
const GENERATION = 64;

/** A compiled region, as the code cache and the core know it. */
export interface CompiledRegion {
  readonly ranges: readonly (readonly [physical: number, length: number])[];
  drop(): void;
  /** Bytes of it have been written: drops it. */
  write(): void;
  /** Its place in the table of functions. */
  readonly index: number;
  /** The function's entry in the code section of a module. */
  readonly code: Uint8Array;
  /** Its branches that are rarely taken (FunctionBody.rareBranches). */
  readonly rare: readonly number[];
  /** Basic blocks. */
  readonly blocks: number;
}

interface LiveModule {
  readonly level: number;
  /** Modules compiled before it. */
  readonly number: number;
  readonly module: WebAssembly.Module;
  readonly regions: Set<CompiledRegion>;
}

/** Functions that modules import, by name, in the order of FUNCTION (contract.ts). */
export type Imports = readonly (readonly [name: string, type: number, function_: (...values: number[]) => number])[];

export class Modules {
  readonly #memory: PhysicalMemory;
  readonly #imports: Imports;
  /** The module of the functions that all regions use (runtime.ts): one, so that the host optimizes them once. */
  readonly #runtime: WebAssembly.Module;
  /** What every module is given, by name. */
  #given: WebAssembly.Imports[string] = {};
  /** Instances that were made with the table that is part of it. */
  #instances = 0;
  /** Functions among what is given, in the order of FUNCTION. */
  readonly #functions: readonly { readonly name: string; readonly type: number }[];
  /** Calls the function at a place in the table: one way in for all regions, which the host has optimized soon. */
  enter!: (index: number) => number;
  readonly #capacity: number;
  readonly #free: number[] = [];
  readonly #entries: Int32Array;
  readonly #levels: Set<LiveModule>[] = Array.from({ length: LEVELS }, () => new Set());
  readonly #homes = new Map<CompiledRegion, LiveModule>();
  /** Modules and bytes of modules compiled so far, and merges. */
  compiled = 0;
  bytes = 0;
  merges = 0;
  /** How often cold regions have been dropped. */
  sweeps = 0;
  /** Most that have lived at a time. */
  most = 0;

  /** `capacity`: regions at the most. */
  constructor(memory: PhysicalMemory, layout: EngineLayout, capacity: number, imports: Imports) {
    this.#capacity = Math.min(capacity, CAPACITY);
    this.#memory = memory;
    this.#imports = imports;
    this.#entries = new Int32Array(memory.buffer, layout.entries, CAPACITY);
    for (let n = this.#capacity - 1; n >= 0; n--) this.#free.push(n);
    const runtime = runtimeFunctions(layout);
    const imported = imports.map(([name, type]) => ({ name, type }));
    this.#functions = [...imported, ...runtime.map(({ name, type }) => ({ name, type }))];
    this.#runtime = this.#compile(
      imported,
      runtime.map(({ name, type, body }) => ({ name, type, code: body.encode(), rare: body.rareBranches() })),
    );
    this.#renew();
  }

  /** A new table, and the functions that lead to it. */
  #renew(): void {
    const given = {
      memory: this.#memory.wasm,
      table: new WebAssembly.Table({ element: "anyfunc", initial: CAPACITY }),
      ...Object.fromEntries(this.#imports.map(([name, , function_]) => [name, function_])),
    };
    const { exports } = new WebAssembly.Instance(this.#runtime, { m: given });
    this.#given = { ...given, ...exports };
    this.enter = exports.enter as (index: number) => number;
    this.#instances = 1;
  }

  #compile(imports: ModuleParts["imports"], functions: readonly ModuleFunction[]): WebAssembly.Module {
    const memoryPages = this.#memory.buffer.byteLength / 65536;
    const bytes = encodeModule({ types: FUNCTION_TYPES, imports, memoryPages, functions });
    this.bytes += bytes.length;
    this.compiled++;
    return this.#memory.resources.module(bytes);
  }

  /** Regions that live. */
  get size(): number {
    return this.#homes.size;
  }

  /** A place in the table, which the region will have until it is dropped; drops what is cold when there is none. */
  reserve(): number {
    if (this.#free.length === 0) this.#dropColdHalf();
    const index = this.#free.pop() as number;
    this.#entries[index] = 0;
    return index;
  }

  #dropColdHalf(): void {
    const entries = this.#entries;
    const regions = [...this.#homes.keys()].sort((a, b) => (entries[a.index] as number) - (entries[b.index] as number));
    for (const region of regions.slice(0, Math.ceil(regions.length / 2))) region.drop();
    this.sweeps++;
    entries.fill(0);
  }

  /** Compiles new regions together. */
  add(regions: readonly CompiledRegion[]): void {
    this.#module(regions, 0);
    this.#settle();
    if (this.#instances <= GENERATION) return;
    this.#renew();
    // A module still has what was dropped or merged since; places that others have now are theirs, because they came later.
    const modules = this.#levels.flatMap((level) => [...level]).sort((a, b) => a.number - b.number);
    for (const { module } of modules) this.#instantiate(module);
  }

  /** A region is dropped. */
  remove(region: CompiledRegion): void {
    const home = this.#homes.get(region) as LiveModule;
    this.#homes.delete(region);
    this.#free.push(region.index);
    home.regions.delete(region);
    if (home.regions.size === 0) this.#levels[home.level]?.delete(home);
  }

  clear(): void {
    for (const region of [...this.#homes.keys()]) region.drop();
  }

  statistics(): Readonly<Record<string, number>> {
    let blocks = 0;
    for (const region of this.#homes.keys()) blocks += region.blocks;
    return {
      "engine.modules": this.compiled,
      "engine.modules.live": this.#live(),
      "engine.modules.most": this.most,
      "engine.modules.bytes": this.bytes,
      "engine.merges": this.merges,
      "engine.sweeps": this.sweeps,
      "engine.regions.live": this.size,
      "engine.blocks.live": blocks,
      "engine.table": CAPACITY,
    };
  }

  #live(): number {
    return this.#levels.reduce((sum, { size }) => sum + size, 0);
  }

  /** Merges the modules of each level that has FAN of them. */
  #settle(): void {
    for (const [level, modules] of this.#levels.entries()) {
      const last = level === LEVELS - 1;
      const wanted = [...modules].filter(({ regions }) => !last || regions.size < SMALL);
      if (wanted.length < FAN) continue;
      this.merges++;
      const regions = wanted.flatMap((each) => [...each.regions]);
      const next = last ? level : level + 1;
      for (let n = 0; n < regions.length; n += LARGEST) this.#module(regions.slice(n, n + LARGEST), next);
    }
  }

  /** Compiles regions into one module, in the place of what they were. */
  #module(regions: readonly CompiledRegion[], level: number): void {
    const module = this.#compile(
      this.#functions,
      regions.map(({ code, rare, index }) => ({ type: FUNCTION_TYPE.region, code, rare, place: index })),
    );
    const home: LiveModule = { level, number: this.compiled, module, regions: new Set(regions) };
    for (const region of regions) {
      const before = this.#homes.get(region);
      if (before !== undefined) {
        before.regions.delete(region);
        if (before.regions.size === 0) this.#levels[before.level]?.delete(before);
      }
      this.#homes.set(region, home);
    }
    this.#levels[level]?.add(home);
    this.#instantiate(module);
    this.most = Math.max(this.most, this.#live());
  }

  /** Makes the regions of a module reachable. */
  #instantiate(module: WebAssembly.Module): void {
    new WebAssembly.Instance(module, { m: this.#given });
    this.#instances++;
  }
}
