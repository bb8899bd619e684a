// A worker for tests of the pool: what it does is said by the point's command line.

export async function work({ task, serial }) {
  const result = {
    ...{ end: { kind: "exit", status: 0 }, serial: "", digest: [], ticks: 1200, frequencyMHz: 1000, instructions: 10 },
    ...{ accounts: [], exits: [], counters: {}, regions: [], ticksLost: 0 },
  };
  switch (task.point.parameters) {
    case "die":
      process.exit(3);
      break;
    case "spin":
      for (;;);
    case "talk":
      for (const line of ["one\n", "two\n", "three\n"]) serial.postMessage(line);
      serial.postMessage(null);
      break;
    case "pause=1":
      // the first repetitions are done at once, the others never
      if (task.point.repetition >= 2) await new Promise((resolve) => setTimeout(resolve, 60_000));
      break;
    default:
  }
  return result;
}
