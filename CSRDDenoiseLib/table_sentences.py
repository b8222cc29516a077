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
    "table.empty_cell": "The table's {where} has nothing in column '{column}'; it is needed.",
    "table.missing_file": "The table's {where}: the {column} image '{path}' does not exist.",
    "table.bad_dose": "The table's {where}: '{text}' is no dose fraction; write 1/4 or 0.25, above 0 and up to 1.",
    "table.bad_split": "The table's {where}: '{text}' is no split; write {splits}.",
    "table.doubled_row": "The table's {where} has the subject, session, dose and replicate of line {first}; number "
    "repeated scans in the column 'replicate'.",
    "table.same_file": "The table's {where}: the {column} image '{path}' is that of {other} in line {first} as well; "
    "give every subject its own.",
    "table.low_is_full": "The table's {where}: low and full are one file, '{path}', so there is nothing to compare.",
    "table.two_splits": "Subject {subject} is in the splits {splits}; all its scans must be in one, or the result is "
    "judged on a head that was trained on.",
    # a BIDS dataset
    "bids.no_low": "The BIDS dataset has no PET whose name has {filter}; its PETs are like '{example}'.",
    "bids.no_full": "No full dose with {filter} belongs to '{low}': {count} match in its session; filter by more "
    "entities.",
}
"""Code -> template."""
