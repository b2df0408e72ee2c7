"""A client of the gateway, written as any shop would: tokens by OAuth 2, questions by GraphQL, both over HTTP."""

import base64
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote_plus, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from api.oauth.grant_types import CLIENT_CREDENTIALS
from cli.errors import GatewayUnreachable, Refused

RECOMMENDATIONS = """query Next($user: ID!) {
  user(id: $user) {
    recommendations(first: 5) {
      modelVersion
      degraded
      edges { rank probability reason { code text } node { id title } }
    }
  }
}"""


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client of one gateway. Every method raises Refused or GatewayUnreachable."""

    base_url: str
    id: str
    secret: str
    timeout: float = 30.0  # seconds

    def token(self, form: Mapping[str, str] | None = None) -> str:
        """A fresh access token: what the form of the token endpoint asks for, by default one of the client itself."""
        credentials = base64.b64encode(f"{quote_plus(self.id)}:{quote_plus(self.secret)}".encode()).decode()
        body = urlencode(form or {"grant_type": CLIENT_CREDENTIALS}).encode()
        return str(self._post("/oauth/token", body, {"Authorization": f"Basic {credentials}"})["access_token"])

    def query(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The `data` of a GraphQL answer without errors."""
        body = json.dumps({"query": document, "variables": variables}).encode()
        authorization = {"Authorization": f"Bearer {self.token()}"}
        answer = self._post("/graphql", body, {"Content-Type": "application/json", **authorization})
        if answer.get("errors"):
            raise Refused("Refused: " + "; ".join(error["message"] for error in answer["errors"]))
        return dict(answer["data"])

    def recommendations(self, user: str) -> dict[str, Any]:
        """The `recommendations` of RECOMMENDATIONS, which must hold items."""
        data = self.query(RECOMMENDATIONS, {"user": user})
        found = (data.get("user") or {}).get("recommendations") or {}
        if not found.get("edges"):
            raise Refused(f"The gateway's answer has no items in it: {json.dumps(data)[:500]}")
        return dict(found)

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        request = Request(f"{self.base_url.rstrip('/')}{path}", body)  # noqa: S310  # http or https, see `is_web_address`
        for name, value in headers.items():
            request.add_unredirected_header(name, value)
        try:
            with opener_for(self.base_url).open(request, timeout=self.timeout) as response:
                return dict(json.load(response))
        except HTTPError as error:
            raise Refused(f"Refused: {_reason(error)}") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise GatewayUnreachable(f"No answer from {self.base_url}: {reason}") from None
        except ValueError:
            raise GatewayUnreachable(f"{self.base_url} is not a Penchant gateway.") from None


def request_body(user: str) -> str:
    """The body of the HTTP request that asks RECOMMENDATIONS, on one line."""
    return json.dumps({"query": " ".join(RECOMMENDATIONS.split()), "variables": {"user": user}})


def is_web_address(url: str) -> bool:
    """Whether requests may be sent there: never to a file."""
    return url.startswith(("http://", "https://"))


def answers(url: str) -> bool:
    """Whether a GET there is answered with success."""
    try:
        with opener_for(url).open(url, timeout=2) as response:
            return bool(response.status < 400)
    except (URLError, OSError):
        return False


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """A gateway does not redirect, and credentials do not follow."""


def opener_for(url: str) -> OpenerDirector:
    """Follows no redirect, and bypasses the machine's proxy for an address on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    return build_opener(_NoRedirect, *([ProxyHandler({})] if local else []))


def _reason(error: HTTPError) -> str:
    """The error of an OAuth answer, else the status."""
    try:
        body = json.loads(error.read(10_000))
        return f"{body['error']}: {body.get('error_description', '')}".strip(": ")
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
