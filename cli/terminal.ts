/**
 * The serial console on a terminal: what is typed goes to the guest, Ctrl-A is ours, as QEMU has it. Raw mode is on from
 * `openTerminal` to `close`, so Ctrl-C is the guest's.
 */
import type { Console } from "./environment.ts";

/** Ctrl-A, and what may follow it. */
const ESCAPE = 0x01;

/** What Ctrl-A commands do. */
export interface TerminalCommands {
  /** Bytes for the guest. */
  readonly send: (bytes: readonly number[]) => void;
  readonly quit: () => void;
  /** Shows where the guest is. */
  readonly status: () => void;
  readonly screen: () => void;
  /** Tells the user something, on a line of its own. */
  readonly tell: (text: string) => void;
}

export const TERMINAL_HELP = `Ctrl-A x  end the run
Ctrl-A c  where the guest is: mode, registers, next instruction
Ctrl-A s  the screen
Ctrl-A Ctrl-A  Ctrl-A itself
Ctrl-A h  this help
`;

/** Takes over the terminal's input; returns how to give it back. */
export function openTerminal(console: Console, commands: TerminalCommands): () => void {
  let escaped = false;
  return console.listen((bytes) => {
    const plain: number[] = [];
    for (const byte of bytes) {
      if (!escaped && byte === ESCAPE) escaped = true;
      else if (!escaped) plain.push(byte);
      else {
        escaped = false;
        if (byte === ESCAPE) plain.push(byte);
        else command(String.fromCharCode(byte), commands);
      }
    }
    if (plain.length > 0) commands.send(plain);
  });
}

function command(letter: string, { quit, status, screen, tell }: TerminalCommands): void {
  switch (letter.toLowerCase()) {
    case "x":
      quit();
      return;
    case "c":
      status();
      return;
    case "s":
      screen();
      return;
    default:
      tell(TERMINAL_HELP);
  }
}
