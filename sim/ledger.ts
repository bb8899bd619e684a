/**
 * Where every cycle went. An account is a pair (domain, activity); charging an account is the only way in which
 * the clock advances, so the accounts always sum to the clock. Tests compare them with an independent sum over
 * an event trace (`Ledger.onCharge`).
 */
import { type Clock, NOW_CELL } from "./clock.ts";

/** On whose behalf time passes. */
export const DOMAINS = ["guest-user", "guest-kernel", "monitor", "idle"] as const;
export type Domain = (typeof DOMAINS)[number];

/** Index of an account's cell in the time area. */
export type Account = number & { readonly brand: "Account" };

/** Bytes of the time area: clock cells, then ticks of accounts, then retired instructions of accounts. */
const MAX_ACCOUNTS = 240;
const FIRST_ACCOUNT = 16;
/** From an account's cell to the cell of its retired instructions. */
export const RETIRED_OFFSET = MAX_ACCOUNTS;
export const TIME_AREA_CELLS = FIRST_ACCOUNT + 2 * MAX_ACCOUNTS;

export interface AccountTotal {
  readonly domain: Domain;
  readonly activity: string;
  /** Ticks of 1/12 cycle. */
  readonly ticks: number;
  /** Instructions retired in this account. */
  readonly retired: number;
}

/** A ledger as plain data: the clock, and every account in order of creation. */
export interface SavedLedger {
  readonly now: number;
  readonly accounts: readonly AccountTotal[];
}

export class Ledger {
  readonly clock: Clock;
  readonly cells: Float64Array;
  /** Observes every charge with its label; for `explain`, tests and traces only, null in normal runs. */
  onCharge: ((account: Account, ticks: number, label: string) => void) | null = null;
  readonly #names: { domain: Domain; activity: string }[] = [];
  readonly #ids = new Map<Domain, Map<string, Account>>();

  constructor(clock: Clock) {
    this.clock = clock;
    this.cells = clock.cells;
  }

  /** The account of a domain and an activity, created on first use. */
  account(domain: Domain, activity: string): Account {
    let ids = this.#ids.get(domain);
    if (ids === undefined) {
      ids = new Map();
      this.#ids.set(domain, ids);
    }
    const known = ids.get(activity);
    if (known !== undefined) return known;
    if (this.#names.length === MAX_ACCOUNTS) throw new Error("ledger: too many accounts");
    const account = (FIRST_ACCOUNT + this.#names.length) as Account;
    this.#names.push({ domain, activity });
    ids.set(activity, account);
    return account;
  }

  /** Advances the clock by `ticks` on behalf of `account`; `label` says for what (a cost's name), to observers. */
  charge(account: Account, ticks: number, label = ""): void {
    const cells = this.cells;
    cells[NOW_CELL] = (cells[NOW_CELL] as number) + ticks;
    cells[account] = (cells[account] as number) + ticks;
    if (this.onCharge !== null) this.onCharge(account, ticks, label);
  }

  /** Counts one retired instruction. */
  retire(account: Account): void {
    const cell = account + RETIRED_OFFSET;
    this.cells[cell] = (this.cells[cell] as number) + 1;
  }

  /** Instructions retired in one account. */
  retired(account: Account): number {
    return this.cells[account + RETIRED_OFFSET] as number;
  }

  /** What an account is called. */
  nameOf(account: Account): { readonly domain: Domain; readonly activity: string } {
    return this.#names[account - FIRST_ACCOUNT] as { domain: Domain; activity: string };
  }

  /** All accounts with any time or instruction, in order of creation. */
  totals(): AccountTotal[] {
    return this.#names
      .map((name, index) => ({
        ...name,
        ticks: this.cells[FIRST_ACCOUNT + index] as number,
        retired: this.cells[FIRST_ACCOUNT + index + RETIRED_OFFSET] as number,
      }))
      .filter((total) => total.ticks !== 0 || total.retired !== 0);
  }

  /** Instructions retired in all accounts of the given domains. */
  retiredIn(domains: readonly Domain[]): number {
    let sum = 0;
    for (const total of this.totals()) if (domains.includes(total.domain)) sum += total.retired;
    return sum;
  }

  save(): SavedLedger {
    const accounts = this.#names.map((name, index) => ({
      ...name,
      ticks: this.cells[FIRST_ACCOUNT + index] as number,
      retired: this.cells[FIRST_ACCOUNT + index + RETIRED_OFFSET] as number,
    }));
    return { now: this.clock.now, accounts };
  }

  restore(saved: SavedLedger): void {
    this.cells.fill(0, FIRST_ACCOUNT);
    this.cells[NOW_CELL] = saved.now;
    for (const { domain, activity, ticks, retired } of saved.accounts) {
      const account = this.account(domain, activity);
      this.cells[account] = ticks;
      this.cells[account + RETIRED_OFFSET] = retired;
    }
  }
}
