"""What a pool and its workers say to each other: frames, channels, a shared page."""
