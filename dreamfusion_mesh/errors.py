"""The two ways to fail. Whoever raises says what was given, what is allowed and the remedy, in one line; of several faults, in one each."""

_LONGEST_REASON = 200  # characters of a library's error


class BadInput(ValueError):
    """The caller's input cannot be used; nothing was written. The command line exits with 2, and prints each of `lines`."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines

    def __str__(self) -> str:
        return "\n".join(self.lines)


class RunFailed(RuntimeError):
    """The input was fine, the work was not done (an empty field, NaN from guidance, a full disk). The command line exits with 1."""


def reason(error: BaseException) -> str:
    """What a library says is wrong, for a message of ours: in one line, cut to a readable length; its kind where it says nothing."""
    return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
