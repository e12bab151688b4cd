"""JSON texts that begin with their own digest, so that a changed byte is found where nobody else noted it.

It guards against accidents. Against intent there are the digests on record, and signatures.
"""

import re

from model_store.digest import Digest
from model_store.errors import DigestMismatch

_SEALED = re.compile(rb'\{\n  "seal": "(?P<seal>sha256:[0-9a-f]{64})",\n(?P<rest>.*)', re.DOTALL)


def sealed(text: str) -> str:
    """An indented JSON object with the digest of its text put first."""
    return f'{{\n  "seal": "{Digest.of(text.encode())}",\n' + text.removeprefix("{\n")


def unsealed(text: str | bytes) -> bytes:
    """The JSON object without its seal: `unsealed(sealed(t)) == t.encode()`.

    Raises:
        DigestMismatch: It is not the text that was sealed.
    """
    found = _SEALED.fullmatch(text.encode() if isinstance(text, str) else text)
    if found:
        content = b"{\n" + found["rest"]
        if found["seal"] == str(Digest.of(content)).encode():
            return content
    raise DigestMismatch("Its text is not the one that was sealed.")
