"""The errors that a script reports in one line instead of a traceback."""


class Failure(Exception):
    """Something that can be expected to go wrong. Its text is one line: what, and what to do next."""


class WrongUsage(Failure):
    """A setting that no run can be made of."""


def disk_trouble(failure: OSError) -> str:
    """A full disk, a folder without permission: in one line, with what to do."""
    where = f" ({failure.filename})" if failure.filename else ""
    return f"{failure.strerror or failure}{where}: free some space or choose another folder, then run again"


def first_line(failure: Exception) -> str:
    """An exception's message, short enough for a line of ours."""
    return (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(":. ")
