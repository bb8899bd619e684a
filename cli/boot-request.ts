/** A boot as the simulator takes it: the image with everything that goes with it, read and checked. */
import {
  checkCommandLine,
  checkFits,
  diskWarning,
  type Image,
  readBytes,
  withInitrd,
  withModules,
} from "../experiments/images.ts";
import { shown } from "../experiments/paths.ts";
import type { Point } from "../experiments/point.ts";
import { Problem } from "../experiments/problem.ts";
import type { SimulationRequest } from "../experiments/simulate.ts";
import { requestOf } from "../experiments/task.ts";

/** Options of what goes with an image. */
export interface WithImage {
  readonly append?: string | undefined;
  readonly initrd?: string | undefined;
  /** A file and its arguments each. */
  readonly module?: readonly string[] | undefined;
  readonly disk?: readonly string[] | undefined;
  readonly "echo-screen"?: boolean | undefined;
}

/** Disks that the two IDE channels take. */
const MOST_DISKS = 4;

/**
 * `told` hears a line about what is odd. Throws a Problem: a file that is not there, that the image has no use for, or
 * that does not fit.
 */
export function bootRequest(point: Point, options: WithImage, told: (line: string) => void): SimulationRequest {
  const warn = (line: string | null) => {
    if (line !== null) told(line);
  };
  const request = requestOf(point);
  const image = imageWith(request.image, point.workload, options);
  const commandLine = [point.parameters, options.append ?? ""].filter((part) => part !== "").join(" ");
  checkFits(image, point.workload, request.guestMemoryBytes);
  checkCommandLine(image, point.workload, commandLine);
  const disks = (options.disk ?? []).map((path) => {
    const bytes = readBytes(path);
    warn(diskWarning(bytes, shown(path)));
    return bytes;
  });
  if (image.kind === "disk") warn(diskWarning(image.bytes, point.workload));
  const count = disks.length + (image.kind === "disk" ? 1 : 0);
  if (count > MOST_DISKS) throw new Problem("bad-image", `${count} disks: the two IDE channels take ${MOST_DISKS}`);
  return {
    ...request,
    image,
    commandLine,
    ...(disks.length === 0 ? {} : { disks }),
    ...(options["echo-screen"] === true ? { echoScreen: true } : {}),
  };
}

function imageWith(image: Image, name: string, { initrd, module, append }: WithImage): Image {
  if (append !== undefined && image.kind !== "multiboot" && image.kind !== "bzimage") {
    throw new Problem(
      "bad-image",
      `${name}: neither a multiboot nor a Linux kernel, so it takes no command line (--append)`,
    );
  }
  const withDisk = initrd === undefined ? image : withInitrd(image, readBytes(initrd), name);
  if (module === undefined) return withDisk;
  const modules = module.map((text) => {
    const file = text.split(" ", 1)[0] as string;
    return { bytes: readBytes(file), commandLine: text };
  });
  return withModules(withDisk, modules, name);
}
