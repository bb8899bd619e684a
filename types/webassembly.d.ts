// The part of the WebAssembly JavaScript interface (W3C, "WebAssembly JavaScript Interface" level 2) that the compiler uses.
// TypeScript declares it only together with the whole browser (lib.dom), whose many globals we do not want in scope.

declare namespace WebAssembly {
  type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "anyfunc" | "externref";
  type TableKind = "anyfunc" | "externref";
  type ExternalKind = "function" | "table" | "memory" | "global" | "tag";

  interface MemoryDescriptor {
    /** Pages of 64 KiB. */
    initial: number;
    maximum?: number;
    shared?: boolean;
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: ArrayBuffer;
    /** Returns the previous size in pages; detaches `buffer`. */
    grow(delta: number): number;
  }

  interface TableDescriptor {
    element: TableKind;
    initial: number;
    maximum?: number;
  }
  class Table {
    constructor(descriptor: TableDescriptor, value?: unknown);
    readonly length: number;
    // biome-ignore lint/suspicious/noExplicitAny: an exported function has whatever type its module gave it
    get(index: number): any;
    grow(delta: number, value?: unknown): number;
    set(index: number, value?: unknown): void;
  }

  interface GlobalDescriptor {
    value: ValueType;
    mutable?: boolean;
  }
  class Global {
    constructor(descriptor: GlobalDescriptor, value?: number | bigint);
    value: number | bigint;
  }

  type ImportValue = Memory | Table | Global | number | bigint | ((...args: never[]) => unknown);
  type Imports = Record<string, Record<string, ImportValue>>;
  // biome-ignore lint/suspicious/noExplicitAny: an export has whatever type its module gave it
  type Exports = Record<string, any>;

  class Module {
    constructor(bytes: ArrayBufferView | ArrayBuffer);
    static exports(module: Module): { name: string; kind: ExternalKind }[];
    static imports(module: Module): { module: string; name: string; kind: ExternalKind }[];
  }
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
  }

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}

  function validate(bytes: ArrayBufferView | ArrayBuffer): boolean;
}
