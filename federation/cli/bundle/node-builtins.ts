import type { Plugin } from "esbuild";

/** Before the colon of what this plug-in loads. */
export const NODE_BUILTINS = "node-builtin";

/**
 * Takes Node's own modules by `process.getBuiltinModule` in place of `import`. An imported one has its every export read
 * at once, getters too, and those of `http` and `crypto` load what no process here uses (undici, WebSocket, webcrypto):
 * 14 MB of memory with nine modules. As CommonJS, because then a name is read when it is used.
 */
export function nodeBuiltins(): Plugin {
  return {
    name: "node-builtins",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^node:/ }, ({ path, kind }) =>
        kind === "import-statement" ? { path, namespace: NODE_BUILTINS } : undefined,
      );
      onLoad({ filter: /.*/, namespace: NODE_BUILTINS }, ({ path }) => ({
        contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
        loader: "js",
      }));
    },
  };
}
