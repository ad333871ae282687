"""The two ways to fail. Whoever raises says what was given, what is allowed and the remedy, in one line."""


class BadInput(ValueError):
    """The caller's input cannot be used; nothing was written. The command line exits with 2."""


class RunFailed(RuntimeError):
    """The input was fine, the work was not done (an empty field, NaN from guidance, a full disk). The command line exits with 1."""
