"""Who may: holders of API keys, and of tokens of the hospital's issuer."""

import re
from typing import TYPE_CHECKING

from service.keys import Key, KeyRing, Scope

if TYPE_CHECKING:  # a service without an issuer never loads it
    from service.tokens import Tokens

_TOKEN = re.compile(r"Bearer +([\w-]+\.[\w-]+\.[\w-]*) *", re.IGNORECASE)
"""A JSON Web Token in compact form (RFC 7519); a key of ours has no dots."""


class Holders:
    """Both, behind one door.

    Args:
        keys: The API keys.
        tokens: Those of an issuer, if one is named.
    """

    def __init__(self, keys: KeyRing, tokens: "Tokens | None" = None) -> None:
        self._keys = keys
        self._tokens = tokens

    async def holder(self, authorization: str | None, needed: Scope) -> Key | None:
        """Who sends this header `Authorization`; nobody where nobody is asked for.

        Raises:
            CredentialsMissing: There is neither key nor token.
            CredentialsInvalid: It is worth nothing.
            ScopeMissing: It is not for this.
            IssuerUnavailable: A token cannot be checked now.
            KeysUnusable: The file of keys is damaged.
            StateUnusable: It cannot be read.
        """
        if self._tokens and (found := _TOKEN.fullmatch(authorization or "")):
            return await self._tokens.holder(found[1], needed)
        return self._keys.holder(authorization, needed)

    def named(self, holder_id: str, needed: Scope) -> Key | None:
        """The key or token of this id, as it is now: for what was begun with it. The empty id is nobody's.

        Raises:
            CredentialsInvalid: It was revoked, has expired, or there was none and one is needed.
            ScopeMissing: It is not for this.
            KeysUnusable: The file of keys is damaged.
            StateUnusable: It cannot be read.
        """
        token = self._tokens.named(holder_id) if self._tokens else None
        return token if token and token.allows(needed) else self._keys.named(holder_id, needed)
