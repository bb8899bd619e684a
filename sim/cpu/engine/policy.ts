/** When code is compiled, and how much of it at once. Never changes a result. */
import { TICKS_PER_CYCLE } from "../../clock.ts";
import { CAPACITY } from "./layout.ts";
import type { MissPolicy } from "./misses.ts";

/** Size of a region at the most. */
export interface RegionLimits {
  readonly nodes: number;
  readonly instructions: number;
}

export interface EnginePolicy {
  /** Times that a block is interpreted before it is wanted as the entry of a region. */
  readonly hot: number;
  /** Times that code has been interpreted which becomes part of a region that others begin. */
  readonly warm: number;
  /** Regions that are wanted before they are compiled together. */
  readonly batch: number;
  /** Blocks that run before fewer are compiled. */
  readonly patience: number;
  /** Where code keeps being written `hot` doubles each time, so many times. */
  readonly doublings: number;
  /** Regions at the most. */
  readonly regions: number;
  readonly region: RegionLimits;
  readonly miss: MissPolicy;
}

const REGION: RegionLimits = { nodes: 24, instructions: 150 };

export const DEFAULT_POLICY: EnginePolicy = {
  ...{ hot: 60, warm: 20, batch: 12, patience: 4000, doublings: 6, regions: CAPACITY, region: REGION },
  miss: { periods: 3, misses: 2, period: 1e6 * TICKS_PER_CYCLE, busy: 200 },
};
/** Compiles whatever runs twice, at once: for tests. */
export const EAGER_POLICY: EnginePolicy = {
  ...{ hot: 2, warm: 0, batch: 1, patience: 1, doublings: 0, regions: CAPACITY, region: REGION },
  miss: { periods: 1, misses: 3, period: Number.MAX_SAFE_INTEGER, busy: Number.POSITIVE_INFINITY },
};
