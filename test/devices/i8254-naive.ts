/** A counter of the 8254 as its data sheet tells the story: one CLK pulse at a time. Binary counts, modes 0 to 5. */
export class NaiveCounter {
  readonly mode: number;
  out: boolean;
  gate = true;
  /** Counting element; null before the first load. */
  ce: number | null = null;
  /** A load happens at the next pulse. */
  loads = false;
  #count = 0;
  #odd = false;
  #triggered = false;
  #strobe = false;
  #over = false;
  /** A count has been written that no load has taken. */
  fresh = false;

  constructor(mode: number) {
    this.mode = mode;
    this.out = mode !== 0;
  }

  write(count: number): void {
    this.#count = count;
    this.fresh = true;
    if (this.mode === 0) this.out = false;
    if (this.mode === 0 || this.mode === 4) this.loads = true;
    if ((this.mode === 2 || this.mode === 3) && this.ce === null) this.loads = true;
  }

  setGate(level: boolean): void {
    const rises = level && !this.gate;
    this.gate = level;
    if (this.mode === 2 || this.mode === 3) {
      if (!level) this.out = true;
      if (rises && this.#count !== 0) this.loads = true;
    }
    if ((this.mode === 1 || this.mode === 5) && rises && this.#count !== 0) this.loads = true;
  }

  pulse(): void {
    if (this.loads) {
      this.loads = false;
      this.#load();
      this.#over = false;
      this.#triggered = true;
      this.#strobe = false;
      if (this.mode === 1) this.out = false;
      else if (this.mode !== 0) this.out = true;
      return;
    }
    if (this.ce === null) return;
    switch (this.mode) {
      case 0:
        if (this.gate) this.#down();
        if (this.ce === 0) this.out = true;
        return;
      case 1:
        this.#down();
        if (this.ce === 0) this.out = true;
        return;
      case 2:
        if (!this.gate) return;
        if (this.ce === 1) {
          this.#load();
          this.out = true;
        } else {
          this.ce--;
          if (this.ce === 1) this.out = false;
        }
        return;
      case 3:
        if (this.gate) this.#square();
        return;
      default:
        if (this.mode === 4 && !this.gate) return;
        if (this.#strobe) {
          this.#strobe = false;
          this.out = true;
        }
        this.#down();
        if (this.ce === 0 && this.#triggered && !this.#over) {
          this.#strobe = true;
          this.#over = true;
          this.out = false;
        }
    }
  }

  #down(): void {
    this.ce = ((this.ce as number) + 0xffff) & 0xffff;
  }

  #load(): void {
    this.fresh = false;
    this.#odd = this.#count % 2 === 1;
    this.ce = this.mode === 3 ? this.#count - (this.#count % 2) : this.#count;
  }

  /** Even counts: the output changes when the count expires; odd ones stay high for one pulse more. */
  #square(): void {
    const expired = this.ce === 0;
    if (!expired) this.ce = (this.ce as number) - 2;
    const ends = this.#odd && this.out ? expired : this.ce === 0;
    if (!ends) return;
    this.out = !this.out;
    this.#load();
  }
}
