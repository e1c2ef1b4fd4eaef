"""Building the free default body from CC0 assets: ``python -m body.fitting --output body/data``.

MakeHuman adults are sampled, brought from their A-pose to SMPL's T-pose, reduced to ten betas by PCA, decimated
symmetrically to SMPL's number of vertices and given SMPL's skeleton, weights and pose correctives. Needs scipy, which a
device in the field does not have.
"""
