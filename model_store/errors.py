"""Everything the package raises.

* ModelStoreError
  - ModelUnknown: the store has no model of this name
  - VersionUnknown: the model has no such version
  - AliasUnknown: no promotion ever named this alias
  - DraftInvalid: what is to be published does not make a version
  - PromotionInvalid: a promotion that cannot be
  - PromotionConflict: the alias does not name the version that the caller took it to
  - NothingToRollBack
  - IntegrityError: what is stored is not what was published
    · ManifestInvalid
      SchemaUnknown
    · FileMissing
    · FileUnexpected
    · DigestMismatch
    · ChainBroken
    · ReplayDiffers
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


class DigestInvalid(ModelStoreError, ValueError):
    """A text that is no digest. A ValueError too, because pydantic reports those."""


class StoreUnusable(ModelStoreError):
    """The folder cannot be read or written as the operating system has it."""
