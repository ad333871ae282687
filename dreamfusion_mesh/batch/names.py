"""Names of folders: made from a prompt's words, or given by the user and checked.

A name is one part of a path, of letters that every file system takes, and unlike any other in the same folder in whatever case of letters.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from dreamfusion_mesh.config.messages import shown
from dreamfusion_mesh.errors import BadInput
from dreamfusion_mesh.run.out import BROKEN, CONTACT, GALLERY, MANIFEST, SUMMARY, WORKER_LOG

LONGEST_NAME = 100  # bytes in UTF-8
RESERVED = (MANIFEST, BROKEN, SUMMARY, CONTACT, GALLERY, "encodings")  # the batch's own
_WORKER_LOG = re.compile(re.escape(WORKER_LOG).replace(r"\{\}", r"\d+"))
_DEVICE = re.compile(r"(?:con|prn|aux|nul|clock|com\d|lpt\d)(?: *\..*)?")  # of Windows, with any suffix
_WORD = re.compile(r"[^\W_]+")
_LONGEST_SLUG = 60  # characters
_LONGEST_SLUG_BYTES = 71  # in a job's name: what a seed of 19 digits and the letters of a hash leave
_HASH_LETTERS = 8


def slug(prompt: str) -> str:
    """The prompt's words in lower case with dashes between them, cut; "asset" where it has none: "A red mug!" -> "a-red-mug"."""
    return "-".join(_WORD.findall(prompt.lower()))[:_LONGEST_SLUG].rstrip("-") or "asset"


def made_name(prompt: str, seed: int) -> str:
    """The name of the asset that a prompt and a seed make, alike in any batch: "a red mug", 7 -> "a-red-mug-7".

    Prompts of which the slug drops something get eight letters after that, so that "a red mug!" has a name of its own: the lowest digits,
    in base 26, of the first 64 bits of the prompt's SHA-256.
    """
    words = slug(prompt)
    if prompt.isascii() and words.replace("-", " ") == prompt:
        return f"{words}-{seed}"
    short = unicodedata.normalize("NFC", words).encode()[:_LONGEST_SLUG_BYTES].decode(errors="ignore").rstrip("-")
    rest, letters = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8]), ""
    for _ in range(_HASH_LETTERS):
        rest, letter = divmod(rest, 26)
        letters += chr(ord("a") + letter)
    return f"{short}-{seed}-{letters}"


def counted_name(name: str, index: int) -> str:
    """The name of the `index`-th asset, from 0, of a row that is called `name`: mug, mug-2, mug-3."""
    return name if index == 0 else f"{name}-{index + 1}"


def check_name(text: str, count: int = 1) -> str:
    """A name that the user gave to `count` assets, composed (NFC). Raises BadInput in a line that begins with "name: "."""
    name = unicodedata.normalize("NFC", text)
    wrong = next((letter for letter in name if not _is_allowed(letter)), None)
    folded = unicodedata.normalize("NFKC", name).casefold()
    if wrong is not None:
        fault = f"has the character {wrong if wrong.isprintable() and wrong != ' ' else f'U+{ord(wrong):04X}'}"
    elif not name or name[0] in ".- " or name[-1] in ". ":
        fault = "a name begins with no dot, dash or space, and ends in no dot or space"
    elif folded in RESERVED or _WORKER_LOG.fullmatch(folded):
        fault = "is a name of the batch's own files"
    elif _DEVICE.fullmatch(folded):
        fault = "is a device in Windows"
    elif (size := len(counted_name(name, count - 1).encode())) > LONGEST_NAME:
        numbered = f" with the number that count {count} adds" if count > 1 else ""
        fault = f"{size} bytes{numbered}, at most {LONGEST_NAME}"
    else:
        return name
    raise BadInput(f"name: {fault} (given {shown(text)}); letters, digits, spaces and . _ - are allowed")


def folded_name(name: str) -> str:
    """What two names have in common that some file systems take for one, whatever the case of letters and however they are composed."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_allowed(letter: str) -> bool:
    return letter in " ._-" or unicodedata.category(letter)[0] in "LMN"
