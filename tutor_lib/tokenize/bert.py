"""BERT's way from text to words: clean, put Chinese characters apart, lower, strip accents, cut.

Devlin et al. 2018 (arXiv:1810.04805) and the released `BasicTokenizer`.
"""

import unicodedata

import regex

# Unified ideographs and their compatibility forms. As in `tokenizers`, extension E begins at
# U+2B920, where BERT's own code says U+2B820.
CHINESE = regex.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f]"
)
# Words end at white space, which goes, and at punctuation, which is a word of its own: all that
# Unicode calls so, and those ASCII symbols that it does not.
WORD = regex.compile(r"[\p{P}$+<=>^`|~]|[^\p{White_Space}\p{P}$+<=>^`|~]+")


def bert_normalize(text: str, lowercase: bool = True) -> str:
    """`text` without control characters; with `lowercase`, without capitals and accents too.

    White space becomes a space, and Chinese characters get one on each side, so that each is a
    word. Accents go by decomposing (NFD) and dropping the marks: "é" becomes "e".
    """
    cleaned = "".join(" " if _is_space(c) else c for c in text if not _is_dropped(c))
    apart = CHINESE.sub(r" \g<0> ", cleaned)
    if not lowercase:
        return apart
    plain = (c for c in unicodedata.normalize("NFD", apart) if unicodedata.category(c) != "Mn")
    # One by one: "Σ" at the end of a word becomes "σ" as anywhere else.
    return "".join(c.lower() for c in plain)


def bert_pretokenize(text: str) -> list[str]:
    """The words of normalised text: punctuation marks alone, white space nowhere.

    >>> bert_pretokenize("don't stop!")
    ['don', "'", 't', 'stop', '!']
    """
    return WORD.findall(text)


def _is_space(character: str) -> bool:
    return character in "\t\n\r" or unicodedata.category(character) in ("Zs", "Zl", "Zp")


def _is_dropped(character: str) -> bool:
    """Control, format and private characters, lone surrogates, and U+FFFD.

    Code points that no character has yet stay, as in `tokenizers`; BERT's own code drops them.
    """
    is_other = unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs")
    return character == "\ufffd" or (is_other and character not in "\t\n\r")
