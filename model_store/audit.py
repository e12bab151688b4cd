"""What an auditor asks of the promotion records: are they whole, and is what they name still what was promoted?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from model_store.digest import Digest
from model_store.errors import ChainBroken, IntegrityError, SignatureInvalid, SignatureUntrusted, VersionUnknown
from model_store.loading import UNASKED
from model_store.promotions import Promotion
from model_store.signatures import Trust, verify
from model_store.store import ModelStore
from model_store.version import Version


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, of which the chain itself is sound: a broken one is an error."""

    records: tuple[Promotion, ...]
    newest: Digest | None
    """Of the newest record. Noted elsewhere, it shows later that nobody has set the store back or written it anew."""
    damage: tuple[IntegrityError, ...]
    """Versions that were promoted and are not what they were."""
    remarks: tuple[str, ...]
    """What is odd, and no damage: versions that were removed or that nobody vouches for, clocks that were wrong."""


def examine(store: ModelStore, name: str, *, noted: Digest | None = None, trust: Trust = UNASKED) -> Examination:
    """Reads all records of a model, every file of every version that they name, and its signature.

    Args:
        store: Of the model.
        name: Of the model.
        noted: Digest of a record, as an earlier examination gave it.
        trust: Whose signatures are believed. A version without one is damage under the policy `require`, and remarked
            under `warn`; a signature that is worthless, whoever is trusted, is damage under both.

    Raises:
        ModelUnknown: There is no such model.
        ChainBroken: A record is missing or was changed; or none is the one that was noted.
    """
    records = store.promotions(name)
    digests = [record.digest for record in store.log(name).records()]
    if noted is not None and noted not in digests:
        raise ChainBroken(f"No record of {name} has the digest {noted}: the store was set back, or written anew.")
    damage: list[IntegrityError] = []
    remarks = [*_clocks(records)]
    for number in sorted({record.version for record in records}):
        try:
            version = store.version(name, str(number))
            version.contents()
            remarks += _early(records, version)
            if trust.keys:
                verify(version, trust.keys)
        except VersionUnknown:
            remarks.append(f"{name} {number} was promoted, and is no longer in the store.")
        except SignatureUntrusted as error:
            if trust.policy == "require" or isinstance(error, SignatureInvalid):
                damage.append(error)
            else:
                remarks.append(str(error))
        except IntegrityError as error:
            damage.append(error)
    return Examination(records, digests[-1] if digests else None, tuple(damage), tuple(remarks))


def _clocks(records: Sequence[Promotion]) -> Iterator[str]:
    for before, after in pairwise(records):
        if after.at < before.at:
            yield (
                f"Record {after.number} is dated {after.at:%Y-%m-%d %H:%M:%S}, before record {before.number} of "
                f"{before.at:%Y-%m-%d %H:%M:%S}: a clock was wrong. The order is that of the numbers."
            )


def _early(records: Sequence[Promotion], version: Version) -> Iterator[str]:
    for record in records:
        if record.version == version.number and record.at < version.manifest.created_at:
            yield f"Record {record.number} is dated before {version} was published: a clock was wrong."
