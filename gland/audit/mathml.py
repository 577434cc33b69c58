"""MathML from the few TeX commands that the audit's formulas use, so that a page needs no script and no network."""

import re
from html import escape
from xml.sax.saxutils import quoteattr

GREEK = {"alpha": "α", "beta": "β", "delta": "δ", "eta": "η", "lambda": "λ", "mu": "μ", "partial": "∂", "infty": "∞"}
OPERATORS = {
    "sum": "∑", "le": "≤", "in": "∈", "star": "⋆", "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋",
    "leftarrow": "←", "cdot": "·", "{": "{", "}": "}",
}  # fmt: skip
NAMES = {"log", "exp", "max", "min", "arg"}
UNDER = {"sum", "max", "min"}  # what stands below these stands under them
TOKEN = re.compile(r"\s+|\\[A-Za-z]+|\\[{}]|[0-9]+(?:\.[0-9]+)?|.", re.S)


def mathml(tex: str) -> str:
    """One <math> element. Raises ValueError for a command that is not known."""
    parser = _Parser([t for t in TOKEN.findall(tex) if not t.isspace() or t == " "], tex)
    return f'<math display="block" alttext={quoteattr(tex)}><mrow>{parser.row()}</mrow></math>'


class _Parser:
    def __init__(self, tokens, tex):
        self.tokens, self.tex, self.at = tokens, tex, 0

    def row(self, stop=None):
        parts = []
        while self.at < len(self.tokens) and self.tokens[self.at] != stop:
            if self.tokens[self.at] == " ":
                self.at += 1
                continue
            parts.append(self.scripted())
        self.at += stop is not None
        return "".join(parts)

    def scripted(self):
        under = self.tokens[self.at].lstrip("\\") in UNDER
        base, scripts = self.atom(), {}
        while self.at < len(self.tokens) and self.tokens[self.at] in "_^":
            mark = self.tokens[self.at]
            self.at += 1
            scripts[mark] = f"<mrow>{self.atom()}</mrow>"
        if not scripts:
            return base
        low, high = scripts.get("_"), scripts.get("^")
        names = ("munder", "mover", "munderover") if under else ("msub", "msup", "msubsup")
        name = names[2] if low and high else names[0] if low else names[1]
        return f"<{name}>{base}{low or ''}{high or ''}</{name}>"

    def group(self):
        while self.tokens[self.at] == " ":
            self.at += 1
        return f"<mrow>{self.atom()}</mrow>"

    def raw(self):
        end = self.tokens.index("}", self.at)
        text = "".join(self.tokens[self.at + 1 : end])
        self.at = end + 1
        return text

    def atom(self):
        token = self.tokens[self.at]
        self.at += 1
        if token == "{":
            return f"<mrow>{self.row('}')}</mrow>"
        if not token.startswith("\\"):
            kind = "mn" if token[0].isdigit() else "mi" if token.isalpha() else "mo"
            return f"<{kind}>{escape('−' if token == '-' else token)}</{kind}>"
        name = token[1:]
        if name == "frac":
            return f"<mfrac>{self.group()}{self.group()}</mfrac>"
        if name == "hat":
            return f"<mover>{self.group()}<mo>^</mo></mover>"
        if name == "text":
            return f"<mtext>{escape(self.raw()).replace(' ', '&#160;')}</mtext>"
        if name in ("left", "right"):
            bracket = self.tokens[self.at]
            self.at += 1
            return f'<mo stretchy="true">{escape(bracket.lstrip(chr(92)))}</mo>'
        if name == "quad":
            return '<mspace width="1em"></mspace>'
        if name in NAMES:
            following = "".join(self.tokens[self.at :]).lstrip()
            space = "" if name in UNDER or following.startswith("(") else '<mspace width="0.17em"></mspace>'
            return f"<mi>{name}</mi>{space}"
        if name in GREEK:
            return f"<mi>{GREEK[name]}</mi>"
        if name in OPERATORS:
            return f"<mo>{escape(OPERATORS[name])}</mo>"
        raise ValueError(f"\\{name} in {self.tex!r} is not a command that mathml.py knows")
