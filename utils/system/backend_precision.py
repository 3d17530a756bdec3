"""The precision that suits the device: half precision only where it is computed faster."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .backend import on_accelerator

AUTO = "auto"
FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
# names in Linux's list of a processor's features
UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
# what trains no faster in bfloat16 with these units: many convolutions of few channels; of some
# architectures only networks with an option below a limit
GAINS_NOTHING: dict[str, dict[str, dict[str, float]]] = {
    "AVX512-BF16": {"densenet": {}, "mobilenet": {"alpha": 0.5}}
}
LEAST_CAPABILITY = 8.0  # of NVIDIA's GPUs whose tensor cores compute in bfloat16
CPUINFO = Path("/proc/cpuinfo")


def chosen_precision(
    asked: str, trained: str | None = None, options: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """Returns the dtype policy to compute in, and why.

    Args:
        asked: string, a dtype policy, or `"auto"`: `"mixed_bfloat16"` if the device has units for
            it that the backend uses, and `"float32"` otherwise.
        trained: string, the architecture to train, some of which gain nothing from bfloat16.
            Defaults to none.
        options: dictionary of that architecture's options, and maybe others. Defaults to none.

    Returns:
        The policy and a short reason for people, which is empty if the policy was asked for.
    """
    if asked != AUTO:
        return asked, ""
    if on_accelerator():
        return _of_accelerator()
    return _of_processor(trained, options or {})


def precision_of_run(asked: str, trained_in: str) -> str:
    """Returns the dtype policy to compute the network of a run in.

    Args:
        asked: string, a dtype policy, or `"auto"`: the one that it was trained in, so that results
            are the same, unless this device has no units for it.
        trained_in: string, the dtype policy of the training.
    """
    if asked != AUTO:
        return asked
    has_units = trained_in == chosen_precision(asked)[0]
    if trained_in == "mixed_float16":
        has_units = on_accelerator()
    return trained_in if has_units else FLOAT32


def _of_accelerator():
    capability = _compute_capability()
    if capability is None:
        return FLOAT32, "the device is not known to compute faster in bfloat16"
    if capability < LEAST_CAPABILITY:
        return FLOAT32, f"compute capability {capability} is below {LEAST_CAPABILITY}"
    return BFLOAT16, "the device has units for it"


def _compute_capability():
    """Of an NVIDIA GPU, such as 8.6; infinite for a TPU, `None` for other devices."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.config.list_physical_devices("TPU"):
            return float("inf")
        gpu = tf.config.list_physical_devices("GPU")[0]
        found = tf.config.experimental.get_device_details(gpu).get("compute_capability")
        return None if found is None else float("{}.{}".format(*found))
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "tpu":
            return float("inf")
        found = getattr(device, "compute_capability", None)
        return None if found is None else float(found)
    import torch

    if not torch.cuda.is_available():
        return None
    return float("{}.{}".format(*torch.cuda.get_device_capability()))


def _of_processor(trained, options):
    import keras

    if keras.backend.backend() == "jax":
        return FLOAT32, "on a processor, bfloat16 is for tensorflow and torch"
    if keras.backend.backend() == "tensorflow" and os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return FLOAT32, "oneDNN, which computes in bfloat16, is turned off"
    units = bfloat16_units()
    if units is None:
        return FLOAT32, "the processor has no units for bfloat16"
    limits = GAINS_NOTHING.get(units, {}).get(trained)
    if limits is not None and all((options.get(o) or limit) < limit for o, limit in limits.items()):
        of = "".join(f" with {option} {options[option]:g}" for option in limits)
        return FLOAT32, f"{trained}{of} gains nothing from {units}"
    return BFLOAT16, f"the processor has {units}"


def bfloat16_units() -> str | None:
    """Returns the name of the processor's units for bfloat16, or `None` if it is not known."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return next((name for flag, name in UNITS.items() if flag in flags), None)
