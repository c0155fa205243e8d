"""The node's side of `bench/examine.py`: networks loaded once, then one examination a line.

    python bench/examine_node.py MODELS DEVICE

A line of standard input is a JSON object with `path` and `out`; the answer says how many seconds
the whole took, how many of them the forward passes, and when each step began.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, cast

from dicomnode.config import InferenceSettings, Settings
from dicomnode.inference.assessment import Segmenter
from dicomnode.inference.examine import examine_nifti
from dicomnode.inference.models import load_manifest
from dicomnode.inference.nnunet import load_networks


class ForwardPasses:
    """Seconds that whole networks spend in `forward`; of modules inside others nothing counts."""

    def __init__(self, device: str) -> None:
        import torch
        from torch.nn.modules import module

        self.seconds, self.cpu_seconds, self.count = 0.0, 0.0, 0
        self._depth, self._began, self._cpu_began = 0, 0.0, 0.0
        self._settle: Callable[[], None] = (
            cast("Callable[[], None]", torch.cuda.synchronize)
            if device.startswith("cuda")
            else lambda: None
        )
        module.register_module_forward_pre_hook(self._before)
        module.register_module_forward_hook(self._after, always_call=True)

    def _before(self, *_: Any) -> None:
        if self._depth == 0:
            self._settle()
            self._began, self._cpu_began = time.perf_counter(), time.process_time()
        self._depth += 1

    def _after(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._settle()
            self.seconds += time.perf_counter() - self._began
            self.cpu_seconds += time.process_time() - self._cpu_began
            self.count += 1


def examined(
    path: Path, out: Path, networks: tuple[Segmenter, ...], passes: ForwardPasses
) -> dict[str, Any]:
    steps: list[tuple[str, float]] = []
    passes.seconds, passes.cpu_seconds, passes.count = 0.0, 0.0, 0
    began = time.perf_counter()

    def progress(step: str) -> None:
        steps.append((step, time.perf_counter() - began))

    found = examine_nifti(path, networks, Settings(), out, progress)
    seconds = time.perf_counter() - began
    ends = [at for _, at in steps[1:]] + [seconds]
    return {
        "seconds": seconds,
        "forward_seconds": passes.seconds,
        "forward_cpu_seconds": passes.cpu_seconds,
        "forward_passes": passes.count,
        "steps": {name: end - at for (name, at), end in zip(steps, ends, strict=True)},
        "verdict": found.volumes[0].verdict.kind.value,
    }


def main() -> None:
    models, device = Path(sys.argv[1]), sys.argv[2]
    answers = os.fdopen(os.dup(1), "w")
    with redirect_stdout(sys.stderr):
        began = time.perf_counter()
        passes = ForwardPasses(device)
        networks = load_networks(load_manifest(models), InferenceSettings(device=device))
        print(json.dumps({"load_seconds": time.perf_counter() - began}), file=answers, flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            answer = examined(Path(order["path"]), Path(order["out"]), networks, passes)
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
