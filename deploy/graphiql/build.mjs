// Builds page.jsx and page.css into the folder that the gateway serves.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const out = new URL("../../api/graphql/graphiql/", import.meta.url).pathname;
const most = 480_000; // characters, all ASCII

for (const name of readdirSync(out)) if (/\.(js|css|txt)$/.test(name)) rmSync(out + name);

// GraphiQL's fonts are in its style sheet as data. The page uses those of the reader's system instead.
const withoutFonts = {
  name: "without-fonts",
  setup: (made) =>
    made.onLoad({ filter: /graphiql.*\.css$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replace(/@font-face\s*\{[^}]*\}/g, ""),
      loader: "css",
    })),
};

const result = await build({
  entryPoints: ["page.jsx", "page.css"],
  outdir: out,
  write: false,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  legalComments: "none",
  define: { "process.env.NODE_ENV": '"production"' },
  plugins: [withoutFonts],
  metafile: true,
});

// No file in git is over 500 kB, so the script is in pieces; the gateway puts them together.
for (const { path, text } of result.outputFiles) {
  const name = path.split("/").pop();
  const pieces = name.endsWith(".js") ? text.match(new RegExp(`[^]{1,${most}}`, "g")) : [text];
  pieces.forEach((piece, index) => writeFileSync(out + (name.endsWith(".js") ? `page.${index + 1}.js` : name), piece));
}

// The licences of all packages that are in the files.
const packages = new Set(
  Object.keys(result.metafile.inputs)
    .map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/)?.[1])
    .filter(Boolean),
);
const notices = [...packages].sort().map((name) => {
  const folder = `node_modules/${name}/`;
  const about = JSON.parse(readFileSync(`${folder}package.json`, "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = file ? readFileSync(folder + file, "utf8").trim() : `License: ${about.license}`;
  return `${name} ${about.version} (${about.license})\n\n${text}\n`;
});
writeFileSync(out + "LICENSES.txt", notices.join(`\n${"-".repeat(80)}\n\n`));
