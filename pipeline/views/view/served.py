"""A view that is open: its address, and how it is closed."""

from __future__ import annotations

from html import escape

from facer.pipeline.views.view.config import ViewConfig
from facer.pipeline.views.view.server import NOTEBOOKS, ViewServer
from facer.pipeline.views.view.session import ViewSession
from facer.stages.summary.config import SummaryConfig

_FRAME_PX = 900


class View:
    """A store's pages on this machine, served until :meth:`close`; shown by a notebook in a frame.

    ``url`` lets in whoever has it, on this machine; ``marks`` and ``faces`` are the files that
    are written. Use it as a context manager, or close it.
    """

    def __init__(self, config: ViewConfig, summary: SummaryConfig) -> None:
        session = ViewSession(config, summary)
        self.marks, self.faces = config.marks_file, config.faces_file
        self.clips = len(session.store)
        self._server = ViewServer(session, config.port, NOTEBOOKS)
        self.url = self._server.url
        self._server.start()

    def close(self) -> None:
        """Stop answering; what was marked is in the files."""
        self._server.stop()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<View of {self.clips} clips at {self.url}>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{escape(self.url)}" width="100%" height="{_FRAME_PX}" '
            'style="border: 1px solid #ccc" title="facer view"></iframe>'
        )

    def to_json(self) -> dict[str, object]:
        """As ``facer view --json``."""
        return {"url": self.url, "clips": self.clips, "marks": str(self.marks),
                "faces": str(self.faces)}  # fmt: skip
