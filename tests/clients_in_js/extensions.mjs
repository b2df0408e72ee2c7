// AppAuth is built for bundlers: it imports its own files without ".js". This adds it, for Node.
import { register } from "node:module";

if (new URL(import.meta.url).search !== "?hook") register(`${import.meta.url}?hook`);

export async function resolve(specifier, context, next) {
  const own = context.parentURL?.includes("/@openid/appauth/") && specifier.startsWith(".");
  return next(own && !specifier.endsWith(".js") ? `${specifier}.js` : specifier, context);
}
