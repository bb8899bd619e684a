/**
 * What a monitor's software does, as primitive steps: how many instructions each takes. One table for all monitors,
 * processors and workloads; cycles are instructions x the profile's monitorCpi (monitor-memory.ts), and memory
 * references, VMREADs and VMWRITEs come on top at their own prices.
 *
 * No monitor of 2005 can be counted any more. The counts are estimates of the paths of a general-purpose monitor
 * (separate dispatch, device framework and shadow MMU layers, as in the published descriptions of VMware's, Xen's
 * and KVM's), made step by step from what the step must do. Only their ratios matter for predictions: the common
 * factor is in monitorCpi, which is fitted to one cell. They are the same whatever a published cell says.
 */
import { SHADOW_STEPS, type ShadowStep } from "../memory/shadow-host.ts";
import type { Step } from "./monitor-memory.ts";

export const MONITOR_STEPS = {
  dispatch: {
    instructions: 160,
    derivation:
      "save 7 registers, find the virtual processor, account the exit (time stamp, counters), test for pending " +
      "host work, index the table of reasons, indirect call",
  },
  snapshot: {
    instructions: 40,
    derivation: "10 VMREADs of the fields that every handler uses, each stored to the virtual processor, with its loop",
  },
  resume: {
    instructions: 120,
    derivation: "test flags for pending work, flush deferred VMCS writes, restore 7 registers, VMRESUME",
  },
  events: {
    instructions: 300,
    derivation:
      "poll the virtual interrupt controllers and timers (priority of two 8259s and a local APIC), compare the next " +
      "virtual deadline with the time-stamp counter, decide injection or interrupt window",
  },
  "io-route": {
    instructions: 520,
    derivation:
      "unpack the qualification, check the port's registration, take the device lock, go through the virtual " +
      "chipset's routing to the device's handler and back, log",
  },
  device: {
    instructions: 340,
    derivation: "a register access in a device model: state look-up, side effects, interrupt line and timer updates",
  },
  complete: {
    instructions: 80,
    derivation: "advance RIP by the instruction's length; interruptibility, TF and RF of an emulated instruction",
  },
  "page-fault": {
    instructions: 60,
    derivation: "fetch address and error code, test for the monitor's own faults, enter the shadow MMU",
  },
  decode: {
    instructions: 250,
    derivation: "table-driven decoding of one instruction: prefixes, opcode map, ModRM, SIB, displacement, immediate",
  },
  emulate: {
    instructions: 150,
    derivation: "effective address, segment checks, operand access through the guest's tables, execution, write-back",
  },
  "emulate-next": {
    instructions: 45,
    derivation:
      "between two instructions that are emulated in a row: compare the next virtual deadline with the clock, the " +
      "interrupt line with the guest's IF and shadow, test again the condition that VT-x did not meet, loop",
  },
  decoded: {
    instructions: 25,
    derivation: "look an instruction up among those decoded already, by guest-physical address and mode",
  },
  "string-iteration": {
    instructions: 20,
    derivation: "one more iteration of a string instruction: count, direction, pointers, condition, deadline",
  },
  deliver: {
    instructions: 260,
    derivation:
      "deliver an event in software: find its gate or real-mode vector, the checks of gate and segments, the frame, " +
      "new CS:EIP and flags",
  },
  "translate-level": {
    instructions: 20,
    derivation: "one level of a software walk for an emulated access: index, load, test present and rights",
  },
  "task-switch": {
    instructions: 400,
    derivation:
      "unpack the qualification, checks of both TSS descriptors, save and load of a TSS field by field, seven segment " +
      "registers with their descriptors' checks; references come on top",
  },
  inject: {
    instructions: 150,
    derivation: "choose the event by priority, combine with one in delivery, compose the interruption information",
  },
  interrupt: {
    instructions: 200,
    derivation: "a physical interrupt while the guest ran: vector to handler, acknowledge, end of interrupt",
  },
  timer: {
    instructions: 100,
    derivation: "turn the next virtual deadline into a count of the physical timer and program it",
  },
  cpuid: { instructions: 120, derivation: "look the leaf up, mask features, write four registers" },
  msr: { instructions: 160, derivation: "find the register in a switch, read or write its virtual copy" },
  "control-register": {
    instructions: 180,
    derivation: "unpack the qualification, check reserved bits and the consequences of changed ones",
  },
  "shadow-descriptor": {
    instructions: 45,
    derivation: "one guest descriptor: unpack, test present, type and end, ring 0 to ring 1, cut the limit, pack",
  },
  "events-test": {
    instructions: 12,
    derivation:
      "no device was accessed: compare the next virtual deadline with the time-stamp counter, test the flag of a waiting interrupt",
  },
  "call-out": {
    instructions: 40,
    derivation:
      "save 7 registers, find the call-out's record by its return address, indirect call; nothing of an exception to examine",
  },
  "cache-enter": {
    instructions: 40,
    derivation: "back into translated code: test flags for pending work, restore 7 registers, compose the frame, IRET",
  },
  "unit-find": {
    instructions: 45,
    derivation: "look a translation unit up by guest EIP and code segment in a hash table of the translator's own",
  },
  "unit-recover": {
    instructions: 60,
    derivation:
      "from an address in the translation cache to its unit and instruction, by a binary search of each; repairs",
  },
  "unit-patch": {
    instructions: 50,
    derivation: "chain a branch, fill a lookup entry, arm the end of a unit: compute, store, note what is to be undone",
  },
  "unit-drop": {
    instructions: 120,
    derivation: "drop a unit: out of the tables, and every branch that leads to it back to its call-out",
  },
  "virtual-state": {
    instructions: 30,
    derivation: "compare the virtual processor with what translated code's data page has of it; stores come on top",
  },
  halt: { instructions: 120, derivation: "nothing runnable: find the next deadline, go idle" },
} as const satisfies Record<string, Step>;
export type MonitorStep = keyof typeof MONITOR_STEPS;

/** Instructions of the shadow MMU's primitives; what each does is described with its name (shadow-host.ts). */
const SHADOW_INSTRUCTIONS: Readonly<Record<ShadowStep, number>> = {
  "guest-level": 20,
  "guest-flags": 25,
  "find-page": 30,
  // clearing 4 KB by REP STOS is 1 024 iterations
  "create-page": 1150,
  "release-page": 80,
  fill: 90,
  zap: 60,
  examine: 25,
  trace: 60,
  untrace: 50,
  "write-protect": 45,
  "root-switch": 60,
};

export const SHADOW_STEP_COSTS: Readonly<Record<ShadowStep, Step>> = Object.fromEntries(
  Object.entries(SHADOW_INSTRUCTIONS).map(([name, instructions]) => [
    name,
    { instructions, derivation: SHADOW_STEPS[name as ShadowStep] },
  ]),
) as Record<ShadowStep, Step>;
