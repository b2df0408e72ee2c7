"""An answer's head and its body are one piece for the system and for the network."""

import asyncio


class JoinedWrites:
    """What an answer with a body is written to: its head waits for what is written in the same round of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head: bytes | None = None
        self._begun = False

    def write(self, data: bytes) -> None:
        """Write, the first time a little later."""
        if self._begun:
            self._flush(data)
        else:
            self._begun, self._head = True, data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close when all is written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closing or closed."""
        return self._transport.is_closing()

    def _flush(self, more: bytes = b"") -> None:
        head, self._head = self._head, None
        if head is not None or more:
            self._transport.write((head or b"") + more)
