"""From files on a user's disk to uint8 clips: decoding, views, datasets, and the mini datasets."""
