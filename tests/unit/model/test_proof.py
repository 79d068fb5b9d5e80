from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidProof, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint, ProvenEndpoint, proof_of
from lanpost.model.proof import Proof, ProofKind

BY_CERTIFICATE = Proof(ProofKind.TLS, "0f" * 32)


@pytest.mark.parametrize("text", ["tls:" + "0f" * 32, "greeting:fax1.office.lan", "greeting:[10.0.0.7]"])
def test_what_is_written_is_read_back(text: str) -> None:
    assert str(Proof.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tls",
        "tls:",
        "tls:" + "0F" * 32,
        "tls:" + "0f" * 31,
        "greeting:",
        "greeting:a b",
        "greeting:Fax1",
        "pgp:x",
    ],
)
def test_what_is_no_proof_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(InvalidProof, match="write"):
        Proof.parse(text)


@given(st.text())
def test_whatever_text_comes_it_is_read_or_refused(text: str) -> None:
    try:
        Proof.parse(text)
    except InvalidValue:
        return
    assert text.startswith(("tls:", "greeting:"))


def test_a_greeting_is_compared_without_regard_to_case() -> None:
    assert Proof.of_greeting("Fax1.Office.LAN") == Proof.parse("greeting:fax1.office.lan")
    with pytest.raises(InvalidProof):
        Proof.of_greeting("x" * 256)


def test_endpoints_are_one_only_with_one_proof() -> None:
    plain, proven = Endpoint("10.0.0.7"), ProvenEndpoint("10.0.0.7", proof=BY_CERTIFICATE)
    assert plain != proven
    assert proven == ProvenEndpoint("10.0.0.7", proof=BY_CERTIFICATE)
    assert proven != ProvenEndpoint("10.0.0.7", proof=Proof.of_greeting("fax1"))
    assert len({plain, proven}) == 2
    assert str(proven) == "10.0.0.7:25"
    assert (proof_of(plain), proof_of(proven)) == (None, BY_CERTIFICATE)


def test_mail_for_a_binding_goes_where_its_proof_is_shown() -> None:
    plain = Binding(MailAddress.parse("fax1@office.lan"), Endpoint("10.0.0.7", 2525), datetime.now(UTC))
    assert plain.destination == plain.endpoint
    proven = replace(plain, proof=BY_CERTIFICATE).destination
    assert proven == ProvenEndpoint("10.0.0.7", 2525, proof=BY_CERTIFICATE)
