"""Everything the package raises.

* ModelStoreError
  - ModelUnknown: the store has no model of this name
  - VersionUnknown: the model has no such version
  - AliasUnknown: no promotion ever named this alias
  - DraftInvalid: what is to be published does not make a version
  - PromotionInvalid: a promotion that cannot be
  - PromotionConflict: the alias does not name the version that the caller took it to
  - PromotionRefused: the gate
    · MetricsMissing
    · WorseThanProduction
  - NothingToRollBack
  - IntegrityError: what is stored is not what was published
    · ManifestInvalid
      SchemaUnknown
    · FileMissing
    · FileUnexpected
    · DigestMismatch
    · ChainBroken
    · ReplayDiffers
    · SignatureUntrusted: nobody who is trusted vouches for it
      Unsigned
      SignerUnknown
      SignatureInvalid
  - AlreadySigned
  - KeyUnusable
  - SigningUnavailable
  - CopyInvalid: what came from elsewhere is no copy of a version
  - VersionTaken: the number belongs to another version
  - RegistryUnusable: the registry cannot be reached, refuses, or answers something else
  - PromotionsMissing: there are none to announce, or none to follow
  - HistoryDiffers: the promotions here and those in the registry do not continue one another
  - DigestInvalid: a text that is no digest
  - StoreUnusable: the folder cannot be read or written
"""


class ModelStoreError(Exception):
    """Base of all errors of this package."""


class ModelUnknown(ModelStoreError):
    """The store has no model of this name."""


class VersionUnknown(ModelStoreError):
    """The model has no such version, or the reference is neither a number, an alias nor a digest."""


class AliasUnknown(ModelStoreError):
    """No promotion ever named this alias."""


class DraftInvalid(ModelStoreError):
    """What is to be published does not make a version."""


class PromotionInvalid(ModelStoreError):
    """A promotion that cannot be: a malformed alias, nobody's, or for no reason."""


class PromotionConflict(ModelStoreError):
    """The alias does not name the version that the caller took it to; nothing was changed."""


class PromotionRefused(ModelStoreError):
    """The gate: this promotion needs a reason to overrule it."""


class MetricsMissing(PromotionRefused):
    """Nobody has measured how good the version is."""


class WorseThanProduction(PromotionRefused):
    """On the same images the version in production did better."""


class NothingToRollBack(ModelStoreError):
    """The alias has named no other version before."""


class IntegrityError(ModelStoreError):
    """What is stored is not what was published."""


class ManifestInvalid(IntegrityError):
    """The manifest is none, contradicts itself, or belongs to another version than its folder."""


class SchemaUnknown(ManifestInvalid):
    """The manifest was written by a newer release than this one."""


class FileMissing(IntegrityError):
    """A file of the version is gone, or never was part of it."""


class FileUnexpected(IntegrityError):
    """The version's folder holds something that was not published with it."""


class DigestMismatch(IntegrityError):
    """A file is not, byte for byte, the one that was published."""


class ChainBroken(IntegrityError):
    """The promotion records do not follow from one another."""


class ReplayDiffers(IntegrityError):
    """A reference image does not give its label map on this machine."""


class SignatureUntrusted(IntegrityError):
    """Nobody who is trusted vouches for the version."""


class Unsigned(SignatureUntrusted):
    """The version has no signature."""


class SignerUnknown(SignatureUntrusted):
    """The version is signed with a key that is not trusted."""


class SignatureInvalid(SignatureUntrusted):
    """The signature was changed, is of another version, or of a form that is not known here."""


class AlreadySigned(ModelStoreError):
    """The version has a signature, and not by this key."""


class KeyUnusable(ModelStoreError):
    """A key that cannot be read, is of another kind, or does not open with the passphrase."""


class CopyInvalid(ModelStoreError):
    """What came from elsewhere is no copy of a version, or of another one than was asked for."""


class VersionTaken(ModelStoreError):
    """The number belongs to another version, here or in the registry; nothing was changed."""


class RegistryUnusable(ModelStoreError):
    """The registry cannot be reached, refuses, or does not answer as one."""


class PromotionsMissing(ModelStoreError):
    """The store has no promotions to announce, or the registry none to follow."""


class HistoryDiffers(ModelStoreError):
    """The promotions in the store and those in the registry do not continue one another; nothing was changed."""


class SigningUnavailable(ModelStoreError):
    """What versions are signed with is not installed."""


class DigestInvalid(ModelStoreError, ValueError):
    """A text that is no digest. A ValueError too, because pydantic reports those."""


class StoreUnusable(ModelStoreError):
    """The folder cannot be read or written as the operating system has it."""
