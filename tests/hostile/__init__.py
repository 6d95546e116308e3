"""Inputs that mean harm, and what they may cost."""
