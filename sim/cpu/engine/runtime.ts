/**
 * The functions that all regions use, in a module of their own: the time until the deadline, EFLAGS from lazy flags, and the
 * way from one region to another.
 */
import { DEADLINE_CELL, NOW_CELL } from "../../clock.ts";
import { baseCell, CELL, SEG } from "../state.ts";
import { writeBack } from "./across-code.ts";
import { EXIT, FUNCTION, FUNCTION_TYPE, LONGEST, TO_THE_CORE, TRANSFER_USER } from "./contract.ts";
import { STATUS_PARAMETERS, statusFunction } from "./flags-code.ts";
import { type EngineLayout, TRANSFER_BYTES, TRANSFER_SLOTS } from "./layout.ts";
import { loadSegment } from "./segment-load-code.ts";
import { interruptReturn, softwareInterrupt, stiSysexit, sysenter } from "./transition-code.ts";
import { fetch, invalidate, translate } from "./translation-code.ts";
import { FunctionBody, type FunctionType, TYPE, WASM } from "./wasm.ts";

/** Types of functions, by FUNCTION_TYPE of compile.ts. */
export const FUNCTION_TYPES: readonly FunctionType[] = [
  { parameters: [], results: [TYPE.i32] },
  { parameters: [TYPE.i32, TYPE.i32, TYPE.i32], results: [TYPE.i32] },
  { parameters: [TYPE.i32], results: [TYPE.i32] },
  { parameters: new Array<number>(STATUS_PARAMETERS).fill(TYPE.i32), results: [TYPE.i32] },
  { parameters: [TYPE.i32, TYPE.i32], results: [TYPE.i32] },
  { parameters: new Array<number>(4).fill(TYPE.i32), results: [TYPE.i32] },
  { parameters: new Array<number>(5).fill(TYPE.i32), results: [TYPE.i32] },
];

/** A function that all regions use. */
export interface RuntimeFunction {
  readonly name: string;
  readonly type: number;
  readonly body: FunctionBody;
}

/** The functions that all regions use, in the order of FUNCTION. */
export function runtimeFunctions(layout: EngineLayout): readonly RuntimeFunction[] {
  return [
    { name: "budget", type: FUNCTION_TYPE.region, body: budget(layout) },
    { name: "status", type: FUNCTION_TYPE.status, body: statusFunction() },
    { name: "transfer", type: FUNCTION_TYPE.interpret, body: transfer(layout) },
    { name: "exit", type: FUNCTION_TYPE.interpret, body: exit() },
    { name: "loadSegment", type: FUNCTION_TYPE.segment, body: loadSegment(layout) },
    { name: "translate", type: FUNCTION_TYPE.translate, body: translate(layout) },
    { name: "invalidate", type: FUNCTION_TYPE.interpret, body: invalidate(layout) },
    { name: "sysenter", type: FUNCTION_TYPE.translate, body: sysenter(layout) },
    { name: "stiSysexit", type: FUNCTION_TYPE.four, body: stiSysexit(layout) },
    { name: "interruptReturn", type: FUNCTION_TYPE.translate, body: interruptReturn(layout) },
    { name: "softwareInterrupt", type: FUNCTION_TYPE.five, body: softwareInterrupt(layout) },
    { name: "fetch", type: FUNCTION_TYPE.interpret, body: fetch(layout) },
    { name: "writeBack", type: FUNCTION_TYPE.interpret, body: writeBack(layout) },
    { name: "enter", type: FUNCTION_TYPE.interpret, body: enter() },
  ];
}

/** (place) -> why the region at a place in the table, or one to which it has gone, came back. */
function enter(): FunctionBody {
  const f = new FunctionBody(1);
  f.get(0);
  f.returnCallIndirect(FUNCTION_TYPE.region);
  return f;
}

/** Goes to the region at EIP in the mode that is on the stack, or to the core. `scratch` is a local. */
export function leaveFor(f: FunctionBody, scratch: number): void {
  f.tee(scratch);
  f.i32(TO_THE_CORE);
  f.op(WASM.i32Eq);
  f.open(WASM.if);
  f.i32(EXIT.LEFT);
  f.op(WASM.return);
  f.end();
  f.get(scratch);
  f.returnCall(FUNCTION.transfer);
}

/**
 * (reason) -> what the next region returns, or LEFT: what an instruction has signalled, whose length is in bits 8 and up, is
 * dealt with; what the interpreter must run is run.
 */
function exit(): FunctionBody {
  const f = new FunctionBody(1);
  const scratch = f.addLocal();
  f.get(0);
  f.i32(0xff);
  f.op(WASM.i32And);
  f.i32(EXIT.SIGNALLED);
  f.op(WASM.i32Eq);
  f.openIf(TYPE.i32);
  f.get(0);
  f.i32(8);
  f.op(WASM.i32ShrU);
  f.call(FUNCTION.signalled);
  f.op(WASM.else);
  f.get(0);
  f.call(FUNCTION.begun);
  f.end();
  leaveFor(f, scratch);
  return f;
}

function timeCell(f: FunctionBody, layout: EngineLayout, cell: number): void {
  f.i32(0);
  f.memory(WASM.f64Load, layout.time + cell * 8, 3);
}

/** Ticks until the deadline, as a small integer: LONGEST at most, -1 when it has passed. */
function budget(layout: EngineLayout): FunctionBody {
  const f = new FunctionBody(0);
  timeCell(f, layout, DEADLINE_CELL);
  timeCell(f, layout, NOW_CELL);
  f.op(WASM.f64Sub);
  f.f64(LONGEST);
  f.op(WASM.f64Min);
  f.f64(-1);
  f.op(WASM.f64Max);
  f.op(WASM.i32TruncF64S);
  return f;
}

/**
 * (mode index) -> what the next region returns, or LEFT: goes to the region at EIP if the deadline has not passed, the
 * fast fetch table has its page, and it is in the table of transfers. Bit 0 of a mode index tells CPL 3 (engine.ts).
 */
function transfer(layout: EngineLayout): FunctionBody {
  const f = new FunctionBody(1);
  const linear = f.addLocal();
  const slot = f.addLocal();
  const physical = f.addLocal();
  const leave = (): void => {
    f.open(WASM.if);
    f.i32(EXIT.LEFT);
    f.op(WASM.return);
    f.end();
  };
  timeCell(f, layout, NOW_CELL);
  timeCell(f, layout, DEADLINE_CELL);
  f.op(WASM.f64Ge);
  leave();
  f.i32(0);
  f.memory(WASM.i32Load, layout.state + CELL.rip * 4, 2);
  f.i32(0);
  f.memory(WASM.i32Load, layout.state + baseCell(SEG.cs) * 4, 2);
  f.op(WASM.i32Add);
  f.tee(linear);
  f.i32(12);
  f.op(WASM.i32ShrU);
  f.tee(physical);
  f.i32((1 << layout.fetchBits) - 1);
  f.op(WASM.i32And);
  // CPL 3 has the second part of the table.
  f.i32(1 << layout.fetchBits);
  f.i32(0);
  f.get(0);
  f.i32(TRANSFER_USER);
  f.op(WASM.i32And);
  f.op(WASM.select);
  f.op(WASM.i32Add);
  f.i32(2);
  f.op(WASM.i32Shl);
  f.tee(slot);
  f.memory(WASM.i32Load, layout.fetchTags, 2);
  f.get(physical);
  f.op(WASM.i32Ne);
  f.open(WASM.if);
  f.get(0);
  f.call(FUNCTION.fetch);
  leaveFor(f, linear);
  f.end();
  f.get(slot);
  f.memory(WASM.i32Load, layout.fetchBases, 2);
  f.get(linear);
  f.i32(0xfff);
  f.op(WASM.i32And);
  f.op(WASM.i32Or);
  f.tee(physical);
  f.get(0);
  f.i32(6);
  f.op(WASM.i32Shl);
  f.op(WASM.i32Xor);
  f.i32(TRANSFER_SLOTS - 1);
  f.op(WASM.i32And);
  f.i32(TRANSFER_BYTES);
  f.op(WASM.i32Mul);
  f.tee(slot);
  f.memory(WASM.i32Load, layout.transfers, 2);
  f.get(physical);
  f.op(WASM.i32Ne);
  f.get(slot);
  f.memory(WASM.i32Load, layout.transfers + 4, 2);
  f.get(0);
  f.op(WASM.i32Ne);
  f.op(WASM.i32Or);
  leave();
  f.get(slot);
  f.memory(WASM.i32Load, layout.transfers + 8, 2);
  f.returnCallIndirect(0);
  return f;
}
