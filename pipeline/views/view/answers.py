"""Answers to HTTP requests: texts, JSON, files and pieces of them, and refusals."""

from __future__ import annotations

import json
import mimetypes
import os
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO

_BLOCK_BYTES = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css",
          ".json": "application/json"}  # fmt: skip


class Answers(BaseHTTPRequestHandler):
    """A handler of requests with what it can answer; each method sends a whole answer."""

    @property
    def policy(self) -> str:
        """The Content-Security-Policy of every answer."""
        raise NotImplementedError

    def text(self, text: str, suffix: str, status: int = 200) -> None:
        """Answer with a text; what is no Unicode in it becomes a question mark."""
        self.send(status, text.encode("utf-8", "replace"), suffix)

    def json(self, value: Mapping[str, Any]) -> None:
        """Answer with an object."""
        self.send(200, json.dumps(value, allow_nan=False).encode(), ".json")

    def refuse(self, status: int, text: str) -> None:
        """Answer with an error in words, as JSON."""
        if self.command == "POST":
            self.close_connection = True  # its body may lie unread
        self.send(status, json.dumps({"error": text}).encode(), ".json")

    def send(self, status: int, data: bytes, suffix: str, cache: str = "no-store") -> None:
        """Answer with bytes, of the kind that a suffix such as ``.html`` stands for."""
        kind = f"{_KINDS.get(suffix, 'application/octet-stream')}; charset=utf-8"
        self.head(status, {"Content-Type": kind, "Content-Length": str(len(data))}, cache)
        if self.command != "HEAD":
            self.wfile.write(data)

    def head(self, status: int, headers: Mapping[str, str], cache: str = "no-store") -> None:
        """Begin an answer: status and headers, those that keep a page to itself among them."""
        self.send_response(status)
        for name, value in {
            **headers, "Cache-Control": cache, "Content-Security-Policy": self.policy,
            "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():  # fmt: skip
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def media(self, file: BinaryIO, name: str) -> None:
        """Send a file, or the piece that is asked for."""
        size = os.fstat(file.fileno()).st_size
        start, stop, status = 0, size, 200
        if wanted := _RANGE.fullmatch(self.headers.get("Range", "")):
            first, last = wanted.groups()
            if first:
                start, stop = int(first), min(size, int(last) + 1 if last else size)
            elif last:
                start = max(0, size - int(last))
            if start >= stop:
                self.head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
                return
            status = 206
        kind = mimetypes.guess_type(name)[0] or ""
        headers = {
            "Content-Type": kind if kind.startswith("video/") else "application/octet-stream",
            "Accept-Ranges": "bytes", "Content-Length": str(stop - start),
        }  # fmt: skip
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self.head(status, headers)
        file.seek(start)
        left = stop - start
        while left and self.command == "GET":
            block = file.read(min(left, _BLOCK_BYTES))
            if not block:  # the file became shorter
                self.close_connection = True
                return
            self.wfile.write(block)
            left -= len(block)
