"""A store as a dataset of PyTorch: what a head reads, clip by clip and in batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import facer
from facer.storage import FeatureStore


def test_items_are_the_clips_of_the_split(planted):
    path, labels = planted()
    store = facer.open_store(path)
    sets = {split: facer.ClipDataset(store, labels, split) for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in sets.items()} == {
        "train": 12, "val": 6, "test": 6,
    }  # fmt: skip
    table = dict(line.split(",", 1) for line in Path(labels).read_text().splitlines())
    for split, dataset in sets.items():
        assert dataset.names == ("joy", "awe")
        assert dataset.columns == store.feature_names
        assert dataset.n_features == 26
        for features, target, clip_id in dataset:
            assert table[clip_id].startswith(split)
            np.testing.assert_array_equal(features, store.read(clip_id).features)
            expected = [float(cell) for cell in table[clip_id].split(",")[1:]]
            np.testing.assert_allclose(target, expected, rtol=1e-6)
            assert features.dtype == target.dtype == torch.float32


def test_a_batch_is_padded_and_knows_its_lengths(planted):
    dataset = facer.ClipDataset(*planted(), features=["va", "au12"])
    assert dataset.columns == ("valence", "arousal", "au12")
    loader = DataLoader(dataset, batch_size=5, collate_fn=dataset.collate, num_workers=0)
    seen = []
    for batch in loader:
        assert batch.features.shape == (len(batch.clip_ids), int(batch.lengths.max()), 3)
        for row, clip_id in enumerate(batch.clip_ids):
            item = dataset[dataset.clip_ids.index(clip_id)]
            length = int(batch.lengths[row])
            assert torch.equal(batch.features[row, :length], item.features)
            assert not batch.features[row, length:].any()
            assert batch.mask[row].tolist() == [i < length for i in range(batch.mask.shape[1])]
            assert torch.equal(batch.target[row], item.target)
        seen += batch.clip_ids
    assert seen == list(dataset.clip_ids)
    assert dataset.lengths.tolist() == [len(item.features) for item in dataset]


def test_changing_an_item_changes_no_other(planted):
    dataset = facer.ClipDataset(*planted())
    before = dataset[0].features.clone()
    dataset[0].features.zero_()
    dataset[0].target.zero_()
    assert torch.equal(dataset[0].features, before)
    assert dataset[0].target.any()
    assert torch.equal(dataset[-1].features, dataset[len(dataset) - 1].features)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_sequences_are_filled_and_cut_as_a_head_reads_them(planted):
    dataset = facer.ClipDataset(*planted(), t=5, overlong="truncate")
    assert set(dataset.lengths.tolist()) == {5}


@pytest.mark.parametrize(
    ("split", "settings", "message"),
    [
        ("dev", {}, "split: found 'dev', expected one of train, val, test"),
        ("train", {"feature": "va"}, "did you mean 'features'"),
        ("train", {"features": "au99"}, "features au99: the store has no such column"),
        ("train", {"t": 0}, "t: found 0, expected 1 or more"),
        ("train", {"targets": "joi"}, "joi"),
    ],
)
def test_what_cannot_be_is_told(planted, split, settings, message):
    store, labels = planted()
    with pytest.raises(facer.FacerError) as told:
        facer.ClipDataset(store, labels, split, **settings)
    assert message in str(told.value)


def test_labels_that_join_nothing_and_splits_without_clips_are_told(planted, tmp_path):
    store, _ = planted()
    other = tmp_path / "other.csv"
    other.write_text("clip_id,joy\nx,1\ny,0\n")
    with pytest.raises(facer.FacerError, match=r"other\.csv"):
        facer.ClipDataset(store, other)
    other.write_text("clip_id,split,joy\nclip-01,train,1\nclip-02,train,0\n")
    with pytest.raises(facer.FacerError, match="split val: found no clip with labels"):
        facer.ClipDataset(FeatureStore.open(store), other, "val")


def test_a_plain_model_learns_from_it(planted):
    torch.manual_seed(0)
    store, labels = planted()
    train, val = (
        facer.ClipDataset(store, labels, s, features="au12,au26") for s in ("train", "val")
    )
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    loader = DataLoader(train, 4, shuffle=True, collate_fn=train.collate)

    def loss_of(batch):
        means = batch.features.sum(1) / batch.lengths[:, None]
        return (model(means) - batch.target).square().mean()

    for _ in range(60):
        for batch in loader:
            optimiser.zero_grad()
            loss_of(batch).backward()
            optimiser.step()
    assert loss_of(val.collate(list(val))) < 0.01


def test_a_batch_is_made_of_any_items_and_an_index_is_a_number(planted):
    dataset = facer.ClipDataset(*planted())
    batch = dataset.collate(dataset[index] for index in (0, 1))
    assert batch.clip_ids == dataset.clip_ids[:2]
    for index in (slice(0, 2), [0, 1], "0", 0.0, None):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            dataset[index]  # type: ignore[index]
