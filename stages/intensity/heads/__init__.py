"""The heads by name; each is one small file against :class:`Head`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape
from facer.stages.intensity.heads.cross_attention import CrossAttention
from facer.stages.intensity.heads.facernet import FaceRNet
from facer.stages.intensity.heads.gru_last import GruLast
from facer.stages.intensity.heads.perceiver import Perceiver
from facer.stages.intensity.heads.stats_mlp import StatsMlp
from facer.stages.intensity.heads.tcn_transformer import TcnTransformer
from facer.stages.intensity.heads.two_branch import TwoBranch
from facer.storage.errors import OptionError, named

HEADS: Mapping[str, Callable[[HeadConfig, HeadShape], Head]] = MappingProxyType(
    {
        "facernet": FaceRNet,
        "gru-last": GruLast,
        "tcn-transformer": TcnTransformer,
        "perceiver": Perceiver,
        "stats-mlp": StatsMlp,
        "two-branch": TwoBranch,
        "cross-attention": CrossAttention,
    }
)


def build_head(config: HeadConfig, shape: HeadShape) -> Head:
    """Make a head with fresh weights from torch's random state; FacerError for its name."""
    if config.name not in HEADS:
        raise OptionError(
            f"{named('head')}: found {config.name!r}, expected one of {', '.join(HEADS)}"
        )
    return HEADS[config.name](config, shape)


__all__ = ["HEADS", "Head", "HeadConfig", "HeadShape", "build_head"]
