"""A client of Redis that raises our errors, and short commands on the connection that all callers share."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha1
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError, RedisError, ResponseError

from core.errors import StoreFull, StoreUnavailable
from db.redis_link import Answers, Command, ConnectionLost
from db.shared_connection import SharedConnection

UNAVAILABLE: Final = (RedisError, OSError)  # TimeoutError is an OSError
_REFUSES_WRITES: Final = {  # by the words of Redis' own error, which it may wrap in the error of a script
    "maxmemory": "its memory is full, and maxmemory-policy lets it drop nothing",
    "MISCONF": "it cannot save to its disk",
    "read only replica": "it is a replica",
}


class _Pipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """All answers, in order."""
        try:
            return await super().execute(raise_on_error)
        except UNAVAILABLE as error:
            raise unavailable(error) from error


class Client(Redis):
    """A client whose commands and pipelines raise StoreUnavailable while Redis is away or refuses them."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """The command's answer."""
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except NoScriptError:  # `register_script` sends the script, then
            raise
        except UNAVAILABLE as error:
            raise unavailable(error) from error

    @cached_property
    def _shared(self) -> SharedConnection:
        timeout = self.connection_pool.connection_kwargs["socket_timeout"]
        return SharedConnection(self.connection_pool, timeout)

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers to short commands that are sent together, on a connection that all callers share."""
        try:
            return await self._shared.ask(commands)
        except NoScriptError:  # who runs a script sends its text, then
            raise
        except UNAVAILABLE as error:
            raise unavailable(error) from error

    def ask_now(self, *commands: Command) -> Answers | None:
        """What `ask` asks, without waiting; None when no connection takes it."""
        return self._shared.ask_now(commands)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await self._shared.close()
        await super().aclose(close_connection_pool)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Commands that are sent together."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


def unavailable(error: BaseException) -> StoreUnavailable:
    """What to raise for an error of redis-py: StoreFull where Redis takes no new data."""
    if isinstance(error, ResponseError):
        for mark, reason in _REFUSES_WRITES.items():
            if mark in str(error):
                return StoreFull("redis", f"Redis takes no new data: {reason}.")
    return StoreUnavailable("redis", f"Redis did not answer: {str(error) or type(error).__name__}")


class Script:
    """A script that Redis may know: it is named by its digest."""

    def __init__(self, text: str) -> None:
        self._by_text = ("EVAL", text)
        self._by_digest = ("EVALSHA", sha1(text.encode(), usedforsecurity=False).hexdigest())

    def command(self, keys: Sequence[str], arguments: Sequence[Any], *, by_text: bool = False) -> Command:
        """What runs the script. With its text when Redis did not know it: it was restarted, or its scripts flushed."""
        return *(self._by_text if by_text else self._by_digest), len(keys), *keys, *arguments


async def ask(redis: Redis, *commands: Command) -> list[Any]:
    """The answers to short commands, on the connection that all callers share. Also raises NoScriptError."""
    return await cast(Client, redis).ask(*commands)


def ask_now(redis: Redis, *commands: Command) -> Answers | None:
    """Send what `ask` sends, without waiting: `answers_of` waits. None when no connection takes it.

    What others ask in the same round of the event loop goes with it, in one piece.
    """
    return cast(Client, redis).ask_now(*commands)


async def answers_of(asked: Answers) -> list[Any]:
    """The answers to what `ask_now` sent. Raises what `ask` raises, and ConnectionLost: then one may ask again."""
    try:
        return await asked
    except (NoScriptError, ConnectionLost):
        raise
    except UNAVAILABLE as error:
        raise unavailable(error) from error
