"""Who is let in, and what is served: asked over the socket, as a stranger would."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from urllib.parse import urlsplit

import psutil
import pytest

import facer
from facer.pipeline.views.report.folder import page_name
from facer.pipeline.views.view import pages
from facer.pipeline.views.view.server import ViewServer
from facer.pipeline.views.view.session import ViewSession
from facer.storage.errors import FacerError
from tests.support import some


@pytest.fixture
def opened(make_store, clip_of, hostile_id, make_video, tmp_path):
    """A view of three clips, one of a hostile id with a video, and one that failed."""
    make_video("videos/clip.avi", 40, codec="MJPG")
    (tmp_path / "secret.txt").write_text("secret")
    store = make_store(
        {hostile_id: clip_of(40), "P1_a": clip_of(30, ((5, 20),)), "P1_b": clip_of(20),
         "P1_c": "no <b>video</b>"},
        {hostile_id: "clip.avi", "P1_a": "../secret.txt"},
    )  # fmt: skip
    with facer.view(
        store, videos=tmp_path / "videos", design="{participant}_{condition}", who="anna"
    ) as view:
        yield view


def ask(view, path, body=None, *, method=None, token=None, **headers):
    """(status, headers, bytes) of a request below the token, which may be another one."""
    place = urlsplit(view.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    start = place.path if token is None else f"/{token}/"
    data = None if body is None else json.dumps(body).encode()
    given = {k.replace("_", "-"): v for k, v in headers.items()}
    if body is not None:
        given = {"Content-Type": "application/json", **given}
    connection.request(method or ("GET" if body is None else "POST"), start + path, data, given)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def page(clip_id, kind="html"):
    return f"clips/{page_name(clip_id)}.{kind}"


def test_the_address_has_a_token_and_only_this_machine_listens(opened):
    place = urlsplit(opened.url)
    assert place.hostname == "127.0.0.1"
    assert len(place.path.strip("/")) >= 32
    assert opened.url in opened._repr_html_()
    sockets = [c for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.ip for c in sockets if c.laddr.port == place.port] == ["127.0.0.1"]


@pytest.mark.parametrize("token", ["", "x", "x" * 32, "..", "%2e%2e", "\u00ff".encode().hex()])
def test_another_token_is_let_in_nowhere(opened, token):
    for path, body in (("", None), ("index.js", None), (page("P1_a"), None), ("mark", {})):
        status, headers, data = ask(opened, path, body, token=token)
        assert status == 403
        assert b"P1" not in data
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}", ""],
)
def test_another_name_for_this_machine_is_refused(opened, host):
    name = host.format(port=urlsplit(opened.url).port)
    assert ask(opened, "", Host=name)[0] == 403
    body = {"name": page_name("P1_a"), "mark": "x", "first": None}
    assert ask(opened, "mark", body, Host=name)[0] == 403
    assert not opened.marks.exists()


@pytest.mark.parametrize("target", ["*", "a", "http://[x", "//[", "http://", "?", "evil:80"])
def test_a_strangers_odd_request_is_refused_without_a_word(opened, caplog, target):
    place = urlsplit(opened.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        host = f"{place.hostname}:{place.port}"
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.makefile("rb").readline().split()[1] == b"403"
    assert caplog.messages == []


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "%2e%2e/secret.txt", "assets/../../../../pyproject.toml",
     "assets/%2e%2e%2fpyproject.toml", "assets//etc/passwd", "assets/nothing.js",
     "clips/../index.js", "clips/x.html", "/etc/passwd", "index.html/x", "clips/x.video",
     "assets/"],
)  # fmt: skip
def test_nothing_outside_is_served(opened, path):
    status, _, data = ask(opened, path)
    assert status == 404
    assert b"secret" not in data
    assert b"root:" not in data


def test_a_video_outside_of_the_folder_is_not_served(opened):
    status, _, data = ask(opened, page("P1_a", "video"))
    assert (status, b"lies outside" in data) == (404, True)


def test_every_answer_says_what_a_page_may_load(opened):
    for path in ("", "index.js", "assets/view.js", page("P1_a"), "nothing"):
        _, headers, _ = ask(opened, path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in headers if name.startswith("Access-Control")]


def test_pages_hold_no_script_and_no_style_of_their_own(opened, hostile_id):
    for path in ("", page(hostile_id), page("P1_a"), page("P1_c")):
        text = ask(opened, path)[2].decode()
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=\"", text)
    assert ask(opened, page("P1_c"))[0] == 404  # it has no frames; its reason is said, as text
    assert b"no &lt;b&gt;video&lt;/b&gt;" in ask(opened, page("P1_c"))[2]


def test_a_piece_of_a_video_is_served_by_its_bytes(opened, hostile_id, tmp_path):
    data = (tmp_path / "videos/clip.avi").read_bytes()
    video = page(hostile_id, "video")
    status, headers, found = ask(opened, video)
    assert (status, found, headers["Accept-Ranges"]) == (200, data, "bytes")
    for wanted, piece in (("0-", data), ("5-9", data[5:10]), ("-7", data[-7:]), ("0-0", data[:1]),
                          (f"9-{10**17}", data[9:])):  # fmt: skip
        status, headers, found = ask(opened, video, Range=f"bytes={wanted}")
        assert (status, found) == (206, piece)
        assert headers["Content-Length"] == str(len(piece))
        assert headers["Content-Range"].endswith(f"/{len(data)}")
    for wanted in (f"bytes={len(data)}-", "bytes=9-5"):
        assert ask(opened, video, Range=wanted)[0] == 416
    assert ask(opened, video, Range="bytes=0-1,3-4")[2] == data
    status, headers, found = ask(opened, video, method="HEAD")
    assert (status, headers["Content-Length"], found) == (200, str(len(data)), b"")


def test_a_video_that_is_another_one_is_said(make_store, clip_of, make_video, tmp_path):
    from dataclasses import replace

    make_video("videos/a.avi", 5, codec="MJPG")
    store = make_store({"a": clip_of(5)}, {"a": "a.avi"})
    store.write_part([(replace(store.record("a"), source_size=7), store.read("a"))])
    with facer.view(store.path, videos=tmp_path / "videos") as view:
        status, _, data = ask(view, page("a", "video"))
        assert (status, b"not the video that was extracted" in data) == (404, True)
        assert b"not the video that was extracted" in ask(view, page("a"))[2]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Content_Type": "text/plain"}, 415),
        ({"Content_Length": "99999999"}, 413), ({"Content_Length": "-1"}, 413),
    ],
)  # fmt: skip
def test_a_change_comes_from_a_page_of_this_server(opened, headers, status):
    body = {"name": page_name("P1_a"), "first": None, "mark": "x"}
    assert ask(opened, "mark", body, **headers)[0] == status
    assert not opened.marks.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "P1_a"}, "no such clip"), ({"first": 5, "last": 4}, "frames 5 to 4"),
        ({"first": 0, "last": 30}, "frames 0 to 30"), ({"first": 0.5, "last": 4}, "frames"),
        ({"first": True, "last": 4}, "frames"), ({"first": -1, "last": 4}, "frames"),
        ({"mark": " "}, "no reason"), ({"feature": "au99"}, "feature 'au99'"),
        ({"mark": None}, "no reason"),
    ],
)  # fmt: skip
def test_a_mark_that_is_none_is_refused(opened, change, message):
    body = {"name": page_name("P1_a"), "first": 0, "last": 4, "mark": "x", **change}
    status, _, data = ask(opened, "mark", body)
    assert (status, message in json.loads(data)["error"]) == (409, True)
    assert not opened.marks.exists()


@pytest.mark.parametrize("time_s", [10**400, -(10**400), float("nan"), 1e400, "1", True, None])
def test_a_point_at_no_number_is_refused(opened, time_s):
    body = {"name": page_name("P1_a"), "time_s": time_s, "x_px": 1, "y_px": 1}
    status, _, data = ask(opened, "point", body)
    assert (status, "expected a number" in json.loads(data)["error"]) == (409, True)


@pytest.mark.parametrize("body", [None, {}])
def test_a_fault_is_told_here_and_in_the_browser(opened, caplog, monkeypatch, body):
    def fail(*_):
        raise TypeError("no\nnumber")

    monkeypatch.setattr(pages, "index_page", fail)
    monkeypatch.setattr(ViewSession, "undo", fail)
    status, _, data = ask(opened, "index.html" if body is None else "undo", body)
    told = json.loads(data)["error"]
    assert (status, "unexpected TypeError: no number" in told) == (500, True)
    assert caplog.messages == [told]
    assert urlsplit(opened.url).path.strip("/") not in told


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"[" * 9000, b"\xff"])
def test_what_is_no_json_object_is_refused(opened, data):
    place = urlsplit(opened.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    connection.request("POST", f"{place.path}mark", data, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 400
    connection.close()


def test_other_methods_are_not_known(opened):
    for method in ("OPTIONS", "PUT", "DELETE", "TRACE"):
        assert ask(opened, "", method=method)[0] == 501


def test_connections_that_come_at_once_wait_for_their_turn(opened):
    """Those of several tabs; beyond the queue they are reset, and a mark is lost."""
    quiet = ViewServer(opened._server.session)  # answers nobody yet
    with ExitStack() as waiting:
        waiting.callback(quiet.server_close)
        for _ in range(40):
            waiting.enter_context(
                socket.create_connection(("127.0.0.1", quiet.server_port), timeout=1)
            )


def test_the_port_is_taken(opened, tmp_path):
    with pytest.raises(FacerError, match="cannot listen there"):
        facer.view(tmp_path / "s.zarr", port=urlsplit(opened.url).port)


def test_a_closed_view_answers_no_more(opened):
    place = urlsplit(opened.url)
    kept = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    kept.request("GET", place.path)
    assert kept.getresponse().read()
    opened.close()
    kept.sock.settimeout(20)
    assert kept.sock.recv(1) == b""  # a connection that was open is closed
    kept.close()
    with pytest.raises(OSError, match="refused"):
        ask(opened, "")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_serves_until_it_is_stopped(make_store, clip_of, tmp_path, stop):
    store = make_store({"a": clip_of(9)})
    command = [sys.executable, "-m", "facer", "view", store.path, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = some(process.stdout)
        found = json.loads(printed.readline())
        assert found["marks"] == str(tmp_path / "marks.csv")
        with urllib.request.urlopen(found["url"] + "index.js") as answer:
            assert '"clip":["a"]' in answer.read().decode()
        process.send_signal(stop)
        assert printed.read() == ""
        assert process.wait(60) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(found["url"])
