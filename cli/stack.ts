/**
 * Positions of a stack trace in the sources. Node can do that by itself, but then reads every source map at every start;
 * this reads one when there is a bug to report.
 */
import { readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { shown } from "../experiments/paths.ts";

/** The same text with `file:line:column` of compiled code as that of its source, where there is a map beside it. */
export function sourcePositions(stack: string): string {
  const maps = new Map<string, SourceMap | null>();
  return stack.replace(
    /((?:file:\/\/)?\/[^\s()]+\.c?js):(\d+):(\d+)/g,
    (found, file: string, line: string, column: string) => {
      const path = file.startsWith("file:") ? fileURLToPath(file) : file;
      if (!maps.has(path)) maps.set(path, mapOf(path));
      const entry = maps.get(path)?.findEntry(Number(line) - 1, Number(column) - 1);
      if (entry === undefined || !("originalSource" in entry)) return found;
      const source = shown(resolve(dirname(path), entry.originalSource));
      return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
    },
  );
}

function mapOf(path: string): SourceMap | null {
  try {
    return new SourceMap(JSON.parse(readFileSync(`${path}.map`, "utf8")) as SourceMapPayload);
  } catch {
    return null;
  }
}
