/**
 * Which guest pages the monitor sees stores to: those that shadow pages stand for (traced), and those that it watches
 * for its own reasons (descriptor tables, translated code), counted. Both have the same effect: no shadow entry of the
 * page permits writes. A page may be both.
 */
import type { ShadowHost } from "./shadow-host.ts";
import type { ShadowPage } from "./shadow-pages.ts";

/** A guest page that shadow pages stand for. */
export interface TracedPage {
  /** Shadow pages that stand for it; at least one. */
  readonly pages: ShadowPage[];
  /** Stores into it since a root that reaches it was last active (shadow.ts). */
  writes: number;
  /** Activation that last made it reachable when `writes` was counted. */
  reached: number;
}

export interface SavedTracing {
  readonly traced: readonly (readonly [
    guestPage: number,
    frames: readonly number[],
    writes: number,
    reached: number,
  ])[];
  readonly watched: readonly (readonly [guestPage: number, watchers: number])[];
  readonly begun: number;
  readonly ended: number;
}

export class ShadowTracing {
  readonly traced = new Map<number, TracedPage>();
  /** Watchers by guest page. */
  readonly watched = new Map<number, number>();
  /** Shadow pages that stand for guest tables outside RAM, which cannot be traced. */
  readonly untraceable = new Set<ShadowPage>();
  readonly #host: ShadowHost;
  readonly #writeProtect: (guestPage: number) => void;
  /** How often stores to a page began to be seen, and ceased. */
  #begun = 0;
  #ended = 0;

  /** `writeProtect` takes R/W from all shadow entries of a guest page. */
  constructor(host: ShadowHost, writeProtect: (guestPage: number) => void) {
    this.#host = host;
    this.#writeProtect = writeProtect;
  }

  /** Whether stores to this guest page must be emulated. */
  isTraced(guestPage: number): boolean {
    return this.traced.has(guestPage) || this.watched.has(guestPage);
  }

  /** A shadow page begins to stand for its guest page. */
  trace(page: ShadowPage): void {
    const guestPage = page.subject;
    const known = this.traced.get(guestPage);
    if (known !== undefined) {
      known.pages.push(page);
      return;
    }
    if (this.#host.hostFrame(guestPage) === -1) {
      this.untraceable.add(page);
      return;
    }
    const watched = this.watched.has(guestPage);
    this.traced.set(guestPage, { pages: [page], writes: 0, reached: 0 });
    if (!watched) this.#begin(guestPage);
  }

  /** A shadow page that stood for its guest page is no more. */
  untrace(page: ShadowPage): void {
    if (this.untraceable.delete(page)) return;
    const traced = this.traced.get(page.subject);
    if (traced === undefined || !traced.pages.includes(page)) return;
    traced.pages.splice(traced.pages.indexOf(page), 1);
    if (traced.pages.length !== 0) return;
    this.traced.delete(page.subject);
    if (!this.watched.has(page.subject)) this.#end();
  }

  watch(guestPage: number): void {
    const seen = this.isTraced(guestPage);
    this.watched.set(guestPage, (this.watched.get(guestPage) ?? 0) + 1);
    if (!seen) this.#begin(guestPage);
  }

  unwatch(guestPage: number): void {
    const watchers = this.watched.get(guestPage);
    if (watchers === undefined) throw new Error(`guest page 0x${guestPage.toString(16)} is not watched`);
    if (watchers > 1) {
      this.watched.set(guestPage, watchers - 1);
      return;
    }
    this.watched.delete(guestPage);
    if (!this.traced.has(guestPage)) this.#end();
  }

  counters(): Record<string, number> {
    return {
      "shadow.traced-pages": this.traced.size,
      "shadow.traced": this.#begun,
      "shadow.untraced": this.#ended,
    };
  }

  save(): SavedTracing {
    return {
      traced: [...this.traced].map(
        ([guestPage, { pages, writes, reached }]) =>
          [guestPage, pages.map((page) => page.frame), writes, reached] as const,
      ),
      watched: [...this.watched],
      begun: this.#begun,
      ended: this.#ended,
    };
  }

  /** `guestTables`: the shadow pages that stand for guest pages, restored, by frame. */
  restore(saved: SavedTracing, guestTables: ReadonlyMap<number, ShadowPage>): void {
    this.traced.clear();
    this.watched.clear();
    this.untraceable.clear();
    for (const [guestPage, frames, writes, reached] of saved.traced) {
      const pages = frames.map((frame) => guestTables.get(frame) as ShadowPage);
      this.traced.set(guestPage, { pages, writes, reached });
    }
    for (const [guestPage, watchers] of saved.watched) this.watched.set(guestPage, watchers);
    for (const page of guestTables.values()) if (!this.traced.has(page.subject)) this.untraceable.add(page);
    this.#begun = saved.begun;
    this.#ended = saved.ended;
  }

  #begin(guestPage: number): void {
    this.#host.step("trace");
    this.#begun++;
    this.#writeProtect(guestPage);
  }

  #end(): void {
    this.#host.step("untrace");
    this.#ended++;
  }
}
