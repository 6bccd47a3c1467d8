"""A tokenizer of a few words, as the file that models come with."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = {"<s>": 0, "</s>": 1, "the": 2, "cat": 3, "sat": 4, "on": 5, "mat": 9}


def tokenizer_file(folder: Path) -> Path:
    """Write the file; its vocabulary has a hole."""
    special = [
        {
            "id": WORDS[word],
            "content": word,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for word in ("<s>", "</s>")
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "</s>"},
    }
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(tokenizer))
    return file
