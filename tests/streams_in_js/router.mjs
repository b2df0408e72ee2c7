// Composes our subgraph with a small one that adds a field to items and one to users, and answers a query through both.
import { createServer } from "node:http";
import { ApolloGateway, RemoteGraphQLDataSource } from "@apollo/gateway";
import { composeServices } from "@apollo/composition";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { graphql, parse } from "graphql";

const { url, token } = JSON.parse(process.argv[2]);
const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
const ask = async (query) => (await fetch(`${url}/graphql`, { method: "POST", headers, body: JSON.stringify({ query }) })).json();

const ours = (await ask("{ _service { sdl } }")).data._service.sdl;
const reviews = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key"])
  type Item @key(fields: "id") { id: ID!  stars: Float }
  type User @key(fields: "id") { id: ID!  reviews: Int }
  type Query { bestItem: Item  topReviewer: User }
`;
const schema = buildSubgraphSchema({
  typeDefs: parse(reviews),
  resolvers: {
    Query: { bestItem: () => ({ id: "milk" }), topReviewer: () => ({ id: "anna" }) },
    Item: { stars: ({ id }) => id.length / 2, __resolveReference: (item) => item },
    User: { reviews: ({ id }) => id.length, __resolveReference: (user) => user },
  },
});
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const { query, variables } = JSON.parse(body);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(await graphql({ schema, source: query, variableValues: variables })));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

function compose(sdl) {
  const { supergraphSdl, errors } = composeServices([
    { name: "penchant", typeDefs: parse(sdl), url: `${url}/graphql` },
    { name: "reviews", typeDefs: parse(reviews), url: `http://127.0.0.1:${server.address().port}/` },
  ]);
  if (errors) throw new Error(errors.map(String).join("\n"));
  return supergraphSdl;
}
const scopes = compose(ours).match(/lastUsedAt: DateTime (.*)/)[1];
// Apollo's gateway for Node refuses every supergraph whose directives check scopes; routers that check them do not.
const supergraphSdl = compose(ours.replace(', "@requiresScopes"', ""));

class Forwarding extends RemoteGraphQLDataSource {
  willSendRequest({ request }) {
    request.http.headers.set("authorization", headers.authorization);
  }
}
const logger = { debug() {}, info() {}, warn() {}, error: console.error };
const gateway = new ApolloGateway({ supergraphSdl, logger, buildService: ({ url }) => new Forwarding({ url }) });
const { executor } = await gateway.load();
const query = `{
  item(id: "milk") { id title stars }
  bestItem { title }
  topReviewer { reviews known }
  user(id: "anna") { anonymous reviews }
}`;
const answer = await executor({
  document: parse(query),
  request: { query },
  operationName: null,
  queryHash: "hash",
  context: {},
  metrics: {},
  schema: gateway.schema,
  cache: new Map(),
});
console.log(JSON.stringify({ answer, scopes }));
await gateway.stop();
server.close();
