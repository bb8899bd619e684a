/**
 * The ACPI tables of the board (ACPI specification 1.0b, chapter 5, as every later operating system reads it): RSDP, RSDT,
 * FADT, FACS, MADT and a DSDT with the PCI root, the devices of the ISA bridge that have fixed places, and soft-off.
 *
 * Left out: all methods, PCI interrupt routing (no function interrupts by PCI), sleep states but S5, thermal zones,
 * processor power states; the FACS is in ROM, so that its lock cannot be taken from firmware, which never takes it.
 */
import { ACPI_BASE, ACPI_OFFSET, SCI_IRQ, SOFT_OFF_TYPE } from "../acpi-pm.ts";
import { IO_APIC_BASE, IO_APIC_ID, inputOfIrq } from "../io-apic.ts";
import {
  busRange,
  device,
  eisaId,
  integer,
  irq,
  memoryRange,
  named,
  packageOf,
  portRange,
  ports,
  processor,
  resources,
  scope,
} from "./aml.ts";
import { ascii, checksummed, doubleWord, word, zeros } from "./bytes.ts";

const LOCAL_APIC = 0xfee0_0000;
const HEADER_BYTES = 36;
const CHECKSUM_AT = 9;
const OEM = "RINGLB";
const OEM_TABLE = "RINGLAB";

/** A table with the header that all but RSDP and FACS have (5.2.3). */
function table(signature: string, revision: number, body: readonly number[]): number[] {
  const head = [...ascii(signature, 4), ...doubleWord(HEADER_BYTES + body.length), revision, 0, ...ascii(OEM, 6)];
  const tail = [...ascii(OEM_TABLE, 8), ...doubleWord(1), ...ascii("RNGL", 4), ...doubleWord(1)];
  return checksummed([...head, ...tail, ...body], CHECKSUM_AT);
}

/** Root system description pointer (5.2.4). */
export function rsdp(rsdtAddress: number): number[] {
  return checksummed([...ascii("RSD PTR ", 8), 0, ...ascii(OEM, 6), 0, ...doubleWord(rsdtAddress)], 8);
}

export function rsdt(addresses: readonly number[]): number[] {
  return table("RSDT", 1, addresses.flatMap(doubleWord));
}

/** Firmware ACPI control structure (5.2.6): no waking vector, lock free. */
export function facs(): number[] {
  return [...ascii("FACS", 4), ...doubleWord(64), ...zeros(56)];
}

const FADT_FLAGS = {
  /** WBINVD works; HLT is all there is in C1; the power button is a fixed one, the sleep button is none. */
  wbinvd: 1 << 0,
  c1: 1 << 2,
  noSleepButton: 1 << 5,
} as const;

/** Fixed ACPI description table (5.2.5), revision 1. */
export function fadt(facsAddress: number, dsdtAddress: number): number[] {
  const block = (offset: number): number[] => doubleWord(ACPI_BASE + offset);
  return table("FACP", 1, [
    ...doubleWord(facsAddress),
    ...doubleWord(dsdtAddress),
    // Dual 8259s beside the I/O APIC; the SCI; no SMI command port: always in ACPI mode.
    ...[1, 0, ...word(SCI_IRQ), ...doubleWord(0), 0, 0, 0, 0],
    // PM1a and PM1b event, PM1a and PM1b control, PM2 control, timer, GPE0 and GPE1 blocks, and their lengths.
    ...[...block(ACPI_OFFSET.event), ...doubleWord(0)],
    ...[...block(ACPI_OFFSET.control), ...doubleWord(0)],
    ...[...doubleWord(0), ...block(ACPI_OFFSET.timer), ...doubleWord(0), ...doubleWord(0)],
    ...[4, 2, 0, 4, 0, 0, 0, 0],
    // C2 and C3 are not supported; no cache flushing by reads; no duty cycle; no RTC alarm day or month, century 32h.
    ...[...word(101), ...word(1001), ...word(0), ...word(0), 0, 0, 0, 0, 0x32, 0, 0, 0],
    ...doubleWord(FADT_FLAGS.wbinvd | FADT_FLAGS.c1 | FADT_FLAGS.noSleepButton),
  ]);
}

/** Active high, level-triggered: the SCI; 0 conforms to the bus. */
const HIGH_LEVEL = 0x0d;

/** Multiple APIC description table (5.2.8): one processor, one I/O APIC. */
export function madt(): number[] {
  const override = (source: number, flags: number): number[] => [
    ...[2, 10, 0, source],
    ...doubleWord(inputOfIrq(source)),
    ...word(flags),
  ];
  return table("APIC", 1, [
    ...doubleWord(LOCAL_APIC),
    ...doubleWord(1),
    ...[0, 8, 0, 0, ...doubleWord(1)],
    ...[1, 12, IO_APIC_ID, 0, ...doubleWord(IO_APIC_BASE), ...doubleWord(0)],
    ...override(0, 0),
    ...override(SCI_IRQ, HIGH_LEVEL),
    // NMI at LINT1 of all processors.
    ...[4, 6, 0xff, ...word(0), 1],
  ]);
}

/** A device of the ISA bridge with its fixed resources. */
function legacy(name: string, id: string, unit: number, ...descriptors: readonly number[][]): number[] {
  return device(
    name,
    named("_HID", eisaId(id)),
    named("_UID", integer(unit)),
    named("_CRS", resources(...descriptors)),
  );
}

/** Differentiated system description table. RAM ends at `topOfMemory`; the host bridge passes on what is above it. */
export function dsdt(topOfMemory: number): number[] {
  const windows = resources(
    busRange(0, 0xff),
    ports(0xcf8, 8),
    portRange(0, 0xcf7),
    portRange(0xd00, 0xffff),
    memoryRange(0xa0000, 0xbffff),
    memoryRange(Math.max(topOfMemory, 0x8000_0000), IO_APIC_BASE - 1),
  );
  const isa = device(
    "ISA",
    named("_ADR", integer(0x1f_0000)),
    legacy("RTC", "PNP0B00", 0, ports(0x70, 2), irq(8)),
    legacy("KBD", "PNP0303", 0, ports(0x60, 1), ports(0x64, 1), irq(1)),
    legacy("MOU", "PNP0F13", 0, irq(12)),
    legacy("COM1", "PNP0501", 1, ports(0x3f8, 8), irq(4)),
    legacy("COM2", "PNP0501", 2, ports(0x2f8, 8), irq(3)),
  );
  const root = device("PCI0", named("_HID", eisaId("PNP0A03")), named("_UID", integer(0)), named("_CRS", windows), isa);
  return table("DSDT", 1, [
    ...named("\\_S5", packageOf(...[SOFT_OFF_TYPE, SOFT_OFF_TYPE, 0, 0].map(integer))),
    ...scope("\\_PR", processor("CPU0", 0)),
    ...scope("\\_SB", root),
  ]);
}
