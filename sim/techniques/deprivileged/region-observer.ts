/**
 * Who stores into the monitor's region: the monitor itself, the hardware that delivers an event to it, an instruction that
 * a translator emitted to store in its data page, or somebody who must not. For proofs and tests: with compiled code the
 * place of a store is that of the instruction at which its stretch began, so they run without.
 */
import type { Core } from "../../cpu/core.ts";
import { SEG } from "../../cpu/state.ts";
import type { PhysicalMemory } from "../../memory/physical.ts";
import { REGION_PAGE, regionAddress } from "./layout.ts";
import type { MonitorRegion } from "./region.ts";

/** A store that nobody was entitled to. */
export interface ForeignStore {
  /** Linear address in the region. */
  readonly address: number;
  readonly bytes: number;
  readonly eip: number;
  readonly cpl: number;
}

export interface RegionObserverParts {
  readonly core: Core;
  readonly memory: PhysicalMemory;
  readonly region: MonitorRegion;
  /** Pages of the region from its beginning. */
  readonly pages: number;
  /** Whether the instruction at a linear address of the translation cache was emitted to store in the data page. */
  readonly emitsStore: ((address: number) => boolean) | null;
}

export class RegionObserver {
  readonly counts = { monitor: 0, hardware: 0, emitted: 0 };
  readonly foreign: ForeignStore[] = [];

  constructor(parts: RegionObserverParts) {
    const { memory, region, pages } = parts;
    memory.watchStores(region.host(0), region.host(pages), (address, bytes) => this.#stored(parts, address, bytes));
  }

  #stored({ core, region, emitsStore }: RegionObserverParts, host: number, bytes: number): void {
    const { state } = core;
    const address = regionAddress(0) + (host - region.host(0));
    if (!core.running || state.cpl === 0) this.counts.monitor++;
    else if (core.delivering) this.counts.hardware++;
    else if (emitsStore !== null && isDataPage(address, bytes) && emitsStore(linearEip(core))) this.counts.emitted++;
    else this.foreign.push({ address, bytes, eip: linearEip(core), cpl: state.cpl });
  }
}

function linearEip({ state }: Core): number {
  return (state.segmentBase(SEG.cs) + state.eip) >>> 0;
}

function isDataPage(address: number, bytes: number): boolean {
  const first = regionAddress(REGION_PAGE.data);
  return address >= first && address + bytes <= first + 4096;
}
