/**
 * What virtual-8086 mode does differently (SDM vol. 3, 21.2 and 21.3): INT n below IOPL 3, and with CR4.VME its
 * redirection to the program's own interrupt table by a bitmap in the TSS. INT3, INTO and INT1 do not look at IOPL and
 * are not redirected. Flags are in flags.ts, IRET in iret.ts, delivery to the monitor in delivery.ts.
 */
import { ACCESS, type Environment } from "../environment.ts";
import { type CpuState, CR4, FLAG, limitCell, raise, SEG, VECTOR } from "../state.ts";
import { inVirtual8086, ioPrivilegeLevel, stopped } from "./checks.ts";
import { SYSTEM_TYPE } from "./descriptors.ts";
import { enterHandler } from "./mode8086.ts";

/** The redirection bitmap is the 32 bytes below the I/O permission bitmap, whose offset is here in a 32-bit TSS. */
const IO_MAP_BASE = 0x66;
const REDIRECTION_BYTES = 32;

/** What becomes of INT n in virtual-8086 mode. */
export const SOFTWARE_INTERRUPT = {
  /** It goes through the IDT like every other event. */
  TO_MONITOR: 0,
  /** The program's own handler has been entered. */
  REDIRECTED: 1,
  /** A fault is signalled. */
  FAULT: 2,
} as const;

/**
 * INT n with the EIP of the instruction after it (SDM vol. 3, table 21-2, methods 1 to 6). Charges a redirected one.
 */
export function softwareInterrupt8086(state: CpuState, env: Environment, vector: number, next: number): number {
  const trusted = ioPrivilegeLevel(state) === 3;
  if ((state.cr4 & CR4.VME) !== 0) {
    const bit = redirectionBit(state, env, vector);
    if (stopped(state)) return SOFTWARE_INTERRUPT.FAULT;
    if (bit === 0) return redirect(state, env, vector, next, trusted);
  }
  if (trusted) return SOFTWARE_INTERRUPT.TO_MONITOR;
  raise(state, VECTOR.GP, 0);
  return SOFTWARE_INTERRUPT.FAULT;
}

const PENDING = FLAG.VIF | FLAG.VIP;

/**
 * Whether the next instruction is #GP(0) because a virtual interrupt waits and may be taken (SDM vol. 3, 21.3.2): the
 * monitor has returned with both VIF and VIP set.
 */
export function virtualInterruptDue(state: CpuState): boolean {
  return (state.flags & PENDING) === PENDING && inVirtual8086(state) && (state.cr4 & CR4.VME) !== 0;
}

/** The vector's bit of the redirection bitmap: 0 redirects. #GP(0) when the TSS does not hold it. */
function redirectionBit(state: CpuState, env: Environment, vector: number): number {
  const limit = state.get(limitCell(SEG.tr));
  const type = state.segmentRights(SEG.tr) & 0xf;
  const tss32 = type === SYSTEM_TYPE.TSS32_BUSY || type === SYSTEM_TYPE.TSS32_AVAILABLE;
  const access = ACCESS.READ | ACCESS.DESCRIPTOR;
  const tss = state.segmentBase(SEG.tr);
  if (tss32 && IO_MAP_BASE + 1 <= limit) {
    const map = env.load((tss + IO_MAP_BASE) >>> 0, 2, access);
    if (stopped(state)) return 1;
    const at = map - REDIRECTION_BYTES + (vector >>> 3);
    if (at >= 0 && at <= limit) return (env.load((tss + at) >>> 0, 1, access) >>> (vector & 7)) & 1;
  }
  raise(state, VECTOR.GP, 0);
  return 1;
}

/** To the handler in the table at linear address 0; below IOPL 3 the program sees VIF as IF, and an IOPL of 3. */
function redirect(state: CpuState, env: Environment, vector: number, next: number, trusted: boolean): number {
  const flags = state.flags;
  const virtualIf = (flags & FLAG.VIF) !== 0 ? FLAG.IF : 0;
  const image = trusted ? flags : (flags & ~FLAG.IF) | FLAG.IOPL | virtualIf;
  const cleared = FLAG.TF | FLAG.RF | (trusted ? FLAG.IF : FLAG.VIF);
  if (!enterHandler(state, env, vector * 4, image, next, cleared)) return SOFTWARE_INTERRUPT.FAULT;
  env.charge("intSame");
  return SOFTWARE_INTERRUPT.REDIRECTED;
}
