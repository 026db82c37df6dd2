"""The one exception that is meant for the user."""


class FacerError(Exception):
    """A problem that the user can act on.

    ``str(error)`` is one line that says where it is, what was found, what was expected and
    what to do. The command line prints it without a traceback.
    """
