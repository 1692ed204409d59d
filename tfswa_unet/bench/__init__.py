"""What a model costs on this machine: time, memory and where they go."""
