"""What the challenges' label and prediction files look like: columns by name, and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from facer.storage.labels.words import key_of

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

_REACTION = (
    "Adoration",
    "Amusement",
    "Anxiety",
    "Disgust",
    "Empathic-Pain",
    "Fear",
    "Surprise",
)


@dataclass(frozen=True)
class Challenge:
    """One challenge's files: the id column and the targets, in the official order."""

    title: str
    id_column: str
    names: tuple[str, ...]
    bracketed: bool  # ids are written [10000]


CHALLENGES: Mapping[str, Challenge] = MappingProxyType(
    {
        "eri": Challenge("ABAW5 ERI", "File_ID", _REACTION, bracketed=True),
        "muse": Challenge("MuSe-2022 Reaction", "File_ID", _REACTION, bracketed=True),
        "emi": Challenge(
            "ABAW EMI",
            "Filename",
            ("Admiration", "Amusement", "Determination", "Empathic Pain", "Excitement", "Joy"),
            bracketed=False,
        ),
        "mimic": Challenge(
            "MuSe-2023 Mimic",
            "filename",
            ("Approval", "Disappointment", "Uncertainty"),
            bracketed=False,
        ),
    }
)

_SPLITS = {
    "train": "train training trn tr learn learning fit entrenamiento treino treinamento treinar "
    "addestramento entrainement apprentissage treningowy uczacy egitim 訓練 学習 训练 훈련 학습",
    "val": "val valid validation validate validating dev devel development eval evaluation tune "
    "tuning publictest validacion desarrollo validacao desenvolvimento validazione sviluppo "
    "validierung walidacja walidacyjny dogrulama 検証 開発 验证 驗證 开发 검증 개발",
    "test": "test testing tst te privatetest prueba teste testowy テスト 测试 測試 테스트",
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words.split()}


def canonical_split(text: str) -> str | None:
    """Return train, val, test or "" for any spelling of them; None for another word.

    ``Training``, ``Train_Set`` and ``train-data`` are train.
    """
    word = key_of(text)
    if not word:
        return "" if not text.strip() else None
    for ending in ("", "set", "split", "data", "partition", "part", "集", "用", "データ", "세트"):
        if (split := _SPLIT_OF.get(word.removesuffix(ending))) is not None:
            return split
    return None


def bare_id(clip_id: str) -> str:
    """Return an id without the challenges' brackets; leading zeros are kept."""
    text = clip_id.strip()
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1].strip()
    return text


def last_name(clip_id: str) -> str:
    """Return the last component of an id, without brackets: what challenges call a clip."""
    return bare_id(clip_id).rsplit("/", 1)[-1]


def positions(header: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return where each of ``names`` is in ``header``; names that are absent are left out."""
    where = {key_of(name): index for index, name in enumerate(header)}
    return {name: where[key_of(name)] for name in names if key_of(name) in where}
