"""Faces: finding them, their landmarks, and who they are; one interface, several engines."""

from shared.faces.base import Box, Face, FaceEngine, FaceError

__all__ = ["Box", "Face", "FaceEngine", "FaceError"]
