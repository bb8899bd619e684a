// A worker for tests of the pool: what it does is said by the point's command line.

export function work({ task, serial }) {
  const result = { end: { kind: "exit", status: 0 }, serial: "", regions: [] };
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
    default:
  }
  return result;
}
