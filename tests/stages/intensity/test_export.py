import json

import numpy as np
import onnxruntime
import pytest
import torch

from facer.stages.intensity.calibration import Calibration
from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.export import head_to_onnx
from facer.stages.intensity.heads import HEADS, HeadShape
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.model import InputScale, IntensityModel, predict
from facer.stages.intensity.sequences import Sequences
from facer.storage import FacerError

T, F = 40, 5
COLUMNS, NAMES = tuple("abcde"), ("joy", "fear", "awe")
CONFIGS = {name: HeadConfig(name, hidden_size=8, dense=6) for name in HEADS}
CONFIGS["facernet lstm"] = HeadConfig(cell="lstm", hidden_size=8, dense=6)
CONFIGS["facernet 2 layers"] = HeadConfig(layers=2, hidden_size=8, dense=6)
CONFIGS["facernet unrouted"] = HeadConfig(routed=False, hidden_size=8, dense=6)
STREAMS = dict.fromkeys(CONFIGS, ()) | {f"{name} of 2": (2, 3) for name in HEADS}
CONFIGS |= {f"{name} of 2": CONFIGS[name] for name in HEADS}


def model_of(name):
    torch.manual_seed(0)
    model = IntensityModel(CONFIGS[name], HeadShape(F, len(NAMES), T, STREAMS[name]))
    random = np.random.default_rng(0)
    model.set_scale(
        InputScale(random.random(F).astype(np.float32), 1 + random.random(F).astype(np.float32))
    )
    model.set_calibration(Calibration(np.array([2.0, 0.5, 1.5]), np.array([0.1, -1.0, 0.0])))
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_torch_for_every_length(name):
    model = model_of(name)
    exported = head_to_onnx(model, COLUMNS, NAMES).SerializeToString()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    for frames in (1, 2, 7, 16, 33, T):
        features = random.standard_normal((frames, F)).astype(np.float32)
        data = DeviceSequences(
            Sequences(features, np.array([0, frames]), ("x",)), torch.device("cpu")
        )
        (found,) = session.run(None, {"features": features})
        np.testing.assert_allclose(found, predict(model, data, np.array([0]))[0], atol=1e-5)


def test_the_file_says_what_it_takes_and_gives():
    exported = head_to_onnx(model_of("facernet"), COLUMNS, NAMES)
    properties = {entry.key: entry.value for entry in exported.metadata_props}
    assert json.loads(properties["columns"]) == list(COLUMNS)
    assert json.loads(properties["names"]) == list(NAMES)
    assert properties["max_frames"] == str(T)


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(FacerError, match="found 4 columns and 3 names, expected 5 and 3"):
        head_to_onnx(model_of("facernet"), COLUMNS[:4], NAMES)
