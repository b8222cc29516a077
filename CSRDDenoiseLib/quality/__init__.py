"""Whether a result can be trusted: checks of the input and of the output, and a report of them."""
