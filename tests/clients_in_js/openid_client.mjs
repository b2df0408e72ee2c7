// A certified client does all that it can: discovery, code with PKCE and nonce, refresh, introspection, revocation,
// client credentials, private_key_jwt. Reads its task as JSON from the first line of standard input. Prints the address
// that the person has to open as a line; the next line of input is where their browser was sent. Then prints the result.
import * as client from "openid-client";
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => (await lines.next()).value;
const { issuer, web, partner } = JSON.parse(await read());
const local = { execute: [client.allowInsecureRequests] }; // http, for a gateway on this machine
const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

// A web shop with a secret, whose people sign in here.
const shop = await client.discovery(new URL(issuer), web.id, undefined, client.ClientSecretBasic(web.secret), local);
const code_verifier = client.randomPKCECodeVerifier();
const [state, nonce] = [client.randomState(), client.randomNonce()];
console.log(client.buildAuthorizationUrl(shop, {
  redirect_uri: web.redirectUri,
  scope: web.scope,
  code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
  code_challenge_method: "S256",
  state,
  nonce,
}).href);
const checks = { pkceCodeVerifier: code_verifier, expectedState: state, expectedNonce: nonce, maxAge: 300, idTokenExpected: true };
const first = await client.authorizationCodeGrant(shop, new URL(await read()), checks);
client.enableNonRepudiationChecks(shop); // from now on it also checks the signature of ID tokens, with the JWKS
const second = await client.refreshTokenGrant(shop, first.refresh_token);
const seen = await client.tokenIntrospection(shop, second.access_token);
await client.tokenRevocation(shop, second.refresh_token);
const afterwards = await client.tokenIntrospection(shop, second.refresh_token);

// A partner with a key and no secret, and the shop itself.
const key = await crypto.subtle.importKey("jwk", partner.key, algorithm, false, ["sign"]);
const keyHolder = await client.discovery(
  new URL(issuer), partner.id, undefined, client.PrivateKeyJwt({ key, kid: partner.key.kid }), local);
const byKey = await client.clientCredentialsGrant(keyHolder, { scope: partner.scope });
const bySecret = await client.clientCredentialsGrant(shop, { scope: web.ownScope });

console.log(JSON.stringify({
  first: { ...first, claims: first.claims() }, second, seen, afterwards, byKey, bySecret,
  endSession: shop.serverMetadata().end_session_endpoint,
}));
process.exit(0);
