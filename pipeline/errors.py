"""The errors that a script reports in one line instead of a traceback."""


class Failure(Exception):
    """Something that can be expected to go wrong. Its text is one line: what, and what to do next."""


class WrongUsage(Failure):
    """A setting that no run can be made of."""
