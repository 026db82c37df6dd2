"""The same tests on every executor, with functions that fail by plan."""

import importlib
import math
import os
import signal
import time
from threading import Timer

import psutil
import pytest
from distributed import Client

from facer.pipeline.runtime import executors
from facer.pipeline.runtime.executors import (
    DaskExecutor,
    SerialExecutor,
    make_executor,
)
from facer.pipeline.runtime.processes import WorkerDiedError
from facer.stages.common.device import resolve_device
from facer.storage.errors import FacerError, OptionError
from facer.storage.labels.table import read_labels


@pytest.fixture(scope="module")
def processes():
    executor = make_executor(2, None)
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def remote(cluster):
    executor = make_executor(1, cluster.address)
    yield executor
    executor.close()


@pytest.fixture(params=["serial", "processes", "remote"])
def executor(request):
    if request.param == "serial":
        return SerialExecutor()
    return request.getfixturevalue(request.param)


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


def test_what_cannot_be_imported_is_no_fault_of_the_item(executor):
    with pytest.raises(FacerError, match=r"does not load completely \(No module named 'nowhere'"):
        list(executor.map(importlib.import_module, ["nowhere"]))


def test_a_thread_that_cannot_be_started_is_no_fault_of_the_item(executor):
    with pytest.raises(FacerError, match="no thread can be started; raise the limit"):
        list(executor.map(exec, ["""raise RuntimeError("can't start new thread")"""]))


def test_no_items_are_fine(executor):
    assert list(executor.map(abs, [])) == []


def test_a_worker_that_dies_is_replaced_and_its_item_named(processes):
    found = dict(processes.map(signal.raise_signal, [signal.SIGKILL]))
    assert isinstance(found[signal.SIGKILL], WorkerDiedError)
    assert list(processes.map(abs, [-5])) == [(-5, 5)]


def test_tls_without_its_settings_is_told_at_once():
    with pytest.raises(FacerError, match=r"tls://127\.0\.0\.1:1: found no TLS settings here"):
        DaskExecutor("tls://127.0.0.1:1")


def test_ctrl_c_is_left_to_the_driver(processes):
    assert dict(processes.map(abs, [-1, -2])) == {-1: 1, -2: 2}
    workers = {worker.pid for worker in workers_of_this_process()}
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    assert dict(processes.map(abs, [-1, -2])) == {-1: 1, -2: 2}
    assert {worker.pid for worker in workers_of_this_process()} == workers


def workers_of_this_process():
    children = psutil.Process().children()
    return [child for child in children if "facer.pipeline.runtime.worker" in child.cmdline()]


def test_an_item_of_a_worker_that_dies_is_done_by_another(new_cluster):
    with new_cluster(2) as cluster:
        executor = DaskExecutor(cluster.address)
        victim = cluster.workers[0]
        found = []
        for item, result in executor.map(time.sleep, [0.2, 0.21, 0.22, 0.23, 0.24, 0.25]):
            found.append((item, result))
            if len(found) == 2:
                victim.kill()
        executor.close()
    assert sorted(found) == [(s, None) for s in (0.2, 0.21, 0.22, 0.23, 0.24, 0.25)]


def test_a_scheduler_that_vanishes_ends_the_run_in_one_line(new_cluster):
    with new_cluster(1) as cluster:
        executor = DaskExecutor(cluster.address)
        results = executor.map(time.sleep, [0.05] * 200)
        next(results)
        cluster.scheduler.kill()
        with pytest.raises(FacerError, match=f"{cluster.address}: the connection .* was lost"):
            list(results)
        executor.close()


def test_a_scheduler_that_vanishes_while_workers_are_checked_is_one_line(new_cluster):
    with new_cluster(1) as cluster:
        executor = DaskExecutor(cluster.address)
        Timer(2.0, cluster.scheduler.kill).start()
        with pytest.raises(FacerError, match=f"{cluster.address}: the connection .* was lost"):
            executor.check_workers(time.sleep, 10)
        executor.close()


def test_a_cluster_without_workers_is_told_of(new_cluster, monkeypatch):
    monkeypatch.setattr(executors, "LONELY_S", 0.3)
    told = []

    def note(text):
        told.append(text)
        if "no worker" in text:
            cluster.add_worker()

    with new_cluster(1) as cluster:
        executor = DaskExecutor(cluster.address, note=note)
        cluster.stop(cluster.workers[0])
        assert list(executor.map(abs, [-1])) == [(-1, 1)]
        executor.close()
    assert "without TLS, whoever reaches the scheduler or a worker can run code there" in told[0]
    assert told[1].startswith("no worker is left; waiting")


def test_workers_that_are_paused_are_told_of(new_cluster, monkeypatch):
    monkeypatch.setattr(executors, "LONELY_S", 0.3)
    told = []

    def note(text):
        told.append(text)
        if "paused" in text:
            cluster.add_worker()

    with new_cluster(0) as cluster:
        cluster.add_worker(
            "import dask; dask.config.set({'distributed.worker.memory.pause': 1e-6})"
        )
        with Client(cluster.address, set_as_default=False) as client:
            while statuses(client) != ["paused"]:
                time.sleep(0.05)
        executor = DaskExecutor(cluster.address, note=note)
        assert list(executor.map(abs, [-1])) == [(-1, 1)]
        executor.close()
    assert told[1].startswith("all workers are paused, at the limit of their memory; waiting")


@pytest.mark.parametrize("who", ["scheduler", "worker"])
@pytest.mark.parametrize("work", ["map", "check"])
def test_who_says_nothing_is_told_of(new_cluster, monkeypatch, who, work):
    monkeypatch.setattr(executors, "LONELY_S", 1.0)
    told = []

    def note(text):
        told.append(text)
        if "Ctrl-C stops" in text:
            os.kill(process.pid, signal.SIGCONT)

    with new_cluster(1) as cluster:
        executor = DaskExecutor(cluster.address, note=note)
        monkeypatch.setattr(executors, "CONNECT_S", 1.0)
        process = cluster.scheduler if who == "scheduler" else cluster.workers[0]
        os.kill(process.pid, signal.SIGSTOP)
        if work == "map":
            assert list(executor.map(abs, [-1])) == [(-1, 1)]
        else:
            assert list(executor.check_workers(abs, -1).values()) == [1]
        executor.close()
    if who == "scheduler":
        assert told[1] == "the scheduler does not answer; waiting for it (Ctrl-C stops)"
    else:
        assert told[1].startswith("1 of 1 workers, such as tcp://127.0.0.1:")
        assert "say nothing for 1 s; waiting (Ctrl-C stops): Dask gives" in told[1]


def statuses(client):
    return [worker["status"] for worker in client.scheduler_info()["workers"].values()]


def test_work_that_is_cancelled_on_the_scheduler_is_no_fault_of_its_items(new_cluster):
    with new_cluster(1) as cluster:
        executor = DaskExecutor(cluster.address)
        results = executor.map(time.sleep, [0.05] * 200)
        next(results)
        with Client(cluster.address, set_as_default=False) as other:
            other.restart(wait_for_workers=False)
        with pytest.raises(FacerError, match=r"the work was cancelled there \(.*run the same comm"):
            list(results)
        executor.close()


def test_the_address_of_a_worker_is_refused_in_one_line(cluster):
    with Client(cluster.address, set_as_default=False) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
    with pytest.raises(FacerError, match=f"scheduler {worker}: no answer .*`dask scheduler` pr"):
        DaskExecutor(worker)


def test_an_address_without_scheduler_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(executors, "CONNECT_S", 0.5)
    with pytest.raises(FacerError, match=r"scheduler tcp://127\.0\.0\.1:9: no answer"):
        DaskExecutor("tcp://127.0.0.1:9")


def test_a_scheduler_that_hangs_is_refused_in_one_line(new_cluster, monkeypatch):
    monkeypatch.setattr(executors, "CONNECT_S", 0.5)
    with new_cluster(0) as cluster:
        os.kill(cluster.scheduler.pid, signal.SIGSTOP)
        with pytest.raises(FacerError, match=rf"{cluster.address}: no answer \(in 0\.5 s\)"):
            DaskExecutor(cluster.address)


def test_a_scheduler_without_workers_is_refused(new_cluster):
    with (
        new_cluster(0) as cluster,
        pytest.raises(FacerError, match=f"no workers; start `dask worker {cluster.address}`"),
    ):
        DaskExecutor(cluster.address)


def test_every_worker_is_asked(remote):
    found = remote.check_workers(os.readlink, "/proc/self")
    assert len(set(found.values())) == 2  # two processes
    assert all(name.startswith("worker ") and "tcp://127.0.0.1" in name for name in found)
    with pytest.raises(FacerError, match=r"worker .*: no-such.csv: found no such file or folder"):
        remote.check_workers(read_labels, "no-such.csv")
    with pytest.raises(FacerError, match=r"worker .*: a check failed \(invalid literal"):
        remote.check_workers(int, "no number")


def test_a_worker_that_ends_while_it_is_asked_is_named(new_cluster):
    with new_cluster(1) as cluster:
        executor = DaskExecutor(cluster.address)
        with pytest.raises(FacerError, match=r"worker .*tcp://127.*: does not answer the schedul"):
            executor.check_workers(os._exit, 1)
        executor.close()


def test_one_worker_is_this_process():
    assert make_executor(1, None).in_process


def test_an_option_error_of_a_worker_stays_one():
    executor = make_executor(2, None)
    try:
        with pytest.raises(OptionError) as found:
            list(executor.map(resolve_device, ["tpu"]))
    finally:
        executor.close()
    assert found.value.with_options().startswith("--device: found 'tpu', expected auto")
