"""What a pickle of weights may name, and a configuration may have called: nothing else.

Each name is exact. To allow a module, or a prefix, would allow whatever that module imports
(`torch.serialization.os.system`), and a list of what is forbidden is never complete: every scanner
that had one was evaded (CVE-2025-1716, CVE-2025-10157).
"""

from __future__ import annotations

from typing import Final

_STORAGES: Final = (
    *("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"),
    *("ComplexFloat", "ComplexDouble", "QInt8", "QUInt8", "QInt32"),
)
_DTYPES: Final = (
    *("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8"),
    *("bool", "complex64", "complex128", "half", "float", "double", "short", "int", "long"),
)

GLOBALS: Final = frozenset(
    {
        # Containers without behaviour of their own.
        *(("collections", name) for name in ("OrderedDict",)),
        *(("builtins", name) for name in ("set", "frozenset", "complex", "bytearray", "slice")),
        *(("__builtin__", name) for name in ("set", "frozenset", "complex", "bytearray")),
        # Tensors: views over bytes that the file itself carries.
        *(("torch", f"{kind}Storage") for kind in _STORAGES),
        *(("torch.storage", name) for name in ("UntypedStorage", "TypedStorage")),
        *(("torch", name) for name in ("Size", "device", "UntypedStorage", "Tensor")),
        *(("torch", name) for name in _DTYPES),
        *(
            ("torch._utils", name)
            for name in (
                "_rebuild_tensor",
                "_rebuild_tensor_v2",
                "_rebuild_parameter",
                "_rebuild_qtensor",
            )
        ),
        ("torch._tensor", "_rebuild_from_type_v2"),  # calls only classes named in this list
        ("torch.nn.parameter", "Parameter"),
        ("torch.serialization", "_get_layout"),
        # Arrays and their scalars. `_codecs.encode` is how protocol 2 writes bytes.
        *(
            (f"numpy.{core}.multiarray", name)
            for core in ("core", "_core")
            for name in ("_reconstruct", "scalar")
        ),
        *(("numpy", name) for name in ("ndarray", "dtype")),
        ("_codecs", "encode"),
        # Settings that NeMo and lightning keep in a checkpoint: plain data classes.
        *(("omegaconf.dictconfig", name) for name in ("DictConfig",)),
        *(("omegaconf.listconfig", name) for name in ("ListConfig",)),
        *(("omegaconf.base", name) for name in ("ContainerMetadata", "Metadata")),
        *(
            ("omegaconf.nodes", name)
            for name in ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode")
        ),
        *(("typing", name) for name in ("Any",)),
        # What pyannote keeps of a model in its checkpoints: enumerations and named tuples.
        *(
            ("pyannote.audio.core.task", name)
            for name in ("Specifications", "Problem", "Resolution")
        ),
        ("torch.torch_version", "TorchVersion"),
        ("pyannote.core.segment", "SlidingWindow"),
    }
)
"""(module, name) that a pickle may name. Calling any of them with any arguments runs no code."""

TARGETS: Final = frozenset(
    {
        # NeMo's speaker models, voice detection and Sortformer, as their configurations name them.
        *(
            f"nemo.collections.asr.modules.{name}"
            for name in (
                "AudioToMelSpectrogramPreprocessor",
                "AudioToMFCCPreprocessor",
                "ConformerEncoder",
                "ConvASRDecoder",
                "ConvASRDecoderClassification",
                "ConvASREncoder",
                "CropOrPadSpectrogramAugmentation",
                "ECAPAEncoder",
                "MaskedPatchAugmentation",
                "SpeakerDecoder",
                "SpectrogramAugmentation",
            )
        ),
        "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
        "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
        "nemo.collections.asr.losses.AngularSoftmaxLoss",
        "nemo.collections.asr.losses.angularloss.AngularSoftmaxLoss",
        "nemo.collections.asr.losses.BCELoss",
        "nemo.collections.asr.losses.bce_loss.BCELoss",
        "nemo.collections.common.losses.CrossEntropyLoss",
        "nemo.collections.common.losses.cross_entropy.CrossEntropyLoss",
        "nemo.collections.common.parts.MultiLayerPerceptron",
        *(
            f"nemo.collections.asr.models.{name}"
            for name in (
                "EncDecSpeakerLabelModel",
                "EncDecClassificationModel",
                "EncDecFrameClassificationModel",
                "SortformerEncLabelModel",
                "label_models.EncDecSpeakerLabelModel",
                "classification_models.EncDecClassificationModel",
                "classification_models.EncDecFrameClassificationModel",
                "sortformer_diar_models.SortformerEncLabelModel",
            )
        ),
        # pyannote's models and pipelines; VBx clustering and PLDA are named inside the pipeline.
        *(
            f"pyannote.audio.models.{name}"
            for name in (
                "segmentation.PyanNet",
                "segmentation.SSeRiouSS",
                "segmentation.PyanNet.PyanNet",
                "embedding.WeSpeakerResNet34",
                "embedding.XVectorSincNet",
                "embedding.XVectorMFCC",
            )
        ),
        *(
            f"pyannote.audio.pipelines.{name}"
            for name in (
                "SpeakerDiarization",
                "VoiceActivityDetection",
                "OverlappedSpeechDetection",
                "speaker_diarization.SpeakerDiarization",
                "voice_activity_detection.VoiceActivityDetection",
            )
        ),
        *(
            f"pyannote.audio.tasks.{name}"
            for name in (
                "SpeakerDiarization",
                "Segmentation",
                "SupervisedRepresentationLearningWithArcFace",
            )
        ),
    }
)
"""Classes that a configuration may have imported and called."""
