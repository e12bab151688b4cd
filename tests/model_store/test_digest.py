"""Digests name content, and are written in one way only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from model_store.digest import Digest, DigestText
from model_store.errors import DigestInvalid

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing_is_the_one_that_everybody_knows() -> None:
    """The value is SHA-256's, as `sha256sum </dev/null` prints it."""
    assert EMPTY == str(Digest.of(b""))


@given(st.binary())
def test_a_digest_is_read_as_it_is_written(content: bytes) -> None:
    """`Digest.parse(str(d)) == d`."""
    digest = Digest.of(content)

    assert digest == Digest.parse(str(digest))


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", EMPTY.upper(), EMPTY[:-1], EMPTY + "0", EMPTY + "\n", EMPTY[7:], "md5:" + "0" * 32],
)
def test_other_texts_are_no_digests(text: str) -> None:
    """Abbreviated, shouted or padded, a text names nothing."""
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


def test_the_short_form_shows_twelve_digits() -> None:
    """It is for lists that people read."""
    assert "sha256:e3b0c44298fc" == Digest.of(b"").short


class _Named(BaseModel):
    digest: DigestText


def test_a_digest_is_a_text_in_json() -> None:
    """A model with a digest writes and reads its text, and takes the object too."""
    named = _Named(digest=Digest.of(b""))

    assert f'{{"digest":"{EMPTY}"}}' == named.model_dump_json()
    assert named == _Named.model_validate_json(named.model_dump_json())


def test_a_wrong_digest_in_json_is_a_validation_error() -> None:
    """Pydantic reports it with the place where it stands."""
    with pytest.raises(ValidationError, match="digest"):
        _Named.model_validate_json('{"digest": 7}')
