"""The recipe of the occluder network: paint objects before portraits, train a small U-Net to find them, export it.

    python -m tools.occluder_recipe PORTRAITS --work DIR

It was trained on 815 official portraits of members of the US Congress (public domain). Every stage resumes from what
lies in DIR. Needs torch, scikit-image, and about a quarter of an hour of one core that computes in
bfloat16; some hours on others.
"""
