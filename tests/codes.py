"""An authenticator app, for tests: the codes that it shows to whom the roster allows them."""

from __future__ import annotations

from datetime import datetime

import pyotp

from broadcaster.fallback import STEP, Allowance, secret_of, step_of

KEY = "a key of this test's own, and of no other"
PIN = "739154"


def code_at(allowed: Allowance, at: datetime) -> str:
    """What the app shows at a time."""
    return pyotp.TOTP(secret_of(KEY, allowed.id), interval=STEP).generate_otp(step_of(at))
