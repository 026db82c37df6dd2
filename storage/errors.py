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
