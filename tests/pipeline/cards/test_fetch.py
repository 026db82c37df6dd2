"""Weights are fetched from a server on loopback: licence, resuming, pins, and what goes wrong."""

import hashlib
import http.server
import json
import subprocess
import threading
import tomllib

import pytest

from facer.pipeline.cards.fetch import fetch, terms
from facer.stages.features.rec import loading as rec
from facer.storage.errors import FacerError, OptionError
from facer.storage.files.locks import alone_in
from tests import toys
from tests.support import exit_code


class Server:
    """Serves one file, with ranges and an ETag; ``stop_after`` bytes it hangs up once."""

    def __init__(self):
        self.data, self.etag, self.stop_after = b"", '"one"', None
        self.ranges: list[str | None] = []
        # status, headers and body by path
        self.odd: dict[str, tuple[int, dict[str, str], bytes]] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path in outer.odd:
                    status, headers, body = outer.odd[self.path]
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                    return
                if self.path != "/toy.onnx":
                    self.send_error(404)
                    return
                wanted, same = self.headers.get("Range"), self.headers.get("If-Range")
                outer.ranges.append(wanted)
                start = int(wanted[6:-1]) if wanted and same == outer.etag else 0
                body = outer.data[start:]
                self.send_response(206 if start else 200)
                if start:
                    total = len(outer.data)
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", outer.etag)
                self.end_headers()
                stop, outer.stop_after = outer.stop_after, None
                self.wfile.write(body[:stop])

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/toy.onnx"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server():
    one = Server()
    yield one
    one.close()


@pytest.fixture
def card(server, tmp_path):
    """A card whose weights are only on the server."""
    path = toys.toy_card(tmp_path, "toy", ["au12"])
    server.data = (tmp_path / "toy.onnx").read_bytes()
    (tmp_path / "toy.onnx").unlink()
    values = tomllib.loads(path.read_text())
    values["file"] |= {"url": server.url, "licence": "to be read"}
    return toys.write_card(path, values)


def left(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != "toy.toml")


WITH_EXAMPLE = ["toy.onnx", "toy.onnx.golden.toml", "toy.onnx.pin.json"]


def test_nothing_is_fetched_before_the_licence_is_accepted(server, card):
    assert "to be read" in terms(str(card))
    with pytest.raises(OptionError, match=r"its licence is 'to be read' \(a test\)"):
        fetch(str(card))
    assert server.ranges == []


def test_weights_are_fetched_once_and_pinned(server, card, tmp_path):
    found = fetch(str(card), accept_licence=True)
    assert found.path.read_bytes() == server.data
    assert found.sha256 == hashlib.sha256(server.data).hexdigest()
    assert found.n_bytes == len(server.data)
    assert left(tmp_path) == WITH_EXAMPLE
    assert found.golden == str(tmp_path / "toy.onnx.golden.toml")
    assert json.loads((tmp_path / "toy.onnx.pin.json").read_text())["sha256"] == found.sha256
    assert fetch(str(card)).n_bytes == 0
    assert len(server.ranges) == 1
    assert rec.load(card, "cpu").sha256 == found.sha256


def test_a_fetch_that_broke_off_goes_on_where_it_was(server, card, tmp_path):
    server.stop_after = 200
    with pytest.raises(FacerError, match=r"run the same command again to go on, or fetch it on"):
        fetch(str(card), accept_licence=True)
    assert (tmp_path / "toy.onnx.part").stat().st_size == 200
    found = fetch(str(card), accept_licence=True)
    assert server.ranges == [None, "bytes=200-"]
    assert found.n_bytes == len(server.data) - 200
    assert found.path.read_bytes() == server.data
    assert left(tmp_path) == WITH_EXAMPLE


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(server, card):
    server.stop_after = 200
    with pytest.raises(FacerError, match="go on"):
        fetch(str(card), accept_licence=True)
    server.etag, server.data = '"two"', server.data + b""
    assert fetch(str(card), accept_licence=True).n_bytes == len(server.data)


def test_other_bytes_than_the_first_time_are_refused(server, card, tmp_path):
    first = fetch(str(card), accept_licence=True)
    weights, good = first.path, server.data
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for look in (lambda: fetch(str(card)), lambda: rec.load(card, "cpu")):
        with pytest.raises(FacerError, match=f"expected {first.sha256}"):
            look()
    weights.unlink()
    (tmp_path / "toy.onnx.golden.toml").unlink()
    server.data = good + b" "
    with pytest.raises(FacerError, match="not kept"):
        fetch(str(card), accept_licence=True)
    assert left(tmp_path) == ["toy.onnx.pin.json"]


def test_what_is_no_onnx_model_is_not_kept(server, card, tmp_path):
    server.data = b"<html>please log in</html>"
    with pytest.raises(FacerError, match="found no ONNX model there; not kept"):
        fetch(str(card), accept_licence=True)
    assert left(tmp_path) == []


def test_without_a_network_one_line_says_what_to_do(server, card, tmp_path, capsys):
    server.close()
    assert exit_code("models", "fetch", str(card), "--accept-licence") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be fetched" in error
    assert f"put it at {tmp_path / 'toy.onnx'}" in error
    server.close = lambda: None


def test_the_command_shows_the_licence_and_takes_no_silence_for_yes(server, card, capsys):
    assert exit_code("models", "fetch", str(card)) == 2
    assert "licence:    to be read" in capsys.readouterr().err
    assert exit_code("models", "fetch", str(card), "--accept-licence", "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_bytes"] == len(server.data)


def test_the_packages_weights_go_to_the_folder_of_models(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FACER_MODELS", str(tmp_path))
    assert exit_code("models", "list", "ferplus") == 0
    assert f"{tmp_path}/ferplus/emotion-ferplus-8.onnx; facer models fetch" in (
        capsys.readouterr().out
    )
    with pytest.raises(FacerError, match="there is no ONNX file to fetch; export them from"):
        fetch("opengraphau", accept_licence=True)
    with pytest.raises(FacerError, match="not there; facer models fetch ferplus"):
        rec.load("ferplus", "cpu")


def changed(card, **file):
    values = tomllib.loads(card.read_text())
    values["file"] |= file
    return str(toys.write_card(card, values))


def test_another_file_than_the_one_in_the_projects_git_is_not_kept(server, card, tmp_path):
    blob = subprocess.run(
        ["git", "hash-object", "--stdin"], input=server.data, capture_output=True, check=True
    ).stdout.decode()
    with pytest.raises(FacerError, match=f"found another file than git's {'0' * 40}"):
        fetch(changed(card, git_blob="0" * 40), accept_licence=True)
    assert left(tmp_path) == []
    fetch(changed(card, git_blob=blob.strip()), accept_licence=True)
    assert left(tmp_path) == WITH_EXAMPLE


def test_weights_that_do_not_fit_the_card_are_kept_and_told(server, card, tmp_path, capsys):
    toys.Toy(3, {"out": 5}).save(tmp_path / "five.onnx", 64)
    server.data = (tmp_path / "five.onnx").read_bytes()
    (tmp_path / "five.onnx").unlink()
    assert exit_code("models", "fetch", str(card), "--accept-licence") == 0
    assert "warning: the card cannot use it: toy: output out: found 5 numbers" in (
        capsys.readouterr().err
    )
    assert left(tmp_path) == ["toy.onnx", "toy.onnx.pin.json"]


def test_a_redirect_is_followed(server, card, tmp_path):
    server.odd["/moved.onnx"] = 302, {"Location": "/toy.onnx", "Content-Length": "0"}, b""
    path = changed(card, url=server.url.replace("toy.onnx", "moved.onnx"))
    assert fetch(path, accept_licence=True).path.read_bytes() == server.data
    assert left(tmp_path) == WITH_EXAMPLE


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (302, {"Location": "/odd.onnx"}, b"", "infinite loop"),
        (302, {"Location": "file:///etc/passwd"}, b"", "cannot be fetched"),
        (302, {}, b"", "cannot be fetched"),
        (500, {"Content-Length": "0"}, b"", "Internal Server Error"),
        (429, {"Content-Length": "0"}, b"", "Too Many Requests"),
        (
            206,
            {"Content-Range": "bytes 7-9/10", "Content-Length": "3"},
            b"abc",
            "goes on elsewhere",
        ),
        (200, {"Content-Length": str(1 << 50)}, b"abc", "expected 2 GB at most"),
        (200, {"Content-Length": "900"}, b"abc", "broke off after 3 of 900 bytes"),
        (200, {"Transfer-Encoding": "chunked"}, b"zz\r\n", "cannot be fetched"),
        (200, {"Content-Length": "0"}, b"", "found no ONNX model there; not kept"),
    ],
)
def test_what_a_server_does_wrong_is_one_line(
    server, card, tmp_path, status, headers, body, message
):
    server.odd["/odd.onnx"] = status, headers, body
    path = changed(card, url=server.url.replace("toy.onnx", "odd.onnx"))
    with pytest.raises(FacerError, match=message) as found:
        fetch(path, accept_licence=True)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "toy.onnx").exists()


def test_a_damaged_pin_says_so(server, card, tmp_path):
    fetch(str(card), accept_licence=True)
    (tmp_path / "toy.onnx.pin.json").write_text("{")
    with pytest.raises(FacerError, match=r"toy\.onnx\.pin\.json: is damaged"):
        rec.load(card, "cpu")
    (tmp_path / "toy.onnx.pin.json").write_text('{"sha256": null}')  # seen: "expected None"
    with pytest.raises(
        FacerError, match=r"is damaged \(found sha256 None, expected 64 hexadecimal"
    ):
        rec.load(card, "cpu")


def test_what_lies_in_the_place_of_a_beginning_is_not_written_to(server, card, tmp_path):
    """Seen: a link there was followed, and the file that it led to overwritten."""
    mine, part = tmp_path / "mine", tmp_path / "toy.onnx.part"
    mine.write_text("precious")
    part.symlink_to(mine)
    with pytest.raises(FacerError, match=r"part: found a link, folder or pipe.*; remove it"):
        fetch(str(card), accept_licence=True)
    assert mine.read_text() == "precious"
    part.unlink()
    part.write_text("half")
    part.with_name("toy.onnx.part.version").write_bytes(b"\xff\n")  # seen: never fetched again
    assert fetch(str(card), accept_licence=True).path.read_bytes() == server.data


def test_two_processes_do_not_fetch_into_one_file(server, card, tmp_path):
    """Seen: what the one had written was cut off by the other, and a file with a hole pinned."""
    with alone_in(tmp_path, ""), pytest.raises(FacerError, match="another process is fetching"):
        fetch(str(card), accept_licence=True)
    assert left(tmp_path) == []
    assert fetch(str(card), accept_licence=True).path.is_file()
