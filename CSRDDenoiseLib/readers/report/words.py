"""What a study shows, and what a study of its size cannot show, in sentences."""

from __future__ import annotations

import math

from scipy import stats

from ..analysis.analyse import Result, Roc
from ..analysis.crossed import SIGNIFICANCE
from ..analysis.preference import Preference
from ..analysis.ratings import RatingComparison
from .tables import p_text, percent


def findings(result: Result) -> list[str]:
    """Return what was found, one sentence or two for each question."""
    said = [_preference(each) for each in result.preferences]
    said += [_rating(each) for each in result.ratings if each.p_holm < SIGNIFICANCE]
    silent = sum(each.p_holm >= SIGNIFICANCE for each in result.ratings)
    if silent:
        said.append(f"No difference was found in {silent} of the {len(result.ratings)} comparisons of ratings.")
    return said + (_roc(result.roc, result.margin) if result.roc else [])


def limits(result: Result) -> list[str]:
    """Return what the study cannot show, and what went wrong while it was read."""
    said = [_of_readers(len(result.readers))]
    said += [_detectable_share(each) for each in result.preferences]
    if result.ratings:
        coarse = max(each.difference.detectable for each in result.ratings)
        said.append(
            f"With {result.ratings[0].cases} cases and this scatter, a true difference of {coarse:.1f} points is found "
            "in 80 % of such studies on the noisiest scale; a smaller one is often missed."
        )
    if result.roc is not None:
        coarse = max(each.best.detectable for each in result.roc.analysis.comparisons)
        counts = int(result.roc.lesion.sum()), int((~result.roc.lesion).sum())
        said.append(
            f"With {counts[0]} cases with and {counts[1]} without a lesion, a true difference in area of {coarse:.2f} "
            "is found in 80 % of such studies."
        )
    said.append("A difference that was not found is no proof of equality; the interval says what remains possible.")
    if result.preferences or result.ratings:
        said.append("A better image is not a better diagnosis; only a task with known truth can show that.")
    return said + _mishaps(result)


def _preference(each: Preference) -> str:
    share, interval = percent(each.share.value), f"{percent(each.share.low)} to {percent(each.share.high)}"
    text = f"{each.first} was preferred to {each.second} in {share} of the answers (95 % interval {interval})."
    if each.p_holm >= SIGNIFICANCE:
        return f"{text} This shows no preference (p = {p_text(each.p_holm)}, Holm)."
    better = each.first if each.share.value > 0.5 else each.second
    return f"{text} This shows a preference for {better} (p = {p_text(each.p_holm)}, Holm)."


def _rating(each: RatingComparison) -> str:
    higher, lower = (each.first, each.second) if each.difference.value > 0 else (each.second, each.first)
    size = abs(each.difference.value)
    text = f"{higher} was rated {size:.2f} points above {lower} for {each.scale} (p = {p_text(each.p_holm)}, Holm)."
    if each.difference.p >= SIGNIFICANCE:
        return f"{text} This holds for these readers; it is not shown for others (p = {p_text(each.difference.p)})."
    return text


def _roc(roc: Roc, margin: float) -> list[str]:
    said = []
    for each in roc.analysis.comparisons:
        first, second, found = roc.methods[each.first], roc.methods[each.second], each.best
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        verdict = "This shows a difference" if each.p_holm < SIGNIFICANCE else "This shows no difference"
        text = f"The ROC area of {second} minus that of {first} is {found.value:+.3f} (95 % interval {interval}). "
        text += f"{verdict} (p = {p_text(each.p_holm)}, Holm)."
        if each.first == 0:
            text += " " + _noninferior(roc.noninferior[second], second, f"{first} at a margin of {margin:g}")
        said.append(text)
    return said


def _noninferior(judged: tuple[float, bool], method: str, other: str) -> str:
    p, shown = judged
    if math.isnan(p):
        return f"Too few readings differ to judge whether {method} is non-inferior to {other}."
    state = "is shown to be" if shown else "is not shown to be"
    return f"{method} {state} non-inferior to {other} (one-sided p = {p_text(p)})."


def _of_readers(count: int) -> str:
    if count == 1:
        return "One reader took part: every result holds for this reader and other cases, not for other readers."
    if count == 2:
        return "Two readers took part: too few to know how much readers differ, so the level of 5 % is not kept well."
    return f"{count} readers took part; results that name readers and cases as samples hold for readers like them."


def _detectable_share(each: Preference) -> str:
    return (
        f"{each.first} against {each.second}: with {each.cases} cases and this scatter, a true share of "
        f"{percent(each.detectable)} is found in 80 % of such studies; one nearer to 50 % is often missed."
    )


def _mishaps(result: Result) -> list[str]:
    said = []
    unfinished = [reader.name for reader in result.readers if reader.answered < reader.due]
    if unfinished:
        said.append(f"Not finished: {', '.join(unfinished)}. Cases that a reader lacks are left out of comparisons.")
    early = sum(reader.early_blocks for reader in result.readers)
    if early:
        said.append(f"{early} blocks were begun before the washout of {result.study.washout_days:g} days was over.")
    left, sides = result.left
    if sides and stats.binomtest(left, sides).pvalue < SIGNIFICANCE:
        said.append(f"Readers chose the left image in {percent(left / sides)} of {sides} answers: a bias for a side.")
    if result.tie_added:
        said.append("One method of a pair always won; one tie was added there, so its Bradley-Terry score is cautious.")
    return said
