"""Python source as HTML, coloured by the standard library's own tokenizer."""

import builtins
import inspect
import io
import keyword
import textwrap
import tokenize
from collections.abc import Callable
from html import escape


def highlighted(function: Callable) -> str:
    """The source of a function with line numbers, as spans in <pre>."""
    lines, first = inspect.getsourcelines(function)
    return numbered(coloured(textwrap.dedent("".join(lines))), first)


def coloured(source: str) -> str:
    """Source with <span class="k|s|c|n|d|b"> around keywords, strings, comments, numbers, defined names and
    built-ins.
    """
    rows = source.splitlines(keepends=True)
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    out, at, before = [], 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if not token.string or token.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL):
            continue
        start, end = offsets[token.start[0] - 1] + token.start[1], offsets[token.end[0] - 1] + token.end[1]
        out.append(escape(source[at:start]))
        text, kind = source[start:end], _kind(token, before)
        out.append(_spans(kind, text) if kind else escape(text))
        at, before = end, token.string
    return "".join(out) + escape(source[at:])


def _kind(token, before):
    if token.type == tokenize.COMMENT:
        return "c"
    if token.type == tokenize.STRING or tokenize.tok_name[token.type].startswith("FSTRING"):
        return "s"
    if token.type == tokenize.NUMBER:
        return "n"
    if token.type == tokenize.NAME:
        if keyword.iskeyword(token.string):
            return "k"
        if before in ("def", "class"):
            return "d"
        if hasattr(builtins, token.string) or token.string == "self":
            return "b"
    return ""


def _spans(kind, text):
    # one span a line, so that every line can be numbered on its own
    return "\n".join(f'<span class="{kind}">{escape(line)}</span>' if line else "" for line in text.split("\n"))


def numbered(html: str, first: int) -> str:
    lines = html.rstrip("\n").split("\n")
    return "\n".join(f'<span class="l">{number:4d}</span>  {line}' for number, line in enumerate(lines, first))
