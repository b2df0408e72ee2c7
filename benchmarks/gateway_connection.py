"""A kept-alive HTTP connection to the gateway with one token, opened again after it broke."""

import http.client
from urllib.parse import urlsplit

BROKEN = (OSError, http.client.HTTPException)


class GatewayConnection:
    """One connection, for one thread. `timeout` is in seconds and bounds each answer."""

    def __init__(self, base_url: str, token: str, timeout: float = 10.0) -> None:
        address = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: str) -> tuple[int, bytes]:
        """Status and body of the answer. Raises one of `BROKEN` when there is none."""
        return self._request("POST", path, body)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of the answer. Raises one of `BROKEN` when there is none."""
        return self._request("GET", path, None)

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def _request(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except BROKEN:
            self.close()
            raise
