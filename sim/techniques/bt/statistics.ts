/** Counts of what has been translated, by name as tables and figures want them. All but the occupancy only grow. */
import { CODE_CLASSES, type CodeClass, type Translation } from "./translation.ts";

export type SavedStatistics = Pick<
  CacheStatistics,
  | "units"
  | "bytesIn"
  | "bytesOut"
  | "exitsDirect"
  | "exitsChained"
  | "targetsLearnt"
  | "invalidations"
  | "flushes"
  | "occupancy"
  | "instructions"
  | "bytes"
>;

export class CacheStatistics {
  units = 0;
  bytesIn = 0;
  bytesOut = 0;
  exitsDirect = 0;
  exitsChained = 0;
  targetsLearnt = 0;
  invalidations = 0;
  flushes = 0;
  /** Bytes of the cache in use. */
  occupancy = 0;
  readonly instructions: Record<CodeClass, number> = {
    ...{ identical: 0, "control-flow": 0, "inline-emulation": 0, "call-out": 0 },
  };
  readonly bytes: Record<CodeClass, number> = { ...this.instructions };

  placed(translation: Translation, occupancy: number): void {
    this.units++;
    this.bytesIn += translation.source[1];
    this.bytesOut += translation.bytes.length;
    this.exitsDirect += translation.exits.length;
    this.occupancy = occupancy;
    for (const each of CODE_CLASSES) this.instructions[each] += translation.instructions[each];
    for (const index of translation.classes) this.bytes[CODE_CLASSES[index] as CodeClass]++;
  }

  save(): SavedStatistics {
    const { units, bytesIn, bytesOut, exitsDirect, exitsChained, targetsLearnt, invalidations, flushes } = this;
    return {
      ...{ units, bytesIn, bytesOut, exitsDirect, exitsChained, targetsLearnt, invalidations, flushes },
      ...{ occupancy: this.occupancy, instructions: { ...this.instructions }, bytes: { ...this.bytes } },
    };
  }

  restore(saved: SavedStatistics): void {
    Object.assign(this, saved, { instructions: { ...saved.instructions }, bytes: { ...saved.bytes } });
  }

  flushed(): void {
    this.flushes++;
    this.occupancy = 0;
  }

  counters(): Record<string, number> {
    const counters: Record<string, number> = {
      ...{ "bt.units": this.units, "bt.bytes.in": this.bytesIn, "bt.bytes.out": this.bytesOut },
      ...{ "bt.exits.direct": this.exitsDirect, "bt.exits.chained": this.exitsChained },
      ...{ "bt.targets-learnt": this.targetsLearnt, "bt.invalidations": this.invalidations },
      ...{ "bt.flushes": this.flushes, "bt.occupancy": this.occupancy, "bt.instructions": 0 },
    };
    for (const each of CODE_CLASSES) {
      counters[`bt.instructions.${each}`] = this.instructions[each];
      counters[`bt.bytes.${each}`] = this.bytes[each];
      counters["bt.instructions"] = (counters["bt.instructions"] as number) + this.instructions[each];
    }
    return counters;
  }
}
