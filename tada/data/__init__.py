"""From files on a user's disk to uint8 clips: decoding, sampling, transforms, datasets, and the mini datasets."""
