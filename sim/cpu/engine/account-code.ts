/** Charging to the running domain's accounts in compiled code that all regions use. */
import { NOW_CELL } from "../../clock.ts";
import { ACCOUNT_CELL, HARDWARE_ACTIVITIES, type HardwareActivity } from "../accounts.ts";
import type { FunctionWriter, Value } from "./expressions.ts";
import type { EngineLayout } from "./layout.ts";

/** Byte offset of the cell of the running domain's account for an activity. */
export function accountCell(w: FunctionWriter, layout: EngineLayout, activity: HardwareActivity): Value {
  const index = ACCOUNT_CELL.accounts + HARDWARE_ACTIVITIES.indexOf(activity);
  const bytes = HARDWARE_ACTIVITIES.length * 4;
  const domain = w.load(0, layout.accounts + ACCOUNT_CELL.domain * 4);
  return w.shl(w.load(w.multiply(domain, bytes), layout.accounts + index * 4), 3);
}

/** Charges an f64 of ticks to an account's cell. */
export function charge(w: FunctionWriter, { time }: EngineLayout, cell: Value, ticks: Value): void {
  w.increase(0, ticks, time + NOW_CELL * 8);
  w.increase(cell, ticks, time);
}
