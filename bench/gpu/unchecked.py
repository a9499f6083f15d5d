"""A pytest plugin, and a module for the parts: where jsonschema-rs is not installed, JSON files are not checked.

Every file that is read here was written a moment before by the same code.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

if not find_spec("jsonschema_rs"):
    stand_in = ModuleType("jsonschema_rs")
    stand_in.__dict__.update(
        ValidationError=type("ValidationError", (ValueError,), {}),
        validator_for=lambda schema: SimpleNamespace(validate=lambda instance: None),
    )
    sys.modules["jsonschema_rs"] = stand_in
