"""A client of the gateway that speaks as any shop would: a token by OAuth 2, questions by GraphQL over HTTP."""

import base64
import json
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from cli.site import DIRECT
from core.errors import PenchantError

PATIENCE = 30.0  # seconds

QUERY = """query Next($user: ID!) {
  user(id: $user) {
    recommendations(first: 5) {
      modelVersion
      degraded
      edges { rank score reason { code text } node { id title } }
    }
  }
}"""


class NoAnswer(PenchantError):
    """The gateway did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client of one gateway."""

    base_url: str
    id: str
    secret: str

    def token(self) -> str:
        """A fresh access token of the client's own."""
        credentials = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
        form = urlencode({"grant_type": "client_credentials"}).encode()
        answer = _post(f"{self.base_url}/oauth/token", form, {"Authorization": f"Basic {credentials}"})
        return str(answer["access_token"])

    def next_items(self, user: str) -> dict[str, Any]:
        """What this user wants next: the `recommendations` of QUERY.

        Raises:
            NoAnswer: the gateway answered with errors, or with nothing to show.
        """
        headers = {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}
        answer = _post(f"{self.base_url}/graphql", request_body(user).encode(), headers)
        found = ((answer.get("data") or {}).get("user") or {}).get("recommendations") or {}
        if answer.get("errors") or not found.get("edges"):
            raise NoAnswer(f"The gateway's answer has no items in it: {json.dumps(answer)[:500]}")
        return dict(found)


def request_body(user: str) -> str:
    """The body of the HTTP request that asks QUERY."""
    return json.dumps({"query": " ".join(QUERY.split()), "variables": {"user": user}})


def _post(url: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    try:
        request = urllib.request.Request(url, body, headers)  # noqa: S310  # our own gateway, over http
        with DIRECT.open(request, timeout=PATIENCE) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as error:
        raise NoAnswer(f"{url} answered {error.code}: {error.read(500).decode(errors='replace')}") from error
    except OSError as error:
        raise NoAnswer(f"{url} did not answer: {error}") from error
