"""A user's scanner from its full-dose scans alone: its noise, its resolution, low doses made of them, a setting.

Read in this order: :mod:`spectrum`, :mod:`texture`, :mod:`regression`, :mod:`learn`, :mod:`low_dose`, :mod:`setting`,
:mod:`examples`, :mod:`experiment`.
"""
