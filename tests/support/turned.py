"""Changes every global setting of a process: a trial must not leave such changes to the next one."""

import decimal
import gc
import locale
import logging
import os
import random
import sys
import warnings

import numpy as np
import torch
from torch import nn
from torch.utils import deterministic


def turn_everything(folder):
    """Change every setting that a trial could change, to a value that it does not have."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    np.seterr(all="raise")
    decimal.getcontext().prec = 3
    locale.setlocale(locale.LC_ALL, "C" if locale.setlocale(locale.LC_ALL) != "C" else "C.UTF-8")
    os.environ.update({"LEFT_BEHIND": "1", "PATH": "/nowhere"})
    del os.environ["HOME"]
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv.append("--more")
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("torch").handlers.append(logging.NullHandler())
    gc.disable()
    gc.set_threshold(1, 1, 1)
    _turn_torch()


def _turn_torch():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True, False)
    torch._C._set_multithreading_enabled(False)
    for device in ("cpu", "cuda"):
        torch.set_autocast_enabled(device, True)
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_cache_enabled(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = False
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.fp32_precision = "ieee"
    torch.backends.mkldnn.set_flags(False, True)
    torch.backends.cudnn.enabled = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 3
    torch.backends.cudnn.deterministic = True
    matmul = torch.backends.cuda.matmul
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = False
    matmul.allow_fp16_accumulation = True
    for switch in ("flash", "mem_efficient", "math", "cudnn"):
        getattr(torch.backends.cuda, f"enable_{switch}_sdp")(False)
    torch._C._set_nnpack_enabled(False)
    torch.backends.quantized.engine = next(
        engine for engine in torch.backends.quantized.supported_engines if engine != torch.backends.quantized.engine
    )
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    nn.modules.module.register_module_forward_hook(lambda module, inputs, outputs: outputs * 0)
    torch._dynamo.config.suppress_errors = True
    torch._inductor.config.max_autotune = True
