// The BIOS on the machine: what it does without a disk, with two, with keys from the keyboard, and after a reset. Services are
// in t-bios (boot-guests.test.ts).
import { describe, expect, test } from "vitest";
import { readBios } from "../../experiments/images.ts";
import { planBoot } from "../../sim/boot.ts";
import { TICKS_PER_CYCLE } from "../../sim/clock.ts";
import { profileNamed } from "../../sim/cpu/profiles/catalogue.ts";
import { boardFor } from "../../sim/devices/board.ts";
import { Machine, type TechniqueName } from "../../sim/machine.ts";
import { PENTIUM4 } from "./rig.ts";

const SECOND = 3_800_000_000 * TICKS_PER_CYCLE;

/** A disk of 1 MB with this code in its boot sector. */
function disk(code: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(2 ** 20);
  bytes.set(code);
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

interface Setup {
  readonly technique?: TechniqueName;
  readonly disks?: readonly Uint8Array[];
  readonly echoScreen?: boolean;
}

function machineWith({ technique = "native", disks = [], echoScreen = false }: Setup): [Machine, () => string] {
  const [first, ...others] = disks;
  const options = { commandLine: "", memoryBytes: 16 * 2 ** 20, disks: others, echoScreen };
  const boot = planBoot({ kind: "disk", bytes: first ?? new Uint8Array(512) }, options);
  let serial = "";
  const profile = profileNamed(PENTIUM4);
  const machine = new Machine({
    ...{ profile, board: boardFor(profile), technique, guestBytes: options.memoryBytes, seed: 1 },
    firmware: readBios(),
    disks: first === undefined ? [] : boot.disks,
    firmwareFiles: boot.firmwareFiles,
    onSerial: (byte) => {
      serial += String.fromCharCode(byte);
    },
  });
  return [machine, () => serial];
}

const LOAD_AX_0 = [0x31, 0xc0, 0x8e, 0xd8]; // XOR AX, AX; MOV DS, AX
const EXIT_AL = [0xe6, 0xf4]; // OUT F4h, AL
const SPIN = [0xf4, 0xeb, 0xfd]; // HLT; JMP back

describe.each(["native", "vtx"] as const)("%s", (technique) => {
  test("without a disk the screen says so, and nothing goes to the serial port", () => {
    const [machine, serial] = machineWith({ technique });
    machine.run(SECOND / 5);
    expect(machine.board.vga.text()[0]).toBe("No bootable disk");
    expect(serial()).toBe("");
  });

  test("what is printed goes to the serial port, too, when the owner wants it", () => {
    const [machine, serial] = machineWith({ technique, echoScreen: true });
    machine.run(SECOND / 5);
    expect(serial()).toBe("No bootable disk\r\n");
  });

  test("a disk without the signature is not booted", () => {
    const blank = disk([...LOAD_AX_0, ...EXIT_AL]);
    blank.fill(0, 510, 512);
    const [machine] = machineWith({ technique, disks: [blank] });
    machine.run(SECOND / 5);
    expect(machine.board.vga.text()[0]).toBe("No bootable disk");
  });

  test("a key goes from the keyboard to INT 16h", () => {
    const code = [0xb4, 0x00, 0xcd, 0x16, ...EXIT_AL]; // MOV AH, 0; INT 16h
    const [machine] = machineWith({ technique, disks: [disk(code)] });
    expect(machine.run(SECOND / 5)).toMatchObject({ kind: "limit" });
    machine.sendKeys([
      { name: "left-shift", down: true },
      { name: "a", down: true },
      { name: "a", down: false },
      { name: "left-shift", down: false },
    ]);
    expect(machine.run(SECOND)).toEqual({ kind: "exit", status: 0x41 });
  });

  test("the second disk is 81h", () => {
    // INT 13h AX=0201h CX=1 DX=81h ES:BX=0:8000; MOV AL, [8000h]
    const code = [
      ...LOAD_AX_0,
      ...[0x8e, 0xc0, 0xb8, 0x01, 0x02, 0xb9, 0x01, 0x00, 0xba, 0x81, 0x00, 0xbb, 0x00, 0x80, 0xcd, 0x13],
      ...[0xa0, 0x00, 0x80, ...EXIT_AL],
    ];
    const [machine] = machineWith({ technique, disks: [disk(code), disk([0x5a])] });
    expect(machine.run(SECOND)).toEqual({ kind: "exit", status: 0x5a });
  });

  test("a first disk of a floppy's size is drive 00h with a floppy's geometry", () => {
    // OR DL, DL; JNZ spin; INT 13h AX=0201h CX=0001h DX=0100h ES:BX=0:8000; MOV AL, [8000h]
    const code = [
      ...[0x08, 0xd2, 0x75, 0xfe, ...LOAD_AX_0],
      ...[0x8e, 0xc0, 0xb8, 0x01, 0x02, 0xb9, 0x01, 0x00, 0xba, 0x00, 0x01, 0xbb, 0x00, 0x80, 0xcd, 0x13],
      ...[0xa0, 0x00, 0x80, ...EXIT_AL],
    ];
    const floppy = new Uint8Array(2880 * 512);
    floppy.set(disk(code).subarray(0, 512));
    floppy[18 * 512] = 0x3c;
    const [machine] = machineWith({ technique, disks: [floppy] });
    expect(machine.run(SECOND)).toEqual({ kind: "exit", status: 0x3c });
  });

  test("a reset with shutdown code 0Ah goes on where 0040:0067 points", () => {
    const code = [
      ...LOAD_AX_0,
      ...[0xc7, 0x06, 0x67, 0x04, 0x20, 0x7c], // MOV WORD [467h], 7C20h
      ...[0xc7, 0x06, 0x69, 0x04, 0x00, 0x00], // MOV WORD [469h], 0
      ...[0xb0, 0x0f, 0xe6, 0x70, 0xb0, 0x0a, 0xe6, 0x71], // CMOS 0Fh = 0Ah
      ...[0xe4, 0x92, 0x0c, 0x01, 0xe6, 0x92], // port 92h: reset
      ...[0xeb, 0xfe],
      ...[0xb0, 0x07, ...EXIT_AL],
    ];
    const [machine] = machineWith({ technique, disks: [disk(code)] });
    expect(machine.run(SECOND)).toEqual({ kind: "exit", status: 7 });
  });

  test("Control, Alt and Delete boot anew, and memory tells that it was a warm boot", () => {
    const code = [
      ...LOAD_AX_0,
      ...[0x81, 0x3e, 0x72, 0x04, 0x34, 0x12], // CMP WORD [472h], 1234h
      ...[0x74, 0x04], // JE exit
      ...[0xfb, ...SPIN], // STI
      ...[0xb0, 0x09, ...EXIT_AL],
    ];
    const [machine] = machineWith({ technique, disks: [disk(code)] });
    machine.run(SECOND / 5);
    machine.sendKeys(["left-control", "left-alt", "delete"].map((name) => ({ name, down: true })));
    expect(machine.run(2 * SECOND)).toEqual({ kind: "exit", status: 9 });
  });
});
