"""The families of decoders: what is the same in all models of a name, whatever their sizes."""

from tutor_lib.ffn.dense import GeGLUFeedForward, GELUTanhFeedForward, NoFeedForward
from tutor_lib.ffn.norm import GemmaRMSNorm, LayerNorm
from tutor_lib.model.config import Family

# Llama, Mistral, Mixtral and DeepSeek-V3 too: what sets those apart is in the sizes.
LLAMA = Family()

# Radford et al. 2019; the released code.
GPT2 = Family(norm=LayerNorm, ffn=GELUTanhFeedForward, rotary=False, qkv_bias=True, o_bias=True)

# Qwen Team 2024 (arXiv:2412.15115), §2.
QWEN2 = Family(qkv_bias=True)

# Gemma Team 2024 (arXiv:2408.00118), §2.
GEMMA2 = Family(norm=GemmaRMSNorm, ffn=GeGLUFeedForward, norms_after=True, scaled_embedding=True)

# Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; here with norms. RoPE,
# like their positions, touches queries and keys alone: the residual stream holds words only.
ATTENTION_ONLY = Family(ffn=NoFeedForward)
