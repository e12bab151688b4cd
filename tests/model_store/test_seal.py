"""Texts that tell by themselves whether they were changed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import DigestMismatch
from model_store.seal import sealed, unsealed

objects = st.dictionaries(st.text(max_size=5), st.integers(), min_size=1).map(lambda value: json.dumps(value, indent=2))


@given(objects)
def test_a_sealed_text_can_be_unsealed(text: str) -> None:
    """`unsealed(sealed(t)) == t.encode()`, and the sealed text is JSON too."""
    assert text.encode() == unsealed(sealed(text))
    assert json.loads(text).keys() | {"seal"} == json.loads(sealed(text)).keys()


@given(objects, st.data())
def test_a_changed_byte_breaks_the_seal(text: str, data: st.DataObject) -> None:
    """Wherever it is, in the seal or in what it covers."""
    content = bytearray(sealed(text).encode())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(DigestMismatch):
        unsealed(bytes(content))
