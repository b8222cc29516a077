"""The subcommands of ``csrd-denoise``; each module has ``add_arguments(parser)`` and ``run(args) -> int``."""
