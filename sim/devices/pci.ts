/**
 * PCI configuration space through mechanism #1 (PCI local bus specification 2.3, 3.2.2.3.2 and 6.1): a 32-bit address at
 * CF8h, the data window at CFCh to CFFh in every width. Bus 0 has the board's functions; every other one is absent,
 * reads all ones and ignores writes. The reset control register CF9h (ICH7 data sheet 13.7.5) lies among the
 * ports: software sets bit 2 to reset the processor, bits 1 and 3 choose how hard.
 *
 * A function is its 256 bytes, and which bits of them software can change; the board hears of writes, because some
 * place devices in the port space. What boot firmware would set is set from the beginning: base addresses, decoding.
 * Left out: interrupts by PCI, buses behind bridges, special cycles (device 31, function 7), extended configuration
 * space.
 */
import { ACPI_BASE } from "./acpi-pm.ts";
import { allOnes, type PortDevice } from "./ports.ts";

export const PCI_FIRST_PORT = 0xcf8;
export const PCI_LAST_PORT = 0xcff;
const ADDRESS_PORT = 0xcf8;
const RESET_PORT = 0xcf9;
const DATA_PORT = 0xcfc;
const ENABLE = 0x8000_0000;
/** Bits 30:24 and 1:0 of the address are reserved and read as zero. */
const ADDRESS_BITS = 0x80ff_fffc;
const RESET_BITS = 0x0e;
const RESET_CPU = 0x04;
const SPACE_BYTES = 256;

const HEADER = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  revision: 0x08,
  classCode: 0x09,
  headerType: 0x0e,
} as const;
/** Command: SERR# enable. */
const SERR = 0x0100;
const MULTIFUNCTION = 0x80;

/** A function of bus 0, as its data sheet gives it. */
export interface PciFunction {
  readonly name: string;
  readonly device: number;
  readonly function: number;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision: number;
  /** Base class, sub-class and programming interface, from the high byte down. */
  readonly classCode: number;
  readonly multifunction: boolean;
  /** Command register after reset, and which of its bits software changes. */
  readonly command: number;
  readonly commandWritable: number;
  /** Other registers: offset, byte after reset, mask of the bits that software changes. */
  readonly registers: readonly (readonly [offset: number, value: number, writable: number])[];
}

/** PAM0 to PAM6: what lies at C0000h to FFFFFh. */
const PAM_REGISTERS = [0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96].map((offset) => [offset, 0, 0x33] as const);
/** PIRQA to PIRQH: bit 7, not routed. */
const PIRQ_REGISTERS = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b].map((offset) => [offset, 0x80, 0x8f] as const);

/** Device and function as in bits 15:8 of the address. */
const selectorOf = (device: number, fn: number): number => (device << 3) | fn;
/** The ISA bridge, and where it says that the ACPI registers are and whether they answer. */
export const PCI_ISA_BRIDGE = { selector: selectorOf(31, 0), acpiBase: 0x40, acpiControl: 0x44 } as const;
export const ACPI_CONTROL_ENABLE = 0x80;
/** The IDE function, and its registers that have an effect. */
export const PCI_IDE = { selector: selectorOf(31, 1), command: 0x04, busMasterBase: 0x20 } as const;
/** Command: the function answers in the port space, and may be master of the bus. */
export const PCI_COMMAND = { io: 0x0001, master: 0x0004 } as const;
/** Where firmware would put the bus master's ports. */
const BUS_MASTER_BASE = 0xc000;
const bytesAt = (offset: number, values: readonly number[], mask: number): (readonly [number, number, number])[] =>
  values.map((value, n) => [offset + n, value, mask] as const);

export const PCI_FUNCTIONS: readonly PciFunction[] = [
  {
    name: "host bridge of the 82955X",
    device: 0,
    function: 0,
    vendorId: 0x8086,
    deviceId: 0x2774,
    revision: 0,
    classCode: 0x06_00_00,
    multifunction: false,
    // Memory space and bus master are always on.
    command: 0x0006,
    commandWritable: SERR,
    registers: PAM_REGISTERS,
  },
  {
    name: "LPC interface bridge of the ICH7 (the ISA bridge)",
    device: 31,
    function: 0,
    vendorId: 0x8086,
    deviceId: 0x27b8,
    revision: 1,
    classCode: 0x06_01_00,
    multifunction: true,
    command: 0x0007,
    commandWritable: SERR,
    registers: [
      // PMBASE: 128 ports; ACPI_CNTL: enabled, SCI on IRQ9
      [0x40, 0x01, 0x80],
      [0x41, ACPI_BASE >> 8, 0xff],
      [0x44, ACPI_CONTROL_ENABLE, 0x87],
      ...PIRQ_REGISTERS,
    ],
  },
  {
    name: "IDE controller of the ICH7, with two channels fixed to the compatible ports",
    device: 31,
    function: 1,
    vendorId: 0x8086,
    deviceId: 0x27df,
    revision: 1,
    // Bus master; neither channel can be switched to native mode.
    classCode: 0x01_01_80,
    multifunction: false,
    command: 0x0005,
    commandWritable: 0x0005,
    registers: [
      // BMIBA: 16 ports
      [0x20, (BUS_MASTER_BASE & 0xff) | 1, 0xf0],
      [0x21, BUS_MASTER_BASE >> 8, 0xff],
      [0x3c, 0, 0xff],
      // IDE_TIMP and IDE_TIMS: both channels decoded, fastest timings
      ...bytesAt(0x40, [0x07, 0xa3, 0x07, 0xa3], 0xff),
      // SIDETIM, SDMA_CNT, SDMA_TIM
      ...bytesAt(0x44, [0, 0, 0, 0, 0, 0, 0, 0], 0xff),
      // IDE_CONFIG: cables of 80 conductors
      ...bytesAt(0x54, [0xf0, 0, 0, 0], 0xff),
    ],
  },
];

export interface PciState {
  readonly address: number;
  readonly resetControl: number;
  /** Configuration space of each function, in the order of PCI_FUNCTIONS. */
  readonly spaces: readonly (readonly number[])[];
}

interface Space {
  /** Device and function as in bits 15:8 of the address. */
  readonly selector: number;
  readonly initial: Uint8Array;
  readonly writable: Uint8Array;
  readonly bytes: Uint8Array;
}

export class PciConfiguration implements PortDevice {
  readonly width = 4;
  readonly #spaces: readonly Space[];
  readonly #onReset: () => void;
  readonly #onWrite: () => void;
  #address = 0;
  #resetControl = 0;

  /**
   * `onReset`: software has asked for a reset of the processor at port CF9h. `onWrite`: it has written into the
   * configuration space of a function.
   */
  constructor(functions: readonly PciFunction[], onReset: () => void, onWrite: () => void = () => undefined) {
    this.#spaces = functions.map(spaceOf);
    this.#onReset = onReset;
    this.#onWrite = onWrite;
  }

  /** 16 bits of a function's configuration space, which must be there. */
  read16(selector: number, offset: number): number {
    const { bytes } = this.#spaces.find((space) => space.selector === selector) as Space;
    return (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8);
  }

  reset(): void {
    this.#address = 0;
    this.#resetControl = 0;
    for (const { bytes, initial } of this.#spaces) bytes.set(initial);
  }

  save(): PciState {
    return {
      address: this.#address,
      resetControl: this.#resetControl,
      spaces: this.#spaces.map(({ bytes }) => Array.from(bytes)),
    };
  }

  restore(data: PciState): void {
    this.#address = data.address;
    this.#resetControl = data.resetControl;
    for (const [index, { bytes }] of this.#spaces.entries()) bytes.set(data.spaces[index] as readonly number[]);
  }

  readPort(port: number, bytes: number): number {
    if (port === ADDRESS_PORT && bytes === 4) return this.#address;
    if (port === RESET_PORT && bytes === 1) return this.#resetControl;
    const space = this.#selected(port);
    if (space === undefined) return allOnes(bytes);
    let value = 0;
    const offset = this.#offset(port);
    for (let i = 0; i < bytes; i++) value += (space.bytes[offset + i] as number) * 2 ** (8 * i);
    return value;
  }

  writePort(port: number, bytes: number, value: number): void {
    // Only a 32-bit write reaches the address; narrower ones are plain ports, of which one is the reset control.
    if (port === ADDRESS_PORT && bytes === 4) {
      this.#address = (value & ADDRESS_BITS) >>> 0;
      return;
    }
    if (port === RESET_PORT && bytes === 1) {
      this.#writeResetControl(value);
      return;
    }
    const space = this.#selected(port);
    if (space === undefined) return;
    const offset = this.#offset(port);
    for (let i = 0; i < bytes; i++) {
      const writable = space.writable[offset + i] as number;
      const before = space.bytes[offset + i] as number;
      space.bytes[offset + i] = (before & ~writable) | ((value >>> (8 * i)) & writable);
    }
    this.#onWrite();
  }

  #writeResetControl(value: number): void {
    const rises = (value & ~this.#resetControl & RESET_CPU) !== 0;
    this.#resetControl = value & RESET_BITS;
    if (rises) this.#onReset();
  }

  /** The function that the address selects for an access to the data window. */
  #selected(port: number): Space | undefined {
    if (port < DATA_PORT || (this.#address & ENABLE) === 0) return undefined;
    const selector = (this.#address >>> 8) & 0xffff;
    return this.#spaces.find((space) => space.selector === selector);
  }

  #offset(port: number): number {
    return (this.#address & 0xfc) + (port - DATA_PORT);
  }
}

function spaceOf(pciFunction: PciFunction): Space {
  const initial = new Uint8Array(SPACE_BYTES);
  const writable = new Uint8Array(SPACE_BYTES);
  const word = (array: Uint8Array, at: number, value: number): void => {
    array[at] = value & 0xff;
    array[at + 1] = value >> 8;
  };
  word(initial, HEADER.vendor, pciFunction.vendorId);
  word(initial, HEADER.device, pciFunction.deviceId);
  word(initial, HEADER.command, pciFunction.command);
  word(writable, HEADER.command, pciFunction.commandWritable);
  initial[HEADER.revision] = pciFunction.revision;
  for (let i = 0; i < 3; i++) initial[HEADER.classCode + i] = (pciFunction.classCode >> (8 * i)) & 0xff;
  initial[HEADER.headerType] = pciFunction.multifunction ? MULTIFUNCTION : 0;
  for (const [offset, value, mask] of pciFunction.registers) {
    initial[offset] = value;
    writable[offset] = mask;
  }
  return { selector: selectorOf(pciFunction.device, pciFunction.function), initial, writable, bytes: initial.slice() };
}
