/**
 * The accounts of the domain on whose behalf the core is running. The core switches `current` when it goes from one
 * domain to another (CPL, monitor, idle); page walks, delivery and device waits are charged to the domain that
 * caused them (DESIGN: "walks and delivery inherit the domain").
 */
import { type Account, DOMAINS, type Domain, type Ledger } from "../ledger.ts";
import type { CostName } from "./profiles/profile.ts";

/** Activities that the hardware itself charges; monitors add `service:<name>` and others of their own. */
export const HARDWARE_ACTIVITIES = ["instructions", "walk", "delivery", "transition", "vmcs", "device-wait"] as const;
export type HardwareActivity = (typeof HARDWARE_ACTIVITIES)[number];

/** One domain's accounts. */
export type DomainAccounts = Readonly<Record<HardwareActivity, Account>>;

/** Costs that are not charged to `instructions`. */
const ACTIVITY_OF_COST: Partial<Record<CostName, HardwareActivity>> = {
  intSame: "delivery",
  intInner: "delivery",
  exception: "delivery",
  pageFault: "delivery",
  interrupt: "delivery",
  taskSwitch: "delivery",
  tlbSecondLevel: "walk",
  walkStart: "walk",
  walkReference: "walk",
  walkUpdate: "walk",
  vmentry: "transition",
  vmexit: "transition",
  vmread: "vmcs",
  vmwrite: "vmcs",
  vmptrld: "vmcs",
};

/** The activity to which a named cost is charged. */
export function activityOf(cost: CostName): HardwareActivity {
  return ACTIVITY_OF_COST[cost] ?? "instructions";
}

export class Accounts {
  /** Accounts of the domain that is running now. */
  current: DomainAccounts;
  readonly byDomain: Readonly<Record<Domain, DomainAccounts>>;

  constructor(ledger: Ledger) {
    const byDomain = {} as Record<Domain, DomainAccounts>;
    for (const domain of DOMAINS) {
      const accounts = {} as Record<HardwareActivity, Account>;
      for (const activity of HARDWARE_ACTIVITIES) accounts[activity] = ledger.account(domain, activity);
      byDomain[domain] = accounts;
    }
    this.byDomain = byDomain;
    this.current = byDomain["guest-kernel"];
  }
}
