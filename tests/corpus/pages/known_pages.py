"""`bench/peers/extracting.py`, for tests: pages whose text is known, and the score."""

import importlib.util
import sys
from pathlib import Path

_path = Path(__file__).parents[3] / "bench" / "peers" / "extracting.py"
_spec = importlib.util.spec_from_file_location("extracting", _path)
extracting = importlib.util.module_from_spec(_spec)
sys.modules["extracting"] = extracting  # where its dataclasses look themselves up
_spec.loader.exec_module(extracting)
