"""The heads by name; each is one small file against :class:`Head`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape
from facer.stages.intensity.heads.cross_attention import CrossAttention
from facer.stages.intensity.heads.facernet import FaceRNet
from facer.stages.intensity.heads.gru_last import GruLast
from facer.stages.intensity.heads.own import blamed, is_own, own_head
from facer.stages.intensity.heads.perceiver import Perceiver
from facer.stages.intensity.heads.stats_mlp import StatsMlp
from facer.stages.intensity.heads.tcn_branches import TcnBranches
from facer.stages.intensity.heads.tcn_transformer import TcnTransformer
from facer.stages.intensity.heads.two_branch import TwoBranch

HEADS: Mapping[str, Callable[[HeadConfig, HeadShape], Head]] = MappingProxyType(
    {
        "facernet": FaceRNet,
        "gru-last": GruLast,
        "tcn-transformer": TcnTransformer,
        "perceiver": Perceiver,
        "stats-mlp": StatsMlp,
        "two-branch": TwoBranch,
        "tcn-branches": TcnBranches,
        "cross-attention": CrossAttention,
    }
)


def build_head(config: HeadConfig, shape: HeadShape) -> Head:
    """Make a head with fresh weights from torch's random state.

    FacerError for one of another package that the user has not named.
    """
    if not is_own(config.name):
        return HEADS[config.name](config, shape)
    with blamed(config.name):
        return own_head(config.name)(config, shape)


__all__ = ["HEADS", "Head", "HeadConfig", "HeadShape", "build_head"]
