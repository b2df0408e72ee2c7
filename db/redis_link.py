"""An open connection to Redis that many callers share: a FIFO of futures over hiredis' parser."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[Any, ...]
Answers = asyncio.Future[list[Any]]

MOST_WAITING: Final = 10_000  # calls without an answer; of a few hundred bytes each
MOST_BYTES: Final = 16 * 2**20  # of one answer
GRACE: Final = 0.02  # seconds: what arrived while the event loop was busy is read before a timeout counts
_MORE: Final = object()  # what the parser returns when it needs more bytes


class ConnectionLost(RedisConnectionError):
    """The connection was lost before the answer arrived."""


class TooManyWaiting(RedisError):
    """Too many commands wait for Redis already."""


class _Call:
    """A caller's commands that wait for their answers. A caller that is cancelled keeps its place."""

    __slots__ = ("answers", "due", "error", "found", "left")

    def __init__(self, answers: Answers, left: int, due: float) -> None:
        self.answers, self.left, self.due = answers, left, due
        self.found: list[Any] = []
        self.error: RedisError | None = None


class Link(asyncio.Protocol):
    """Takes over a connection that redis-py has opened. A lost one is never opened again.

    An error in the answers to a call fails this call alone. An answer that takes longer than `timeout` seconds, that is
    too long or that nobody asked for ends the connection.
    """

    def __init__(
        self, connection: Connection, timeout: float, *, most_waiting: int = MOST_WAITING, most_bytes: int = MOST_BYTES
    ) -> None:
        """Raises ConnectionLost when the server has sent something since redis-py's last command, or hung up."""
        self.lost = False
        self._timeout, self._most_waiting, self._most_bytes = timeout, most_waiting, most_bytes
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Call] = deque()
        self._unsent: list[bytes] = []
        self._is_uvloop = type(self._loop).__module__.partition(".")[0] == "uvloop"
        self._timer: asyncio.TimerHandle | None = None
        self._unfinished = 0  # bytes of the answer that is arriving
        self._reader = hiredis.Reader(InvalidResponse, connection._parser.parse_error, notEnoughData=_MORE)
        self._gone = self._loop.create_future()
        self._connection = connection  # redis-py's writer closes the transport when it is collected
        writer, stream = connection._writer, connection._reader
        assert writer is not None
        assert stream is not None
        if stream.at_eof() or stream._buffer or writer.transport.is_closing():  # type: ignore[attr-defined]
            connection._close()  # type: ignore[no-untyped-call]
            raise ConnectionLost("The connection was lost.")
        self._transport = writer.transport
        self._transport.set_protocol(self)

    def ask(self, commands: Sequence[Command]) -> Answers:
        """The answers to these commands, which are sent with those of other callers of this moment.

        To cancel it drops the answers when they come. Raises ConnectionLost and TooManyWaiting.
        """
        if self.lost:
            raise ConnectionLost("The connection was lost.")
        if len(self._waiting) >= self._most_waiting:
            raise TooManyWaiting("Too many commands wait for Redis already.")
        packed = [hiredis.pack_command(command) for command in commands]
        loop = self._loop
        if self._is_uvloop:  # it sends what one round has written at its end: `_send` would cost one more round
            self._transport.write(b"".join(packed))
        else:
            if not self._unsent:
                loop.call_soon(self._send)
            self._unsent += packed
        answers: Answers = loop.create_future()
        self._waiting.append(_Call(answers, len(packed), loop.time() + self._timeout))
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._check_time)
        return answers

    async def close(self) -> None:
        """Close the connection. Whoever waits for an answer gets ConnectionLost."""
        self._lose(ConnectionLost, "The connection was closed.")
        await asyncio.shield(self._gone)

    def data_received(self, data: bytes) -> None:
        """Give the callers whose answers are complete theirs."""
        self._unfinished += len(data)
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets(False)) is not _MORE:
                self._unfinished = 0
                if not self._take(answer):
                    return
        except RedisError as error:  # these bytes are not of Redis' protocol
            self._lose(type(error), str(error))
            return
        if not self._unfinished and self._reader.has_data():
            self._unfinished = len(data)
        if self._unfinished > self._most_bytes:
            self._lose(InvalidResponse, f"An answer has more than {self._most_bytes} bytes.")

    def connection_lost(self, _: Exception | None) -> None:
        """Fail all who wait."""
        self._lose(ConnectionLost, "The connection was lost.")
        if not self._gone.done():
            self._gone.set_result(None)

    def _take(self, answer: Any) -> bool:
        """Add an answer to those of the first call that waits. False when nothing more is to be read."""
        if answer.__class__ is hiredis.PushNotification:
            return True
        if not self._waiting:
            self._lose(InvalidResponse, "Redis sent an answer that nobody asked for.")
            return False
        call = self._waiting[0]
        call.left -= 1
        call.found.append(answer)
        if isinstance(answer, RedisError) and call.error is None:
            call.error = answer
        if call.left:
            return True
        self._waiting.popleft()
        if not call.answers.done():
            if call.error is None:
                call.answers.set_result(call.found)
            else:
                call.answers.set_exception(call.error)
        if isinstance(call.error, RedisConnectionError):  # the server says that it takes no commands
            self._lose(ConnectionLost, "The connection was lost.")
            return False
        return True

    def _send(self) -> None:
        """Write the commands of all callers of this round of the event loop at once."""
        unsent, self._unsent = self._unsent, []
        if not self.lost:
            self._transport.write(b"".join(unsent))

    def _check_time(self, since: _Call | None = None) -> None:
        """End the connection when its first call waits for too long, see GRACE; else look again when it would."""
        self._timer = None
        if self.lost or not self._waiting:
            return
        first, now = self._waiting[0], self._loop.time()
        if first.due > now:
            self._timer = self._loop.call_later(first.due - now, self._check_time)
        elif first is not since:
            self._timer = self._loop.call_later(GRACE, self._check_time, first)
        else:
            self._lose(RedisTimeoutError, f"No answer within {self._timeout:g} s.")

    def _lose(self, kind: type[RedisError], message: str) -> None:
        """End the connection, unless it has ended: each call fails with an error of this kind."""
        if self.lost:
            return
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()  # a server that hangs takes nothing more, so `close` could wait for ever
        self._connection._close()  # type: ignore[no-untyped-call]
        waiting, self._unsent = list(self._waiting), []
        self._waiting.clear()
        for call in waiting:
            if not call.answers.done():
                call.answers.set_exception(kind(message))
