"""What one worker process holds: one event loop and one set of stores, made after the fork."""

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from core.settings import Stores
from engine.intake.storing import Memory

Answer = TypeVar("Answer")


@dataclass
class Loop:
    """One event loop and one memory per worker process, made by the first task after the fork."""

    stores: Stores

    @cached_property
    def memory(self) -> Memory:
        """This process's stores."""
        return Memory(self.stores)

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run to the end on this process's loop, in the caller's context: its trace, and what its log lines say."""
        return self._runner.run(work, context=copy_context())
