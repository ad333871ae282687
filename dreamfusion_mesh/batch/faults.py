"""What is wrong with a table: every fault in a line, the first of them kept and the others counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dreamfusion_mesh.errors import BadInput

MOST_SHOWN = 50

_Value = TypeVar("_Value")


class Faults:
    """The faults found in the file that messages call `where`."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.count = 0
        self._lines: list[str] = []

    def add(self, line: int, message: str) -> None:
        """One in the row that begins in `line`; the message begins with the column's name where there is one to blame."""
        self.add_whole(f"{self.where}, line {line}, {message}")

    def add_whole(self, message: str) -> None:
        """One that says itself where it is."""
        self.count += 1
        if len(self._lines) < MOST_SHOWN:
            self._lines.append(message)

    def catch(self, line: int, read: Callable[..., _Value], *given: object) -> _Value | None:
        """What `read` makes of what is given; None, and its fault added, where it raises BadInput in a line that begins with the column."""
        try:
            return read(*given)
        except BadInput as error:
            self.add(line, str(error))
            return None

    def raise_any(self) -> None:
        """Raise BadInput with a line for each, where there are any."""
        if self.count > len(self._lines):
            raise BadInput(*self._lines, f"{self.where}: and {self.count - len(self._lines)} more faults")
        if self._lines:
            raise BadInput(*self._lines)
