#!/usr/bin/env bash
# Makes .venv with everything that requirements.lock pins.
# PyTorch comes first and alone: its CPU build where there is no GPU, and no later package may
# replace it. TORCH_INDEX_URL may name an index that holds the build you want.
set -euo pipefail
: "${PYTHON:=python3}" "${VENV:=.venv}"

"$PYTHON" - <<'PY' || { echo "setup: Python 3.11 or later is needed; set PYTHON=..." >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV" || {
  echo "setup: can't make $VENV; on Debian: apt-get install python3-venv" >&2; exit 1; }

torch_version=$(sed -n 's/^torch==//p' requirements.lock)
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --quiet "$@" 2> >(grep -v '^WARNING: Location' >&2); }

echo "setup: PyTorch $torch_version"
index=()
[ -z "${TORCH_INDEX_URL:-}" ] || index=(--index-url "$TORCH_INDEX_URL")
if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
  pip install "${index[@]}" "torch==$torch_version"
else
  # A wheel with the local version +cpu has no CUDA in it; where none is offered, the plain one runs too.
  pip install "${index[@]}" "torch==$torch_version+cpu" 2>/dev/null ||
    pip install "${index[@]}" "torch==$torch_version"
fi
echo "setup: the other packages (a few minutes the first time)"
pip install --no-deps -r requirements.lock
pip install --no-deps --no-build-isolation -e .
echo "setup: done"
