"""One run: its request and files, the stages before the network, its result and record, and its repetition."""
