"""A page to try queries in a browser: one form, nothing from other hosts, the access token kept in the page only."""

from base64 import b64encode
from hashlib import sha256

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; max-width: 70rem }
textarea, pre, input { font: 13px/1.4 ui-monospace, monospace; width: 100%; box-sizing: border-box; padding: .6rem }
form, pre { display: grid; gap: .5rem } pre { background: #f4f4f4; white-space: pre-wrap; min-height: 4rem }
button { justify-self: start; padding: .4rem 1.2rem }
"""

_SCRIPT = """
const field = (name) => document.getElementById(name);
document.forms[0].addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = field("answer");
  try {
    const variables = field("variables").value.trim();
    const started = performance.now();
    const response = await fetch(location.pathname, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer " + field("token").value.trim() },
      body: JSON.stringify({ query: field("query").value, variables: variables ? JSON.parse(variables) : {} }),
    });
    const text = JSON.stringify(await response.json(), null, 2);
    const took = Math.round(performance.now() - started);
    answer.textContent = "HTTP " + response.status + ", " + took + " ms\\n\\n" + text;
  } catch (error) {
    answer.textContent = String(error);
  }
});
"""


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    f"style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}"
).encode()

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Penchant: GraphQL</title><style>{_STYLE}</style></head>
<body><h1>Penchant</h1>
<form>
<label for="token">Access token</label><input id="token" type="password" autocomplete="off">
<label for="query">Query</label><textarea id="query" rows="14">{{
  trending(first: 5) {{ edges {{ rank node {{ id title }} }} }}
}}</textarea>
<label for="variables">Variables (JSON)</label><textarea id="variables" rows="4"></textarea>
<button>Run</button>
</form>
<h2>Answer</h2><pre id="answer"></pre>
<script>{_SCRIPT}</script></body></html>
""".encode()
