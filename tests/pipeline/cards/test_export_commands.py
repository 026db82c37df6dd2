"""The command of each card that exports a checkpoint runs, in a stand-in for its project.

The stand-in has the project's module and class names, as they are in its sources, and a small
network; its checkpoint has the project's keys. What the command writes fits the card.
"""

import shlex
import sys
import textwrap
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.cards.card import CARDS, read_card

SMALL = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(12, n)

    def numbers(self, x):
        return self.fc(self.pool(x).flatten(1))
"""

# files of the project, where its checkpoint is, how that wraps the weights, how many outputs
PROJECTS: dict[str, tuple[dict[str, str], str | None, Any, int]] = {
    "ddamfn": (
        {"DDAMFN++/networks/DDAM.py": """
            class DDAMNet(Small):
                def __init__(self, num_class, num_head, pretrained):
                    super().__init__(num_class)

                def forward(self, x):
                    return self.numbers(x), x, [x * 2, x * 3]
        """},
        "DDAMFN++/checkpoints_ver2.0/affecnet8_epoch25_acc0.6469.pth",
        lambda state: {"iter": 3, "model_state_dict": state, "optimizer_state_dict": {}}, 8,
    ),
    "opengraphau": (
        {"model/resnet.py": """
            def resnet50(pretrained=True):
                assert not pretrained, "reads a file that is not there"
        """,
         "model/ANFL.py": """
            from .resnet import resnet50

            class MEFARG(Small):
                def __init__(self, num_main_classes, num_sub_classes, backbone, neighbor_num,
                             metric):
                    resnet50()
                    super().__init__(num_main_classes + num_sub_classes)

                def forward(self, x):
                    return self.numbers(x)
        """},
        "checkpoints/OpenGprahAU-ResNet50_first_stage.pth",
        lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, 41,
    ),
    "posterv2-affectnet8": (
        {"models/PosterV2_8cls.py": """
            class pyramid_trans_expr2(Small):
                def __init__(self, img_size, num_classes):
                    super().__init__(num_classes)

                def forward(self, x):
                    return self.numbers(x)
        """},
        "CHECKPOINT.pth",
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}}, 8,
    ),
    "libreface-au-detection": (
        {"libreface/AU_Recognition/models/resnet18_combine.py": (combined := """
            class ResNet18(Small):
                def __init__(self, opts):
                    super().__init__(opts.au_recognition_num_labels)
                    self.two = nn.Linear(12, opts.au_detection_num_labels)

                def forward(self, images, task_name=None):
                    if task_name == "au_recognition":
                        return self.numbers(images).sigmoid()
                    assert task_name == "au_detection"
                    return self.two(self.pool(images).flatten(1)).sigmoid()
        """)},
        (there := "weights_libreface/AU_Recognition/weights/combined_resnet.pt"),
        lambda state: {"model": {**state, "two.weight": state["fc.weight"],
                                 "two.bias": state["fc.bias"]}}, 12,
    ),
    "libreface-au-intensity": (
        {"libreface/AU_Recognition/models/resnet18_combine.py": combined}, there,
        lambda state: {"model": {**state, "two.weight": state["fc.weight"],
                                 "two.bias": state["fc.bias"]}}, 12,
    ),
    "libreface-expression": (
        {"libreface/Facial_Expression_Recognition/models/repvgg.py": """
            class RepVGG(Small):
                def __init__(self, opts):
                    super().__init__(opts.num_labels)

                def forward(self, images, landmarks=None):
                    return self.numbers(images).sigmoid(), self.pool(images).flatten(1)
        """},
        "weights_libreface/Facial_Expression_Recognition/weights/repvgg.pt",
        lambda state: {"model": state}, 8,
    ),
    "pyfeat-multitask": (
        {"feat/multitask/inference.py": """
            class Multitask(Small):
                def forward(self, x):
                    y = self.numbers(x)
                    return {"p_au": y[:, :20].sigmoid(), "mesh": y, "pose": y[:, :6],
                            "cooccur": None, "emotion_logits": y[:, 20:27],
                            "va": y[:, 27:29].tanh(), "gaze": y[:, 29:]}

            class MultitaskModel:
                def __init__(self, device):
                    self.model = Multitask(31).to(device).eval()
        """}, None, None, 31,
    ),
}  # fmt: skip


def run_here(command, folder, monkeypatch):
    """Run ``python -c CODE``, after ``cd FOLDER &&`` if that is there, without another process."""
    words = shlex.split(command)
    if words[:1] == ["cd"]:
        assert words[2] == "&&"
        folder, words = folder / words[1], words[3:]
    assert words[:2] == ["python", "-c"]
    assert len(words) == 3
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own exporter, which it calls deprecated
            exec(compile(words[2], "<command>", "exec"), {"__name__": "__main__"})
    finally:
        made = set(sys.modules) - before
        here = [name for name in made if str(folder) in " ".join(places(sys.modules[name]))]
        for name in here:
            del sys.modules[name]


def places(module):
    """Where a module lies; all are asked before any is forgotten, as packages ask their parents."""
    return [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_an_export_command_runs_and_its_file_fits_the_card(name, tmp_path, monkeypatch):
    files, checkpoint, wrapped, n = PROJECTS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(SMALL + textwrap.dedent(text))
    if checkpoint is not None:
        (tmp_path / checkpoint).parent.mkdir(parents=True, exist_ok=True)
        state = {"fc.weight": torch.randn(n, 12), "fc.bias": torch.randn(n)}
        torch.save(wrapped(state), tmp_path / checkpoint)
    card = read_card(CARDS / f"{name}.toml")
    run_here(card.file.export, tmp_path, monkeypatch)
    (made,) = tmp_path.rglob(card.file.name)
    beside = made.parent / "card.toml"
    beside.write_text((CARDS / f"{name}.toml").read_text())
    side = card.crop.size_px
    crops = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    rows = rec.load(beside, "cpu").predict(crops)
    assert rows.shape == (3, len(card.columns))
    assert np.ptp(rows, axis=0).max() > 0  # each crop is another row


def test_every_card_that_is_exported_by_a_command_is_here():
    exported = {p.stem for p in CARDS.glob("*.toml") if "torch.onnx.export" in p.read_text()}
    assert exported == set(PROJECTS)
