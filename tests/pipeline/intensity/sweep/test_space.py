"""What --set means, and which trials come of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.pipeline.intensity.sweep.space import (
    Range,
    chosen_settings,
    read_space,
    title_of,
    trial_id,
)
from facer.storage.errors import OptionError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("learning_rate=1e-4,1e-3", [1e-4, 1e-3]),
        ("learning-rate= 1e-4 , 1e-4", [1e-4]),
        ("hidden_size=32,64", [32, 64]),
        ("features=va,va+au,all", [("va",), ("va", "au"), ("all",)]),
        ("head=facernet,gru-last", ["facernet", "gru-last"]),
        ("no_mask=true,false", [True, False]),
        ("clip_norm=none,1", [None, 1.0]),
        ("dropout=0..0.5", Range(0, 0.5)),
        ("learning_rate=log:1e-5..1e-3", Range(1e-5, 1e-3, log=True)),
        ("hidden_size=32..256", Range(32, 256, whole=True)),
        ("augment_crop=0.5..1", Range(0.5, 1)),
        ("head=my.heads:Mine,facernet", ["my.heads:Mine", "facernet"]),
    ],
)
def test_texts(text, values):
    ((_, found),) = read_space([text]).items()
    assert found == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden_size", "set hidden_size: expected NAME=VALUES, such as"),
        ("=3", "expected NAME=VALUES"),
        ("learning_rat=3", "learning_rat: found no such setting; did you mean 'learning_rate'"),
        ("seed=1,2", "seed: found no such setting"),
        ("labels=a,b", "labels: found no such setting"),
        ("seeds=1,2", "seeds: found no such setting"),
        ("hidden_size=a", "set hidden_size: found 'a', expected a number"),
        ("no_mask=yes", "found 'yes', expected true or false"),
        ("learning_rate=nan", "found 'nan', expected a number"),
        ("learning_rate=log:0..1", "expected a range such as"),
        ("learning_rate=2..1", "expected a range such as"),
        ("head=facernet..gru-last", "expected a number"),
    ],
)
def test_wrong_texts(text, message):
    with pytest.raises(OptionError, match=message):
        read_space([text])


def test_values_of_one_setting_stand_together():
    """Seen: of ``--set layers=1 --set layers=2`` only the last was tried."""
    with pytest.raises(OptionError, match="set learning_rate: found it twice"):
        read_space(["learning_rate=1e-3", "learning-rate=1e-2"])


def test_values_of_numpy_are_numbers():
    found = read_space({"layers": np.arange(1, 3), "dropout": [np.float64(0.5), 0]})
    assert found == {"layers": [1, 2], "dropout": [0.5, 0]}
    assert {type(value) for values in found.values() for value in values} == {int, float}


@pytest.mark.parametrize("given", [[], {}, {"hidden_size": []}, {"hidden_size": 3}])
def test_nothing_to_try(given):
    with pytest.raises(OptionError, match="expected"):
        read_space(given)


def test_a_grid_is_every_combination():
    space = read_space({"hidden_size": [8, 16], "learning_rate": [1e-3, 1e-2, 1e-1]})
    found = chosen_settings(space, None, 0)
    assert len(found) == 6
    assert found[0] == {"hidden_size": 8, "learning_rate": 1e-3}
    assert len({trial_id(one) for one in found}) == 6


def test_a_grid_has_no_ranges_and_bounds():
    with pytest.raises(OptionError, match="set hidden_size: a range needs trials"):
        chosen_settings(read_space(["hidden_size=3..5"]), None, 0)
    space = read_space({"hidden_size": list(range(1, 1001)), "dense": list(range(1, 1001))})
    with pytest.raises(OptionError, match="found 1000000 combinations, expected at most 10000"):
        chosen_settings(space, None, 0)


@settings(max_examples=30, deadline=None)
@given(trials=st.integers(1, 12), more=st.integers(0, 8), seed=st.integers(0, 3))
def test_random_trials_differ_keep_their_ranges_and_more_begin_with_the_same(trials, more, seed):
    space = read_space(
        ["hidden_size=4..64", "learning_rate=log:1e-5..1e-2", "head=facernet,gru-last"]
    )
    found = chosen_settings(space, trials, seed)
    assert len({trial_id(one) for one in found}) == len(found) == trials
    for one in found:
        assert 4 <= one["hidden_size"] <= 64
        assert isinstance(one["hidden_size"], int)
        assert 1e-5 <= one["learning_rate"] <= 1e-2
    assert chosen_settings(space, trials + more, seed)[:trials] == found


def test_no_more_trials_than_there_are():
    assert len(chosen_settings(read_space(["hidden_size=8,16"]), 30, 0)) == 2


def test_a_trial_has_one_folder_whatever_the_order():
    a, b = (
        {"hidden_size": 8, "features": ("va", "au")},
        {"features": ("va", "au"), "hidden_size": 8},
    )
    assert trial_id(a) == trial_id(b) != trial_id({"hidden_size": 8, "features": ("va",)})
    assert title_of(a) == "hidden_size=8, features=va+au"
