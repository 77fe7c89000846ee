"""The contracts' assertions explain themselves as a test's own do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.adapters.contract", "tests.adapters.call_contract")
