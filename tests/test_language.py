"""Plain words: phrases that readers do not know stay out of code, notebooks, templates, docs and README."""

import io
import json
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
QUOTING = {Path(__file__).name, "readme_numbers.yaml", "docs_numbers.yaml"}  # files that repeat the words of others
SUFFIXES = {".py", ".ipynb", ".md", ".j2", ".yaml", ".toml"}
# Phrase -> what to write instead. A space matches a line break too.
BANNED = {
    r"told from": "distinguished from",
    r"cannot be told|can be told|tell from chance": "the difference is inconclusive (95 % CI …)",
    r"foretell|foretells|foretold": "predict",
    r"(?:learn|learns|learned|learnt|learning) by heart": "memorise",
    r"lots are drawn|draws? lots": "sampled at random",
    r"turns? round": "is contradicted",
    r"stands? in(?! for)|stood in(?! for)": "is in",
    r"stands? for itself|stands? by itself": "name the subject and what it does",
    r"judged by": "evaluated on",
    r"judges? the|judged": "evaluate",
    r"what becomes? of": "how … is handled",
    r"owes nothing to": "does not depend on",
    r"carr(?:y|ies) (?:its|their) doubt": "has a confidence interval",
    r"not decided|undecided": "inconclusive",
    r"(?:by|of) its own luck|left to luck|by luck": "by chance; an independent sample",
    r"asked about|ask(?:s|ed)? (?:a|the) (?:model|network)": "the model predicts",
    r"(?:network|model)s? (?:says?|said|answers?|answered|knows?)": "the model predicts, outputs",
    r"what (?:it|a network|the network|a model|the model) (?:says|answers|knows)": "its predictions",
    r"on trial|put on trial": "evaluated; candidate",
    r"play(?:s|ing)? (?:the )?unknown": "held out as pseudo-unknowns",
    r"caught out": "audited",
    r"surpassed": "improved",
    r"restated": "reproduced",
    r"known odds": "auxiliary log odds",
    r"six views|views of an image": "test-time augmentation",
    r"somebody who guesses|who guesses": "chance level; a uniform prediction",
    r"earn(?:s|ed)? a score|instead of applause": "is evaluated quantitatively",
    r"(?:the )?same arithmetic|for the same work": "equal compute",
    r"worth of both": "the gain reflects both changes",
    r"step in points|step up": "gain (points)",
    r"one at a time, back|take the mistakes back": "fix one mistake at a time (ablation)",
    r"(?:\d+|%|is|are|was|it) right (?:on|about|of|where|if)|% right|was right|were right|how often .{1,30} right": (
        "has an accuracy of; correct"
    ),
    r"looks? right|comes out right": "is correct",
    r"(?:how|as) sure (?:it|as|is|the)|sure of itself": "confidence",
    r"how good (?:its|the) answers": "accuracy",
    r"give(?:s)? (?:its|an|the) answers?": "predict",
    r"kept features": "frozen features",
    r"first weights": "initialisation",
    r"signs? of life": "heartbeat",
    r"what a clock measured": "measured times",
    r"by nature": "always",
    r"for oneself": "leave it out",
    r"as it is\b(?=[.,;:)\"]|$)": "unchanged",
    r"(?:says?|said) (?:it|so) (?:all|itself)": "leave it out",
    r"a stranger|strangers": "an untrusted source",
    r"the truth is known": "the ground truth is known",
    r"in words": "as text",
    r"lies? (?:in|at|beside|behind|under) (?:the|a|its)": "is in",
    r"is no (?:chance|luck|wonder)": "is not due to chance",
    r"whose doubt|its doubt|the doubt": "uncertainty",
    r"torn (?:by|file|one|in)": "incomplete",
    r"take(?:s)? (?:it|them) as (?:it|they) (?:is|are)": "use unchanged",
    r"hostile": "malformed or malicious",
    r"if need be": "if necessary",
    r"and the like": "name them, or 'similar'",
    r"none turns|none of which turns": "none is contradicted",
    r"Newton and Schulz": "Newton–Schulz",
    r"the place as a shortcut": "background shortcuts (spurious correlation)",
    r"mirrored in every other": "flipped every second epoch",
}
PATTERN = re.compile("|".join(rf"(?<!\w)(?:{phrase})(?!\w)" for phrase in BANNED).replace(" ", r"\s+"), re.IGNORECASE)


def texts(path):
    """Number of the first line, and text, of each part of a file that people read: of code, comments and literals."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None)}
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        return [(token.start[0], token.string) for token in tokens if token.type in kinds]
    if path.suffix == ".ipynb":
        return [(k, "".join(cell["source"])) for k, cell in enumerate(json.loads(source)["cells"], start=1)]
    return [(1, source)]


def found(path):
    """Each banned phrase in a file, with its line, and the cell of a notebook."""
    lines = []
    for first, text in texts(path):
        for match in PATTERN.finditer(text):
            start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
            line = " ".join(text[start : end if end >= 0 else None].split())
            place = f"cell {first}" if path.suffix == ".ipynb" else first + text.count("\n", 0, match.start())
            phrase = " ".join(match[0].split())
            instead = next(new for old, new in BANNED.items() if re.fullmatch(old, phrase, re.IGNORECASE))
            lines.append(f"{path.relative_to(ROOT)}:{place}: {phrase!r} -> {instead}\n    {line}")
    return lines


def files():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    return [name for name in listed if Path(name).suffix in SUFFIXES and Path(name).name not in QUOTING]


@pytest.mark.skipif(not files(), reason="not a git checkout")
@pytest.mark.parametrize("name", files())
def test_a_file_has_no_banned_phrase(name):
    assert not (lines := found(ROOT / name)), "\n".join(lines)


def test_phrases_are_found_in_every_part_that_people_read(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    code = '"""Known from what is\ntold from."""\nforetell = 1  # cats, judged by dogs\n'
    cases = {
        "a.py": (code, ["a.py:2: 'told from'", "a.py:3: 'judged by'"]),
        "b.md": ("It owes\nnothing to you.", ["b.md:1: 'owes nothing to'"]),
        "c.ipynb": (json.dumps({"cells": [{"source": ["a"]}, {"source": ["not ", "decided"]}]}), ["c.ipynb:cell 2: "]),
        "d.py": ('"""Distinguished by told."""', []),
    }
    for name, (text, expected) in cases.items():
        (tmp_path / name).write_text(text)
        lines = found(tmp_path / name)
        assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected
