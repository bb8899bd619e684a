/** What depends on an instruction's form alone (iced-x86's `Code`) is found out once for each: names of forms are slow to look at. */
import type { Instruction } from "iced-x86";

/** The same function, which keeps its answers by form. `tell` may look at nothing of the instruction that its form does not fix. */
export function byForm<Told>(tell: (instruction: Instruction) => Told): (instruction: Instruction) => Told {
  const known: (Told | undefined)[] = [];
  return (instruction) => {
    const { code } = instruction;
    let told = known[code];
    if (told === undefined) {
      told = tell(instruction);
      known[code] = told;
    }
    return told;
  };
}
