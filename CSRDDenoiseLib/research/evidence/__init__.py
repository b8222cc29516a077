"""What a model is held to, measured by one command on scanner families that no choice was made on."""
