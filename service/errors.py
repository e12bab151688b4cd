"""Everything the service raises beside what `efsnet` and `model_store` raise.

* ServiceError
  - UploadError: the request's body cannot be used
    · BodyEmpty
    · BodyTooLarge
    · MediaTypeUnsupported
    · FormMalformed
    · FormFieldUnknown
    · TooManyFiles
    · UploadTimedOut
    · InferenceRequestInvalid
  - RequestMalformed: it is no proper HTTP request
  - MediaTypeNotOffered: no answer of an accepted media type exists
  - QueueFull: more work waits than the service holds
  - DeadlineExceeded: the answer was not ready in time
  - MemoryShort: there is no memory for an image now
  - ClientGone: the client left before its answer was ready
  - ModelNotReady: the default version is not loaded
    · SelfTestFailed: it does not give the label maps of its reference images any more
  - Stopping: the service takes no new work
  - CredentialsMissing: this takes an API key
  - CredentialsInvalid: this API key is worth nothing
  - ScopeMissing: the API key is for other things
  - RateLimited: wrong keys, or requests, come too often
  - IssuerUnavailable: a token cannot be checked now
  - TicketInvalid: this ticket opens no stream
  - OriginRefused: a page of another site wants to open a stream
  - TooManyStreams: there are as many live streams as there may be
  - FrameMalformed: a message of a stream is no frame
  - KeysUnusable: the API keys cannot be read
  - KeyUnknown: no API key has this id
  - StoreSetBack: the store lacks a promotion that it had
  - VersionTooLarge: a version takes more memory than there is for it
  - StateUnusable: the service's own folder cannot be read or written
  - AuditUnavailable: what was done cannot be recorded
  - AuditBroken: an audit trail was changed, or is none
  - JobsUnusable: the database of the jobs cannot be read or written
  - JobUnknown: there is no such job
  - JobNotInState: the job is in no state in which this can be done
  - JobLost: the job is another service's by now
  - UIDInvalid: a DICOM UID given as text is no such thing
  - PacsNotConfigured: there is no PACS to answer for
  - PacsError: what a PACS did not do
    · PacsUnavailable
    · PacsRefused
    · InstanceGone
    · InstanceTooLarge
    · InstanceUnreadable
    · NotAnalysable
  - InstanceUnusable: a DICOM instance that is no picture to be segmented
    · NotUltrasound
    · NoTissueRegion
    · NoPixels
    · TransferSyntaxUnsupported
    · FrameUnknown
    · IdentityMissing
    · NothingFound
    · NotDicom
  - DecoderUnavailable: compressed frames cannot be decoded now
  - CorrectionsOff: nobody has named where corrections are kept
  - CorrectionsUnusable: the folder of corrections cannot be used
  - CorrectionInvalid: a correction does not fit its picture, or is no such thing
  - SpacingInvalid: a pixel spacing given as text is no such thing
  - SettingsInvalid: settings with which the service cannot start
  - VideoUnusable: a file cannot be segmented as a video
  - OutputsExist: files of an earlier run would be overwritten
  - ArchiveUnusable: an archive cannot be gone through
"""


class ServiceError(Exception):
    """Base of all errors of this package."""


class UploadError(ServiceError):
    """The request's body cannot be used."""


class BodyEmpty(UploadError):
    """There is no image in the body."""


class BodyTooLarge(UploadError):
    """The body is over the limit; found before more of it was kept than the limit allows."""


class MediaTypeUnsupported(UploadError):
    """The body is of a media type that is not taken."""


class FormMalformed(UploadError):
    """The body is not the form that its Content-Type says."""


class FormFieldUnknown(UploadError):
    """The form has a field of another name than the one that is taken."""


class TooManyFiles(UploadError):
    """The form holds more than one file."""


class UploadTimedOut(UploadError):
    """The body was not received in time."""


class InferenceRequestInvalid(UploadError):
    """The body is no request of the Open Inference Protocol, or not for what the model takes and gives."""


class RequestMalformed(ServiceError):
    """This is no HTTP, or says of its own length two things."""


class MediaTypeNotOffered(ServiceError):
    """The client accepts no media type that an answer can have."""


class QueueFull(ServiceError):
    """More work waits than the service holds."""


class DeadlineExceeded(ServiceError):
    """The answer was not ready in time."""


class MemoryShort(ServiceError):
    """There is no memory for an image now."""


class ClientGone(ServiceError):
    """The client left before its answer was ready."""


class ModelNotReady(ServiceError):
    """The version that answers by default is not loaded: it still loads, or is missing or damaged."""


class SelfTestFailed(ModelNotReady):
    """The version that answers by default does not give the label maps of its reference images any more."""


class Stopping(ServiceError):
    """The service is about to end, and new work should go elsewhere."""


class CredentialsMissing(ServiceError):
    """This takes an API key, and none was sent."""


class CredentialsInvalid(ServiceError):
    """The API key that was sent is none of ours, was revoked, or has expired."""


class ScopeMissing(ServiceError):
    """The API key that was sent is for other things."""


class RateLimited(ServiceError):
    """Wrong keys come from one address, or requests of one key, more often than the operator allows."""


class IssuerUnavailable(ServiceError):
    """The issuer of tokens cannot be asked for the key that a token is signed with."""


class TicketInvalid(ServiceError):
    """The ticket with which a stream is to be opened is none of ours, too old, or was used."""


class OriginRefused(ServiceError):
    """A page of a site that may not wants to open a stream: whose browser it is cannot tell it apart from ours."""


class TooManyStreams(ServiceError):
    """There are as many live streams as there may be."""


class FrameMalformed(ServiceError):
    """A message of a stream is no frame, or not of the format that its header says."""


class KeysUnusable(ServiceError):
    """The file of API keys is damaged, or a key that is to be made cannot be."""


class KeyUnknown(ServiceError):
    """No API key has this id."""


class StoreSetBack(ServiceError):
    """The store lacks a promotion that it had, or has another in its place: it is not followed."""


class VersionTooLarge(ServiceError):
    """A version takes more memory than there is for those that no alias names."""


class StateUnusable(ServiceError):
    """The folder of what the service keeps for itself cannot be read or written."""


class AuditUnavailable(ServiceError):
    """What is asked for cannot be recorded in the audit trail, and the operator wants nothing done unrecorded."""


class AuditBroken(ServiceError):
    """The lines of an audit trail are not as they were written: one was changed, or some are missing."""


class JobsUnusable(ServiceError):
    """The database of the jobs cannot be read or written."""


class JobUnknown(ServiceError):
    """There is no job of this id."""


class JobNotInState(ServiceError):
    """What is asked for cannot be done to a job in the state that this one is in."""


class JobLost(ServiceError):
    """The job is another service's by now: its lease was over."""


class UIDInvalid(ServiceError):
    """A DICOM UID given as text is no such thing."""


class PacsNotConfigured(ServiceError):
    """No PACS is named in the settings, so that there are no jobs."""


class PacsError(ServiceError):
    """A PACS did not do what it was asked for. The message has none of its words, which may name a patient."""


class PacsUnavailable(PacsError):
    """It cannot be reached, fails, or does not let us in: the same may succeed later."""


class PacsRefused(PacsError):
    """It says no for good: the same would be refused again."""


class InstanceGone(PacsError):
    """It does not hold the instance any more."""


class InstanceTooLarge(PacsError):
    """The instance is larger than is taken."""


class InstanceUnreadable(PacsError):
    """The instance is an ultrasound image that cannot be answered: damaged, or stored in a way that is not read."""


class NotAnalysable(PacsError):
    """The instance is none that can be segmented, such as Doppler."""


class InstanceUnusable(ServiceError):
    """A DICOM instance that can be read, and is no picture to be segmented."""


class NotUltrasound(InstanceUnusable):
    """It is of another modality, or no image at all."""


class NoTissueRegion(InstanceUnusable):
    """It has no two-dimensional picture of tissue: Doppler curves, or blood flow alone."""


class NoPixels(InstanceUnusable):
    """It has no pixel data."""


class TransferSyntaxUnsupported(InstanceUnusable):
    """Its pixels are compressed in a way, or of a kind, that is not read."""


class FrameUnknown(InstanceUnusable):
    """It has no frame of this number."""


class IdentityMissing(InstanceUnusable):
    """It does not say which study, series and instance it is, so that no result can refer to it."""


class NothingFound(InstanceUnusable):
    """No lesion was found, and what was asked for cannot be empty."""


class NotDicom(InstanceUnusable):
    """The answer was asked for as DICOM, and the image is none that it could refer to."""


class DecoderUnavailable(ServiceError):
    """The process that decodes compressed frames cannot be started, or was ended from outside: it may work later."""


class CorrectionsOff(ServiceError):
    """Nothing of an image is kept, since nobody has named where."""


class CorrectionsUnusable(ServiceError):
    """The folder of corrections cannot be read or written."""


class CorrectionInvalid(ServiceError):
    """A correction does not fit its picture, names a class that is none, or is not of the form that is asked for."""


class SpacingInvalid(ServiceError):
    """A pixel spacing given as text is no such thing."""


class SettingsInvalid(ServiceError):
    """Settings with which the service cannot start, each named."""


class VideoUnusable(ServiceError):
    """A file cannot be read as a video, or what reads videos is not installed."""


class OutputsExist(ServiceError):
    """Files of an earlier run would be overwritten, or two inputs would be written to one file."""


class ArchiveUnusable(ServiceError):
    """An archive cannot be listed, its results cannot be kept, or there is no cluster to go through it."""
