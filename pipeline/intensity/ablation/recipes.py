"""The systems of the paper's Table 1 as rows: what the original did, what facer does instead.

The figures are of Hume-Reaction's test split, as Kollias et al. 2023 print them. What an entry did
is told as its own report tells it, as far as it matters for a head on cached features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Recipe:
    """How a row stands in for a published system."""

    original: str
    here: str
    differs: str


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "facernet": Recipe(
            "FaceRNET: valence-arousal, expressions and action units of a CNN over frames, a GRU "
            "of 128, Mask and routing, a dense layer of 32.",
            "the default head on all columns of STORE.",
            "the features are those of STORE.",
        ),
        "fau-baseline": Recipe(
            "MuSe 2022's baseline on action units: a recurrent network over py-feat's units.",
            "gru-last on the action units of STORE.",
            "the units and their extractor; a GRU of 128 where the baseline searched its size.",
        ),
        "vggface2-baseline": Recipe(
            "MuSe 2022's baseline on VGGface2: a recurrent network over a face recogniser's "
            "embedding of each frame.",
            "gru-last on the stream identity, or without it on the embedding in STORE.",
            "the recogniser; REC's embedding knows expressions rather than people.",
        ),
        "fusion-baseline": Recipe(
            "the baseline's late fusion of systems on single features.",
            "the mean of the predictions of the FAU and the VGGface2 row.",
            "which systems are fused, and weights that are equal.",
        ),
        "viper": Recipe(
            "ViPER: a perceiver over the frames, sound, action units and words of a video.",
            "perceiver on STORE and the stream audio.",
            "features per frame instead of learnt embeddings of images; no words.",
        ),
        "nisl-2023": Recipe(
            "NISL-2023: a transformer encoder over fused features of face and sound.",
            "tcn-transformer on the joined columns of STORE and the stream audio.",
            "two strided convolutions come before the encoder; the features.",
        ),
        "ustc-ac": Recipe(
            "USTC-AC: transformer encoders that mix sound and face by cross-modal attention.",
            "cross-attention on STORE and the stream audio.",
            "the features, and the entry's treatment of the data, which is not known here.",
        ),
        "ustc-iat-united": Recipe(
            "USTC-IAT-United: a branch for the face and one for the sound (MFCC), temporal "
            "convolutions and transformers, modality dropout.",
            "tcn-branches on STORE and the stream audio, with a modality dropout of 0.3.",
            "no spatial attention over images; the features; the share that is dropped.",
        ),
        "hfut-cvers": Recipe(
            "HFUT-CVers: features of face and sound that interact in transformers, and an ensemble "
            "of such models.",
            "the mean of the predictions of the rows of USTC-AC, USTC-IAT-United and NISL-2023.",
            "the members are rows of this table, not the entry's own models; the features.",
        ),
    }
)
