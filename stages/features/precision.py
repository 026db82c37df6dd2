"""In which numbers the networks are computed: float32, or bfloat16 where the hardware has it.

Milliseconds that REC takes a crop, on one thread: 0.8 in bfloat16 with AMX against 2.9 in float32,
1.5 against 3.0 with the AVX512-BF16 of AMD's cores. An Intel CPU with AMX that is confined to
AVX512-BF16 takes 3.6, and emulated it is 9.4: neither counts as native (docs/precision.md).
"""

from __future__ import annotations

import os
from pathlib import Path

from facer.stages.features.config import Precision
from facer.storage.schema import Provenance

CPU_INFO = Path("/proc/cpuinfo")
"""What Linux says of the CPU."""


def native_bf16(device: str) -> bool:
    """Whether a device (cpu, cuda, cuda:N) computes in bfloat16 by itself and faster than in
    float32: every GPU that torch still runs on, and a CPU with AMX or of AMD with AVX512-BF16, if
    oneDNN may use them (``ONEDNN_MAX_CPU_ISA``).
    """
    if device.startswith("cuda"):
        return True
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if not CPU_INFO.is_file():  # no Linux
        import torch  # it takes a second

        has_amx, has_avx = bool(torch.cpu._is_amx_tile_supported()), False
    else:
        said = set(CPU_INFO.read_text().split())
        has_amx, has_avx = "amx_bf16" in said, {"AuthenticAMD", "avx512_bf16"} <= said
    if allowed not in ("", "ALL", "DEFAULT"):
        has_amx &= "AMX" in allowed
        has_avx &= any(name in allowed for name in ("BF16", "FP16", "AMX"))  # in rising order
    return has_amx or has_avx


def usual_precision(device: str) -> Precision:
    """What a new store is made in."""
    return "bf16" if native_bf16(device) else "float32"


def stored_precision(provenance: Provenance) -> Precision:
    """What the features of a store were computed in; stores before this setting are in float32."""
    return "bf16" if provenance.settings.get("precision") == "bf16" else "float32"
