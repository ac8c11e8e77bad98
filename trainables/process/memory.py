"""The memory limit and the peak memory of a worker, and a guard that ends the process before the machine swaps.

On CUDA both refer to the caching allocator: the limit is `set_per_process_memory_fraction`, the peak is the most that
tensors held at one time. On a CPU they are the process's resident memory, counted by the kernel (VmRSS, VmHWM in
proc(5)).
"""

from __future__ import annotations

import gc
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import torch

SHARE_OF_AVAILABLE = 0.95  # usable share of a machine's or device's memory; the rest is for other programs and kernels
WATCH_SECONDS = 0.002  # memory is touched at some GB/s, so the limit is exceeded by some tens of MB at most
SPARE_ADDRESS_SPACE = 1 << 30  # mapped but never touched: stacks of threads, arenas of malloc


_SAYS_SO = (
    "DefaultCPUAllocator: can't allocate",
    "CUDA error: out of memory",  # these where memory beside the caching allocator's runs out: handles, kernels
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDA driver error: out of memory",
    "'out of memory'",  # NCCL's: Cuda failure 2 'out of memory'
    "Failed to CUDA calloc",
    "CUDA out of memory",  # torch's own type, and below Python's and C++'s, where a traceback tells of them
    "MemoryError",
    "std::bad_alloc",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whichever device."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or says_out_of_memory(str(error))


def says_out_of_memory(text: str) -> bool:
    """Whether an error's text, or its traceback, says that memory ran out. The one list of such phrases."""
    return any(phrase in text for phrase in _SAYS_SO)


def release_memory(device: torch.device) -> None:
    """Free the memory of objects that nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def claim_workspaces(device: torch.device) -> None:
    """Let the matrix libraries allocate their permanent workspaces now, for the threads of both passes.

    If they were allocated during a step, they would split a large cached block that the next step needs, and a batch
    that just fits would not fit a second time. Does nothing if they exist, or on a CPU.
    """
    if device.type == "cuda":
        warm = torch.ones(8, 8, device=device, requires_grad=True)
        torch.autograd.grad((warm @ warm).sum(), warm)


def peak_bytes(device: torch.device) -> int:
    """The peak memory in bytes since the start, or since `forget_peak`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def forget_peak(device: torch.device) -> None:
    """Reset the peak, because imports and the building of a model may have used more than the steps to measure."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


# -- a CPU's ----------------------------------------------------------------------------------------------------------


def resident_bytes() -> int:
    """The resident memory of this process in bytes."""
    return _status("VmRSS")


def own_bytes() -> int:
    """The memory of this process alone in bytes, without mapped files, which are shared (RssAnon in proc(5))."""
    return _status("RssAnon")


def available_bytes() -> int:
    """The bytes that this machine, or the container of this process, can still provide without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return min([machine, *_container_room()])


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _container_room(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Limit minus use of every control group (v1 and v2) of this process; file pages count as free."""
    room: list[int | None] = []
    for line in own.read_text().splitlines() if own.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        folder = base / path.lstrip("/")
        groups = [group for group in (folder, *folder.parents, base) if group.is_relative_to(base)]
        room += [_room_of(group, *names) for group in groups]
    return [found for found in room if found is not None]


def _room_of(group: Path, limit_file: str, usage_file: str) -> int | None:
    try:
        limit = int((group / limit_file).read_text())  # "max", which is not a number, means no limit
        used = int((group / usage_file).read_text())
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    files = sum(int(line.split()[1]) for line in lines if line.split()[0] in ("inactive_file", "active_file"))
    return max(0, limit - used + files)


def guard(limit_bytes: int, last_words: Callable[[], None]) -> None:
    """End this process, after calling `last_words`, as soon as it uses more than `limit_bytes`.

    A thread reads the kernel's counters; a single allocation far beyond the limit is refused, which torch raises as an
    error.
    """

    def watch() -> None:
        while resident_bytes() <= limit_bytes:
            done.wait(WATCH_SECONDS)
        last_words()
        os._exit(0)

    done = threading.Event()
    mapped = _status("VmData")
    room = max(0, limit_bytes - resident_bytes())
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = mapped + 2 * room + SPARE_ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    threading.Thread(target=watch, daemon=True).start()
