// Bundles src/drive.ts for Node, with Relay's own Babel plugin for its tagged queries.
import { readFile } from "node:fs/promises";
import { transformAsync } from "@babel/core";
import { build } from "esbuild";

const relay = {
  name: "relay",
  setup(build) {
    build.onLoad({ filter: /src\/relay\.ts$/ }, async ({ path }) => {
      const done = await transformAsync(await readFile(path, "utf8"), {
        filename: path,
        plugins: [["relay", { eagerEsModules: true }]],
        presets: ["@babel/preset-typescript"],
      });
      return { contents: done.code, loader: "js" };
    });
  },
};

await build({
  entryPoints: ["src/drive.ts"],
  outfile: "drive.cjs",
  bundle: true,
  platform: "node",
  format: "cjs",
  logLevel: "error",
  plugins: [relay],
});
