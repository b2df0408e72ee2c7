// AppAuth's whole flow, as an app runs it: discovery, code with PKCE in a browser, refresh, revocation.
// Arguments: issuer, client id, redirect port, scope. $BROWSER is opened for the person. Prints what it got as JSON.
import "./extensions.mjs";

const {
  AuthorizationNotifier, AuthorizationRequest, AuthorizationServiceConfiguration, BaseTokenRequestHandler,
  GRANT_TYPE_AUTHORIZATION_CODE, GRANT_TYPE_REFRESH_TOKEN, RevokeTokenRequest, TokenRequest, setFlag,
} = await import("@openid/appauth/built/src/index.js");
const { NodeBasedHandler } = await import("@openid/appauth/built/src/node_support/node_request_handler.js");
const { NodeCrypto } = await import("@openid/appauth/built/src/node_support/crypto_utils.js");
const { NodeRequestor } = await import("@openid/appauth/built/src/node_support/node_requestor.js");

const [issuer, clientId, port, scope] = process.argv.slice(2);
const redirectUri = `http://127.0.0.1:${port}`;
const requestor = new NodeRequestor();
const tokens = new BaseTokenRequestHandler(requestor);
console.log = () => {}; // AppAuth prints codes and tokens

const configuration = await AuthorizationServiceConfiguration.fetchFromIssuer(issuer, requestor);
const request = new AuthorizationRequest(
  { client_id: clientId, redirect_uri: redirectUri, scope, response_type: AuthorizationRequest.RESPONSE_TYPE_CODE },
  new NodeCrypto(),
);
const handler = new NodeBasedHandler(Number(port));
const answered = new Promise((resolve, reject) => {
  const notifier = new AuthorizationNotifier();
  notifier.setAuthorizationListener((_, response, error) => (response ? resolve(response) : reject(error)));
  handler.setAuthorizationNotifier(notifier);
});
handler.performAuthorizationRequest(configuration, request);
const { code, state } = await answered;

const ask = (grant) =>
  tokens.performTokenRequest(
    configuration, new TokenRequest({ client_id: clientId, redirect_uri: redirectUri, ...grant }));
const first = await ask({
  grant_type: GRANT_TYPE_AUTHORIZATION_CODE, code, extras: { code_verifier: request.internal.code_verifier },
});
const second = await ask({ grant_type: GRANT_TYPE_REFRESH_TOKEN, refresh_token: first.refreshToken });
const revoked = await tokens.performRevokeTokenRequest(
  configuration, new RevokeTokenRequest({ token: second.refreshToken, client_id: clientId }));
process.stdout.write(JSON.stringify({ first, second, revoked, stateKept: state === request.state }));
process.exit(0);
