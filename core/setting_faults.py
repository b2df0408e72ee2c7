"""What is wrong with the settings: every fault by the name of its environment variable, never with its value."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from core.errors import PenchantError
from core.secret_files import PREFIX, SECRET_REFUSED


@dataclass(frozen=True, slots=True)
class Fault:
    """One setting that is missing or wrong."""

    name: str
    says: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.says}"


class SettingsRefused(PenchantError):
    """These settings are missing or wrong (core/settings.py explains them)."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n  ".join([(type(self).__doc__ or "").rstrip(".") + ":", *map(str, self.faults)]))

    @property
    def lacks(self) -> bool:
        """Whether a setting that has no default is not set, as where no stack runs."""
        return any(fault.missing for fault in self.faults)


def faults_in(error: ValidationError) -> list[Fault]:
    """The faults that pydantic found in one concern."""
    return [
        _fault(f"{PREFIX}{'.'.join(map(str, each['loc'][:1])).upper()}", each["type"], each["msg"])
        for each in error.errors(include_url=False, include_input=False)
    ]


def _fault(name: str, kind: str, says: str) -> Fault:
    if kind == SECRET_REFUSED:
        name, _, says = says.partition(": ")
    return Fault(name, says, missing=kind == "missing")
