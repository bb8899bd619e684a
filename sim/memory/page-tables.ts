/**
 * Page-table formats as data: 32-bit paging with and without PSE and PSE-36 (SDM vol. 3, 4.3), PAE (4.4), 4-level
 * paging (4.5) and EPT (28.2.2). One walker (walk.ts) reads them all.
 *
 * An entry is handled as two 32-bit words. All flag bits stand in the low word, except execute-disable, bit 63.
 * PAT is taken as supported (bit 7 of a PTE, bit 12 of a large entry), as it is on every processor with a profile.
 * Protection keys, SMAP and five levels came later than the processors modelled and are left out.
 */

/** Names of levels, leaf last; a level's reference is counted under its name (physical.ts). */
export type LevelName = "pml4e" | "pdpte" | "pde" | "pte";

/** Bit `M` is MAXPHYADDR; with PSE-36, `PSE36` is min(40, MAXPHYADDR) - 19 (SDM vol. 3, 4.3). */
export type Bit = number | "M" | "PSE36";

/** Bits `low` to `high` inclusive; empty when low is above high. */
export type BitRange = readonly [low: Bit, high: Bit];

export interface LevelFormat {
  readonly name: LevelName;
  /** First bit of the address that indexes this level's table, and how many. */
  readonly indexLow: number;
  readonly indexBits: number;
  /** log2 of the page that an entry maps here: always (`leaf`), or when its large bit is set; 0: never maps a page. */
  readonly pageShift: number;
  readonly leaf?: boolean;
  /** Which feature a large page at this level needs. */
  readonly largeNeeds?: "pse" | "pages1G";
  /** PAE: the four PDPTEs are in registers, loaded by MOV CR3; they make no reference and carry no permissions. */
  readonly registers?: boolean;
  /** Reserved bits of an entry that references a table, or of a PTE. */
  readonly reserved: readonly BitRange[];
  /** Reserved bits of an entry that maps a large page. */
  readonly reservedLarge?: readonly BitRange[];
}

/** Masks within the low word; 0 where the format has no such bit. */
export interface EntryBits {
  /** Present when any of these is set. */
  readonly present: number;
  readonly write: number;
  readonly user: number;
  readonly accessed: number;
  readonly dirty: number;
  readonly large: number;
  readonly global: number;
  /** EPT grants read and execute by a set bit. */
  readonly read: number;
  readonly execute: number;
}

export interface PagingFormat {
  readonly name: string;
  readonly source: string;
  readonly entryBytes: 4 | 8;
  readonly levels: readonly LevelFormat[];
  readonly bits: EntryBits;
  /** Bit 63 of entries denies instruction fetches when IA32_EFER.NXE is set, and is reserved when it is not. */
  readonly executeDisable: boolean;
  /** EPT: values of bits 2:0 that are misconfigurations, as a set of bits. */
  readonly illegalPermissions: number;
}

const IA32_BITS: EntryBits = {
  present: 1 << 0,
  write: 1 << 1,
  user: 1 << 2,
  accessed: 1 << 5,
  dirty: 1 << 6,
  large: 1 << 7,
  global: 1 << 8,
  read: 0,
  execute: 0,
};

/** 32-bit paging with 4 KB and, where CR4.PSE is set, 4 MB pages. */
export const PAGING_32: PagingFormat = {
  name: "32-bit",
  source: "SDM vol. 3, 4.3, tables 4-4 to 4-6",
  entryBytes: 4,
  levels: [
    {
      name: "pde",
      indexLow: 22,
      indexBits: 10,
      pageShift: 22,
      largeNeeds: "pse",
      reserved: [],
      reservedLarge: [["PSE36", 21]],
    },
    { name: "pte", indexLow: 12, indexBits: 10, pageShift: 12, leaf: true, reserved: [] },
  ],
  bits: IA32_BITS,
  executeDisable: false,
  illegalPermissions: 0,
};

export const PAGING_PAE: PagingFormat = {
  name: "PAE",
  source: "SDM vol. 3, 4.4, tables 4-8 to 4-11",
  entryBytes: 8,
  levels: [
    { name: "pdpte", indexLow: 30, indexBits: 2, pageShift: 0, registers: true, reserved: [] },
    {
      name: "pde",
      indexLow: 21,
      indexBits: 9,
      pageShift: 21,
      reserved: [["M", 62]],
      reservedLarge: [
        ["M", 62],
        [13, 20],
      ],
    },
    { name: "pte", indexLow: 12, indexBits: 9, pageShift: 12, leaf: true, reserved: [["M", 62]] },
  ],
  bits: IA32_BITS,
  executeDisable: true,
  illegalPermissions: 0,
};

export const PAGING_LONG: PagingFormat = {
  name: "4-level",
  source: "SDM vol. 3, 4.5, tables 4-14 to 4-19",
  entryBytes: 8,
  levels: [
    {
      name: "pml4e",
      indexLow: 39,
      indexBits: 9,
      pageShift: 0,
      reserved: [
        ["M", 51],
        [7, 7],
      ],
    },
    {
      name: "pdpte",
      indexLow: 30,
      indexBits: 9,
      pageShift: 30,
      largeNeeds: "pages1G",
      reserved: [["M", 51]],
      reservedLarge: [
        ["M", 51],
        [13, 29],
      ],
    },
    {
      name: "pde",
      indexLow: 21,
      indexBits: 9,
      pageShift: 21,
      reserved: [["M", 51]],
      reservedLarge: [
        ["M", 51],
        [13, 20],
      ],
    },
    { name: "pte", indexLow: 12, indexBits: 9, pageShift: 12, leaf: true, reserved: [["M", 51]] },
  ],
  bits: IA32_BITS,
  executeDisable: true,
  illegalPermissions: 0,
};

/**
 * EPT with a page-walk length of 4. A and D flags are bits 8 and 9, used when the EPTP enables them. Reserved memory
 * types (bits 5:3 of a leaf) are not checked; execute-only is a misconfiguration, as on the first EPT processors.
 */
export const PAGING_EPT: PagingFormat = {
  name: "EPT",
  source: "SDM vol. 3, 28.2.2, tables 28-1 to 28-6",
  entryBytes: 8,
  levels: [
    {
      name: "pml4e",
      indexLow: 39,
      indexBits: 9,
      pageShift: 0,
      reserved: [
        ["M", 51],
        [3, 7],
      ],
    },
    {
      name: "pdpte",
      indexLow: 30,
      indexBits: 9,
      pageShift: 30,
      largeNeeds: "pages1G",
      reserved: [
        ["M", 51],
        [3, 6],
      ],
      reservedLarge: [
        ["M", 51],
        [12, 29],
      ],
    },
    {
      name: "pde",
      indexLow: 21,
      indexBits: 9,
      pageShift: 21,
      reserved: [
        ["M", 51],
        [3, 6],
      ],
      reservedLarge: [
        ["M", 51],
        [12, 20],
      ],
    },
    { name: "pte", indexLow: 12, indexBits: 9, pageShift: 12, leaf: true, reserved: [["M", 51]] },
  ],
  bits: {
    present: 0b111,
    write: 1 << 1,
    user: 0,
    accessed: 1 << 8,
    dirty: 1 << 9,
    large: 1 << 7,
    global: 0,
    read: 1 << 0,
    execute: 1 << 2,
  },
  executeDisable: false,
  illegalPermissions: (1 << 0b010) | (1 << 0b110) | (1 << 0b100),
};

/** What of a format is in force: the processor's abilities and the control bits that change how entries are read. */
export interface PagingFeatures {
  /** MAXPHYADDR. */
  readonly physicalAddressBits: number;
  /** CR4.PSE; 4 MB pages. */
  readonly pse?: boolean;
  /** CPUID.1:EDX bit 17: a 4 MB PDE gives physical bits 39:32 in its bits 20:13. */
  readonly pse36?: boolean;
  readonly pages1G?: boolean;
  /** IA32_EFER.NXE. */
  readonly nxe?: boolean;
  /** EPT: the EPTP enables A and D flags. Other formats always have them. */
  readonly eptAccessedDirty?: boolean;
}

/** A level with its masks worked out for given features. */
export interface Level {
  readonly name: LevelName;
  readonly indexLow: number;
  readonly indexBits: number;
  readonly registers: boolean;
  readonly leaf: boolean;
  /** 0 where an entry cannot map a page. */
  readonly pageShift: number;
  /** The bit that makes an entry map a large page; 0 where it has no such meaning. */
  readonly large: number;
  readonly reservedLow: number;
  readonly reservedHigh: number;
  readonly reservedLargeLow: number;
  readonly reservedLargeHigh: number;
  /** Address bits of an entry, in each word, for tables and 4 KB pages. */
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly largeAddressLow: number;
  /** 4 MB pages with PSE-36: this mask of the low word, shifted right by 13, is bits 39:32 of the address. */
  readonly pse36: number;
}

/** A format made ready for the walker. */
export interface Tables {
  readonly format: PagingFormat;
  readonly features: PagingFeatures;
  readonly levels: readonly Level[];
  readonly bits: EntryBits;
  readonly entryBytes: number;
  /** Mask of bit 63 in the high word when fetches can be denied by it. */
  readonly executeDisable: number;
}

/** Low and high word of the mask of bits `low` to `high`, both inclusive, of 64. */
function maskOf(low: number, high: number): [low: number, high: number] {
  let lowWord = 0;
  let highWord = 0;
  for (let bit = low; bit <= high; bit++) {
    if (bit < 32) lowWord |= 1 << bit;
    else highWord |= 1 << (bit - 32);
  }
  return [lowWord, highWord];
}

function reservedMask(ranges: readonly BitRange[], features: PagingFeatures): [low: number, high: number] {
  const width = features.physicalAddressBits;
  const place = (bit: Bit): number => {
    if (bit === "M") return width;
    if (bit === "PSE36") return features.pse36 ? Math.min(40, width) - 19 : 13;
    return bit;
  };
  let low = 0;
  let high = 0;
  for (const range of ranges) {
    const mask = maskOf(place(range[0]), place(range[1]));
    low |= mask[0];
    high |= mask[1];
  }
  return [low, high];
}

/** Works out a format's masks for given features; do this when control registers change, not for every walk. */
export function tablesOf(format: PagingFormat, features: PagingFeatures): Tables {
  const wide = format.entryBytes === 8;
  const noExecuteReserved = format.executeDisable && features.nxe !== true;
  const address = maskOf(12, wide ? Math.min(51, features.physicalAddressBits - 1) : 31);
  const levels = format.levels.map((level): Level => {
    const largeAllowed =
      level.pageShift !== 0 &&
      level.leaf !== true &&
      (level.largeNeeds === undefined || features[level.largeNeeds] === true);
    const reserved = reservedMask(level.reserved, features);
    const reservedLarge = reservedMask(level.reservedLarge ?? [], features);
    // A large bit at a level that lacks the ability is reserved, except in 32-bit paging, where it is ignored.
    if (wide && level.pageShift !== 0 && level.leaf !== true && !largeAllowed) reserved[0] |= format.bits.large;
    if (noExecuteReserved && level.registers !== true) {
      reserved[1] |= 1 << 31;
      reservedLarge[1] |= 1 << 31;
    }
    const pse36Bits = !wide && features.pse36 === true ? Math.min(40, features.physicalAddressBits) - 32 : 0;
    return {
      name: level.name,
      indexLow: level.indexLow,
      indexBits: level.indexBits,
      registers: level.registers === true,
      leaf: level.leaf === true,
      pageShift: level.pageShift,
      large: largeAllowed ? format.bits.large : 0,
      reservedLow: reserved[0],
      reservedHigh: reserved[1],
      reservedLargeLow: reservedLarge[0],
      reservedLargeHigh: reservedLarge[1],
      addressLow: address[0],
      addressHigh: address[1],
      largeAddressLow: level.pageShift < 32 && largeAllowed ? -(2 ** level.pageShift) | 0 : 0,
      pse36: pse36Bits > 0 ? ((1 << pse36Bits) - 1) << 13 : 0,
    };
  });
  const entryBits =
    format === PAGING_EPT && features.eptAccessedDirty !== true
      ? { ...format.bits, accessed: 0, dirty: 0 }
      : format.bits;
  return {
    format,
    features,
    levels,
    bits: entryBits,
    entryBytes: format.entryBytes,
    executeDisable: format.executeDisable && features.nxe === true ? 1 << 31 : 0,
  };
}
