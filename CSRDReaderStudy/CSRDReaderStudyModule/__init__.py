"""The parts of the module CSRDReaderStudy: the panel, what it shows in the views, and a clock that can be stopped."""
