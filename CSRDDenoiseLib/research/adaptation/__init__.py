"""Adaptation: a trained model is fitted further to a user's pairs of a low and a full dose.

Read in this order: :mod:`settings`, :mod:`subject_folds`, :mod:`prepared`, :mod:`start`, :mod:`held_out`, :mod:`fold`,
:mod:`calibration`, :mod:`card`, :mod:`adapt`.
"""
