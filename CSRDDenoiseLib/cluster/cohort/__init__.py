"""Many scans: which, on which workers, what is done already, and one page about all of them."""
