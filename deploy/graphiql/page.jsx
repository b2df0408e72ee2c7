// GraphiQL with a field for an access token. The token stays in this page: it is neither stored nor sent elsewhere.
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createClient } from "graphql-ws";
import { useMemo, useState } from "react";
import { createRoot } from "react-dom/client";

const url = location.origin + location.pathname;
const QUERY = `# Enter an access token above.
# For the schema it needs schema:read.
{
  trending(first: 3) {
    nodes {
      id
      title
    }
  }
}
`;

// Keeps queries and settings of GraphiQL for as long as the tab is open. Headers are not kept.
const storage = window.sessionStorage;

function fetcherOf(token) {
  const authorization = `Bearer ${token}`;
  const wsClient = createClient({
    url: url.replace(/^http/, "ws"),
    connectionParams: { Authorization: authorization },
    retryAttempts: 0,
  });
  return createGraphiQLFetcher({ url, wsClient, headers: { Authorization: authorization } });
}

function Page() {
  const [token, setToken] = useState("");
  const fetcher = useMemo(() => fetcherOf(token), [token]);
  const submit = (event) => {
    event.preventDefault();
    setToken(new FormData(event.target).get("token").trim());
  };
  return (
    <>
      <form id="token" onSubmit={submit}>
        <label htmlFor="token-text">Access token</label>
        <input id="token-text" name="token" type="password" autoComplete="off" spellCheck="false" />
        <button>Use</button>
      </form>
      <main>
        <GraphiQL
          key={token}
          fetcher={fetcher}
          schema={token ? undefined : null} // null: it is not asked for
          storage={storage}
          defaultQuery={QUERY}
          shouldPersistHeaders={false}
        />
      </main>
    </>
  );
}

createRoot(document.getElementById("page")).render(<Page />);
