"""Map-free relocalisation (Arnold et al., ECCV 2022): its files, its metrics, and running an estimator over a set.

One reference photo per scene, many queries; the answer is each query's metric pose relative to the reference.
"""
