/** A process of its own for one guest on v86: IMAGE COMMAND-LINE MB. Its serial output goes to standard output. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { V86 } from "v86";
import { V86_FOLDER } from "./v86.ts";

/** What v86's own tests use of it, and its types leave out. */
interface Cpu {
  readonly io: { port_read32(port: number): number };
  readonly reg32: Int32Array;
  reboot_internal(): void;
  reset_memory(): void;
  /** Puts a multiboot kernel in place; a read of port F4h then enters it, and gives EAX. */
  load_multiboot_option_rom(image: ArrayBuffer, initrd: undefined, commandLine: string): unknown;
}

const MULTIBOOT_PORT = 0xf4;
const [image, commandLine, memoryMb] = process.argv.slice(2) as [string, string, string];

const emulator = new V86({
  ...{ autostart: false, memory_size: Number(memoryMb) * 2 ** 20, vga_memory_size: 2 ** 20, log_level: 0 },
  ...{ disable_keyboard: true, disable_mouse: true, disable_speaker: true, acpi: true },
  wasm_path: join(V86_FOLDER, "build", "v86.wasm"),
});
emulator.add_listener("serial0-output-byte", (byte: number) => process.stdout.write(String.fromCharCode(byte)));
emulator.add_listener("emulator-loaded", () => {
  const { cpu } = (emulator as unknown as { readonly v86: { readonly cpu: Cpu } }).v86;
  cpu.reboot_internal();
  cpu.reset_memory();
  cpu.load_multiboot_option_rom(new Uint8Array(readFileSync(image)).buffer, undefined, commandLine);
  cpu.reg32[0] = cpu.io.port_read32(MULTIBOOT_PORT);
  void emulator.run();
});
