/**
 * Where the source of translations is: for each linear page of guest code the guest-physical page behind it. When the guest's
 * translation may have changed, the pages are looked up again before translated code runs, and the units of those that
 * are elsewhere are detached; they come back with their page.
 */
import { ACCESS } from "../../cpu/environment.ts";
import { PAGE_SHIFT, pageNumber } from "../../memory/address.ts";
import type { VirtualEnvironment } from "../virtual-environment.ts";
import type { TranslationCache, Unit } from "./cache.ts";

interface SourcePage {
  readonly frame: number;
  readonly units: Set<Unit>;
}

export class SourcePages {
  readonly #env: VirtualEnvironment;
  readonly #cache: TranslationCache;
  readonly #pages = new Map<number, SourcePage>();
  /** Pages to look up again; null: all. */
  #doubtful: Set<number> | null = new Set();

  constructor(env: VirtualEnvironment, cache: TranslationCache) {
    this.#env = env;
    this.#cache = cache;
  }

  /** The guest-physical page of a linear page of code, or -1. */
  find(linearPage: number, user: boolean): number {
    const address = this.#env.find((linearPage << PAGE_SHIFT) >>> 0, ACCESS.FETCH | (user ? ACCESS.USER : 0));
    return address < 0 ? -1 : pageNumber(address);
  }

  /** A unit has come, or come back. */
  add(unit: Unit): void {
    const first = pageNumber(unit.translation.source[0]);
    for (const [n, frame] of unit.frames.entries()) {
      const page = this.#pages.get(first + n);
      if (page === undefined) this.#pages.set(first + n, { frame, units: new Set([unit]) });
      else page.units.add(unit);
    }
  }

  clear(): void {
    this.#pages.clear();
    this.#doubtful = new Set();
  }

  /** Any page may be elsewhere. */
  doubtAll(): void {
    this.#doubtful = null;
  }

  doubt(linear: number): void {
    this.#doubtful?.add(pageNumber(linear));
  }

  /** Detaches the units whose pages are elsewhere. */
  verify(): void {
    const doubtful = this.#doubtful;
    if (doubtful?.size === 0) return;
    this.#doubtful = new Set();
    for (const linearPage of doubtful ?? [...this.#pages.keys()]) {
      const page = this.#pages.get(linearPage);
      if (page === undefined) continue;
      for (const unit of page.units) if (!unit.attached) page.units.delete(unit);
      const [some] = page.units;
      if (some !== undefined && this.find(linearPage, some.translation.context.cpl === 3) === page.frame) continue;
      for (const unit of page.units) this.#cache.detach(unit);
      this.#pages.delete(linearPage);
    }
  }

  save(): { readonly doubtful: readonly number[] | null } {
    return { doubtful: this.#doubtful === null ? null : [...this.#doubtful] };
  }

  /** `units`: those that are attached. */
  restore(saved: { readonly doubtful: readonly number[] | null }, units: readonly Unit[]): void {
    this.#pages.clear();
    for (const unit of units) this.add(unit);
    this.#doubtful = saved.doubtful === null ? null : new Set(saved.doubtful);
  }
}
