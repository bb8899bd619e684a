/**
 * The MP tables of the board (MultiProcessor Specification 1.4, chapter 4): one processor, one I/O APIC, PCI and ISA. For
 * kernels that look for them to find the I/O APIC. Virtual wire mode: there is no IMCR.
 */
import type { Profile } from "../../cpu/profiles/profile.ts";
import { SCI_IRQ } from "../acpi-pm.ts";
import { IO_APIC_BASE, IO_APIC_ID, inputOfIrq } from "../io-apic.ts";
import { ascii, checksummed, doubleWord, word, zeros } from "./bytes.ts";

const REVISION = 4;
const LOCAL_APIC = 0xfee0_0000;
const LOCAL_APIC_VERSION = 0x14;
const IO_APIC_VERSION = 0x20;
const HEADER_BYTES = 44;
const ENTRY = { processor: 0, bus: 1, ioApic: 2, interrupt: 3, localInterrupt: 4 } as const;
const BUS = { pci: 0, isa: 1 } as const;
const INTERRUPT = { vectored: 0, nmi: 1, extInt: 3 } as const;
/** Processor flags: enabled, bootstrap. */
const ENABLED_BOOTSTRAP = 3;
const ALL_APICS = 0xff;
/** Active high, level-triggered; 0 conforms to the bus. */
const HIGH_LEVEL = 0x0d;
/** ISA interrupts: all but the 8259s' cascade. */
const ISA_IRQS = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] as const;

/** The floating pointer structure (4.1). */
export function mpPointer(tableAddress: number): number[] {
  return checksummed([...ascii("_MP_", 4), ...doubleWord(tableAddress), 1, REVISION, 0, 0, 0, 0, 0, 0], 10);
}

/** The configuration table (4.2, 4.3). */
export function mpTable(profile: Profile): number[] {
  const leaf = profile.cpuid[1];
  const interrupt = (type: number, irq: number, input: number, flags = 0): number[] => [
    ...[ENTRY.interrupt, type, ...word(flags)],
    ...[BUS.isa, irq, IO_APIC_ID, input],
  ];
  const local = (type: number, pin: number): number[] => [
    ...[ENTRY.localInterrupt, type, ...word(0)],
    ...[BUS.isa, 0, ALL_APICS, pin],
  ];
  const entries = [
    [
      ...[ENTRY.processor, 0, LOCAL_APIC_VERSION, ENABLED_BOOTSTRAP],
      ...doubleWord(leaf?.eax ?? 0),
      ...doubleWord(leaf?.edx ?? 0),
      ...zeros(8),
    ],
    [ENTRY.bus, BUS.pci, ...ascii("PCI", 6)],
    [ENTRY.bus, BUS.isa, ...ascii("ISA", 6)],
    [ENTRY.ioApic, IO_APIC_ID, IO_APIC_VERSION, 1, ...doubleWord(IO_APIC_BASE)],
    interrupt(INTERRUPT.extInt, 0, 0),
    ...ISA_IRQS.map((irq) => interrupt(INTERRUPT.vectored, irq, inputOfIrq(irq), irq === SCI_IRQ ? HIGH_LEVEL : 0)),
    local(INTERRUPT.extInt, 0),
    local(INTERRUPT.nmi, 1),
  ];
  const body = entries.flat();
  const header = [
    ...[...ascii("PCMP", 4), ...word(HEADER_BYTES + body.length), REVISION, 0],
    ...[...ascii("RINGLAB", 8), ...ascii("PC", 12), ...doubleWord(0), ...word(0), ...word(entries.length)],
    ...[...doubleWord(LOCAL_APIC), ...word(0), 0, 0],
  ];
  return checksummed([...header, ...body], 7);
}
