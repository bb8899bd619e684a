/** The host's time in making WebAssembly modules and instances, while it is looked at: sim/ reads no clock. */

export interface CompileTimes {
  readonly milliseconds: number;
  stop(): void;
}

/** Times every `new WebAssembly.Module` and `new WebAssembly.Instance` until it is stopped. */
export function compileTimes(): CompileTimes {
  const { Module, Instance } = WebAssembly;
  let milliseconds = 0;
  const timed = <Constructor extends new (...args: never[]) => object>(made: Constructor): Constructor =>
    new Proxy(made, {
      construct(target, args) {
        const start = performance.now();
        try {
          return new target(...(args as never[]));
        } finally {
          milliseconds += performance.now() - start;
        }
      },
    });
  WebAssembly.Module = timed(Module);
  WebAssembly.Instance = timed(Instance);
  return {
    get milliseconds() {
      return milliseconds;
    },
    stop() {
      WebAssembly.Module = Module;
      WebAssembly.Instance = Instance;
    },
  };
}
