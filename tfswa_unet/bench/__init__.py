"""What models cost on this machine, alone and beside others: time, memory, where they go, and what they learn in it."""
