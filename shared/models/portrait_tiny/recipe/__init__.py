"""The recipe of portrait-tiny: prepare the portraits, train autoencoder and denoiser, export and evaluate the pipeline.

    python -m shared.models.portrait_tiny.recipe PORTRAITS --work DIR

Every stage resumes from its checkpoint in DIR, so the work can be split into several runs.
"""
