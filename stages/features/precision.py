"""In which numbers the networks are computed: float32, or bfloat16 where the hardware has it.

Measured on one thread of a CPU with AMX, bfloat16 takes REC 0.8 ms a crop against 2.9; on the same
CPU confined to AVX512-BF16 it takes 3.6, and emulated 9.4. So only AMX counts as native
(docs/precision.md).
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
    float32: every GPU that torch still runs on, and a CPU whose AMX oneDNN may use
    (``ONEDNN_MAX_CPU_ISA``).
    """
    if device.startswith("cuda"):
        return True
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if allowed not in ("", "ALL", "DEFAULT") and "AMX" not in allowed:
        return False
    if CPU_INFO.is_file():
        return "amx_bf16" in CPU_INFO.read_text()
    import torch  # it takes a second, and knows of other systems than Linux

    return bool(torch.cpu._is_amx_tile_supported())


def usual_precision(device: str) -> Precision:
    """What a new store is made in."""
    return "bf16" if native_bf16(device) else "float32"


def stored_precision(provenance: Provenance) -> Precision:
    """What the features of a store were computed in; stores before this setting are in float32."""
    return "bf16" if provenance.settings.get("precision") == "bf16" else "float32"
