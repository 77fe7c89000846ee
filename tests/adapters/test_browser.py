"""The browser that judges our pushes reads the example of the standard (RFC 8291 §5)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

from tests.adapters.browser import Browser, unb64

PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS"
    "6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qu"
    "lcy4a-fN"
)


def test_it_reads_the_standards_example() -> None:
    key = ec.derive_private_key(int.from_bytes(unb64(PRIVATE), "big"), ec.SECP256R1())
    assert Browser(key, AUTH).read(unb64(BODY)) == "When I grow up, I want to be a watermelon"
