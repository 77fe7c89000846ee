"""Channels to the public: one file each, in a hand-written register."""
