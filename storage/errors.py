"""The exceptions that are meant for the user."""


class FacerError(Exception):
    """A problem that the user can act on.

    ``str(error)`` is one line that says where it is, what was found, what was expected and
    what to do. The command line prints it without a traceback.
    """


class PlaceError(Exception):
    """Videos cannot be read from here, whichever; no fault of any clip.

    Not a :class:`FacerError`, because an extractor keeps those as a clip's reason and goes on.
    """


class OptionError(FacerError):
    """A setting that no machine and no data could make right: out of range, or no such choice.

    The command line exits with 2 for it, as for every wrong usage. What a right setting names,
    a file, a device, a column, a host, may be absent or other than expected: that is a plain
    ``FacerError``, and 1.
    """
