// Apollo Client and urql with automatic persisted queries, against a gateway: what was sent, and what came.
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";

const [url, token] = process.argv.slice(2);
const page = (name) => gql`query ${name}($first: Int!) { trending(first: $first) { nodes { id } } }`;
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

function watched(sent) {
  return async (address, options = {}) => {
    const response = await fetch(address, options);
    const what = new URL(address).searchParams.has("query") || (options.body ?? "").includes('"query"') ? "text" : "hash";
    sent.push(`${options.method ?? "GET"} ${what} ${response.status}`);
    return response;
  };
}

async function apollo(useGETForHashedQueries, QUERY) {
  const sent = [];
  const link = ApolloLink.from([
    new PersistedQueryLink({ sha256, useGETForHashedQueries }),
    new HttpLink({ uri: url, headers: { authorization: `Bearer ${token}` }, fetch: watched(sent) }),
  ]);
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const answers = [];
  for (const first of [1, 2]) {
    const { data } = await client.query({ query: QUERY, variables: { first }, fetchPolicy: "no-cache" });
    answers.push(data.trending.nodes.length);
  }
  return { sent, answers };
}

async function urql(name) {
  const sent = [];
  const client = new Client({
    url,
    preferGetMethod: true,
    fetch: watched(sent),
    fetchOptions: () => ({ headers: { authorization: `Bearer ${token}` } }),
    exchanges: [
      persistedExchange({ preferGetForPersistedQueries: true, generateHash: async (text) => sha256(text) }),
      fetchExchange,
    ],
  });
  const answers = [];
  for (const first of [1, 2]) {
    const asked = client.query(page(name), { first }, { requestPolicy: "network-only" });
    const { data, error } = await asked.toPromise();
    if (error) throw error;
    answers.push(data.trending.nodes.length);
  }
  return { sent, answers };
}

const answers = { get: await apollo(true, page("ByGet")), post: await apollo(false, page("ByPost")), urql: await urql("Urql") };
console.log(JSON.stringify(answers));
process.exit(0);
