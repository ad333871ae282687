"""HTML pages that are opened from disk: one file, no network, no module scripts (which browsers refuse from file://).

Names and prompts are not trusted. Text goes through `html.escape`, values through `embedded_json`, and a page's policy allows no script
but those that it was written with, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

DATA_ONLY: Mapping[str, str] = {"img-src": "data:"}


@dataclass(frozen=True)
class Page:
    """What is fixed of a page.

    mark     a comment, by which a page of this kind is known
    scripts  run in their order once the body is there
    sources  directives of its content security policy, beside those for styles and scripts; what none names is refused
    """

    mark: str
    title: str
    style: str
    scripts: Sequence[str] = ()
    sources: Mapping[str, str] = field(default_factory=lambda: DATA_ONLY)

    @property
    def beginning(self) -> bytes:
        """The first bytes of every page of this kind."""
        return f"<!DOCTYPE html>\n<!-- {self.mark} -->\n".encode()

    def blocks(self, body: Iterable[str]) -> Iterator[bytes]:
        """The page around the parts of its body, as they come; half a surrogate pair, which UTF-8 lacks, becomes a question mark."""
        yield self.beginning
        yield (
            f'<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{self._policy()}">'
            f'<meta name="viewport" content="width=device-width"><title>{escape(self.title)}</title><style>{self.style}</style></head>'
            "\n<body>\n"
        ).encode("utf-8", "replace")
        for part in body:
            yield f"{part}\n".encode("utf-8", "replace")
        for script in self.scripts:
            yield f"<script>{script}</script>\n".encode()
        yield b"</body></html>\n"

    def _policy(self) -> str:
        hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in self.scripts)
        sources = {**self.sources, "style-src": "'unsafe-inline'", "script-src": hashes or "'none'"}
        return "; ".join(["default-src 'none'", *(f"{name} {allowed}" for name, allowed in sources.items())])


def embedded_json(name: str, value: Any) -> str:
    """A value that the page's scripts read from the element `name`; no text in it can end that element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'
