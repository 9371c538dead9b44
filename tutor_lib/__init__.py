"""How transformers work, as code small enough to read: the folders are the pipeline.

tokenize → embed → attention → ffn → predict, assembled in `model`, trained in `train`, adapted in
`adapt`, looked into in `inside`, compared with their `rivals`, and measured in `experiments`.

The same letters name the same sizes everywhere, in code, book and demos:

    B batch             H heads              F hidden width of the FFN
    T query positions   K key/value heads    V vocabulary
    S key positions     D head size          L layers
    E experts           C model width        R adapter rank
"""

__version__ = "0.1.0"
