"""Prove: what was typed instead of a passkey is judged, beside the gate and before any decision.

Only here are the hashes of the PINs and the key of the codes at hand. What the gate then reads of a
decision is the step that this has noted, which the desk's database role cannot write.
"""

from __future__ import annotations

from collections.abc import Callable

from broadcaster.fallback import MOST_WRONG, STEP, Allowance, Answer, secret_of, step_in
from broadcaster.ledger import Ledger, Tx, fallbacks, locks
from broadcaster.passkey import Site
from streams.woken import Woken

ACTOR = "gate"

#: Where nothing was typed, the ledger is looked at again after so many seconds, whoever wakes us.
LONGEST_WAIT = 30.0


def judge_next(key: str | None, site: Site) -> Callable[[Tx], bool]:
    """The step for the oldest answer that waits; False: none does. `key`: None where it is off.

    `site`: where supervisors' passkeys have unlocked people.
    """

    def step(tx: Tx) -> bool:
        found = fallbacks.next_to_judge(tx)
        if found is None:
            return False
        fallbacks.judged(tx, found[0], _judged(tx, *found, key, site))
        return True

    return step


async def prove(ledger: Ledger, key: str | None, site: Site) -> None:
    """Judges what is typed, until cancelled. Raises LedgerAway."""
    typed = Woken(ledger, fallbacks.CODES)
    try:
        while True:
            if await ledger.read(fallbacks.waits):
                while await ledger.write(judge_next(key, site), urgent=True):
                    pass
            await typed.wait(LONGEST_WAIT)
    finally:
        typed.forget()


def _judged(tx: Tx, answer: Answer, allowance: Allowance, key: str | None, site: Site) -> int | str:
    """The step whose code it was, or the code of a refusal. A wrong answer is counted (AC-7)."""
    if key is None:
        return "fallback_off"
    if not allowance.holds(tx.now):
        return "fallback_not_allowed"
    if locks.holding(tx, allowance.person_id, site):
        return "locked_out"
    if (tx.now - answer.at).total_seconds() > STEP:
        return "code_over"
    pin_hash = fallbacks.pin_hash(tx, allowance.id)
    step = step_in(answer, pin_hash, secret_of(key, allowance.id))
    if step is None:
        locks.failed(tx, allowance.person_id)
        if fallbacks.wrong_ones(tx, allowance.id) + 1 >= MOST_WRONG:
            fallbacks.end(tx, allowance, ended_by=ACTOR, actor=ACTOR)
        return "code_wrong"
    return "code_used" if fallbacks.was_used(tx, allowance.id, step) else step
