/**
 * The serial console on a terminal: what is typed goes to the guest, Ctrl-A is ours, as QEMU has it. Raw mode is on from
 * `openTerminal` to `close`, so Ctrl-C is the guest's.
 */
import { keysOf } from "../experiments/script.ts";
import type { KeyEvent } from "../sim/machine.ts";
import type { Console } from "./environment.ts";

/** Ctrl-A, and what may follow it. */
const ESCAPE = 0x01;

/** What Ctrl-A commands do. */
export interface TerminalCommands {
  /** Bytes for the guest's serial port. */
  readonly send: (bytes: readonly number[]) => void;
  /** Keys for its keyboard. */
  readonly type: (keys: readonly KeyEvent[]) => void;
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
Ctrl-A k  what you type goes to the keyboard, or to the serial port again
Ctrl-A Ctrl-A  Ctrl-A itself
Ctrl-A h  this help
`;

/** Takes over the terminal's input; returns how to give it back. */
export function openTerminal(console: Console, commands: TerminalCommands): () => void {
  let escaped = false;
  let keyboard = false;
  const deliver = (bytes: readonly number[]) => {
    if (keyboard) commands.type(terminalKeys(String.fromCharCode(...bytes)));
    else commands.send(bytes);
  };
  return console.listen((bytes) => {
    const plain: number[] = [];
    for (const byte of bytes) {
      if (!escaped && byte === ESCAPE) escaped = true;
      else if (!escaped) plain.push(byte);
      else {
        escaped = false;
        if (byte === ESCAPE) plain.push(byte);
        else if (byte === 0x6b) {
          keyboard = !keyboard;
          commands.tell(
            `what you type goes to the ${keyboard ? "keyboard; Ctrl-A s shows the screen" : "serial port"}\n`,
          );
        } else command(String.fromCharCode(byte), commands);
      }
    }
    if (plain.length > 0) deliver(plain);
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

/** Keys by what a terminal sends for them (ECMA-48, as xterm has it). */
const SEQUENCES: Readonly<Record<string, string>> = {
  ...{ "[A": "up", "[B": "down", "[C": "right", "[D": "left", "[H": "home", "[F": "end" },
  ...{ "[2~": "insert", "[3~": "delete", "[5~": "page-up", "[6~": "page-down" },
  ...{ OP: "f1", OQ: "f2", OR: "f3", OS: "f4", "[15~": "f5", "[17~": "f6", "[18~": "f7", "[19~": "f8" },
  ...{ "[20~": "f9", "[21~": "f10", "[23~": "f11", "[24~": "f12" },
};

/** What was typed on a terminal, as keys of the guest's keyboard; what is on no key is left out. */
export function terminalKeys(typed: string): readonly KeyEvent[] {
  const events: KeyEvent[] = [];
  const sequence = new RegExp(`${String.fromCharCode(0x1b)}(\\[[0-9;]*[A-Z~]|O[A-Z])|.`, "gs");
  for (const [one, code] of typed.matchAll(sequence)) {
    const keys = keysOf(code === undefined ? notation(one) : `<${SEQUENCES[code] ?? "escape"}>`);
    if (!("error" in keys)) events.push(...keys);
  }
  return events;
}

/** A character in the notation of `--send-keys`: control characters that are no keys of their own with Ctrl. */
function notation(character: string): string {
  const code = character.charCodeAt(0);
  if (character === "<") return "<lt>";
  const ownKey = "\b\t\n\r\u001b".includes(character);
  return code >= 0x20 || code === 0 || ownKey ? character : `<ctrl+${String.fromCharCode(code + 0x60)}>`;
}
