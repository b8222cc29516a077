"""Reader studies: make a blinded study, let people read it, analyse their answers, plan the next one."""
