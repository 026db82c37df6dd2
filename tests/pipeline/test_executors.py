"""The same tests on every executor, with functions that fail by plan."""

import math
import signal

import pytest

from facer.pipeline.executors import DaskExecutor, SerialExecutor, make_executor
from facer.storage.errors import FacerError
from facer.storage.labels import read_labels


@pytest.fixture(scope="module")
def cluster():
    executor = make_executor(2, None)
    yield executor
    executor.close()


@pytest.fixture(params=["serial", "processes"])
def executor(request, cluster):
    return SerialExecutor() if request.param == "serial" else cluster


def test_every_item_comes_back_with_its_result(executor):
    assert sorted(executor.map(math.sqrt, [4.0, 9.0, 16.0])) == [
        (4.0, 2.0),
        (9.0, 3.0),
        (16.0, 4.0),
    ]


def test_an_exception_belongs_to_its_item_and_the_rest_goes_on(executor):
    found = dict(executor.map(math.sqrt, [4.0, -1.0, 9.0]))
    assert found[4.0] == 2
    assert found[9.0] == 3
    assert isinstance(found[-1.0], ValueError)


def test_a_problem_of_the_user_stops_the_run(executor):
    with pytest.raises(FacerError, match="no such file or folder"):
        list(executor.map(read_labels, ["no-such-labels.csv"]))
    assert list(executor.map(abs, [-1])) == [(-1, 1)]  # still of use


def test_no_items_are_fine(executor):
    assert list(executor.map(abs, [])) == []


def test_a_worker_that_dies_is_replaced_and_its_item_named(cluster):
    found = dict(cluster.map(_kill, [signal.SIGKILL]))
    assert isinstance(found[signal.SIGKILL], Exception)
    assert list(cluster.map(abs, [-5])) == [(-5, 5)]


_kill = signal.raise_signal


def test_an_address_without_scheduler_is_refused_in_one_line():
    with pytest.raises(FacerError, match=r"--scheduler tcp://127\.0\.0\.1:9: no answer"):
        DaskExecutor(address="tcp://127.0.0.1:9")


def test_workers_must_be_positive():
    with pytest.raises(FacerError, match="--workers: found 0"):
        make_executor(0, None)
    assert make_executor(1, None).workers == 1
