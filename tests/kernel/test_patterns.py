"""Regular expressions of strangers."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.kernel.patterns import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("^[BC]", "Bob", True), ("^[BC]", "aB", False), ("b", "abc", True), ("", "", True), ("B", "abc", False),
        ("^a.c$", "abc", True), ("^a.c$", "a\nc", False), ("(?s)^a.c$", "a\nc", True), ("a$", "a\n", True),
        (r"a\z", "a\n", False), ("(?i)ÉTÉ", "été", True), ("(?i)[a-c]+$", "XAB", True), ("(?m)^b$", "a\nb\nc", True),
        (r"^\d{3}-\d{2,4}$", "123-45", True), (r"^\d{3}-\d{2,4}$", "123-45678", False), (r"\bfoo\b", "a foo b", True),
        (r"\bfoo\b", "afoob", False), (r"\Boo", "foo", True), ("^(ab|cd)*$", "abcdab", True),
        ("^(ab|cd)*$", "abc", False), ("^(?:a|b)+?c", "abac", True), ("(?<x>a)(?P<y>b)", "ab", True),
        (r"[^\w\s]", "a_b c", False), ("[]a]", "]", True),
        ("[a-]", "-", True), ("[^]a]", "b", True), (r"[\]\\-]", "\\", True), ("[[:alpha:]_]+$", "1_a", True),
        (r"\x41\x{1F600}", "A😀", True), ("a{,2}", "a{,2}", True), ("a{x}", "a{x}", True), (r"\.", "a", False),
        ("a|", "", True), ("^()*$", "", True), (r"\S\D\W", "ab!", True), ("x{0}y", "y", True), ("中+", "a中中", True),
    ],
)  # fmt: skip
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert compile_pattern(pattern).search(text) is expected


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "(a", "[", "[a", "*", "+a", "a**", "a++", "^*", "\\", r"(a)\1", "(?=a)", "(?!a)", "(?<=a)",
     "(?<!a)", "(?>a)", "(?P=x)", "(?<>a)", "(?x)a", "[b-a]", "a{2,1}", "a{9999}", "((a{999}){999}){999}", r"\p{L}",
     r"\x{110000}", r"\xZZ", "((((){3000}){3000}){3000}){3000}", "(" * 60 + ")" * 60, "[a-\\d]", "^(?!a",
     "^(?!a)b|c", "a(?!b)"],
)  # fmt: skip
def test_what_is_malformed_or_could_run_wild_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", ".*.*.*.*=", "^(a?){50}a{50}$"])
def test_no_pattern_takes_more_than_linear_time(pattern: str) -> None:
    start = time.perf_counter()
    compile_pattern(pattern).search("a" * 3000 + "!")
    assert time.perf_counter() - start < 5


pieces = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "^", "$", r"\b", r"\w", "c"])
patterns = st.recursive(
    pieces,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: "(" + "|".join(parts) + ")"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=6,
)


@given(patterns, st.text("abc \n", max_size=6))
def test_it_agrees_with_the_backtracking_matcher(pattern: str, text: str) -> None:
    assert compile_pattern(pattern).search(text) == (re.search(pattern, text, re.ASCII) is not None)
