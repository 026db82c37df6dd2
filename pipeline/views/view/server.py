"""Requests: from this machine, under the token's address, for what a table of paths names."""

from __future__ import annotations

import json
import logging
import re
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakSet

from facer.pipeline.views.report.folder import ASSETS, render
from facer.pipeline.views.view import pages
from facer.pipeline.views.view.answers import Answers
from facer.pipeline.views.view.lanes import clip_lanes, person_lanes
from facer.pipeline.views.view.session import ViewSession
from facer.storage.errors import FacerError, PlaceError, named, one_line
from facer.storage.files.regular import open_regular

_log = logging.getLogger("facer")
LOOPBACK = "127.0.0.1"
_OWN_ASSETS = Path(__file__).parent / "assets"
_PLOTLY = "plotly.min.js"
_BODY_BYTES = 1 << 16
_IDLE_S = 60.0
_PAGE = re.compile(r"clips/([A-Za-z0-9_-]+)\.(html|js|lanes|person|crops|notes|video|mp4)")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors {frames}"
)
"""Nothing from elsewhere, no script or style in a page."""
NOTEBOOKS = "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"
"""Where a notebook of this machine is served, which may show a view in a frame."""


def _log_fault(what: str, error: BaseException) -> str:
    """Log an exception that nobody expected, without the token; return what it was in a line."""
    text = f"{what}: unexpected {type(error).__name__}: {one_line(error)}; please report it"
    _log.warning(text, exc_info=error)
    return text


class ViewServer(ThreadingHTTPServer):
    """A session behind 127.0.0.1 and a token that nobody guesses."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # connections at once that are not refused

    def __init__(self, session: ViewSession, port: int = 0, frames: str = "'none'") -> None:
        self.session, self.token = session, secrets.token_urlsafe(24)
        self.policy = _POLICY.format(frames=frames)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise FacerError(
                f"{LOOPBACK}:{port}: cannot listen there ({one_line(error)}); give another "
                f"{named('port')}, or 0 for a free one"
            ) from error
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))
        self._thread: Thread | None = None
        self._connections: WeakSet[socket.socket] = WeakSet()

    @property
    def url(self) -> str:
        """Address of the page of all clips; it lets in whoever has it."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def start(self) -> None:
        """Answer requests in a thread of its own."""
        self._thread = Thread(target=self.serve_forever, daemon=True, name="facer-view")
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and remove what was made for it."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()
        for connection in list(self._connections):  # that a browser keeps for its next request
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.session.close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take the next connection, and remember it."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def handle_error(self, *_: Any) -> None:
        """Tell of what went wrong, unless a browser went away."""
        error = sys.exception()
        if error is not None and not isinstance(error, (ConnectionError, TimeoutError)):
            _log_fault("a request", error)


class _Handler(Answers, BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "facer", ""
    timeout = _IDLE_S

    @property
    def policy(self) -> str:
        """The server's."""
        return self.server.policy

    def do_GET(self) -> None:
        """Answer with a page, numbers, or a piece of a video."""
        self._answer(self._get)

    def do_HEAD(self) -> None:
        """The same without its content."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Make a change."""
        self._answer(self._post)

    def log_message(self, *_: object) -> None:
        """Keep the terminal clear, and the token out of it."""

    def _answer(self, act: Callable[[str, Mapping[str, str]], None]) -> None:
        found = urlsplit("")
        try:
            with suppress(ValueError):  # a stranger's may be no address at all
                found = urlsplit(self.path)
            path = self._inside(found.path)
            if path is None:
                self.refuse(403, "forbidden: open the address that facer view printed")
                return
            act(path, dict(parse_qsl(found.query, keep_blank_values=True)))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except (FacerError, PlaceError, OSError) as error:
            if found.path.endswith(".html"):
                page = render("clips/error", "view_error.html", title="Not shown", text=str(error))
                self.text(page, ".html", 404)
            else:
                self.refuse(409 if self.command == "POST" else 404, str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours: told here and in the browser
            self.close_connection = True
            self.refuse(500, _log_fault(f"{self.command} {found.path.split('/', 2)[-1]}", error))

    def _inside(self, path: str) -> str | None:
        """The path below the token; None for a stranger's request."""
        head, *rest = path.split("/", 2)
        host = self.headers.get_all("Host") or []
        if head or len(rest) != 2 or len(host) != 1 or host[0].lower() not in self.server.hosts:
            return None
        known = compare_digest(rest[0].encode("utf-8", "replace"), self.server.token.encode())
        return rest[1] if known else None

    def _get(self, path: str, query: Mapping[str, str]) -> None:
        if path in ("", "index.html"):
            self.text(pages.index_page(self.server.session), ".html")
        elif path == "index.js":
            self.text(pages.index_data(self.server.session), ".js")
        elif path.startswith("assets/"):
            self._asset(path.removeprefix("assets/"))
        elif page := _PAGE.fullmatch(path):
            self._clip(page[1], page[2], query)
        else:
            self.refuse(404, "found no such page")

    def _clip(self, name: str, kind: str, query: Mapping[str, str]) -> None:
        session = self.server.session
        if kind == "html":
            self.text(pages.clip_page(session, name), ".html")
        elif kind == "js":
            self.text(pages.clip_data(session, name), ".js")
        elif kind in ("video", "mp4"):
            path = session.video(name) if kind == "video" else session.copy(name)
            with open_regular(path) as file:
                self.media(file, path.name)
        elif kind in ("lanes", "person"):
            self.json((clip_lanes if kind == "lanes" else person_lanes)(session, name, query))
        else:
            self.json(pages.crops(session, name) if kind == "crops" else session.notes_of(name))

    def _asset(self, name: str) -> None:
        if name == _PLOTLY:
            from plotly.offline import get_plotlyjs

            self.send(200, get_plotlyjs().encode(), ".js", "private, max-age=3600")
            return
        for folder in (ASSETS, _OWN_ASSETS):
            if name in {file.name for file in folder.iterdir()}:
                self.send(200, (folder / name).read_bytes(), Path(name).suffix, "no-cache")
                return
        self.refuse(404, "found no such file")

    def _post(self, path: str, _: Mapping[str, str]) -> None:
        body = self._body()
        if body is None:
            return
        session = self.server.session
        acts: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "mark": session.mark, "remove": session.remove, "undo": session.undo,
            "point": session.point,
        }  # fmt: skip
        if path in acts:
            self.json(acts[path](body))
        else:
            self.refuse(404, "found no such page")

    def _body(self) -> Mapping[str, Any] | None:
        """The JSON of a page of this server; None, and refused, for anything else."""
        origin = self.headers.get("Origin")
        ours = origin is None or origin.removeprefix("http://") in self.server.hosts
        if not ours or self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            self.refuse(403, "forbidden: a change comes from a page of this server")
            return None
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", length) or int(length) > _BODY_BYTES:
            self.close_connection = True
            self.refuse(413, f"expected a body of at most {_BODY_BYTES} bytes")
            return None
        data = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            self.refuse(415, "expected JSON")
            return None
        with suppress(ValueError, RecursionError):
            found = json.loads(data)
            if isinstance(found, dict):
                return found
        self.refuse(400, "expected a JSON object")
        return None
