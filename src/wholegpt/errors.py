"""The two errors that end a verb with one sentence and no traceback."""


class WholeGPTError(Exception):
    """Something outside the program is wrong: what was found, what was expected, what mends it (exit code 1)."""


class UsageError(WholeGPTError):
    """The command line or a recipe asks for something that does not exist (exit code 2)."""


def missing_extra(package: str, extra: str) -> WholeGPTError:
    """The error for an optional import that is not installed."""
    return WholeGPTError(f"this needs the package {package}: pip install 'wholegpt[{extra}]'")


class Interrupted(Exception):
    """A verb was asked to stop and has saved what it had (exit code 130)."""
