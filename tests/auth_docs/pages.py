"""The code on a page of `docs/`, run as a reader runs it: in one folder, one block after the other."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.commands import ROOT
from tests.fixtures.node import TIMEOUT

PRINTED_URL = "http://127.0.0.1:8000"  # the address on all pages
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str | None = None) -> list[str]:
    """The blocks of code in this language, or in any, in their order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [code for name, code in _BLOCK.findall(text) if language in (None, name)]


@dataclass
class Reader:
    """Somebody who runs blocks in `folder`, against the gateway at `url`, with these environment variables."""

    url: str
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def sh(self, code: str) -> str:
        """What the commands print."""
        return self._run(["bash", "-euo", "pipefail", "-c", self._here(code)])

    def python(self, code: str) -> str:
        """What the program prints."""
        return self._run([sys.executable, "-W", "error", "-c", self._here(code)])

    def js(self, code: str, packages: Path) -> str:
        """What the module prints. `packages` is a folder with node_modules."""
        script = self.folder / "block.mjs"
        script.write_text(self._here(code))
        link = self.folder / "node_modules"
        if not link.exists():
            link.symlink_to(packages / "node_modules")
        return self._run(["node", str(script)])

    def _here(self, code: str) -> str:
        return code.replace(PRINTED_URL, self.url)

    def _run(self, command: list[str]) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.variables, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
        return done.stdout
