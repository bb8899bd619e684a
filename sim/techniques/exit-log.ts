/** Statistics and trace of VM exits as a monitor handles them: by reason and technique-neutral cause. */
import type { ExitRecord, Observer } from "../observer.ts";
import type { ExitStatistics } from "../result.ts";

interface Row {
  readonly reason: string;
  readonly cause: string;
  count: number;
  hardwareTicks: number;
  monitorTicks: number;
  monitorTicksMin: number;
  monitorTicksMax: number;
}

export class ExitLog {
  observer: Observer | null = null;
  readonly #rows = new Map<string, Row>();

  /** One exit has been handled, and the entry that follows is about to be made. */
  record(exit: ExitRecord): void {
    add(this.#rows, exit);
    this.observer?.exit?.(exit);
  }

  /** All rows; `open` is something that has not ended, counted as if it ended now. */
  statistics(open: ExitRecord | null = null): ExitStatistics[] {
    const rows = new Map([...this.#rows].map(([key, row]) => [key, { ...row }]));
    if (open !== null) add(rows, open);
    return [...rows.values()];
  }

  restore(rows: readonly ExitStatistics[]): void {
    this.#rows.clear();
    for (const row of rows) this.#rows.set(`${row.reason}/${row.cause}`, { ...row });
  }
}

function add(rows: Map<string, Row>, exit: ExitRecord): void {
  const key = `${exit.reason}/${exit.cause}`;
  let row = rows.get(key);
  if (row === undefined) {
    row = {
      reason: exit.reason,
      cause: exit.cause,
      count: 0,
      hardwareTicks: 0,
      monitorTicks: 0,
      monitorTicksMin: Number.POSITIVE_INFINITY,
      monitorTicksMax: 0,
    };
    rows.set(key, row);
  }
  row.count++;
  row.hardwareTicks += exit.hardwareTicks;
  row.monitorTicks += exit.monitorTicks;
  row.monitorTicksMin = Math.min(row.monitorTicksMin, exit.monitorTicks);
  row.monitorTicksMax = Math.max(row.monitorTicksMax, exit.monitorTicks);
}
