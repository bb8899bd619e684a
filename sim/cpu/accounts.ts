/**
 * The accounts of the domain on whose behalf the core is running. The core switches `current` when it goes from one
 * domain to another (CPL, monitor, idle); page walks, delivery and device waits are charged to the domain that
 * caused them.
 */
import { type Account, DOMAINS, type Domain, type Ledger } from "../ledger.ts";
import type { CostName } from "./profiles/profile.ts";

/** Activities that the hardware itself charges; monitors add `service:<name>` and others of their own. */
export const HARDWARE_ACTIVITIES = ["instructions", "walk", "delivery", "transition", "vmcs", "device-wait"] as const;
export type HardwareActivity = (typeof HARDWARE_ACTIVITIES)[number];

/** One domain's accounts, and its index in DOMAINS. */
export type DomainAccounts = Readonly<Record<HardwareActivity, Account>> & { readonly domain: number };

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

/** Words that compiled code has of this: the index of the domain that runs, and the accounts of all, by domain and activity. */
export const ACCOUNT_CELL = { domain: 0, accounts: 1 } as const;
const CELLS = ACCOUNT_CELL.accounts + DOMAINS.length * HARDWARE_ACTIVITIES.length;
export const ACCOUNT_CELL_BYTES = CELLS * 4;

export class Accounts {
  readonly byDomain: Readonly<Record<Domain, DomainAccounts>>;
  readonly #domains: readonly DomainAccounts[];
  readonly #cells: Int32Array;

  /** With ACCOUNT_CELL_BYTES of `buffer` from `byteOffset` on. */
  constructor(ledger: Ledger, buffer: ArrayBufferLike = new ArrayBuffer(ACCOUNT_CELL_BYTES), byteOffset = 0) {
    this.#cells = new Int32Array(buffer, byteOffset, CELLS);
    this.#domains = DOMAINS.map((name, domain) => {
      const accounts = HARDWARE_ACTIVITIES.map((activity) => ledger.account(name, activity));
      this.#cells.set(accounts, ACCOUNT_CELL.accounts + domain * accounts.length);
      const named = HARDWARE_ACTIVITIES.map((activity, n) => [activity, accounts[n] as Account]);
      return { ...(Object.fromEntries(named) as Record<HardwareActivity, Account>), domain };
    });
    this.byDomain = Object.fromEntries(DOMAINS.map((name, domain) => [name, this.#domains[domain]])) as Record<
      Domain,
      DomainAccounts
    >;
    this.current = this.byDomain["guest-kernel"];
  }

  /** Accounts of the domain that is running now. */
  get current(): DomainAccounts {
    return this.#domains[this.#cells[ACCOUNT_CELL.domain] as number] as DomainAccounts;
  }

  set current({ domain }: DomainAccounts) {
    this.#cells[ACCOUNT_CELL.domain] = domain;
  }
}
