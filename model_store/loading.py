"""From a published version to predictors that have proved themselves on this machine."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from efsnet.batching import Batcher, Predicting
from efsnet.errors import ImageError
from efsnet.image import decode_image
from efsnet.postprocessing import to_label_map
from efsnet.predictor import AS_IT_COMES, Computation, Predictor
from efsnet.specification import Precision
from model_store.errors import ReplayDiffers, SignatureUntrusted
from model_store.manifest import MODEL
from model_store.signatures import Signature, Trust, verify
from model_store.version import Version

REPLAY_TOLERANCE = 0.001
"""Share of a reference image's pixels that may differ: engines round differently where two classes tie."""

BF16_REPLAY_TOLERANCE = 0.005
"""The same where a version is computed in bfloat16, and its label maps were made in f32."""

UNASKED = Trust()


@dataclass(frozen=True, slots=True)
class ReplayedImage:
    """A reference image that was segmented here, beside the label map it must give."""

    name: str
    pixels: int
    differing_pixels: int


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that is what was published, and that does here what it did there."""

    version: Version
    predictors: tuple[Predicting, ...]
    """One a worker, all of the same bytes; the same one, where several share it."""
    replay: tuple[ReplayedImage, ...]
    signature: Signature | None = None
    """Who vouches for it; None if that was not asked, or if nobody does who is trusted."""
    doubt: SignatureUntrusted | None = None
    """What `require` would have refused it for, where the policy was `warn`."""
    references: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The files of the reference images, so that they can be replayed again without the store."""
    refused_precision: Precision | None = None
    """The asked one, where the manifest does not say that it leaves the masks as they are; f32 was taken."""

    @property
    def predictor(self) -> Predicting:
        """The first of them, for callers with a single worker."""
        return self.predictors[0]


def load(
    version: Version,
    computation: Computation = AS_IT_COMES,
    *,
    workers: int = 1,
    trust: Trust = UNASKED,
) -> LoadedVersion:
    """The version, checked: every file against its digest, then its signature, then its reference images.

    Each file is read once, and the bytes that were checked are the bytes that predict.

    Args:
        version: As the store gives it.
        computation: How it is to predict. A reduced precision is taken where the version allows it, else f32:
            `engine.precision` of its predictors says which.
        workers: Number of predictors, or of threads that share one where images go through the network together.
        trust: Whose signature is asked for; by default nobody's.

    Raises:
        IntegrityError: A file is missing, changed, or was not published with the version; or the replay differs.
        SignatureUntrusted: The policy is `require`, and the version is unsigned, or its signature is not trusted.
        EngineUnavailable: The engine is not installed here.
        ModelUnusable: The graph cannot be loaded, or is not of the specified shape.
    """
    contents = version.contents()
    signature, doubt = _vouched(version, trust)
    specification = version.manifest.specification
    refused = None if version.manifest.allows(computation.precision) else computation.precision
    if refused:
        computation = replace(computation, precision="f32")
    predictors: tuple[Predicting, ...]
    if computation.batch == 1:
        predictors = tuple(Predictor(contents[MODEL], specification, computation) for _ in range(workers))
    else:
        shared = Predictor(contents[MODEL], specification, computation)
        predictors = (Batcher(shared, wait_s=computation.batch_wait_s),) * workers
    replay = tuple(_replayed(version, contents, predictors[0]))
    references = {name: content for name, content in contents.items() if name.startswith("reference/")}
    return LoadedVersion(version, predictors, replay, signature, doubt, references, refused)


def replay(loaded: LoadedVersion, predictor: Predicting) -> tuple[ReplayedImage, ...]:
    """The reference images once more, with one of the predictors of a version that is loaded.

    Raises:
        ReplayDiffers: It does not give their label maps any more.
    """
    return tuple(_replayed(loaded.version, loaded.references, predictor))


def _vouched(version: Version, trust: Trust) -> tuple[Signature | None, SignatureUntrusted | None]:
    if trust.keys is None:
        return None, None
    try:
        return verify(version, trust.keys), None
    except SignatureUntrusted as error:
        if trust.policy == "require":
            raise
        # Its traceback would keep alive the frames that it came through, and with them the predictors.
        return None, error.with_traceback(None)


def _replayed(version: Version, contents: Mapping[str, bytes], predictor: Predicting) -> Iterator[ReplayedImage]:
    rules = version.manifest.specification.post_processing
    for name in version.manifest.references:
        try:
            image = decode_image(contents[f"{name}.png"])
            expected = _class_numbers(contents[f"{name}.label_map.png"])
        except (ImageError, OSError, SyntaxError, ValueError) as error:
            raise ReplayDiffers(f"{version}: {name}.png or its label map cannot be decoded.") from error
        given = to_label_map(predictor.predict(image), rules).array
        if given.shape != expected.shape:
            raise ReplayDiffers(
                f"{version}: {name}.png gives {given.shape} pixels, its label map has {expected.shape}."
            )
        differing = int(np.count_nonzero(given != expected))
        tolerance = BF16_REPLAY_TOLERANCE if predictor.engine.precision == "bf16" else REPLAY_TOLERANCE
        if differing > tolerance * given.size:
            raise ReplayDiffers(
                f"{version}: {differing} of {given.size} pixels of {name}.png differ from its label map "
                f"on {predictor.engine.provider}; at most {tolerance:.1%} may."
            )
        yield ReplayedImage(name, given.size, differing)


def _class_numbers(png: bytes) -> NDArray[np.uint8]:
    with PillowImage.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return np.asarray(picture)
