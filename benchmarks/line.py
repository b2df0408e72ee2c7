"""A connection to the gateway that is kept, and opened again after it broke."""

import http.client
from urllib.parse import urlsplit

from cli.gateway_client import Client

PATIENCE = 10.0  # seconds for one answer
BROKEN = (OSError, http.client.HTTPException)


class Line:
    """One client's way to ask, with one token; used by one thread."""

    def __init__(self, client: Client) -> None:
        address = urlsplit(client.base_url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
        self._headers = {"Authorization": f"Bearer {client.token()}", "Content-Type": "application/json"}

    def post(self, path: str, body: str) -> tuple[int, bytes]:
        """Status and body of the answer. Raises one of `BROKEN` when there is none."""
        try:
            self._connection.request("POST", path, body, self._headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except BROKEN:
            self.close()
            raise

    def close(self) -> None:
        """Hang up; the next `post` dials again."""
        self._connection.close()
