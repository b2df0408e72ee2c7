// Subscribes to jobs with graphql-ws and graphql-sse. The first line of standard input is the task; the script prints
// "subscribed" when both have an answer, and at the end what both received until two jobs had changed.
import { createInterface } from "node:readline";
import { createClient as createSse } from "graphql-sse";
import { createClient as createWs } from "graphql-ws";
import WebSocket from "ws";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { url, token } = JSON.parse((await lines.next()).value);
const query = "subscription { jobs { id state } }";
const authorization = `Bearer ${token}`;

const ws = createWs({
  url: `${url.replace("http", "ws")}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: authorization },
  retryAttempts: 0,
});
const sse = createSse({ url: `${url}/graphql`, headers: { authorization }, retryAttempts: 0 });

async function follow(client, ready) {
  const states = [];
  for await (const { data, errors } of client.iterate({ query })) {
    if (errors) throw new Error(JSON.stringify(errors));
    states.push(data.jobs.state);
    ready();
    if (states.length === 2) break;
  }
  return states;
}

let waiting = 2;
const ready = () => {
  waiting -= 1;
  if (waiting === 0) console.log("subscribed");
};
const [overWs, overSse] = await Promise.all([follow(ws, ready), follow(sse, ready)]);

const single = await new Promise((resolve, reject) => {
  let found;
  ws.subscribe(
    { query: "query ($id: ID!) { item(id: $id) { id } }", variables: { id: "milk" } },
    { next: (value) => (found = value), error: reject, complete: () => resolve(found) },
  );
});

const refused = createWs({
  url: `${url.replace("http", "ws")}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: "Bearer forged" },
  retryAttempts: 0,
  lazy: true,
});
const closed = await new Promise((resolve) => {
  refused.subscribe({ query }, { next: () => {}, error: (event) => resolve(event.code), complete: () => {} });
});

console.log(JSON.stringify({ overWs, overSse, single, closed }));
await ws.dispose();
sse.dispose();
process.exit(0);
