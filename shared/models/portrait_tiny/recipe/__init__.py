"""How portrait-tiny was made: prepare the portraits, train autoencoder and denoiser, export, measure.

    python -m shared.models.portrait_tiny.recipe PORTRAITS --work DIR

Every stage resumes from its checkpoint in DIR, so several runs of an hour add up.
"""
