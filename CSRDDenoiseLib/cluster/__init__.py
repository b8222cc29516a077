"""Work on other processes and other machines, by Dask: cohorts, one scan elsewhere, tasks of the research commands.

A command or a caller imports this package where it needs it; ``distributed`` comes with ``csrd-denoise[cluster]``.
"""
