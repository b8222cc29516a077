"""The subcommands of ``csrd-denoise``; each module has ``add_parser(subparsers)`` and ``run(args) -> int``."""
