"""Finish a face: balance its color, retouch its skin, transfer make-up, sharpen and restore it."""
