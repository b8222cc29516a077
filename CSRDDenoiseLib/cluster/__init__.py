"""Work on other processes and other machines, by Dask: cohorts, one scan elsewhere, tasks of the research commands.

Nothing here is imported unless a command or a caller asks for it; ``distributed`` comes with ``csrd-denoise[cluster]``.
"""
