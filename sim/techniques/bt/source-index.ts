/** Which units were made from which bytes of guest-physical memory, by granules of 64 bytes. */

type Range = readonly [address: number, bytes: number];

const GRANULE_BYTES = 64;
const GRANULES_PER_PAGE = 4096 / GRANULE_BYTES;

export class SourceIndex<Owner> {
  readonly #pages = new Map<number, (Map<Owner, Range[]> | undefined)[]>();
  readonly #uses = new Map<number, number>();
  readonly #onPage: (page: number, isSource: boolean) => void;

  /** `onPage` is told when a guest-physical page gets its first owner or loses its last. */
  constructor(onPage: (page: number, isSource: boolean) => void) {
    this.#onPage = onPage;
  }

  /** Ranges do not cross pages. */
  add(owner: Owner, ranges: readonly Range[]): void {
    for (const range of ranges) {
      const page = pageOf(range);
      const uses = this.#uses.get(page) ?? 0;
      this.#uses.set(page, uses + 1);
      if (uses === 0) this.#onPage(page, true);
      const granules = this.#pages.get(page) ?? new Array(GRANULES_PER_PAGE).fill(undefined);
      this.#pages.set(page, granules);
      for (const index of granulesOf(range)) {
        const owners = granules[index] ?? new Map<Owner, Range[]>();
        granules[index] = owners;
        owners.set(owner, [...(owners.get(owner) ?? []), range]);
      }
    }
  }

  remove(owner: Owner, ranges: readonly Range[]): void {
    for (const range of ranges) {
      const page = pageOf(range);
      for (const index of granulesOf(range)) this.#pages.get(page)?.[index]?.delete(owner);
      const uses = (this.#uses.get(page) as number) - 1;
      this.#uses.set(page, uses);
      if (uses > 0) continue;
      this.#uses.delete(page);
      this.#pages.delete(page);
      this.#onPage(page, false);
    }
  }

  /** Owners of any of `bytes` bytes, in the order in which they came. */
  overlapping(address: number, bytes: number): Owner[] {
    const found = new Set<Owner>();
    const end = address + bytes;
    for (let granule = Math.floor(address / GRANULE_BYTES); granule * GRANULE_BYTES < end; granule++) {
      const owners = this.#pages.get(Math.floor(granule / GRANULES_PER_PAGE))?.[granule % GRANULES_PER_PAGE];
      for (const [owner, ranges] of owners ?? []) {
        if (ranges.some(([from, length]) => from < end && from + length > address)) found.add(owner);
      }
    }
    return [...found];
  }

  has(page: number): boolean {
    return this.#uses.has(page);
  }

  clear(): void {
    const pages = [...this.#uses.keys()];
    this.#pages.clear();
    this.#uses.clear();
    for (const page of pages) this.#onPage(page, false);
  }
}

function pageOf([address]: Range): number {
  return Math.floor(address / 4096);
}

function* granulesOf([address, bytes]: Range): Generator<number> {
  const first = Math.floor((address % 4096) / GRANULE_BYTES);
  for (let index = first; index * GRANULE_BYTES < (address % 4096) + bytes; index++) yield index;
}
