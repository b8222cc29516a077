"""The part of the catalogue of :mod:`CSRDDenoiseLib.sentences` about tables of scans and the pairs in them."""

from __future__ import annotations

from typing import Mapping

TABLE_SENTENCES: Mapping[str, str] = {
    # the table itself; "where" is a line of it with its subject, "line 3 (subject 07)"
    "table.unreadable": "The table '{path}' cannot be read: {reason}.",
    "table.not_text": "The table '{path}' is not UTF-8 text (byte {position}); save it as tab-separated text in UTF-8.",
    "table.other_separator": "The header of '{path}' is separated by '{separator}'; write tabs between the columns.",
    "table.empty": "The table '{path}' has a header and no rows; write one row a scan.",
    "table.missing_column": "The table has no column '{column}'; its columns are {columns}.",
    "table.doubled_column": "The column '{column}' is in the header {count} times; keep one.",
    "table.unknown_column": "The column '{column}' is not known{near:phrase}.",
    "table.row_length": "The table's {where} has {cells} cells, and the header has {columns}.",
    "table.comment": "The table's {where} begins with '#', and a table has no comments; remove the line.",
    "table.empty_cell": "The table's {where} has no value in column '{column}', which is required.",
    "table.missing_file": "The table's {where}: the {column} image '{path}' does not exist.",
    "table.unnameable": "The table's {where}: the {column} image cannot be found: {reason}.",
    "table.bad_dose": "The table's {where}: '{text}' is not a dose fraction; write 1/4 or 0.25, above 0 and up to 1.",
    "table.bad_split": "The table's {where}: '{text}' is not a split; write one of {splits}.",
    "table.doubled_row": "The table's {where} has the subject, session, dose and replicate of line {first}; number "
    "repeated scans in the column 'replicate'.",
    "table.same_file": "The table's {where}: the {column} image '{path}' is also that of {other} in line {first}; "
    "give every subject its own.",
    "table.low_is_full": "The table's {where}: low and full are the same file, '{path}', so there is nothing to "
    "compare.",
    "table.low_twice": "The table's {where}: the low image '{path}' is also that of {first}, and one scan would count "
    "as two; give each row its own, or leave one out.",
    "table.two_splits": "Subject {subject} is in the splits {splits}; all its scans must be in one, or the result is "
    "judged on a head that was trained on.",
    "table.same_image": "The {column} image of {name} has the same content as that of {other}; give every subject its "
    "own.",
    "table.same_low": "The low image of {name} has the same content as that of {other}, and one scan would count "
    "as two; give each row its own, or leave one out.",
    "table.same_mr": "Subject {subject} has the same MR as {other}. Give each its own MR; if both are one subject, "
    "give them one name.",
    # a pair
    "pair.unusable": "{name} cannot be used: {reason}.",
    "pair.resampled": "Low and full dose have different grids ({low} and {full}, corners up to {corners_mm:.2g} mm "
    "apart): the full dose was interpolated to the low dose's grid, which smooths its noise.",
    "pair.uncovered": "The full dose covers only {covered:.0%} of the head's activity in the low dose; reconstruct "
    "both with one field of view.",
    "pair.shifted": "The head lies {shift_mm:.1f} mm apart in low and full dose (up to {limit_mm:g} mm is usual); "
    "reconstruct both from the same list-mode data, or align them.",
    "pair.flipped": "The full dose fits the low dose far better with exchange of {axes} (correlation {flipped:.3f}, as "
    "given {given:.3f}): one of the two files has a wrong orientation; export both with the same program.",
    "pair.scale": "The brain mean of the low dose is {ratio:.4g} times that of the full dose; both must be activity "
    "per volume, corrected for the time of the scan and for decay.",
    "pair.swapped": "The low dose has less noise than the full dose (by the noise {share:.2g} times its counts): the "
    "two are swapped, or the low dose was filtered. Exchange them in the table, or use the unfiltered low dose.",
    "pair.dose_unlike": "The table states dose {stated:fraction}, but by the noise the low dose has about {share:.2g} "
    "of the counts of the full dose, a factor of {factor:.1f} apart. Check the dose in the table.",
    "pair.dose_estimated": "The table states no dose; the noise of low and full dose suggests about {dose:.2g}.",
    "pair.no_head": "No head was detected in the {which}.",
    "pair.halves": "The mean of the two halves is {ratio:.4g} times the full dose in the brain, so they are not "
    "halves of it; export all three as activity per volume, in one unit, or leave the halves out.",
    "pair.halves_apart": "One of the two halves has {ratio:.4g} times the brain mean of the other; each must be of "
    "half of the counts, as activity per volume, corrected for the time of the scan and for decay.",
    "pair.trained_on": "The model '{model}' was trained with this scan ({columns}), so it is better here than on other "
    "heads; measure it on subjects that it was not trained with.",
    "pair.lesion_outside": "Lesion {label} lies outside the head; it is not measured.",
    # a BIDS dataset
    "bids.no_low": "The BIDS dataset has no PET whose name has {filter}; its PETs are like '{example}'.",
    "bids.doubled": "Subject, session, dose and run of '{low}' are also those of '{other}'; filter by more entities.",
    "bids.no_full": "{count} full doses with {filter} belong to '{low}', and exactly one is needed: {advice:phrase}.",
}
"""Code -> template."""
