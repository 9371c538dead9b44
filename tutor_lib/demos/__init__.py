"""What the reader moves: one Python class and one JavaScript module for each demo."""

from tutor_lib.demos.architecture_map import ArchitectureMap
from tutor_lib.demos.attention_matrix import AttentionMatrix
from tutor_lib.demos.cross_attention import CrossAttention
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.domains import Domains
from tutor_lib.demos.drag_query import DragQuery
from tutor_lib.demos.embeddings import Embeddings
from tutor_lib.demos.generate import Generate
from tutor_lib.demos.head_size import HeadSize
from tutor_lib.demos.mask import Mask
from tutor_lib.demos.neuron import Neuron
from tutor_lib.demos.parameter_counter import ParameterCounter
from tutor_lib.demos.path_length import PathLength
from tutor_lib.demos.positions import Positions
from tutor_lib.demos.quiz import Quiz
from tutor_lib.demos.residual_stream import ResidualStream
from tutor_lib.demos.rope import Rope
from tutor_lib.demos.shuffle import Shuffle
from tutor_lib.demos.similarity import Similarity
from tutor_lib.demos.temperature import Temperature
from tutor_lib.demos.tokenizer import Tokenizer

ALL = (
    ArchitectureMap,
    AttentionMatrix,
    CrossAttention,
    Domains,
    DragQuery,
    Embeddings,
    Generate,
    HeadSize,
    Mask,
    Neuron,
    ParameterCounter,
    PathLength,
    Positions,
    Quiz,
    ResidualStream,
    Rope,
    Shuffle,
    Similarity,
    Temperature,
    Tokenizer,
)

__all__ = ["ALL", *(demo.__name__ for demo in ALL), "Demo"]
