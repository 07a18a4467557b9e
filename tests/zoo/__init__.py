"""The zoo: every architecture fxprune is tried on, from tiny random configurations; for tests and benchmarks."""

from zoo.decoders import DECODERS
from zoo.encoders import ENCODERS
from zoo.entry import Entry, Inputs, model_of
from zoo.handwritten import HANDWRITTEN
from zoo.others import AUDIO, ENCODER_DECODERS, VISION

LIBRARY: dict[str, Entry] = {**ENCODERS, **DECODERS, **ENCODER_DECODERS, **VISION, **AUDIO}
ZOO: dict[str, Entry] = {**LIBRARY, **HANDWRITTEN}

__all__ = ["HANDWRITTEN", "LIBRARY", "ZOO", "Entry", "Inputs", "model_of"]
