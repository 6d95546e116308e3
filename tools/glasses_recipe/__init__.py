"""The recipe of the glasses network: paint glasses on portraits, train a small U-Net to find their frames, export it.

    python -m tools.glasses_recipe PORTRAITS benchmarks/glasses.csv --work DIR

It was trained on 427 official portraits of members of the US Congress (public domain) that show no glasses. Every stage
resumes from what lies in DIR. Needs torch and about half an hour of one core that computes in bfloat16; some hours on
others.
"""
