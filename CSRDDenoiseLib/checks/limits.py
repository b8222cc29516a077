"""The limits of the checks of an input, in one place; the experiment ``heads`` measures what each costs and finds."""

UNCORRECTED_SCORE = 0.85
"""Attenuation: score of a PET (:func:`.attenuation.check_attenuation`); 0 where attenuation is corrected, 2 if not."""

CUT_AREA_CM2 = 70.0
"""Cut: bright area at an edge; a field of view that ends beside the brain leaves up to 66 there, and a brain without a
tenth of it mostly more than 70."""

BRAIN_HEIGHT_MM = 126.0
"""Cut: from the top of the head; an edge further down cuts the neck and, mostly, less than a tenth of the brain."""

BRAIN_SIDES_MM = 100.0
"""Cut: from the top of the head; below it an edge at the front, the back or a side cuts the face and no brain."""

T1_DEPTH_CONTRAST = 0.07
"""MR: deep brain minus cortex, each over the mean around it; a T1 has more, also with a strong bias field."""

ENHANCED_TAIL = 1.42
"""MR: brightest spots over bright tissue; a T1 without contrast agent has less."""

NEGATIVE_AROUND = 0.3
"""Back projection: share of negative voxels in the air around the head; it leaves half of them, OSEM none."""

NOISE_AROUND = 0.05
"""Back projection: noise in that air over the noise level; it leaves 0.1 and more, and a resampled OSEM image less."""

FILTERED_MM = 8.4
"""Filtering: width of the finest detail; scans as they are reconstructed have up to 8.3. It saturates near 9.4."""
